package receive_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/rules"
)

// queryKey is the credential that the senders of the fixtures use unless they
// cannot.
func queryKey(value string) receive.Credential {
	return receive.Credential{Kind: receive.APIKey, In: receive.InQuery, Name: "key", Values: []string{value}}
}

// senders are the sources that the fixtures are posted to, all on one URL. The
// presets need a credential only; what another sender needs beyond it is its
// configuration.
func senders() []receive.Source {
	sources := []receive.Source{
		{Name: "icfm", Preset: "icfm", Credentials: []receive.Credential{queryKey("icfm-key")}},
		{Name: "pbx", Preset: "pbxware", Credentials: []receive.Credential{
			{Kind: receive.Bearer, Values: []string{"pbx-token"}},
			{Kind: receive.Basic, User: "pbx", Values: []string{"pa:ss"}},
			{Kind: receive.APIKey, In: receive.InHeader, Name: "X-Api-Key", Values: []string{"pbx-key"}},
			{Kind: receive.APIKey, In: receive.InQuery, Name: "api_key", Values: []string{"pbx-key"}},
			{Kind: receive.Path, Values: []string{"pbx-token"}},
		}},
		{Name: "aircall", Credentials: []receive.Credential{
			{Kind: receive.APIKey, In: receive.InBody, Name: "token", Values: []string{"aircall-token"}},
		}},
		// The name is a number under "type": only one that is declared counts.
		{Name: "yeastar", Events: []rules.EventType{{Name: "30011"}, {Name: "30016"}}},
		// The name is under "status", where only one that is declared counts.
		{Name: "vonage", Events: []rules.EventType{{Name: "ringing"}}},
		// The list of events is not at the top.
		{Name: "shotgrid", Batch: "body.data.deliveries"},
	}
	for _, name := range []string{"sipgate", "3cx", "kazoo", "linuxbox", "telnyx", "printiq", "smartcode", "wephone", "monema"} {
		sources = append(sources, receive.Source{Name: name})
	}
	for i, s := range sources {
		if s.Credentials == nil {
			sources[i].Credentials = []receive.Credential{queryKey(s.Name + "-key")}
		}
	}
	return sources
}

// want is what a fixture must give.
type want struct {
	status int // of the refusal
	ping   bool
	source string
	events []string
	// values are what expressions give for the first event; nil is absent.
	values map[string]any
	// broken says that the body does not parse.
	broken bool
}

func event(source, name string, pairs ...any) want {
	w := want{source: source, events: []string{name}, values: map[string]any{}}
	for i := 0; i < len(pairs); i += 2 {
		w.values[pairs[i].(string)] = pairs[i+1]
	}
	return w
}

func broken(w want) want {
	w.broken = true
	return w
}

func managerFixtures(all map[string]want) {
	call := []any{"call_id", "1773398700.201", "tenant", "200", "caller_id", "02079460123"}
	for verb, w := range map[string]want{
		"get":    event("pbx", "incoming_call", append(call, "unix_time", 1773398700)...),
		"post":   event("pbx", "answered_call", append(call, "unix_time", 1773398706)...),
		"put":    event("pbx", "ringing", append(call, "unix_time", 1773398701)...),
		"patch":  event("pbx", "unanswered_call", "call_id", "1773398820.207", "tenant", "200", "unix_time", 1773398845, "caller_id", "02079460123"),
		"delete": event("pbx", "hangup", "call_id", "1773398760.204", "tenant", "200", "unix_time", 1773398807, "call_cost", json.Number("0.42"), "duration", 47, "caller_id", nil, "date", "2026-03-13", "time", "11:46:47"),
	} {
		for _, body := range []string{"query", "form-data", "urlencoded", "raw-json"} {
			all["pbxware-manager-"+verb+"-"+body] = w
		}
		all["pbxware-manager-"+verb+"-raw-text"] = event("pbx", w.events[0], "call_id", nil, "tenant", "", `body contains "call_id: 1773398"`, true)
	}
}

func fixtures() map[string]want {
	const call1, call4 = "1773398700.201", "1773398760.204"
	finished := event("pbx", "event_call_finished", "call_id", "1773398517.113", "duration", 1, "body.connected_num", "*123",
		"unix_time", 1773398518, "extension", "100", "tenant", "200", "direction", "outbound", "caller_id", "100",
		"called_number", "*123", "date", "2026-03-13", "time", "11:41:58", "call_cost", nil)
	incoming := func(pairs ...any) want {
		return event("pbx", "incoming_call", append([]any{"call_id", call1}, pairs...)...)
	}
	project := event("icfm", "project_created", "body.project_id", 48213, "body.project_name", "Nordlicht – Müller")
	all := map[string]want{
		"pbxware-publisher-1-started": event("pbx", "event_call_started", "call_id", "1773398517.113", "extension", "100",
			"tenant", "200", "unix_time", 1773398517, "duration", nil, "calling_name", nil),
		"pbxware-publisher-2-connected": event("pbx", "event_call_connected", "call_id", "1773398517.113", "unix_time", 1773398517),
		"pbxware-publisher-3-finished":  finished,
		"pbxware-publisher-nested": event("pbx", "event_call_connected", "call_id", "1773398601.120", "body.payload.uid", "1773398601.121",
			"tenant", "200", "body.event_id", "evt-000123", "direction", "inbound", "calling_name", "Alex Example", "extension", nil,
			"unix_time", now.Unix(), "date", "2026-03-13", "time", "12:00:00"),
		"pbxware-publisher-numeric-tenant": event("pbx", "event_call_finished", "tenant", "200", "duration", 1),
		"pbxware-publisher-updated": event("pbx", "event_call_updated", "call_id", "1773398525.117", "body.uid", "1773398525.118",
			"body.connected_name", "Zoë Müller", "calling_name", "Zoë Müller", "direction", "inbound", "caller_id", nil),
		"pbxware-publisher-ended-name": event("pbx", "event_call_ended", "call_id", "1773398517.113", "duration", 1),
		"pbxware-publisher-unrendered-placeholder": event("pbx", "event_call_started", "body.linked_id", nil, "call_id", nil,
			"body.connected_name", nil, "body.uid", "1773398517.113"),
		"pbxware-publisher-chunked": finished,

		"pbxware-manager-event-in-path":         event("pbx", "answered_call", "call_id", call1, "path", "/listen.php/answered_call"),
		"pbxware-manager-event-in-path-encoded": event("pbx", "unanswered_call", "call_id", "1773398820.207"),
		"pbxware-manager-event-in-query":        event("pbx", "ringing", "call_id", call1),
		"pbxware-manager-event-in-header":       event("pbx", "hangup", "call_id", call4),
		"pbxware-manager-event-in-body":         incoming(),
		"pbxware-manager-event-conflict":        event("pbx", "hangup", "call_id", call4),
		"pbxware-manager-event-missing":         event("pbx", "unknown", "call_id", call1),

		"pbxware-manager-raw-json-crlf":         event("pbx", "answered_call", "call_id", call1),
		"pbxware-manager-unreplaced-tag-quoted": event("pbx", "answered_call", "call_cost", nil, "body.call_cost", nil, "call_id", call1),
		"pbxware-manager-unreplaced-tag-bare":   broken(event("pbx", "answered_call", "call_id", call1, "call_cost", nil, "tenant", "200")),
		"pbxware-manager-empty-bare":            broken(event("pbx", "answered_call", "call_id", call1, "call_cost", nil, "unix_time", 1773398706)),
		"pbxware-manager-unreplaced-tag-query": event("pbx", "ringing", "call_cost", nil, "duration", nil, "call_id", call1,
			"query.call_cost", nil),
		"pbxware-manager-broken-json-quotes":    broken(incoming("caller_id", "02079460123", "calling_name", `Bob "B" Lee`, "called_number", "100", "unix_time", 1773398700)),
		"pbxware-manager-broken-json-injection": incoming("tenant", "200", "calling_name", "x", `raw_body contains "999"`, true),
		"pbxware-manager-broken-json-backslash": broken(incoming("calling_name", `ACME\Sales`, "called_number", "100")),
		"pbxware-manager-broken-json-newline":   broken(incoming("calling_name", "Front\nDesk\t1", "tenant", "200")),
		"pbxware-manager-name-unicode":          incoming("calling_name", "Zoë Müller – 山田 🎬"),
		"pbxware-manager-name-unicode-query":    incoming("calling_name", "Zoë_Müller"),
		"pbxware-manager-name-trailing-blank":   incoming("calling_name", "ALEX EXAMPLE   "),
		"pbxware-manager-caller-anonymous":      incoming("caller_id", "anonymous"),
		"pbxware-manager-caller-empty":          incoming("caller_id", nil, "calling_name", nil, "tenant", ""),
		"pbxware-manager-caller-null":           incoming("caller_id", nil, "calling_name", "null"),
		"pbxware-manager-caller-zero":           incoming("caller_id", "0"),
		"pbxware-manager-caller-sip-uri":        incoming("caller_id", "sip:+442079460123@192.0.2.10;user=phone", "extension", "PJSIP/100"),
		"pbxware-manager-plus-unencoded-query":  incoming("caller_id", " 442079460123"),
		"pbxware-manager-plus-unencoded-form":   incoming("caller_id", " 442079460123", "calling_name", "Alex Example"),
		"pbxware-manager-plus-encoded":          incoming("caller_id", "+442079460123"),
		"pbxware-manager-ampersand-unencoded":   incoming("caller_id", "02079460123", "calling_name", "Smith "),
		"pbxware-manager-feature-code":          event("pbx", "hangup", "called_number", "*123", "call_id", call4),
		"pbxware-manager-test-event": event("pbx", "hangup", "tenant", "", "call_id", nil, "caller_id", nil, "duration", nil,
			"call_cost", nil, "extension", nil, "date", "2026-03-13", "time", "12:00:00", "unix_time", now.Unix()),

		"pbxware-manager-auth-basic":          event("pbx", "hangup", "call_id", call4, "headers.Authorization", nil),
		"pbxware-manager-auth-api-key-header": event("pbx", "hangup", "call_id", call4, `headers["X-Api-Key"]`, nil),
		"pbxware-manager-auth-api-key-query":  event("pbx", "hangup", "call_id", call4, "query.api_key", nil),
		"pbxware-manager-auth-path-token":     event("pbx", "hangup", "call_id", call4, "path", "/listen.php/hangup"),
		"pbxware-manager-auth-wrong":          {status: 401},
		"pbxware-manager-auth-none":           {status: 401},

		"icfm-plausible-json-flat":   event("icfm", "project_created", "body.project_id", 48213),
		"icfm-plausible-json-nested": event("icfm", "project_status_change", "body.data.project.id", 48213, "body.data.project.status.new", "Confirmed"),
		"icfm-plausible-json-event-type": event("icfm", "quote_status_change", "body.quote.id", 9917,
			"body.quote.total", json.Number("12500.1")),
		"icfm-plausible-json-pascal-case": event("icfm", "po_status_change", "body.POId", 5531),
		"icfm-plausible-json-ids-only":    event("icfm", "job_saved", "body.id", 730114),
		"icfm-plausible-form":             event("icfm", "job_status_change", "body.job_id", "730114", "body.client", "Müller & Co"),
		"icfm-plausible-form-json-field":  event("icfm", "quote_created", "body.data.quote.id", 9917),
		"icfm-plausible-multipart": event("icfm", "library_item_created", "body.item_id", "88120", "body.title", "Reel 4 – Müller",
			"body.thumb.name", "thumb.png", "body.thumb.size", 10, "body.thumb.type", "image/png"),
		"icfm-plausible-xml": event("icfm", "po_status_change", "body.notification.po.id", "5531",
			"body.notification.po.supplier", "Müller & Co"),
		"icfm-plausible-get-query":       event("icfm", "lead_added", "query.lead_id", "311", "query.key", nil),
		"icfm-plausible-event-in-path":   event("icfm", "rs_modified", "body.id", 66120),
		"icfm-plausible-ping-get":        {source: "icfm", ping: true},
		"icfm-plausible-ping-post":       event("icfm", "unknown", "body", nil),
		"icfm-plausible-unknown-event":   event("icfm", "timesheet_approved", "body.id", 4),
		"icfm-plausible-batch-array":     {source: "icfm", events: []string{"dmg_work_started", "dmg_work_stopped", "job_completed"}, values: map[string]any{"body.dmg_id": 2201}},
		"icfm-plausible-batch-mixed":     {source: "icfm", events: []string{"rss_added", "unknown", "unknown", "unknown"}, values: map[string]any{"body.id": 1}},
		"icfm-plausible-text-json":       event("icfm", "sundry_saved", "body.id", 77),
		"icfm-plausible-expect-continue": event("icfm", "client_attend_added", "body.id", 12),

		"yeastar-msg-string":      event("yeastar", "30016", "body.msg.call_id", "1648861726.280"),
		"yeastar-msg-object":      event("yeastar", "30011", "body.msg.extension", "2002"),
		"yeastar-msg-misquoted":   broken(event("yeastar", "30011", "body.msg.extension", "2002", "body.msg.status", "ringing", "body.sn", "3631A2124000")),
		"sipgate-newcall":         event("sipgate", "newCall", "body.callId", "12345678", `join(body.user, " ")`, "Alice Bob", "body.userId[1]", "w1"),
		"sipgate-hangup":          event("sipgate", "hangup", "body.callId", "12345678", "body.cause", "normalClearing", "body.answeringNumber", nil),
		"3cx-incoming":            event("3cx", "incoming", "body.id", "250917161728_41-0", "body.finishtype", "Missed"),
		"3cx-broken-json":         broken(event("3cx", "incomingcall_started", "body.User", "202", "body.Callerid", "05551239988")),
		"3cx-get":                 event("3cx", "ringing", "query.id", "250917161728_41-0", "query.callerid", "+447700900123"),
		"aircall-token-in-body":   event("aircall", "call.hungup", "body.data.id", 123456789, "body.token", nil, `raw_body contains "aircall-token"`, false),
		"vonage-ringing":          event("vonage", "ringing", "body.uuid", "00000000000000000000000000000001"),
		"kazoo-form":              event("kazoo", "channel_create", "call_id", "1234@192.0.2.20", "body.caller_id_number", "0"),
		"linuxbox-event-in-path":  event("linuxbox", "queue_in", "call_id", "1541078811.98", "query.cel_id", "5511"),
		"telnyx-nested":           event("telnyx", "call.initiated", "body.data.id", "0ccc7b54-4df3-4bca-a65a-3da1ecc777f0", "body.meta.attempt", 2),
		"shotgrid-batch":          {source: "shotgrid", events: []string{"Shotgun_Asset_Change", "Shotgun_Shot_New"}, values: map[string]any{"body.id": "11.1.0"}},
		"printiq-xml":             event("printiq", "CreateQuote", "body.QuoteDetails.QuoteNo", "Q9917"),
		"smartcode-same-body":     event("smartcode", "orderImported", "body.order_id", 123),
		"wephone-slash-id":        event("wephone", "hangup", "call_id", "flexpbx-0/20161103183940-sip/15"),
		"monema-missing-comma":    broken(event("monema", "call_end", "call_id", "1541078811.98", "body.id", "5", "body.src", "02079460123")),
		"wrong-type-json-as-form": project, "malformed-content-type": project, "no-content-type": project,
		"bom-json": project, "utf16-json": project, "json-string-in-string": project,
		"json-trailing-garbage":        broken(project),
		"wrong-type-form-as-json":      event("icfm", "job_saved", "body.job_id", "730114"),
		"wrong-type-multipart-as-json": event("icfm", "job_saved", "body.job_id", "730114"),
		"wrong-type-no-boundary":       event("icfm", "job_saved", "body.job_id", "730114"),
		"latin1-json":                  event("icfm", "project_created", "body.project_name", "Nordlicht - Müller"),
		"latin1-undeclared-form":       event("icfm", "project_created", "body.project_name", "M\uFFFDller", "body.client", "\uFFFD"),
		"invalid-utf8-json":            event("icfm", "project_created", "body.project_id", 48213, "body.project_name", "M\uFFFD\uFFFDller"),
		"empty-body-json":              event("icfm", "job_completed", "body", nil),
		"white-space-body":             event("icfm", "job_completed", "body", nil),
		"int64-ids": event("icfm", "job_saved", "body.id", 9007199254740993, "body.big", json.Number("18446744073709551615"),
			"body.huge", json.Number("10000000000000000000999"), "body.exp", json.Number("1E400")),
		"deep-nesting-200":    event("icfm", "project_created", "body.project_id", 48213),
		"duplicate-keys":      event("icfm", "job_completed", "body.id", 2, `raw_body contains "job_saved"`, true),
		"duplicate-query":     event("icfm", "job_saved", "query.id", "1"),
		"event-not-text":      event("icfm", "unknown", "body.id", 5),
		"json-scalar":         event("icfm", "job_saved", "body", 730114),
		"json-truncated":      broken(event("icfm", "project_created", "body.project_id", 48213, "body.project_name", nil)),
		"json-nul-bytes":      broken(event("icfm", "job_saved", "body.id", 5, "body.note", "a\x00b", "body.esc", "a\x00b")),
		"json-lone-surrogate": event("icfm", "job_saved", "body.id", 5, "body.note", "\uFFFD"),
		"query-bad-escape":    event("icfm", "job_saved", "query.id", "5", "query.note", "100%zz"),
		"event-name-hostile":  event("icfm", "../../x\r\nX-Injected: 1{{env.PATH}}<script>", "body.id", 5),
		"xml-entity-bomb":     broken(event("icfm", "job_saved", "body.a.n", "&y;", "body.a.f", "&f;")),
		"xml-latin1":          event("icfm", "job_saved", "body.n.client", "Müller"),
		"method-head":         {source: "icfm", ping: true},
		"method-options":      {status: 405},
	}
	managerFixtures(all)
	return all
}

// TestSenders posts every sample request to one handler that takes all sources.
func TestSenders(t *testing.T) {
	r := newRelay(t, receive.Options{}, senders()...)
	files, err := filepath.Glob("testdata/senders/*.http")
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	table := fixtures()
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".http")
		w, listed := table[name]
		if !listed {
			t.Errorf("%s: no expectation", name)
			continue
		}
		delete(table, name)
		t.Run(name, func(t *testing.T) { checkFixture(t, r, w, string(must(os.ReadFile(file)))) })
	}
	for name := range table {
		t.Errorf("%s: no file", name)
	}
}

func checkFixture(t *testing.T, r relay, w want, text string) {
	received, err := r.Receive(parse(t, text), origin)
	if status(err) != w.status || err != nil && w.status == 0 {
		t.Fatalf("got %v, want status %d", err, w.status)
	}
	if err != nil {
		return
	}
	if received.Source != w.source || received.Ping != w.ping || received.Respond != http.StatusOK {
		t.Errorf("got source %s, ping %v, status %d", received.Source, received.Ping, received.Respond)
	}
	var names []string
	for _, e := range received.Events {
		names = append(names, e.Name)
		if (e.ParseError != "") != w.broken {
			t.Errorf("parse error %q", e.ParseError)
		}
		checkEvent(t, e)
	}
	if !reflect.DeepEqual(names, w.events) {
		t.Fatalf("got events %q, want %q", names, w.events)
	}
	for expression, expected := range w.values {
		if n, isInt := expected.(int); isInt {
			expected = int64(n)
		}
		if got := r.value(t, received.Events[0], expression); !reflect.DeepEqual(got, expected) {
			t.Errorf("%s is %#v, want %#v", expression, got, expected)
		}
	}
}

// checkEvent checks what must hold for every event.
func checkEvent(t testing.TB, e *rules.Event) {
	t.Helper()
	for _, p := range []rules.Parameter{rules.Tenant, rules.Date, rules.Time, rules.UnixTime} {
		if e.Parameters[p] == nil {
			t.Errorf("%v is absent", p)
		}
	}
	if e.Name == "" || len(e.Name) > 256 || len(e.ID) != 36 {
		t.Errorf("name %q, id %q", e.Name, e.ID)
	}
	if e.BodyIsRaw {
		if body, err := rules.DecodeJSON(e.RawBody); err != nil || !reflect.DeepEqual(body, e.Body) {
			t.Errorf("raw body %q is not %#v", e.RawBody, e.Body)
		}
	}
	restored, err := rules.DecodeRecord(e.Record(), e.RawBody)
	if err != nil {
		t.Fatalf("record cannot be read: %v", err)
	}
	restored.ID, restored.Source, restored.Name, restored.Received = e.ID, e.Source, e.Name, e.Received
	if restored.RawBody == nil {
		restored.RawBody = e.RawBody
	}
	if !reflect.DeepEqual(restored, e) {
		t.Errorf("stored and read again, the event is\n%#v\nnot\n%#v", restored, e)
	}
}
