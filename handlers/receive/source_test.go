package receive_test

import (
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// TestWrongSources checks what New refuses, and that it says where and why.
func TestWrongSources(t *testing.T) {
	key := bearer("k")
	credential := func(c config.Credential) receive.Source {
		return receive.Source{Name: "s", Credentials: []config.Credential{c}}
	}
	for _, test := range []struct {
		source receive.Source
		says   []string
	}{
		{receive.Source{Name: "s"}, []string{`source "s": auth: no credentials`, "add auth bearer", "auth none"}},
		{receive.Source{Name: "", Credentials: key}, []string{"name"}},
		{receive.Source{Name: "a:b", Credentials: key}, []string{"name"}},
		{receive.Source{Name: "relay", Credentials: key}, []string{"choose another"}},
		{receive.Source{Name: "s", Preset: "icmf", Credentials: key}, []string{`source "s": preset`, "did you mean icfm?"}},
		{receive.Source{Name: "s", Preset: "zzzzzz", Credentials: key}, []string{"What exists: icfm, pbxware"}},
		{receive.Source{Name: "s", Credentials: key, Events: []event.Type{{Name: "a b"}, {Name: "A-B"}}}, []string{"event", `"a b" and "A-B" are the same name`}},
		{receive.Source{Name: "s", Credentials: key, Events: []event.Type{{}}}, []string{"an event needs a name"}},
		{receive.Source{Name: "s", Credentials: key, NameFrom: "body."}, []string{`source "s": name_from: `}},
		{receive.Source{Name: "s", Credentials: key, NameFrom: "boddy.x", Batch: "bodi.y"}, []string{`name_from: `, `batch: `, "boddy", "bodi"}},
		{receive.Source{Name: "s", Credentials: key, Fields: []receive.Field{{"a", "body.x +"}}}, []string{`source "s": field a: `}},
		{receive.Source{Name: "s", Credentials: key, Fields: []receive.Field{{"a", "body.x"}, {"a", "body.y"}}}, []string{"field a", "twice"}},
		{receive.Source{Name: "s", Credentials: key, Fields: []receive.Field{{"a", ""}}}, []string{"field a", "such as body.a"}},
		{receive.Source{Name: "s", Credentials: key, DedupeKey: "body.id"}, []string{"dedupe", "needs a window"}},
		{receive.Source{Name: "s", Credentials: key, DedupeKey: "bodi.id", DedupeWindow: 1}, []string{"dedupe", "bodi"}},
		{receive.Source{Name: "s", Credentials: key, DedupeWindow: -1}, []string{"dedupe"}},
		{receive.Source{Name: "s", Credentials: append(key, standard().Credentials...), DedupeKey: "body.id", DedupeWindow: 1}, []string{`source "s": dedupe: `, "window alone", "two sources"}},
		{receive.Source{Name: "s", Place: "Caddyfile:7", Credentials: key, NameFrom: "boddy.x", Redact: []string{"body"}}, []string{`source "s" (Caddyfile:7): name_from: `, `source "s" (Caddyfile:7): redact: `}},
		{receive.Source{Name: "s", Place: "Caddyfile:7", Credentials: []config.Credential{{Kind: auth.Path}}}, []string{`source "s" (Caddyfile:7): auth path: no value`}},
		{receive.Source{Name: "s", Credentials: key, Redact: []string{"caller_id"}, Fields: []receive.Field{{"caller_id", "body.phone"}}}, []string{`source "s": redact: caller_id is filled by field caller_id`, "such as body.from"}},
		{receive.Source{Name: "s", Credentials: key, MaxBody: -1}, []string{"max_body"}},
		{receive.Source{Name: "s", Credentials: key, Respond: 302}, []string{"respond", "302 is not among 200, 202 and 204"}},
		{receive.Source{Name: "s", Credentials: key, Redact: []string{"body"}}, []string{"redact", "body.KEY"}},
		{receive.Source{Name: "s", Credentials: key, Redact: []string{"query.a.b"}}, []string{"redact"}},
		{receive.Source{Name: "s", Credentials: key, Redact: []string{"body.a + 1"}}, []string{"redact", "is no path"}},
		{receive.Source{Name: "s", Credentials: key, Redact: []string{""}}, []string{"redact"}},
		{receive.Source{Name: "s", Credentials: key, Redact: []string{"body..a"}}, []string{"redact"}},
		{receive.Source{Name: "s", Credentials: key, Redact: []string{`body["a`}}, []string{"redact"}},
		{receive.Source{Name: "s", Credentials: key, Redact: []string{`["a"]`}}, []string{"redact"}},
		{receive.Source{Name: "s", Credentials: key, Redact: []string{`body["a"]b`}}, []string{"redact"}},

		{credential(config.Credential{Kind: auth.Bearer}), []string{`source "s": auth bearer: no value`}},
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
		language := languageOf(t, []receive.Source{{Name: "s", Preset: "pbxware"}})
		_, err := receive.New([]receive.Source{test.source}, language, receive.Options{})
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
	_, err := receive.New([]receive.Source{
		{Name: "a", Respond: 5},
		{Name: "b", Credentials: []config.Credential{{Kind: auth.Bearer}, {Kind: auth.Path}}},
		{Name: "b", Credentials: bearer("k")},
	}, languageOf(t, nil), receive.Options{})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, text := range []string{`source "a": auth`, `source "a": respond`, `source "b": auth bearer`, `source "b": auth path`, `source "b" is defined twice`} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

// TestKnown checks that a source's own events come before those of its preset,
// and replace them.
func TestKnown(t *testing.T) {
	known := receive.Source{Preset: "pbxware", Events: []event.Type{{Name: "voicemail"}, {Name: "Hangup", Description: "ours"}}}.Known()
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
	if len(receive.Source{Preset: "icfm"}.Known()) != 51 {
		t.Error("events of icfm are missing")
	}
}
