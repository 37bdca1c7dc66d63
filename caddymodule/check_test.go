package caddymodule

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
)

// fromJSON returns the app that a configuration in JSON makes, as Caddy reads
// it.
func fromJSON(t testing.TB, config string) *App {
	t.Helper()
	app := new(App)
	if err := caddy.StrictUnmarshalJSON([]byte(config), app); err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	app.logger = zap.NewNop()
	return app
}

// TestJSONIsChecked gives configurations in JSON, which no parser has seen, and
// expects of each all errors.
func TestJSONIsChecked(t *testing.T) {
	t.Setenv("EVENT_RELAY_EMPTY", "")
	const bearer = `"auth": [{"kind": "bearer", "values": ["s"]}]`
	source := func(settings string) string {
		return `{"sources": [{"name": "erp", "place": "erp.caddy:3", ` + settings + `}]}`
	}
	auth := func(credentials string) string { return source(`"auth": [` + credentials + `]`) }
	action := func(settings string) string {
		return `{"actions": [{"name": "notify", "place": "lan.caddy:7", ` + settings + `}]}`
	}
	rule := func(settings string) string {
		return `{"sources": [{"name": "erp", ` + bearer + `, "events": [{"name": "paid"}]}],
			"actions": [{"name": "notify", "url": "http://127.0.0.1/"}], "rules": [{` + settings + `}]}`
	}
	for _, test := range []struct {
		name, config string
		// want holds a part of each line of the error. None means that there is
		// no error.
		want []string
	}{
		{"nothing", `{}`, nil},
		{"everything", `{
			"queue": {"engine": "sqlite"}, "retention": {"age": "1d", "size": 1}, "max_pending": 1, "min_free": -1,
			"parameters": [{"name": "lan", "value": "http://127.0.0.1"}],
			"sources": [{"name": "erp", ` + bearer + `, "events": [{"name": "paid"}], "fields": [{"name": "order", "expression": "body.id"}],
				"dedupe": {"window": "1m"}, "quiet": "8h", "timezone": "Europe/London"}],
			"actions": [{"name": "notify", "url": "{{lan}}/{{order}}", "retry_for": -1}],
			"rules": [{"events": ["paid"], "do": ["notify"]}]}`, nil},

		{"queue", `{"queue": {"engine": "sqlit"}, "place": "Caddyfile:2"}`,
			[]string{"unknown queue kind sqlit; did you mean sqlite? What exists: sqlite, postgres, at Caddyfile:2"}},
		{"queue postgres", `{"queue": {"engine": "postgres", "dsn": "{env.EVENT_RELAY_EMPTY}", "schema": "s", "node": "n", "lease": "10s", "connections": 9, "receive_only": true}}`, nil},
		{"queue postgres without a DSN", `{"queue": {"engine": "postgres", "place": "Caddyfile:3"}, "place": "Caddyfile:2"}`,
			[]string{"queue postgres needs a DSN: how the database is reached, as in `queue postgres {env.RELAY_DB}`, at Caddyfile:3"}},
		{"queue postgres with a placeholder in its DSN", `{"queue": {"engine": "postgres", "dsn": "postgres://relay:{env.PW}@db/relay"}}`,
			[]string{"reading the DSN of the queue: {env.PW} is read only where it is the whole value"}},
		{"queue postgres with a directory", `{"queue": {"engine": "postgres", "dsn": "host=db", "directory": "/a"}}`,
			[]string{"queue postgres has no directory; it takes: dsn, schema, node, lease, connections, receive_only"}},
		{"queue sqlite with a DSN", `{"queue": {"dsn": "host=db password=secret"}}`, []string{"queue sqlite has no dsn; it takes: directory"}},
		{"queue postgres with signs", `{"queue": {"engine": "postgres", "dsn": "host=db", "lease": "-1s", "connections": -1}}`,
			[]string{"the lease of the queue must be above zero, not -1s;", "the connections of the queue must be above zero, not -1;"}},
		{"retention", `{"retention": {"age": "-1d", "size": -1}}`,
			[]string{"the age of retention must be above zero, not -24h0m0s; without it the default counts", "the size of retention must be above zero, not -1;"}},
		{"limits", `{"max_pending": -1, "min_free": -2}`,
			[]string{"max_pending must be above zero, not -1;", "min_free must be above zero, not -2;"}},
		{"targets", `{"targets": ["http://lan"]}`, []string{`"http://lan" is no network, address or host name`}},

		{"parameter names", `{"parameters": [{"name": "lan-url", "value": "x"}, {"name": "größe", "value": "x", "place": "a.caddy:1"}, {"name": "", "value": "x"}]}`,
			[]string{`"lan-url" cannot be the name of a parameter`, `and begins with a letter, at a.caddy:1`, "the name of the parameter is empty"}},
		{"parameter of an event", `{"parameters": [{"name": "caller_id", "value": "x"}]}`, []string{"caller_id is a system parameter; choose another name"}},
		{"parameter twice", `{"parameters": [{"name": "lan", "value": "x"}, {"name": "lan", "value": "y", "place": "a.caddy:1"}]}`,
			[]string{"parameter lan is defined twice; rename or remove one of them, at a.caddy:1"}},
		{"parameter with a secret in it", `{"parameters": [{"name": "lan", "value": "http://{env.LAN}"}]}`,
			[]string{"reading parameter lan: {env.LAN} is read only where it is the whole value"}},
		{"parameter with tenants", `{"parameters": [{"name": "lan", "tenants": {"101": "http://{env.LAN}", "102": "x"}}, {"name": "token", "tenants": {"101": "{env.EVENT_RELAY_EMPTY}"}}]}`,
			[]string{"reading parameter lan: {env.LAN} is read only where", "reading parameter token: {env.EVENT_RELAY_EMPTY} is empty"}},
		{"parameter with an empty secret", `{"parameters": [{"name": "token", "value": "{env.EVENT_RELAY_EMPTY}", "place": "a.caddy:1"}]}`,
			[]string{"reading parameter token: {env.EVENT_RELAY_EMPTY} is empty; set the environment variable or the file that it names; a running process keeps its environment: restart Caddy, or write {file./path} in its place, at a.caddy:1"}},

		{"source name", `{"sources": [{"name": "a b", ` + bearer + `}, {"name": "Relay", ` + bearer + `}]}`,
			[]string{`"a b" cannot be the name of the source`, "the source cannot be called Relay"}},
		{"source twice", `{"sources": [{"name": "erp", ` + bearer + `}, {"name": "erp", ` + bearer + `}]}`, []string{`source erp is defined twice`}},
		{"source preset", source(`"preset": "pbxwrae", ` + bearer), []string{"did you mean pbxware?"}},
		{"source without auth", source(`"preset": "icfm"`), []string{`source erp, auth: no credentials`}},
		{"source allow", source(`"allow": ["10.0.0.0/40", "lan"], ` + bearer),
			[]string{`reading allow of source erp: "10.0.0.0/40" is neither`, `"lan" is neither a network such as 203.0.113.0/24, nor an address, nor private_ranges, at erp.caddy:3`}},
		{"source events", source(`"events": [{"name": "Order Paid"}, {"name": "order_paid"}, {"name": ""}], ` + bearer),
			[]string{`"Order Paid" and "order_paid" are the same name`, "an event needs a name"}},
		{"source fields", source(`"fields": [{"name": "order id", "expression": "body.id"}, {"name": "_id", "expression": "body.id"}], ` + bearer),
			[]string{`reading fields of source erp: "order id" cannot be the name of a field`, `"_id" cannot be`}},
		{"source field twice", source(`"fields": [{"name": "order", "expression": "body.a"}, {"name": "order", "expression": "body.b"}], ` + bearer),
			[]string{"the field is defined twice"}},
		{"source field without expression", source(`"fields": [{"name": "order", "expression": ""}], ` + bearer), []string{"say where the field is read from"}},
		{"source expressions", source(`"name_from": "bdy.type", "batch": "body.", "dedupe": {"window": "1m", "key": "bdy.id"}, ` + bearer),
			[]string{`name_from: `, `batch: `, `dedupe: `}},
		{"source timezone", source(`"timezone": "Europe/Londn", ` + bearer),
			[]string{`reading timezone of source erp: "Europe/Londn" is not a time zone; write its name in the IANA time zone database, such as Europe/London or UTC, at erp.caddy:3`}},
		{"source quiet", source(`"quiet": "-1h", ` + bearer), []string{"reading quiet of source erp: it must be above zero, not -1h0m0s; without it the default counts, at erp.caddy:3"}},
		{"source dedupe", source(`"dedupe": {"window": "-1m"}, ` + bearer), []string{"reading dedupe of source erp: it needs a window above zero, such as 10m, not -1m0s, at erp.caddy:3"}},
		{"source dedupe without window", source(`"dedupe": {"key": "body.id"}, ` + bearer), []string{"it needs a window above zero"}},
		{"source redact", source(`"redact": ["body", "a b"], ` + bearer), []string{"redact: body cannot be removed"}},
		{"source max_body", source(`"max_body": -1, ` + bearer), []string{"max_body: a size is not negative"}},
		{"source respond", source(`"respond": 201, ` + bearer), []string{"respond: 201 is not among 200, 202 and 204"}},

		{"auth kinds", auth(`{"kind": "hmca"}, {"kind": "", "values": ["s"]}`),
			[]string{"reading auth of source erp: unknown auth kind hmca; did you mean hmac?", "it has no kind; the kinds are: bearer, basic"}},
		{"auth none beside another", auth(`{"kind": "none"}, {"kind": "bearer", "values": ["s"]}`),
			[]string{"`auth none` leaves the source open, so another auth beside it has no meaning; keep one of them, at erp.caddy:3"}},
		{"auth with a secret in a value", auth(`{"kind": "bearer", "values": ["Bearer {env.T}"]}, {"kind": "basic", "user": "u{env.U}", "password": "p"},
			{"kind": "hmac", "name": "X-S", "algorithm": "sha256", "values": ["{file./a}{file./b}"]}`),
			[]string{"{env.T} is read only where", "{env.U} is read only where", "{file./a} is read only where it is the whole value"}},
		{"auth with an empty secret", auth(`{"kind": "hmac", "name": "X-S", "algorithm": "sha256", "values": ["{env.EVENT_RELAY_EMPTY}"]}`),
			[]string{"reading the secrets of source erp, auth hmac: every value is empty"}},
		{"auth without values", auth(`{"kind": "path"}`), []string{"auth path: every value is empty"}},
		{"auth with what it does not take", auth(`{"kind": "none", "values": ["s"]}, {"kind": "none"}, {"kind": "basic", "user": "u", "values": ["p"]},
			{"kind": "standard_webhooks", "timestamp": "X-T", "values": ["s"]}, {"kind": "bearer", "in": "query", "values": ["s"]}`),
			[]string{"`auth none` leaves", "none has no values; it takes: nothing", "basic has no values; it takes: user, password",
				"standard_webhooks has no timestamp; it takes: tolerance, values", "bearer has no in; it takes: values"}},
		{"auth hmac with a tolerance of nothing", auth(`{"kind": "hmac", "name": "X-S", "algorithm": "sha256", "tolerance": "1m", "values": ["s"]}`),
			[]string{"the tolerance of hmac needs a timestamp"}},
		{"auth tolerance", auth(`{"kind": "hmac", "name": "X-S", "algorithm": "sha256", "timestamp": "X-T", "tolerance": "-1m", "values": ["s"]}`),
			[]string{"a tolerance is not negative"}},
		{"auth api_key", auth(`{"kind": "api_key", "in": "cookie", "name": "key", "values": ["s"]}, {"kind": "api_key", "in": "body", "values": ["s"]}`),
			[]string{`unknown api_key place cookie`, "say the name of the body"}},
		{"auth hmac", auth(`{"kind": "hmac", "algorithm": "sha256", "values": ["s"]}, {"kind": "hmac", "name": "X-S", "algorithm": "md5", "values": ["s"]}`),
			[]string{"say the name of the header that holds the signature", `unknown hmac algorithm md5`}},
		{"auth standard_webhooks", auth(`{"kind": "standard_webhooks", "values": ["no base64"]}`), []string{"the secret is not base64"}},

		{"action names", `{"actions": [{"name": "a b", "url": "http://127.0.0.1/"}, {"name": "", "url": "http://127.0.0.1/", "place": "lan.caddy:9"}]}`,
			[]string{`"a b" cannot be the name of the action`, "the name of the action is empty, at lan.caddy:9"}},
		{"action twice", `{"actions": [{"name": "a", "url": "http://127.0.0.1/"}, {"name": "a", "url": "http://127.0.0.1/"}]}`,
			[]string{"action a is defined twice; rename or remove one of them"}},
		{"action without URL", action(`"method": "GET"`), []string{"the URL is empty"}},
		{"action method", action(`"method": "FETCH", "url": "http://127.0.0.1/"`), []string{`unknown method "FETCH"`}},
		{"action with secrets in templates", action(`"url": "http://127.0.0.1/{env.A}", "query": [{"name": "{env.B}", "value": "{env.C}"}],
			"headers": [{"name": "X-{env.D}", "value": "Bearer {env.E}"}], "body": {"kind": "json", "text": "{\"token\": \"{file./f}\"}"}`),
			[]string{"reading the URL of action notify: {env.A} is not read in templates: define a parameter with it, as in `parameter my_secret {env.A}`, and write {{my_secret}} here, at lan.caddy:7",
				"{env.B} is not", "{env.C} is not", "{env.D} is not", "reading header X-{env.D} of action notify: {env.E} is not", "reading the body of action notify: {file./f} is not"}},
		{"action durations", action(`"url": "http://127.0.0.1/", "timeout": "-1s", "retry_interval": {"first": "-1s"}, "concurrency": -1`),
			[]string{"reading timeout of action notify: it must be above zero", "reading retry_interval of action notify: it must be", "reading concurrency of action notify: it must be"}},
		{"action retry_for", action(`"url": "http://127.0.0.1/", "retry_for": "-5s"`),
			[]string{"reading retry_for of action notify: it must be above zero, not -5s; without it the default counts, at lan.caddy:7"}},
		{"action body", action(`"url": "http://127.0.0.1/", "body": {"kind": "frm"}`),
			[]string{`unknown body kind frm; did you mean form? What exists: none, form`}},
		{"action with all settings", action(`"url": "http://127.0.0.1/", "auth": {"kind": "basic", "user": "u", "password": "p"}, "rate": {"count": 5, "per": "1s"},
			"body": {"kind": "form", "fields": [{"name": "a", "value": "{{caller_id}}", "type": "text/plain"}]},
			"expires": "5s", "order_by": "call_id", "sign": ["c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"], "tls": {"server_name": "lan"}`), nil},
		{"action body with what it does not take", action(`"url": "http://127.0.0.1/", "body": {"kind": "json", "type": "text/json", "text": "1"}`),
			[]string{"body json has no type"}},
		{"action body with a type that is a template", action(`"url": "http://127.0.0.1/", "body": {"kind": "raw", "type": "{{type}}", "text": "1"}`),
			[]string{"reading the body of action notify: the type of a raw body is no template"}},
		{"action body fields", `{"actions": [
			{"name": "a", "url": "http://127.0.0.1/", "body": {"kind": "form", "fields": [{"name": "f", "value": "{env.A}"}]}},
			{"name": "b", "url": "http://127.0.0.1/", "body": {"kind": "form", "fields": [{"name": "{env.A}", "value": "x"}]}},
			{"name": "c", "url": "http://127.0.0.1/", "body": {"kind": "form", "fields": [{"name": "f", "value": "x", "type": "text/{env.A}"}]}}]}`,
			[]string{"reading the body of action a: field f: {env.A} is not read in templates", "reading the body of action b: field {env.A}: {env.A} is not read",
				"reading the body of action c: field f: {env.A} is not read"}},
		{"action auth", `{"actions": [
			{"name": "a", "url": "http://127.0.0.1/", "auth": {"kind": "basic", "value": "t"}},
			{"name": "b", "url": "http://127.0.0.1/", "auth": {"kind": "bearer", "password": "t"}},
			{"name": "c", "url": "http://127.0.0.1/", "auth": {"password": "t"}},
			{"name": "d", "url": "http://127.0.0.1/", "auth": {"kind": "basic"}},
			{"name": "e", "url": "http://127.0.0.1/", "auth": {"kind": "bearer", "value": "{env.A}"}},
			{"name": "f", "url": "http://127.0.0.1/", "auth": {"kind": "basic", "user": "u", "password": "{file./b}"}}]}`,
			[]string{"reading auth of action a: basic has no value; it takes: user, password", "of action b: bearer has no password; it takes: value",
				"of action c: none has no password; it takes: nothing", "of action d: basic has neither user nor password",
				"of action e: {env.A} is not read in templates", "of action f: {file./b} is not read in templates"}},
		{"action auth of an unknown kind", action(`"url": "http://127.0.0.1/", "auth": {"kind": "bearr", "value": "t"}`), []string{`unknown action auth kind bearr; did you mean bearer?`}},
		{"action auth without a kind", action(`"url": "http://127.0.0.1/", "auth": {"value": "t"}`), []string{"none has no value"}},
		{"action auth without a value", action(`"url": "http://127.0.0.1/", "auth": {"kind": "bearer"}`), []string{"bearer is empty and proves nothing"}},
		{"action auth of a wrong place", action(`"url": "http://127.0.0.1/", "auth": {"kind": "api_key", "in": "body", "name": "k", "value": "t"}`),
			[]string{`not in "body"`}},
		{"action rate", action(`"url": "http://127.0.0.1/", "rate": {"count": 5}`),
			[]string{"reading rate of action notify: it needs a count and a time, per, that are above zero, at lan.caddy:7"}},
		{"action expires", action(`"url": "http://127.0.0.1/", "expires": "-5s"`), []string{"reading expires of action notify: it must be above zero, not -5s"}},
		{"action order_by", action(`"url": "http://127.0.0.1/", "order_by": "call_id +"`), []string{"order_by: at character 1: compiling `call_id +`"}},
		{"action sign", action(`"url": "http://127.0.0.1/", "sign": ["whsec_{env.A}"]`), []string{"reading sign of action notify: {env.A} is read only where it is the whole value"}},
		{"action sign with a template", action(`"url": "http://127.0.0.1/", "sign": ["{{secret}}"]`), []string{"reading sign of action notify: a secret is no template"}},
		{"action sign with an empty secret", action(`"url": "http://127.0.0.1/", "sign": ["{env.EVENT_RELAY_EMPTY}"]`),
			[]string{"reading the secrets of action notify, sign: every value is empty; set the environment variable or the file that [{env.EVENT_RELAY_EMPTY}] names; a running process keeps its environment: restart Caddy, or write {file./path} in its place, at lan.caddy:7"}},
		{"action sign with no base64", action(`"url": "http://127.0.0.1/", "sign": ["no base64"]`), []string{"base64"}},
		{"action tls", action(`"url": "https://127.0.0.1/", "tls": {"client_certificate_file": "a.pem"}`),
			[]string{"reading tls of action notify: a client's certificate and its key come together; name both files or none, at lan.caddy:7"}},
		{"action tls with an empty variable", action(`"url": "https://127.0.0.1/", "tls": {"ca_files": ["{env.EVENT_RELAY_EMPTY}/ca.pem"]}`),
			[]string{`reading tls of action notify: reading the file name "{env.EVENT_RELAY_EMPTY}/ca.pem": `}},
		{"action tls without its file", action(`"url": "https://127.0.0.1/", "tls": {"ca_files": ["/nowhere/ca.pem"]}`), []string{"/nowhere/ca.pem"}},
		{"action success", action(`"url": "http://127.0.0.1/", "success": ["ok"]`), []string{`"ok" is not a status`}},

		{"rule with do and ignore", rule(`"events": ["paid"], "do": ["notify"], "ignore": true`), []string{"the rule has both do and ignore; write two rules, at rule 1"}},
		{"rule with neither", rule(`"events": ["paid"]`), []string{"the rule has neither do nor ignore"}},
		{"rule without events", rule(`"events": [], "do": ["notify"], "place": "rules.caddy:1"`), []string{"the rule names no event, at rules.caddy:1"}},
		{"rule with unknown names", rule(`"events": ["payed"], "do": ["notfy"]`), []string{"did you mean paid?", "did you mean notify?"}},
		{"rule with an empty condition", rule(`"events": ["paid"], "when": [""], "do": ["notify"]`), []string{", at rule 1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := fromJSON(t, test.config).compile(nil, sites.Sites{})
			if err == nil && len(test.want) == 0 {
				return
			}
			message := fmt.Sprint(err)
			lines := strings.Split(message, "\n")
			if strings.HasSuffix(lines[0], " mistakes:") {
				lines = lines[1:]
			}
			if err == nil || len(lines) != len(test.want) {
				t.Fatalf("the error is:\n%s\nand not %d lines", message, len(test.want))
			}
			for _, part := range test.want {
				if !strings.Contains(message, part) {
					t.Errorf("the error is:\n%s\nwithout: %s", message, part)
				}
			}
		})
	}
}

// TestHandlerIsChecked loads handlers as Caddy does, without starting them.
func TestHandlerIsChecked(t *testing.T) {
	const relay = `{"sources": [{"name": "erp", "auth": [{"kind": "bearer", "values": ["s"]}]}]}`
	for _, test := range []struct{ handler, relay, want string }{
		{`{}`, relay, ""},
		{`{"path": "/listen.php/", "sources": ["erp"]}`, relay, ""},
		{`{"path": "listen.php"}`, relay, "listen.php cannot be a mount"},
		{`{"path": "/listen.*"}`, relay, "/listen.* cannot be a mount: it is a plain path"},
		{`{"path": "/a/../b"}`, relay, "write /b"},
		{`{"sources": ["erp", "erp"]}`, relay, "source erp is given twice"},
		{`{"sources": ["epr"]}`, relay, "unknown source epr; did you mean erp?"},
		{`{}`, ``, "there is no event_relay block among the global options"},
	} {
		t.Run(test.handler, func(t *testing.T) {
			var handler map[string]any
			if err := json.Unmarshal([]byte(test.handler), &handler); err != nil {
				t.Fatal(err)
			}
			handler["handler"] = appName
			apps := map[string]any{"http": map[string]any{"servers": map[string]any{"site": map[string]any{
				"listen": []string{"127.0.0.1:0"}, "automatic_https": map[string]any{"disable": true},
				"routes": []any{map[string]any{"handle": []any{handler}}},
			}}}}
			if test.relay != "" {
				apps[appName] = json.RawMessage(test.relay)
			}
			encoded, err := json.Marshal(map[string]any{"apps": apps, "admin": map[string]any{"disabled": true}})
			if err != nil {
				t.Fatal(err)
			}
			var config caddy.Config
			if err := json.Unmarshal(encoded, &config); err != nil {
				t.Fatal(err)
			}
			err = caddy.Validate(&config)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is: %v", err)
			}
		})
	}
}
