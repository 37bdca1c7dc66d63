package receive_test

import (
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// TestWrongSources checks what New refuses, and that it says where and why.
func TestWrongSources(t *testing.T) {
	key := bearer("k")
	credential := func(c config.Credential) config.Source {
		return config.Source{Name: "s", Auth: []config.Credential{c}}
	}
	for _, test := range []struct {
		source config.Source
		says   []string
	}{
		{config.Source{Name: "s"}, []string{`source s, auth: no credentials`, "add auth bearer", "auth none"}},
		{config.Source{Name: "", Auth: key}, []string{"name"}},
		{config.Source{Name: "a:b", Auth: key}, []string{"name"}},
		{config.Source{Name: "relay", Auth: key}, []string{"choose another"}},
		{config.Source{Name: "s", Preset: "icmf", Auth: key}, []string{`source s, preset`, "did you mean icfm?"}},
		{config.Source{Name: "s", Preset: "zzzzzz", Auth: key}, []string{"What exists: icfm, pbxware"}},
		{config.Source{Name: "s", Auth: key, Events: []config.EventType{{Name: "a b"}, {Name: "A-B"}}}, []string{"event", `"a b" and "A-B" are the same name`}},
		{config.Source{Name: "s", Auth: key, Events: []config.EventType{{}}}, []string{"an event needs a name"}},
		{config.Source{Name: "s", Auth: key, NameFrom: "body."}, []string{`source s, name_from: `}},
		{config.Source{Name: "s", Auth: key, NameFrom: "boddy.x", Batch: "bodi.y"}, []string{`name_from: `, `batch: `, "boddy", "bodi"}},
		{config.Source{Name: "s", Auth: key, Fields: []config.Field{{Name: "a", Expression: "body.x +"}}}, []string{`source s, field a: `}},
		{config.Source{Name: "s", Auth: key, Fields: []config.Field{{Name: "a", Expression: "body.x"}, {Name: "a", Expression: "body.y"}}}, []string{"field a", "twice"}},
		{config.Source{Name: "s", Auth: key, Fields: []config.Field{{Name: "a", Expression: ""}}}, []string{"field a", "such as body.a"}},
		{config.Source{Name: "s", Auth: key, Dedupe: &config.Dedupe{Key: "body.id"}}, []string{"dedupe", "needs a window"}},
		{config.Source{Name: "s", Auth: key, Dedupe: &config.Dedupe{Window: 1, Key: "bodi.id"}}, []string{"dedupe", "bodi"}},
		{config.Source{Name: "s", Auth: key, Dedupe: &config.Dedupe{Window: -1}}, []string{"dedupe"}},
		{config.Source{Name: "s", Auth: append(key, standard().Auth...), Dedupe: &config.Dedupe{Window: 1, Key: "body.id"}}, []string{`source s, dedupe: `, "window alone", "two sources"}},
		{config.Source{Name: "s", Place: "Caddyfile:7", Auth: key, NameFrom: "boddy.x", Redact: []string{"body"}}, []string{`source s, name_from: `, `source s, redact: `, ", at Caddyfile:7\n"}},
		{config.Source{Name: "s", Place: "Caddyfile:7", Auth: []config.Credential{{Kind: auth.Path}}}, []string{`source s, auth path: no value`, ", at Caddyfile:7"}},
		{config.Source{Name: "s", Auth: key, Redact: []string{"caller_id"}, Fields: []config.Field{{Name: "caller_id", Expression: "body.phone"}}}, []string{`source s, redact: caller_id is filled by field caller_id`, "such as body.from"}},
		{config.Source{Name: "s", Auth: key, MaxBody: -1}, []string{"max_body"}},
		{config.Source{Name: "s", Auth: key, Respond: 302}, []string{"respond", "302 is not among 200, 202 and 204"}},
		{config.Source{Name: "s", Auth: key, Redact: []string{"body"}}, []string{"redact", "body.KEY"}},
		{config.Source{Name: "s", Auth: key, Redact: []string{"query.a.b"}}, []string{"redact"}},
		{config.Source{Name: "s", Auth: key, Redact: []string{"body.a + 1"}}, []string{"redact", "is no path"}},
		{config.Source{Name: "s", Auth: key, Redact: []string{""}}, []string{"redact"}},
		{config.Source{Name: "s", Auth: key, Redact: []string{"body..a"}}, []string{"redact"}},
		{config.Source{Name: "s", Auth: key, Redact: []string{`body["a`}}, []string{"redact"}},
		{config.Source{Name: "s", Auth: key, Redact: []string{`["a"]`}}, []string{"redact"}},
		{config.Source{Name: "s", Auth: key, Redact: []string{`body["a"]b`}}, []string{"redact"}},

		{credential(config.Credential{Kind: auth.Bearer}), []string{`source s, auth bearer: no value`}},
		{credential(config.Credential{Kind: auth.Bearer, Values: []string{"", ""}}), []string{"only empty ones", "environment variable"}},
		{credential(config.Credential{Kind: "barer", Values: []string{"k"}}), []string{"unknown auth kind barer; did you mean bearer?", "standard_webhooks"}},
		{credential(config.Credential{Values: []string{"k"}}), []string{"it has no kind; the kinds are: bearer"}},
		{credential(config.Credential{Kind: auth.None, Values: []string{"k"}}), []string{"auth none takes no value"}},
		{credential(config.Credential{Kind: auth.Basic, Password: "k"}), []string{"auth basic", "user"}},
		{credential(config.Credential{Kind: auth.Basic, User: "a:b", Password: "k"}), []string{"colon"}},
		{credential(config.Credential{Kind: auth.APIKey, In: "cookie", Name: "n", Values: []string{"k"}}), []string{"auth api_key", "unknown api_key place cookie"}},
		{credential(config.Credential{Kind: auth.APIKey, In: auth.InQuery, Values: []string{"k"}}), []string{"say the name of the query"}},
		{credential(config.Credential{Kind: auth.HMAC, Algorithm: "sha256", Values: []string{"k"}}), []string{"auth hmac", "header"}},
		{credential(config.Credential{Kind: auth.HMAC, Name: "n", Algorithm: "md5", Values: []string{"k"}}), []string{"unknown hmac algorithm md5"}},
		{credential(config.Credential{Kind: auth.HMAC, Name: "n", Algorithm: "sha1", Tolerance: -1, Values: []string{"k"}}), []string{"tolerance"}},
		{credential(config.Credential{Kind: auth.StandardWebhooks, Values: []string{"whsec_zz$$secret"}}), []string{"value 1", "not base64"}},
		{credential(config.Credential{Kind: auth.StandardWebhooks, Values: []string{"whsec_"}}), []string{"not base64"}},
	} {
		language := languageOf(t, []config.Source{{Name: "s", Preset: "pbxware"}})
		_, err := receive.New([]config.Source{test.source}, language, receive.Options{})
		if err == nil {
			t.Errorf("%+v is accepted", test.source)
			continue
		}
		for _, text := range test.says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%q does not say %q", err, text)
			}
		}
		if strings.Contains(err.Error(), "$$secret") {
			t.Errorf("%q repeats the secret", err)
		}
	}
}

// TestAllProblemsTogether checks that nobody has to mend one thing at a time.
func TestAllProblemsTogether(t *testing.T) {
	_, err := receive.New([]config.Source{
		{Name: "a", Respond: 5},
		{Name: "b", Auth: []config.Credential{{Kind: auth.Bearer}, {Kind: auth.Path}}},
		{Name: "b", Auth: bearer("k")},
	}, languageOf(t, nil), receive.Options{})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, text := range []string{`source a, auth`, `source a, respond`, `source b, auth bearer`, `source b, auth path`, `source b is defined twice`} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

// TestKnown checks that a source's own events come before those of its preset,
// and replace them.
func TestKnown(t *testing.T) {
	known := receive.Known(config.Source{Preset: "pbxware", Events: []config.EventType{{Name: "voicemail"}, {Name: "Hangup", Description: "ours"}}})
	names := map[string]string{}
	for _, e := range known {
		names[e.Name] = e.Description
	}
	if len(known) != 10 || known[0].Name != "voicemail" || names["Hangup"] != "ours" {
		t.Errorf("got %v", known)
	}
	if _, both := names["hangup"]; both {
		t.Error("the preset's event is there as well")
	}
	if len(receive.Known(config.Source{Preset: "icfm"})) != 51 {
		t.Error("events of icfm are missing")
	}
}
