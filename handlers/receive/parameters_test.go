package receive_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// TestTimes checks date, time and unix_time, whichever of them an event brings.
// The clock stands at 2026-03-13 12:00:00 UTC.
func TestTimes(t *testing.T) {
	type number = json.Number
	for _, test := range []struct {
		zone       string
		body       string
		date, time string
		unix       any
	}{
		{"", `{}`, "2026-03-13", "12:00:00", int64(1773403200)},
		{"Pacific/Auckland", `{}`, "2026-03-14", "01:00:00", int64(1773403200)},
		{"", `{"unix_time":"1773398807"}`, "2026-03-13", "10:46:47", int64(1773398807)},
		{"Europe/London", `{"unix_time":1782900000}`, "2026-07-01", "11:00:00", int64(1782900000)},
		{"Pacific/Auckland", `{"date":"2026-07-01","time":"11:00:00"}`, "2026-07-01", "11:00:00", int64(1782860400)},
		{"Europe/London", `{"date":"2026-07-01","time":"11:00:00"}`, "2026-07-01", "11:00:00", int64(1782900000)},
		{"Europe/London", `{"date":"2026-07-01","time":"11:00:00","unix_time":5}`, "2026-07-01", "11:00:00", int64(5)},
		{"", `{"date":"2026-07-01"}`, "2026-07-01", "12:00:00", int64(1773403200)},
		{"", `{"time":"11:00:00"}`, "2026-03-13", "11:00:00", int64(1773403200)},
		{"", `{"time":"11:00:00","unix_time":1773398807}`, "2026-03-13", "11:00:00", int64(1773398807)},
		// Other forms are read if their meaning is certain.
		{"Europe/London", `{"date":"15/07/2026","time":"9:05"}`, "2026-07-15", "09:05:00", int64(1784102700)},
		{"Europe/London", `{"date":"15.07.2026","time":"09:05:00"}`, "2026-07-15", "09:05:00", int64(1784102700)},
		{"Europe/London", `{"date":"07/15/2026","time":"9:05 PM"}`, "2026-07-15", "21:05:00", int64(1784145900)},
		{"", `{"date":"07.07.2026","time":"12:00 am"}`, "2026-07-07", "00:00:00", int64(1783382400)},
		{"Europe/London", `{"date":"2026-07-15","time":"09:05"}`, "2026-07-15", "09:05:00", int64(1784102700)},
		{"Europe/London", `{"date":"2026-07-15 09:05"}`, "2026-07-15", "09:05:00", int64(1784102700)},
		{"", `{"date":"2026-07-15T09:00:00+01:00"}`, "2026-07-15", "09:00:00", int64(1784102400)},
		{"", `{"date":"2026-07-15T23:30:00-0500"}`, "2026-07-15", "23:30:00", int64(1784176200)},
		{"Europe/London", `{"date":"2026-07-15 00:00:00","time":"9.05"}`, "2026-07-15", "9.05", int64(1773403200)},
		{"", `{"time":"2026-03-13T10:41:57Z"}`, "2026-03-13", "10:41:57", int64(1773398517)},
		{"", `{"date":"13 Mar 2026","time":"10:41:57"}`, "2026-03-13", "10:41:57", int64(1773398517)},
		// What is not certain stays as it was sent.
		{"", `{"date":"03/04/2026","time":"11:00","unix_time":"soon"}`, "03/04/2026", "11:00:00", int64(1773403200)},
		{"", `{"date":"2026-02-30","time":"24:00:00"}`, "2026-02-30", "24:00:00", int64(1773403200)},
		{"", `{"date":5,"time":"noon"}`, "5", "noon", int64(1773403200)},
		{"", `{"date":"13/13/2026"}`, "13/13/2026", "12:00:00", int64(1773403200)},
		{"", `{"date":"1.2.26"}`, "1.2.26", "12:00:00", int64(1773403200)},
		{"", `{"unix_time":"1773398517.113"}`, "2026-03-13", "10:41:57", number("1773398517.113")},
		{"Europe/London", `{"unix_time":"1784102700000"}`, "2026-07-15", "09:05:00", int64(1784102700)},
		{"", `{"unix_time":1784102700999}`, "2026-07-15", "08:05:00", int64(1784102700)},
		{"", `{"unix_time":1e400}`, "2026-03-13", "12:00:00", number("1e400")},
		{"", `{"unix_time":-1}`, "2026-03-13", "12:00:00", int64(-1)},
		{"", `{"unix_time":9223372036854775807}`, "2026-03-13", "12:00:00", int64(9223372036854775807)},
	} {
		r := newRelay(t, receive.Options{}, open(config.Source{Timezone: test.zone}))
		e := r.one(t, post("?event=x", "application/json", test.body))
		got := []any{e.Parameters[event.Date], e.Parameters[event.Time], e.Parameters[event.UnixTime]}
		if want := []any{test.date, test.time, test.unix}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s in %v gave %v, want %v", test.body, test.zone, got, want)
		}
		checkEvent(t, e)
	}
}

// TestTyping checks that numbers are numbers and text is text, however they were
// sent, and from where.
func TestTyping(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for _, test := range []struct {
		rest, contentType, body string
		parameter               event.Parameter
		want                    any
	}{
		{"", "", `{"duration":"47"}`, event.Duration, int64(47)},
		{"", "", `{"duration":47}`, event.Duration, int64(47)},
		{"", "", `{"duration":" 047 "}`, event.Duration, int64(47)},
		{"", "", `{"call_cost":"0.42"}`, event.CallCost, json.Number("0.42")},
		{"", "", `{"call_cost":0.420}`, event.CallCost, json.Number("0.420")},
		{"", "", `{"call_cost":"-1.5e3"}`, event.CallCost, json.Number("-1.5e3")},
		{"", "", `{"call_cost":"18446744073709551615"}`, event.CallCost, json.Number("18446744073709551615")},
		{"", "", `{"call_cost":"0,42"}`, event.CallCost, json.Number("0.42")},
		{"", "", `{"call_cost":"£1"}`, event.CallCost, int64(1)},
		{"", "", `{"call_cost":"$0.02"}`, event.CallCost, json.Number("0.02")},
		{"", "", `{"call_cost":"-0,02 €"}`, event.CallCost, json.Number("-0.02")},
		{"", "", `{"call_cost":"1.50 EUR"}`, event.CallCost, json.Number("1.50")},
		{"", "", `{"call_cost":"1,234.50"}`, event.CallCost, json.Number("1234.50")},
		{"", "", `{"call_cost":"1.234,50"}`, event.CallCost, json.Number("1234.50")},
		{"", "", `{"call_cost":"1,234,567"}`, event.CallCost, int64(1234567)},
		{"", "", `{"call_cost":"12,5"}`, event.CallCost, json.Number("12.5")},
		{"", "", `{"call_cost":"1,065"}`, event.CallCost, nil},
		{"", "", `{"call_cost":"1,06,5"}`, event.CallCost, nil},
		{"", "", `{"call_cost":"$"}`, event.CallCost, nil},
		{"", "", `{"call_cost":"00:01:05"}`, event.CallCost, nil},
		{"", "", `{"duration":"00:01:05"}`, event.Duration, int64(65)},
		{"", "", `{"duration":"100:00:00"}`, event.Duration, int64(360000)},
		{"", "", `{"duration":"65s"}`, event.Duration, int64(65)},
		{"", "", `{"duration":"1m 5s"}`, event.Duration, int64(65)},
		{"", "", `{"duration":"1h5s"}`, event.Duration, int64(3605)},
		{"", "", `{"duration":"2 min"}`, event.Duration, int64(120)},
		{"", "", `{"duration":"1:05"}`, event.Duration, nil},
		{"", "", `{"duration":"1,065"}`, event.Duration, nil},
		{"", "", `{"duration":"00:61:05"}`, event.Duration, nil},
		{"", "", `{"duration":"$5"}`, event.Duration, nil},
		{"", "", `{"call_rating_duration":"0:01:05"}`, event.CallRatingDuration, int64(65)},
		{"", "", `{"call_cost":"[1]"}`, event.CallCost, nil},
		{"", "", `{"call_cost":true}`, event.CallCost, nil},
		{"", "", `{"call_rating_duration":""}`, event.CallRatingDuration, nil},
		{"", "", `{"caller_id":442079460123}`, event.CallerID, "442079460123"},
		{"", "", `{"caller_id":442079460123456789012345}`, event.CallerID, "442079460123456789012345"},
		{"", "", `{"caller_id":["1"]}`, event.CallerID, nil},
		{"", "", `{"caller_id":null}`, event.CallerID, nil},
		{"", "", `{"caller_id":"%CALLER_ID%"}`, event.CallerID, nil},
		{"", "", `{"caller_id":"100%"}`, event.CallerID, "100%"},
		{"", "", `{"caller_id":"{{a}} {{b}}"}`, event.CallerID, "{{a}} {{b}}"},
		{"", "", `{"calling_name":"{\"a\":1}"}`, event.CallingName, `{"a":1}`},
		{"", "", `{"tenant":200}`, event.Tenant, "200"},
		{"", "", `{"tenant":""}`, event.Tenant, ""},
		{"", "", `{"tenant":{}}`, event.Tenant, ""},
		{"", "", `{"Tenant":"1","TENANT":"2"}`, event.Tenant, "2"},
		{"", "", `{"Tenant":"1","tenant":"2"}`, event.Tenant, "2"},
		{"", "", `{"Tenant":"1","tenant":""}`, event.Tenant, "1"},
		{"", "", `{"data":{"tenant":"1"}}`, event.Tenant, ""},
		{"?tenant=q", "", `{"tenant":"b"}`, event.Tenant, "q"},
		{"?tenant={{tenant}}", "", `{"tenant":"b"}`, event.Tenant, "b"},
		{"?tenant=1&tenant=2", "", "", event.Tenant, "1"},
		{"", "text/xml", "<call><tenant>1</tenant></call>", event.Tenant, "1"},
		{"", "application/x-www-form-urlencoded", "tenant=1&tenant=2", event.Tenant, "1"},
		{"", "", `[{"tenant":"1"}]`, event.Tenant, "1"},
		{"", "", `"{\"tenant\":\"1\"}"`, event.Tenant, "1"},
		{"", "", `{"linked_id":"1.2","is_incoming":true}`, event.CallID, nil}, // that is the Publisher's, of preset pbxware
	} {
		if test.contentType == "" {
			test.contentType = "application/json"
		}
		rest := test.rest
		if rest == "" {
			rest = "?event=x"
		}
		e := r.one(t, post(rest, test.contentType, test.body))
		if got := e.Parameters[test.parameter]; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s %s: %v is %#v, want %#v", test.rest, test.body, test.parameter, got, test.want)
		}
		checkEvent(t, e)
	}
}

// TestNotes checks that what could not be read can be seen.
func TestNotes(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}), open(config.Source{Name: "hidden", Redact: []string{"duration"}}))
	for _, test := range []struct {
		body string
		want []string
	}{
		{`{"duration":"00:01:05","date":"15/07/2026","time":"9:05","call_cost":"0,02"}`, nil},
		{`{"duration":"1,065"}`, []string{`duration was sent as "1,065", which is not certain to be a number; it is absent`}},
		{`{"duration":"1:05","date":"03/04/2026"}`, []string{`date was sent as "03/04/2026", which can be two days; it is left as it was sent`, `duration was sent as "1:05", which is not certain to be a number; it is absent`}},
		{`{"time":"noon","unix_time":"soon"}`, []string{`time was sent as "noon", which is in no known form; it is left as it was sent`, `unix_time was sent as "soon", which is not certain to be a number; it is that of date and time, or of the receipt`}},
		{`{"duration":"","call_cost":"%CALL_COST%"}`, nil},
	} {
		e := r.one(t, post("?event=x", "application/json", test.body))
		if got := e.Notes(); !slices.Equal(got, test.want) {
			t.Errorf("%s: notes are %q, want %q", test.body, got, test.want)
		}
		stored, err := event.DecodeRecord(e.Record(), e.RawBody)
		if err != nil || !slices.Equal(stored.Notes(), test.want) {
			t.Errorf("%s: once stored notes are %q, %v", test.body, stored.Notes(), err)
		}
		checkEvent(t, e)
	}
}

// FuzzReadTime: reading never panics, and what is read keeps its day and its
// time of day.
func FuzzReadTime(f *testing.F) {
	for _, seed := range []string{"2026-07-15T10:41:58+0200", "Wed, 15 Jul 2026 10:41:58 CEST", "15/07/2026 9:05 PM", "Jul 15 2026 10:41:58 GMT+0200 (Central)", "Wed Jul 15 10:41:58 BST 2026", "9:05", "0000-00-00"} {
		f.Add(seed)
	}
	london := must(time.LoadLocation("Europe/London"))
	f.Fuzz(func(t *testing.T, text string) {
		moment, err := event.ReadTime(text, london)
		if err != nil {
			if strings.Contains(err.Error(), "reading") {
				t.Error(err)
			}
			return
		}
		again, err := event.ReadTime(moment.Date()+" "+moment.Clock(), london)
		if err != nil || again.Date() != moment.Date() || again.Clock() != moment.Clock() {
			t.Errorf("%q is %s %s, which is read as %s %s, %v", text, moment.Date(), moment.Clock(), again.Date(), again.Clock(), err)
		}
	})
}

// TestPublisher checks what the preset reads beyond the tags.
func TestPublisher(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{Preset: "pbxware"}))
	for _, test := range []struct {
		body      string
		parameter event.Parameter
		want      any
	}{
		{`{"uid":"1","is_pbx_user":true,"number":"PJSIP/100"}`, event.Extension, "100"},
		{`{"uid":"1","is_pbx_user":false,"number":"100"}`, event.Extension, nil},
		{`{"uid":"1","is_pbx_user":true,"number":"100","extension":"7"}`, event.Extension, "7"},
		{`{"uid":"1","is_pbx_user":true}`, event.Extension, nil},
		{`{"uid":"1","is_incoming":"yes"}`, event.Direction, nil},
		{`{"uid":"1","is_incoming":true,"number":"1","connected_num":"2"}`, event.CallerID, nil},
		{`{"uid":"1","is_incoming":false,"number":"1","connected_num":"2"}`, event.CalledNumber, "2"},
		{`{"uid":"1","is_incoming":false,"connected_name":"x"}`, event.CallingName, nil},
		{`{"uid":"1","duration":0,"event":"event_call_started"}`, event.Duration, nil},
		{`{"uid":"1","duration":9,"event":"event_call_finished"}`, event.Duration, int64(9)},
		{`{"duration":0,"event":"event_call_started"}`, event.Duration, int64(0)}, // no Publisher's body
		{`{"tenant_code":5,"payload":{"linked_id":"1.2"}}`, event.Tenant, "5"},
		{`{"tenant_code":5,"payload":{"linked_id":"1.2"}}`, event.CallID, "1.2"},
		{`{"uid":"1","event_time_info":"now"}`, event.Date, "2026-03-13"},
		{`{"uid":"1","is_incoming":[],"is_pbx_user":{},"payload":[],"linked_id":{}}`, event.CallID, nil},
	} {
		e := r.one(t, post("", "application/json", test.body))
		if got := e.Parameters[test.parameter]; got != test.want {
			t.Errorf("%s: %v is %#v, want %#v", test.body, test.parameter, got, test.want)
		}
		checkEvent(t, e)
	}
}

// TestFields checks what a source reads from its events by its own expressions.
func TestFields(t *testing.T) {
	source := open(config.Source{Preset: "pbxware", Fields: []config.Field{
		{Name: "order", Expression: "body.data.id"},
		{Name: "label", Expression: `"order " + string(order)`},
		{Name: "missing", Expression: "body.nothing.at.all"},
		{Name: "failing", Expression: `body.data.id > "x"`},
		{Name: "half", Expression: "body.data.id / 2"},
		{Name: "things", Expression: "body.list"},
		{Name: "caller_id", Expression: "body.from"},
		{Name: "called_number", Expression: `caller_id + "!"`},
		{Name: "duration", Expression: "body.seconds"},
		{Name: "tenant", Expression: "body.customer"},
		{Name: "date", Expression: "body.day"},
		{Name: "unix_time", Expression: "body.ts"},
		{Name: "seen", Expression: "unix_time"},
	}})
	r := newRelay(t, receive.Options{}, source)
	e := r.one(t, post("?event=x&caller_id=1&tenant=2&date=2026-01-01&time=10:00:00", "application/json",
		`{"data":{"id":7},"from":"555","seconds":"9.50","list":[1,""],"ts":1773398807,"day":"{{day}}"}`))
	for name, want := range map[string]any{
		"order": int64(7), "label": "order 7", "missing": nil, "failing": nil, "half": json.Number("3.5"), "things": []any{int64(1), ""},
		"caller_id": "555", "called_number": "555!", "duration": json.Number("9.50"), "tenant": "",
		"unix_time": int64(1773398807), "seen": int64(1773398807), "date": "2026-03-13", "time": "10:00:00",
	} {
		got := any(nil)
		if p, isParameter := event.ParameterByName(name); isParameter {
			got = e.Parameters[p]
		} else {
			got = e.Fields[name]
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, want %#v", name, got, want)
		}
	}
	checkEvent(t, e)
}

// TestDedupeKeys checks which events are the same as another.
func TestDedupeKeys(t *testing.T) {
	type request struct{ rest, body string }
	for _, test := range []struct {
		name, expression string
		a, b             request
		same, none       bool
	}{
		{name: "equal", a: request{"", `{"event":"x","id":5}`}, b: request{"", `{"event":"x","id":5}`}, same: true},
		{name: "other bytes", a: request{"", `{"event":"x","id":5}`}, b: request{"", `{"event":"x", "id":5}`}},
		{name: "other event", a: request{"/x", `{"id":5}`}, b: request{"/y", `{"id":5}`}},
		{name: "other query", a: request{"?event=x&lead=1", ""}, b: request{"?event=x&lead=2", ""}},
		{name: "order of query", a: request{"?event=x&lead=1", ""}, b: request{"?lead=1&event=x", ""}, same: true},
		{name: "event id", a: request{"", `{"event":"x","event_id":"e1","attempt":1}`}, b: request{"", `{"event":"x","eventId":"e1","attempt":2}`}, same: true},
		{name: "event id in query", a: request{"?event=x&event_id=e1&n=1", ""}, b: request{"?event=x&event_id=e1&n=2", ""}, same: true},
		{name: "other event id", a: request{"", `{"event":"x","event_id":"e1"}`}, b: request{"", `{"event":"x","event_id":"e2"}`}},
		{name: "other tenant", a: request{"", `{"event":"x","event_id":"e1","tenant":"1"}`}, b: request{"", `{"event":"x","event_id":"e1","tenant":"2"}`}},
		{name: "id of something", a: request{"", `{"event":"x","id":"1","n":1}`}, b: request{"", `{"event":"x","id":"1","n":2}`}},
		{name: "absent event id", a: request{"", `{"event":"x","event_id":"","n":1}`}, b: request{"", `{"event":"x","event_id":"","n":2}`}},
		{name: "unreplaced event id", a: request{"", `{"event":"x","event_id":"{{event_id}}","n":1}`}, b: request{"", `{"event":"x","event_id":"{{event_id}}","n":2}`}},
		{name: "legs of a call", a: request{"", `{"event":"x","linked_id":"1","uid":"1"}`}, b: request{"", `{"event":"x","linked_id":"1","uid":"2"}`}},
		{name: "a test event of the PBX", none: true, a: request{"", `{"event":"hangup","call_id":"","caller_id":"{{caller_id}}"}`}, b: request{"", `{"event":"hangup","call_id":"","caller_id":"{{caller_id}}"}`}},
		{name: "nothing", none: true, a: request{"?event=x", ""}, b: request{"?event=x", ""}},
		{name: "text", a: request{"?event=x", `"hello"`}, b: request{"?event=x", `"hello"`}, same: true},
		{name: "own", expression: "body.n", a: request{"", `{"n":1,"m":1}`}, b: request{"", `{"n":1,"m":2}`}, same: true},
		{name: "own differs", expression: "body.n", a: request{"", `{"n":1}`}, b: request{"", `{"n":"1"}`}},
		{name: "own absent", expression: "body.o", a: request{"", `{"n":1}`}, b: request{"", `{"n":2}`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRelay(t, receive.Options{}, open(config.Source{Dedupe: &config.Dedupe{Window: config.Duration(time.Minute), Key: test.expression}}))
			key := func(q request) string {
				received, err := r.Receive(post(q.rest, "application/json", q.body), origin)
				if err != nil || received.DedupeWindow != time.Minute || len(received.DedupeKeys) != 1 {
					t.Fatal(received, err)
				}
				return received.DedupeKeys[0]
			}
			a, b := key(test.a), key(test.b)
			if (a == "") != test.none || (b == "") != test.none || !test.none && (a == b) != test.same {
				t.Errorf("keys %q and %q", a, b)
			}
		})
	}
}

// TestDedupeSources checks that sources do not share keys, and that a source
// which does not ask for dedupe has none.
func TestDedupeSources(t *testing.T) {
	keys := map[string]bool{}
	for _, source := range []config.Source{{Name: "a", Dedupe: &config.Dedupe{Window: config.Duration(time.Minute)}}, {Name: "b", Dedupe: &config.Dedupe{Window: config.Duration(time.Minute)}}} {
		received := must(newRelay(t, receive.Options{}, open(source)).Receive(post("", "", `{"n":1}`), origin))
		keys[received.DedupeKeys[0]] = true
	}
	if len(keys) != 2 {
		t.Error("two sources share a key")
	}
	received := must(newRelay(t, receive.Options{}, open(config.Source{})).Receive(post("", "", `{"event_id":1}`), origin))
	if received.DedupeKeys != nil || received.DedupeWindow != 0 {
		t.Errorf("got %+v", received)
	}
}
