package relay_test

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// TestDryRunsReadNothing compiles what names secrets and files that are not
// there, and one that is.
func TestDryRunsReadNothing(t *testing.T) {
	t.Setenv("EVENT_RELAY_SECRET", "HIDDEN")
	generation, err := new(relay.Generation).DryRun(json.RawMessage(`{
		"queue": {"directory": "{env.EVENT_RELAY_MISSING}"},
		"sources": [{"name": "pbx", "preset": "pbxware", "auth": [{"kind": "bearer", "values": ["{env.EVENT_RELAY_MISSING}"]},
			{"kind": "standard_webhooks", "values": ["{file./nowhere}"]}]}],
		"parameters": [{"name": "base", "value": "{{host}}/v1"}, {"name": "host", "value": "{env.EVENT_RELAY_MISSING}"},
			{"name": "token", "value": "{env.EVENT_RELAY_SECRET}"}],
		"actions": [{"name": "call", "url": "{{base}}/{{caller_id}}", "auth": {"kind": "api_key", "in": "query", "name": "key", "value": "{{token}}"},
			"headers": [{"name": "X-Token", "value": "{{token}}"}],
			"sign": ["{file./nowhere}"], "tls": {"ca_files": ["/nowhere/{env.EVENT_RELAY_MISSING}"]}}],
		"rules": [{"events": ["incoming_call"], "do": ["call"]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, "/incoming_call", strings.NewReader(`{"caller_id": "02079460123"}`))
	request.Header.Set("Content-Type", "application/json")
	explanation, err := inspect.ExplainRequest(generation, request, receive.Origin{}, "pbx")
	if err != nil {
		t.Fatal(err)
	}
	sent := explanation.Events[0].Requests[0]
	if sent.Error != "" || !strings.Contains(sent.Request, "POST ***/02079460123?key=***") || !strings.Contains(sent.Request, "X-Token: ***") ||
		strings.Contains(sent.Request, "HIDDEN") {
		t.Errorf("it would send %+v", sent)
	}
}

// TestDryRunsNeedNoValues compiles what can only be compiled with values that
// are of use, and none are known.
func TestDryRunsNeedNoValues(t *testing.T) {
	mail := func(from, to string) *config.Mail {
		return &config.Mail{Server: "{{it}}", From: from, To: []string{to}, Subject: "s", Text: "t"}
	}
	for name, test := range map[string]struct {
		value, url, body, when, want string
		mail                         *config.Mail
	}{
		"a mail server":   {value: "{env.EVENT_RELAY_SECRET}", mail: mail("a@x.example", "b@x.example"), want: "MAIL smtp://***\n"},
		"an address":      {value: "{env.EVENT_RELAY_SECRET}", mail: &config.Mail{Server: "mail.lan", From: "Relay <{{it}}>", To: []string{"{{it}}"}, Subject: "s", Text: "t"}, want: "From: Relay <***>\nTo: ***\n"},
		"a domain":        {value: "{env.EVENT_RELAY_SECRET}", mail: &config.Mail{Server: "mail.lan", From: "a@{{it}}", To: []string{"b@{{it}}"}, Subject: "s", Text: "t"}, want: "From: a@***\nTo: b@***\n"},
		"a port":          {value: "{env.EVENT_RELAY_SECRET}", url: "http://10.0.0.1:{{it}}/", body: `{}`, when: "true", want: "POST http://10.0.0.1:***/"},
		"a number":        {value: "{env.EVENT_RELAY_SECRET}", url: "http://10.0.0.1/", body: `{"pin": {{it}}}`, when: "true", want: `{"pin": ***}`},
		"a masked number": {value: "***", url: "http://10.0.0.1/", body: `{"pin": {{it}}}`, when: "true", want: `{"pin": ***}`},
		"a bound":         {value: "{file./nowhere}", url: "http://10.0.0.1/", body: `{}`, when: "int(it) > 5", want: "POST http://10.0.0.1/"},
		"a pattern":       {value: "{file./nowhere}", url: "http://10.0.0.1/", body: `{}`, when: "not (caller_id matches it)", want: "POST http://10.0.0.1/"},
	} {
		t.Run(name, func(t *testing.T) {
			settings := config.Relay{
				Sources:    []config.Source{{Name: "pbx", Preset: "pbxware", Auth: []config.Credential{{Kind: "none"}}}},
				Parameters: []config.Parameter{{Name: "it", Value: test.value}},
				Actions:    []config.Action{{Name: "call", URL: test.url, Body: &config.Body{Kind: "json", Text: test.body}}},
				Rules:      []config.Rule{{Events: []string{"incoming_call"}, When: []string{cmp.Or(test.when, "true")}, Do: []string{"call"}}},
			}
			if test.mail != nil {
				settings.Actions = []config.Action{{Name: "call", Mail: test.mail}}
			}
			text, err := json.Marshal(&settings)
			if err != nil {
				t.Fatal(err)
			}
			generation, err := new(relay.Generation).DryRun(text)
			if err != nil {
				t.Fatal(err)
			}
			request := httptest.NewRequest(http.MethodPost, "/incoming_call", strings.NewReader(`{"caller_id": "0207"}`))
			request.Header.Set("Content-Type", "application/json")
			explanation, err := inspect.ExplainRequest(generation, request, receive.Origin{}, "pbx")
			if err != nil {
				t.Fatal(err)
			}
			requests := explanation.Events[0].Requests
			if len(requests) != 1 || requests[0].Error != "" || !strings.Contains(requests[0].Request, test.want) {
				t.Errorf("it would send %+v", requests)
			}
		})
	}
}

func TestDryRunsAreStrict(t *testing.T) {
	for config, want := range map[string]string{
		`{"sauces": []}`:      `unknown field "sauces"`,
		`[]`:                  "reading the configuration",
		``:                    "reading the configuration",
		`{"max_pending": -1}`: "max_pending must be above zero",
		`{"rules": [{"events": ["paid"], "do": ["tell"]}]}`: "unknown",
	} {
		if _, err := new(relay.Generation).DryRun(json.RawMessage(config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gives %v, want %s", config, err, want)
		}
	}
}

// TestDryRunCallsItselfAsTheRelay looks at what a dry run takes from the generation
// that runs: its version is in the requests.
func TestDryRunCallsItselfAsTheRelay(t *testing.T) {
	for version, want := range map[string]string{"v1.2.0": "User-Agent: event-relay/v1.2.0\n", "": "User-Agent: event-relay\n"} {
		configuration := relaytest.Configuration(relaytest.NewService(t), "/record")
		text, err := json.Marshal(configuration.Relay)
		if err != nil {
			t.Fatal(err)
		}
		configuration.Version = version
		running := relaytest.Compile(t, configuration)
		dry, err := running.DryRun(text)
		if err != nil {
			t.Fatal(err)
		}
		for name, generation := range map[string]*relay.Generation{"running": running, "dry": dry} {
			request := httptest.NewRequest(http.MethodPost, "/?key=icfm-key", strings.NewReader(relaytest.Approved))
			request.Header.Set("Content-Type", "application/json")
			explanation, err := inspect.ExplainRequest(generation, request, receive.Origin{}, "")
			if err != nil {
				t.Fatal(err)
			}
			if sent := explanation.Events[0].Requests[0].Request; !strings.Contains(strings.ReplaceAll(sent, "\r\n", "\n"), want) {
				t.Errorf("version %q, %s: it would send\n%s", version, name, sent)
			}
		}
	}
}

// FuzzDryRun compiles what may be posted to try it.
func FuzzDryRun(f *testing.F) {
	f.Add([]byte(`{"sources": [{"name": "a", "auth": [{"kind": "standard_webhooks", "values": ["{env.A}"]}]}], "parameters": [{"name": "a", "value": "{{b}}/x"},
		{"name": "b", "value": "{file./a}"}, {"name": "token", "tenants": {"1": "a{{b}}c"}}], "actions": [{"name": "a", "url": "{{a}}/?key=1&b={{token}}",
		"auth": {"kind": "bearer", "value": "x{{token}}"}, "sign": ["x"], "tls": {"ca_files": ["/a"]}, "body": {"kind": "json", "text": "{\"password\": \"x\"}"}}]}`))
	f.Add([]byte(`{"parameters": [{"name": "a", "value": "http://a:b@c/?token=d<key>e</key>"}], "actions": [{"name": "a", "url": "{{a}}", "headers": [{"name": "Cookie", "value": "{{'x'}}{{a}}"}]}]}`))
	f.Fuzz(func(_ *testing.T, config []byte) {
		_, _ = new(relay.Generation).DryRun(config)
	})
}
