package receive_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

func bearer(values ...string) []config.Credential {
	return []config.Credential{{Kind: auth.Bearer, Values: values}}
}

func TestAllow(t *testing.T) {
	r := newRelay(t, receive.Options{}, config.Source{Name: "s", Auth: bearer("k"),
		Allow: []string{"203.0.113.0/24", "2001:db8::/32", "::ffff:198.51.100.0/120"}})
	for _, test := range []struct {
		client, token string
		status        int
	}{
		{"203.0.113.9", "k", 0},
		{"::ffff:203.0.113.9", "k", 0},
		{"2001:db8::1", "k", 0},
		{"2001:db8::1%eth0", "k", 0},
		{"198.51.100.7", "k", 0},
		{"::ffff:198.51.100.7", "k", 0},
		{"203.0.114.1", "k", 403},
		{"::ffff:203.0.114.1", "k", 403},
		{"::203.0.113.9", "k", 403}, // compatible, which is not mapped
		{"2001:db9::1", "k", 403},
		{"", "k", 403},
		{"203.0.113.9", "wrong", 401},
		{"203.0.114.1", "wrong", 403}, // the address comes first
	} {
		request := post("?event=x", "", "")
		request.Header.Set("Authorization", "Bearer "+test.token)
		from := receive.Origin{Mount: "/listen.php"}
		if test.client != "" {
			from.Client = netip.MustParseAddr(test.client)
		}
		received, err := r.Receive(request, from)
		if status(err) != test.status || err != nil && test.status == 0 {
			t.Errorf("%s with %s: got %v, want %d", test.client, test.token, err, test.status)
		}
		if err == nil && received.Events[0].IP != from.Client.Unmap().WithZone("").String() {
			t.Errorf("the address is %s", received.Events[0].IP)
		}
	}
}

// TestAllowEveryAddress checks that a source without allow takes requests whose
// address is not known.
func TestAllowEveryAddress(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	received, err := r.Receive(post("?event=x", "", ""), receive.Origin{Mount: "/listen.php"})
	if err != nil || received.Events[0].IP != "" {
		t.Fatal(received, err)
	}
}

// TestChoice checks which source gets a request on a shared URL.
func TestChoice(t *testing.T) {
	known := func(name string, credentials []config.Credential, events ...string) config.Source {
		s := config.Source{Name: name, Auth: credentials}
		for _, e := range events {
			s.Events = append(s.Events, config.EventType{Name: e})
		}
		return s
	}
	sources := []config.Source{
		known("a", bearer("shared", "a"), "common", "only_a"),
		known("b", bearer("shared", "b"), "common", "only_b"),
		{Name: "c", Auth: bearer("shared"), Events: []config.EventType{{Name: "made of body"}}, NameFrom: `"made of " + body.kind`},
		{Name: "d", Auth: bearer("shared"), Allow: []string{"192.0.2.0/24"}, Events: []config.EventType{{Name: "only_d"}}},
		{Name: "e", Auth: bearer("shared"), Batch: "body.list", Events: []config.EventType{{Name: "only_e"}}},
	}
	r := newRelay(t, receive.Options{}, sources...)
	for _, test := range []struct{ token, body, source, event string }{
		{"shared", `{"event":"common"}`, "a", "common"},
		{"shared", `{"event":"Only-B"}`, "b", "only_b"},
		{"shared", `{"event":"other","kind":"body"}`, "c", "made of body"},
		{"shared", `{"event":"only_d"}`, "a", "only_d"}, // the address is not d's
		{"shared", `{"list":[{"event":"only_e"},{}]}`, "e", "only_e"},
		{"shared", `{"event":"nobody's"}`, "a", "nobody's"},
		{"shared", `{}`, "a", "unknown"},
		{"b", `{"event":"only_a"}`, "b", "only_a"}, // known to a, but not proven
		{"b", `{"event":"common"}`, "b", "common"},
	} {
		request := post("", "application/json", test.body)
		request.Header.Set("Authorization", "Bearer "+test.token)
		received, err := r.Receive(request, origin)
		if err != nil {
			t.Fatal(err)
		}
		e := received.Events[0]
		if received.Source != test.source || e.Source != test.source || e.Name != test.event {
			t.Errorf("%s with %s: got %s of %s, want %s of %s", test.body, test.token, e.Name, e.Source, test.event, test.source)
		}
		checkEvent(t, e)
	}
}

// TestChoiceUndisturbed checks that a candidate which is not chosen leaves
// nothing behind for the next: neither what it redacts nor where it splits.
func TestChoiceUndisturbed(t *testing.T) {
	r := newRelay(t, receive.Options{},
		config.Source{Name: "a", Auth: bearer("k"), Redact: []string{"body.kind", "query.q", "X-Kept"}},
		config.Source{Name: "b", Auth: bearer("k"), NameFrom: `body.kind + query.q + headers["X-Kept"]`, Events: []config.EventType{{Name: "made"}}})
	request := post("?q=d", "application/json", `{"kind":"ma"}`)
	request.Header.Set("Authorization", "Bearer k")
	request.Header.Set("X-Kept", "e")
	if e := r.one(t, request); e.Source != "b" || e.Name != "made" {
		t.Errorf("got %s of %s", e.Name, e.Source)
	}
}

// TestHandlerSources checks that a handler takes only its own sources.
func TestHandlerSources(t *testing.T) {
	r := newRelay(t, receive.Options{}, config.Source{Name: "a", Auth: bearer("a")}, config.Source{Name: "b", Auth: bearer("b")})
	for _, test := range []struct {
		sources []string
		status  int
	}{{nil, 0}, {[]string{"b"}, 0}, {[]string{"a", "b"}, 0}, {[]string{"a"}, 401}, {[]string{"z"}, 403}} {
		from := origin
		from.Sources = test.sources
		request := post("?event=x", "", "")
		request.Header.Set("Authorization", "Bearer b")
		if _, err := r.Receive(request, from); status(err) != test.status {
			t.Errorf("%v: got %v, want %d", test.sources, err, test.status)
		}
	}
}

func TestCheckSharing(t *testing.T) {
	none, a, b := open(config.Source{Name: "none"}), config.Source{Name: "a", Auth: bearer("a")}, config.Source{Name: "b", Auth: bearer("b")}
	for _, alone := range [][]config.Source{{none}, {a}, {a, b}, {}} {
		if err := receive.CheckSharing(alone); err != nil {
			t.Error(err)
		}
	}
	for _, shared := range [][]config.Source{{none, a}, {a, b, none}} {
		if err := receive.CheckSharing(shared); err == nil || !strings.Contains(err.Error(), `"none"`) {
			t.Errorf("got %v", err)
		}
	}
}

// TestReceiveAs checks that what an administrator makes up needs no
// credentials, and goes the same way otherwise.
func TestReceiveAs(t *testing.T) {
	r := newRelay(t, receive.Options{}, senders()...)
	received, err := r.ReceiveAs("pbx", post("/Incoming%20Call", "application/json", `{"caller_id":"100"}`), receive.Origin{Mount: "/listen.php"})
	if err != nil || received.Source != "pbx" || received.Events[0].Name != "incoming_call" || received.Events[0].Parameters[event.CallerID] != "100" {
		t.Fatal(received, err)
	}
	if _, err := r.ReceiveAs("nobody", post("", "", ""), origin); err == nil {
		t.Error("an unknown source is taken")
	}
	for _, use := range r.Uses() {
		if !use.Last.IsZero() {
			t.Errorf("counted as used: %+v", use)
		}
	}
}

// TestReceiveTest checks that the administrator names the event, and that the
// source's own expressions see a test of that name.
func TestReceiveTest(t *testing.T) {
	r := newRelay(t, receive.Options{}, config.Source{
		Name: "erp", Events: []config.EventType{{Name: "Order-Paid"}, {Name: "order_lost"}}, Auth: bearer("a"),
		NameFrom: "body.type", Fields: []config.Field{{Name: "label", Expression: `test ? event + ":" + query.n : nil`}},
	})
	for _, body := range []string{`{"type":"order_lost"}`, `{}`, ``, `[{"type":"order_lost"},{}]`} {
		received, err := r.ReceiveTest("erp", "order paid", post("?n=7&event=order_lost", "application/json", body))
		if err != nil {
			t.Fatal(err)
		}
		for _, event := range received.Events {
			if event.Name != "Order-Paid" || !event.Test || event.Fields["label"] != "Order-Paid:7" {
				t.Errorf("%s: got %s, test %v, fields %v", body, event.Name, event.Test, event.Fields)
			}
		}
		if want := strings.Count(body, "{"); len(received.Events) != max(want, 1) {
			t.Errorf("%s: %d events", body, len(received.Events))
		}
	}
}

func TestMethods(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for _, method := range []string{"GET", "PUT", "POST", "PATCH", "DELETE", "HEAD"} {
		request := post("?event=x", "application/json", `{"a":1}`)
		request.Method = method
		received, err := r.Receive(request, origin)
		if err != nil || received.Ping != (method == http.MethodHead) {
			t.Error(method, received, err)
		}
		if method != http.MethodHead && string(received.Events[0].RawBody) != `{"a":1}` {
			t.Error(method, "lost its body")
		}
	}
	for _, method := range []string{"OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", ""} {
		request := post("?event=x", "", "")
		request.Method = method
		if _, err := r.Receive(request, origin); status(err) != http.StatusMethodNotAllowed {
			t.Errorf("%q: %v", method, err)
		}
	}
}

// TestPing checks what is a ping and what is an event without a name.
func TestPing(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for _, test := range []struct {
		method, rest, body string
		ping               bool
	}{
		{"GET", "", "", true},
		{"GET", "?_=123", "", true},
		{"GET", "?event=", "", true},
		{"GET", "?event=x", "", false},
		{"GET", "/x", "", false},
		{"GET", "", "{}", false},
		{"GET", "?call_id=1.2&tenant=200", "", false}, // a PBX whose action lacks the event's name
		{"GET", "?call_id=&tenant={{tenant}}", "", true},
		{"POST", "", "", false},
		{"DELETE", "", "", false},
		{"HEAD", "?event=x", "", true},
	} {
		request := post(test.rest, "", test.body)
		request.Method = test.method
		received, err := r.Receive(request, origin)
		if err != nil || received.Ping != test.ping || (len(received.Events) == 0) != test.ping {
			t.Errorf("%s %s %s: %+v %v", test.method, test.rest, test.body, received, err)
		}
	}
}
