package caddymodule

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
)

// fromCaddyfile returns the app that an event_relay block makes, by way of its
// JSON.
func fromCaddyfile(t *testing.T, block string) *App {
	t.Helper()
	tokens, err := caddyfile.Tokenize([]byte(appName+" {\n"+block+"\n}"), "Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	option, err := parseOption(caddyfile.NewDispenser(tokens), nil)
	if err != nil {
		t.Fatal(err)
	}
	return fromJSON(t, string(option.(httpcaddyfile.App).Value))
}

// TestSourceReachesReceive follows each setting of a source from the Caddyfile
// to what the room of receiving is given.
func TestSourceReachesReceive(t *testing.T) {
	t.Setenv("EVENT_RELAY_SECRET", "from outside")
	t.Setenv("EVENT_RELAY_EMPTY", "")
	london, err := time.LoadLocation("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		setting string
		want    receive.Source
	}{
		{"name_from `body.type`", receive.Source{NameFrom: "body.type"}},
		{"event paid \"An order\"", receive.Source{Events: []rules.EventType{{Name: "paid", Description: "An order"}}}},
		{"field order `body.id`", receive.Source{Fields: []receive.Field{{Name: "order", Expression: "body.id"}}}},
		{"batch `body.events`", receive.Source{Batch: "body.events"}},
		{"timezone Europe/London", receive.Source{Timezone: london}},
		{"dedupe 10m", receive.Source{DedupeWindow: 10 * time.Minute}},
		{"dedupe 10m `body.id`", receive.Source{DedupeWindow: 10 * time.Minute, DedupeKey: "body.id"}},
		{"redact body.phone\nredact caller_id", receive.Source{Redact: []string{"body.phone", "caller_id"}}},
		{"max_body 2MiB", receive.Source{MaxBody: 2 << 20}},
		{"respond 202", receive.Source{Respond: 202}},
		{"auth bearer {env.EVENT_RELAY_SECRET} {env.EVENT_RELAY_EMPTY} plain", receive.Source{Credentials: []receive.Credential{
			{Kind: receive.Bearer, Values: []string{"from outside", "plain"}}}}},
		{"auth basic user {env.EVENT_RELAY_SECRET}", receive.Source{Credentials: []receive.Credential{
			{Kind: receive.Basic, User: "user", Values: []string{"from outside"}}}}},
		{"auth api_key body token {env.EVENT_RELAY_SECRET}", receive.Source{Credentials: []receive.Credential{
			{Kind: receive.APIKey, In: receive.InBody, Name: "token", Values: []string{"from outside"}}}}},
		{"auth path plain", receive.Source{Credentials: []receive.Credential{{Kind: receive.Path, Values: []string{"plain"}}}}},
		{"auth hmac X-Signature sha256 {env.EVENT_RELAY_SECRET} plain", receive.Source{Credentials: []receive.Credential{
			{Kind: receive.HMAC, Name: "X-Signature", Algorithm: "sha256", Values: []string{"from outside", "plain"}}}}},
		{"auth hmac X-Signature sha1 plain {\ntimestamp X-Time 1m\n}", receive.Source{Credentials: []receive.Credential{
			{Kind: receive.HMAC, Name: "X-Signature", Algorithm: "sha1", Timestamp: "X-Time", Tolerance: time.Minute, Values: []string{"plain"}}}}},
		{"auth standard_webhooks whsec_c2VjcmV0 {\ntolerance 1m\n}", receive.Source{Credentials: []receive.Credential{
			{Kind: receive.StandardWebhooks, Tolerance: time.Minute, Values: []string{"whsec_c2VjcmV0"}}}}},
	} {
		t.Run(test.setting, func(t *testing.T) {
			auth := ""
			test.want.Name = "erp"
			if test.want.Credentials == nil {
				auth = "auth none\n"
				test.want.Credentials = []receive.Credential{{Kind: receive.None}}
			}
			app := fromCaddyfile(t, "source erp {\n"+auth+test.setting+"\n}")
			configuration, err := app.configuration()
			if err != nil {
				t.Fatal(err)
			}
			test.want.Place = "Caddyfile:2"
			if got := configuration.Sources[0]; !reflect.DeepEqual(got, test.want) {
				t.Errorf("got:\n%+v\nwant:\n%+v", got, test.want)
			}
			if _, err := app.compile(nil); err != nil {
				t.Errorf("the rooms refuse it: %v", err)
			}
		})
	}
}

func TestTenantsReachTheRules(t *testing.T) {
	t.Setenv("EVENT_RELAY_SECRET", "from outside")
	configuration, err := fromCaddyfile(t, "parameter crm {\ndefault a\ntenant b {env.EVENT_RELAY_SECRET}\ntenant a c\n}").configuration()
	want := []rules.CustomParameter{{Name: "crm", Value: "a", Tenants: map[string]rules.TenantValue{
		"a": {Value: "c"}, "b": {Value: "from outside", Secret: true}}}}
	if err != nil || !reflect.DeepEqual(configuration.Parameters, want) {
		t.Errorf("got %+v, %v; want %+v", configuration.Parameters, err, want)
	}
}

func TestLimitsReachTheRelay(t *testing.T) {
	for _, test := range []struct {
		settings string
		want     relay.Limits
	}{
		{"", relay.Limits{MaxPending: 1_000_000, MinFree: 256 << 20}},
		{"max_pending 5\nmin_free 1GiB", relay.Limits{MaxPending: 5, MinFree: 1 << 30}},
		{"min_free off", relay.Limits{MaxPending: 1_000_000, MinFree: -1}},
	} {
		configuration, err := fromCaddyfile(t, test.settings).configuration()
		if err != nil || configuration.Limits != test.want {
			t.Errorf("%q: %+v, %v; want %+v", test.settings, configuration.Limits, err, test.want)
		}
	}
}

// TestSecretsStayOutside marshals a configuration again after its secrets were
// read, as Caddy's admin API does.
func TestSecretsStayOutside(t *testing.T) {
	t.Setenv("EVENT_RELAY_SECRET", "from outside")
	app := fromCaddyfile(t, "parameter token {env.EVENT_RELAY_SECRET}\nsource erp {\nauth hmac X-S sha256 {env.EVENT_RELAY_SECRET}\n}")
	before, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	configuration, err := app.configuration()
	if err != nil {
		t.Fatal(err)
	}
	if parameter := configuration.Parameters[0]; parameter.Value != "from outside" || !parameter.Secret {
		t.Errorf("the parameter is %+v", parameter)
	}
	after, err := json.Marshal(app)
	if err != nil || string(after) != string(before) {
		t.Errorf("reading the secrets has changed the configuration: %v\n%s\n%s", err, before, after)
	}
}
