package caddymodule

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// fromCaddyfile returns the app that an event_relay block makes, by way of its
// JSON.
func fromCaddyfile(t *testing.T, block string) *App {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte("{\n"+appName+" {\n"+block+"\n}\n}\n"), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	var parsed struct {
		Apps struct {
			Relay json.RawMessage `json:"event_relay"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(adapted, &parsed); err != nil {
		t.Fatal(err)
	}
	return fromJSON(t, string(parsed.Apps.Relay))
}

// TestSourceReachesReceive follows each setting of a source from the Caddyfile
// to what package receive is given.
func TestSourceReachesReceive(t *testing.T) {
	t.Setenv("EVENT_RELAY_SECRET", "from outside")
	t.Setenv("EVENT_RELAY_EMPTY", "")
	for _, test := range []struct {
		setting string
		want    config.Source
	}{
		{"name_from `body.type`", config.Source{NameFrom: "body.type"}},
		{"event paid \"An order\"", config.Source{Events: []config.EventType{{Name: "paid", Description: "An order"}}}},
		{"field order `body.id`", config.Source{Fields: []config.Field{{Name: "order", Expression: "body.id"}}}},
		{"batch `body.events`", config.Source{Batch: "body.events"}},
		{"timezone Europe/London", config.Source{Timezone: "Europe/London"}},
		{"dedupe 10m", config.Source{Dedupe: &config.Dedupe{Window: config.Duration(10 * time.Minute)}}},
		{"dedupe 10m `body.id`", config.Source{Dedupe: &config.Dedupe{Window: config.Duration(10 * time.Minute), Key: "body.id"}}},
		{"redact body.phone\nredact caller_id", config.Source{Redact: []string{"body.phone", "caller_id"}}},
		{"max_body 2MiB", config.Source{MaxBody: 2 << 20}},
		{"respond 202", config.Source{Respond: 202}},
		{"auth bearer {env.EVENT_RELAY_SECRET} {env.EVENT_RELAY_EMPTY} plain", config.Source{Auth: []config.Credential{
			{Kind: auth.Bearer, Values: []string{"from outside", "plain"}}}}},
		{"auth basic user {env.EVENT_RELAY_SECRET}", config.Source{Auth: []config.Credential{
			{Kind: auth.Basic, User: "user", Password: "from outside"}}}},
		{"auth api_key body token {env.EVENT_RELAY_SECRET}", config.Source{Auth: []config.Credential{
			{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: []string{"from outside"}}}}},
		{"auth path plain", config.Source{Auth: []config.Credential{{Kind: auth.Path, Values: []string{"plain"}}}}},
		{"auth hmac X-Signature sha256 {env.EVENT_RELAY_SECRET} plain", config.Source{Auth: []config.Credential{
			{Kind: auth.HMAC, Name: "X-Signature", Algorithm: "sha256", Values: []string{"from outside", "plain"}}}}},
		{"auth hmac X-Signature sha1 plain {\ntimestamp X-Time 1m\n}", config.Source{Auth: []config.Credential{
			{Kind: auth.HMAC, Name: "X-Signature", Algorithm: "sha1", Timestamp: "X-Time", Tolerance: config.Duration(time.Minute), Values: []string{"plain"}}}}},
		{"auth standard_webhooks whsec_c2VjcmV0 {\ntolerance 1m\n}", config.Source{Auth: []config.Credential{
			{Kind: auth.StandardWebhooks, Tolerance: config.Duration(time.Minute), Values: []string{"whsec_c2VjcmV0"}}}}},
	} {
		t.Run(test.setting, func(t *testing.T) {
			credential := ""
			test.want.Name = "erp"
			if test.want.Auth == nil {
				credential = "auth none\n"
				test.want.Auth = []config.Credential{{Kind: auth.None}}
			}
			app := fromCaddyfile(t, "source erp {\n"+credential+test.setting+"\n}")
			configuration, err := app.configuration()
			if err != nil {
				t.Fatal(err)
			}
			test.want.Place = "Caddyfile:3"
			if got := configuration.Sources[0]; !reflect.DeepEqual(got, test.want) {
				t.Errorf("got:\n%+v\nwant:\n%+v", got, test.want)
			}
			if _, err := app.compile(nil, sites.Sites{}); err != nil {
				t.Errorf("the rooms refuse it: %v", err)
			}
		})
	}
}

// TestActionIsResolved looks at the settings of an action that name what stands
// outside of the configuration.
func TestActionIsResolved(t *testing.T) {
	t.Setenv("EVENT_RELAY_SECRET", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3")
	t.Setenv("EVENT_RELAY_EMPTY", "")
	files := t.TempDir()
	t.Setenv("EVENT_RELAY_FILES", files)
	certificate, key := writeCertificate(t, files)
	for _, test := range []struct {
		setting string
		want    config.Action
	}{
		{"sign {env.EVENT_RELAY_SECRET} {env.EVENT_RELAY_EMPTY} whsec_c2VjcmV0", config.Action{
			Sign: []string{"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3", "whsec_c2VjcmV0"}}},
		{"tls_trust_pool file {env.EVENT_RELAY_FILES}/certificate.pem", config.Action{TLS: &config.TLS{CAFiles: []string{certificate}}}},
		{"tls_client_auth " + certificate + " {env.EVENT_RELAY_FILES}/key.pem", config.Action{TLS: &config.TLS{
			CAFiles: []string{}, ClientCertificateFile: certificate, ClientCertificateKeyFile: key}}},
		{"tls_server_name lan\ntls_insecure_skip_verify", config.Action{TLS: &config.TLS{
			CAFiles: []string{}, ServerName: "lan", InsecureSkipVerify: true}}},
	} {
		t.Run(test.setting, func(t *testing.T) {
			test.want.Name, test.want.Place, test.want.Method, test.want.URL = "notify", "Caddyfile:4", "PUT", "https://127.0.0.1/"
			app := fromCaddyfile(t, "parameter token MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3\naction notify {\nput https://127.0.0.1/\n"+test.setting+"\n}")
			before, err := json.Marshal(app)
			if err != nil {
				t.Fatal(err)
			}
			configuration, err := app.configuration()
			if err != nil {
				t.Fatal(err)
			}
			if got := configuration.Actions[0]; !reflect.DeepEqual(got, test.want) {
				t.Errorf("got:\n%+v\nwant:\n%+v", got, test.want)
			}
			if _, err := app.compile(nil, sites.Sites{}); err != nil {
				t.Errorf("the rooms refuse it: %v", err)
			}
			if after, err := json.Marshal(app); err != nil || string(after) != string(before) {
				t.Errorf("converting has changed the configuration: %v\n%s\n%s", err, before, after)
			}
		})
	}
}

// writeCertificate writes a certificate and its key into a directory and
// returns the names of the files.
func writeCertificate(t *testing.T, directory string) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(directory, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("certificate.pem", "CERTIFICATE", signed), write("key.pem", "PRIVATE KEY", encoded)
}

func TestTenantsReachTheRules(t *testing.T) {
	t.Setenv("EVENT_RELAY_SECRET", "from outside")
	configuration, err := fromCaddyfile(t, "parameter crm {\ndefault a\ntenant b {env.EVENT_RELAY_SECRET}\ntenant a c\n}").configuration()
	if err != nil || len(configuration.Parameters) != 1 {
		t.Fatalf("got %+v, %v", configuration.Parameters, err)
	}
	crm := configuration.Parameters[0]
	if want := map[string]string{"a": "c", "b": "from outside"}; crm.Value != "a" || !maps.Equal(crm.Tenants, want) {
		t.Errorf("got %+v; want a and %v", crm, want)
	}
	if crm.IsSecret("") || crm.IsSecret("a") || !crm.IsSecret("b") {
		t.Errorf("which values are secret: %+v", crm)
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
	if parameter := configuration.Parameters[0]; parameter.Value != "from outside" || !parameter.IsSecret("") {
		t.Errorf("the parameter is %+v", parameter)
	}
	after, err := json.Marshal(app)
	if err != nil || string(after) != string(before) {
		t.Errorf("reading the secrets has changed the configuration: %v\n%s\n%s", err, before, after)
	}
}

func TestPrivateRangesAreCaddys(t *testing.T) {
	var caddys []netip.Prefix
	for _, text := range caddyhttp.PrivateRangesCIDR() {
		networks, err := config.Networks(text)
		if err != nil {
			t.Fatal(err)
		}
		caddys = append(caddys, networks...)
	}
	if !slices.Equal(config.PrivateRanges, caddys) {
		t.Errorf("private_ranges are %v here, %v in Caddy", config.PrivateRanges, caddys)
	}
}
