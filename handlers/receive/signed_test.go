package receive_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// signatures are the two ways to sign, each with a source that takes it or, as
// another credential, a bearer token.
var signatures = map[string]struct {
	credential config.Credential
	sign       func(request *http.Request, body string)
}{
	"hmac": {
		config.Credential{Kind: auth.HMAC, Name: "X-Sig", Algorithm: "sha256", Values: []string{"k"}},
		func(request *http.Request, body string) {
			request.Header.Set("X-Sig", hex.EncodeToString(mac(sha256.New, "k", body)))
		},
	},
	"standard_webhooks": {
		standard().Auth[0],
		func(request *http.Request, body string) { signStandard(request, "new-key", "msg_1", now, body) },
	},
}

// TestSignedOnlyBody checks that of a request which only a signature proves,
// nothing beside the body tells which event it is.
func TestSignedOnlyBody(t *testing.T) {
	token := with("Authorization", "Bearer t")
	for name, way := range signatures {
		for _, test := range []struct {
			nameFrom, rest, body string
			change               func(*http.Request)
			event                string
			caller               any
		}{
			{"", "", `{"event":"paid"}`, nil, "paid", nil},
			{"", "/cancelled", `{"event":"paid"}`, nil, "paid", nil},
			{"", "?event=cancelled", `{"event":"paid"}`, nil, "paid", nil},
			{"", "", `{"event":"paid"}`, with("X-Event", "cancelled"), "paid", nil},
			{"", "/cancelled?event=cancelled", `{"n":1}`, with("X-Event-Type", "cancelled"), event.UnknownName, nil},
			{"", "/cancelled", `[{"event":"paid"}]`, nil, "paid", nil},
			{"", "?caller_id=666", `{"event":"paid","caller_id":"100"}`, nil, "paid", "100"},
			{"", "?caller_id=666", `{"event":"paid"}`, nil, "paid", nil},
			{"", "/cancelled", `{"event":"paid"}`, with("Authorization", "Bearer wrong"), "paid", nil},
			// An administrator may say otherwise, and a token vouches for all.
			{`headers["X-Topic"]`, "/x", `{"event":"paid"}`, with("X-Topic", "cancelled"), "cancelled", nil},
			{"", "/cancelled?caller_id=100", `{"event":"paid"}`, token, "cancelled", "100"},
		} {
			r := newRelay(t, receive.Options{}, config.Source{Name: "s", NameFrom: test.nameFrom,
				Auth: append(bearer("t"), way.credential)})
			request := post(test.rest, "application/json", test.body)
			way.sign(request, test.body)
			if test.change != nil {
				test.change(request)
			}
			e := r.one(t, request)
			if e.Name != test.event || e.Parameters[event.CallerID] != test.caller {
				t.Errorf("%s: %s with %s is %s of caller %v, want %s of %v", name, test.rest, test.body, e.Name,
					e.Parameters[event.CallerID], test.event, test.caller)
			}
		}
	}
}

// TestSignedOnlyChoice checks that nothing beside the body chooses among sources
// which a signature proves.
func TestSignedOnlyChoice(t *testing.T) {
	way := signatures["hmac"]
	credentials := []config.Credential{way.credential}
	r := newRelay(t, receive.Options{},
		config.Source{Name: "a", Auth: credentials, Events: []config.EventType{{Name: "paid"}}},
		config.Source{Name: "b", Auth: credentials, Events: []config.EventType{{Name: "cancelled"}}})
	const body = `{"event":"paid"}`
	request := post("/cancelled", "application/json", body)
	way.sign(request, body)
	if e := r.one(t, request); e.Source != "a" || e.Name != "paid" {
		t.Errorf("got %s of %s", e.Name, e.Source)
	}
}

// TestSignedReplay checks that a signed request which is sent again with
// another path, query or header is a duplicate.
func TestSignedReplay(t *testing.T) {
	for name, way := range signatures {
		for _, body := range []string{`{"event":"paid","n":1}`, `{"event":"paid","event_id":"e1"}`, `[{"event":"paid","n":1}]`, `{"event":"paid","call_id":"1.2"}`} {
			r := newRelay(t, receive.Options{}, config.Source{Name: "s", Dedupe: &config.Dedupe{Window: config.Duration(time.Hour)}, Auth: []config.Credential{way.credential}})
			key := func(rest, body string, changes ...func(*http.Request)) string {
				request := post(rest, "application/json", body)
				way.sign(request, body)
				for _, change := range changes {
					change(request)
				}
				received, err := r.Receive(request, origin)
				if err != nil || received.DedupeWindow != time.Hour || received.DedupeKeys[0] == "" {
					t.Fatal(received, err)
				}
				return strings.Join(received.DedupeKeys, " ")
			}
			original := key("", body)
			for _, rest := range []string{"/cancelled", "?a=1", "?event_id=e2", "?tenant=5&call_id=7.8", "?event=cancelled"} {
				if key(rest, body) != original {
					t.Errorf("%s: with %s it is another event", name, rest)
				}
			}
			if key("", body, with("X-Event", "cancelled"), with("Event-Id", "e2")) != original {
				t.Errorf("%s: with other headers it is another event", name)
			}
			if name == "standard_webhooks" {
				continue // another id is another signature: TestStandardWebhooksReplay
			}
			if key("", body, with("Webhook-Id", "msg_2")) != original {
				t.Errorf("%s: with an id that is not signed it is another event", name)
			}
			if other := strings.NewReplacer("1", "2").Replace(body); key("", other) == original {
				t.Errorf("%s: another body is the same event", name)
			}
		}
	}
}

// TestSignedNothing checks that a signed body which says nothing is identified
// by nothing: two such events are not the same.
func TestSignedNothing(t *testing.T) {
	way := signatures["hmac"]
	r := newRelay(t, receive.Options{}, config.Source{Name: "s", Dedupe: &config.Dedupe{Window: config.Duration(time.Hour)}, Auth: []config.Credential{way.credential}})
	const body = `{"event":"paid"}`
	request := post("?call_id=1.2", "application/json", body)
	way.sign(request, body)
	if received, err := r.Receive(request, origin); err != nil || received.DedupeKeys[0] != "" {
		t.Error(received, err)
	}
}
