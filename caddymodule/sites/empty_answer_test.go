package sites_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-event-relay/event-relay/caddymodule" // its directives
	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
)

// adaptSites adapts sites, with a relay before them, and returns the http app.
func adaptSites(t *testing.T, options, text string) sites.Sites {
	t.Helper()
	text = "{\n" + options + "\nevent_relay {\nsource icfm {\nauth bearer x\n}\n}\n}\n" + text
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var document struct {
		Apps struct {
			HTTP sites.Sites `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &document); err != nil {
		t.Fatal(err)
	}
	return document.Apps.HTTP
}

func TestEmptyAnswers(t *testing.T) {
	const mount = "\n\tevent_relay /listen.php\n"
	const closed = mount + "\trespond 404\n"
	for _, test := range []struct {
		name, options, sites string
		want                 []string // in each warning; none means no warning
	}{
		{name: "a host, and nothing for others", sites: "http://10.0.0.2:8081 {\n\tbind 10.0.0.2" + closed + "}",
			want: []string{"10.0.0.2:8081 with a Host that no site names", "http://:8081 { bind 10.0.0.2; respond 421 }"}},
		{name: "localhost", sites: "http://localhost:8080 {" + closed + "}", want: []string{"http://:8080 { respond 421 }"}},
		{name: "port 80", sites: "http://events.studio.example {" + closed + "}", want: []string{":80 { respond 421 }"}},
		{name: "TLS, where the Host may differ from the name of the handshake", sites: "events.studio.example {" + closed + "}", want: []string{":443 { respond 421 }"}},
		{name: "TLS on another port", sites: "https://events.studio.example:8443 {" + closed + "}", want: []string{"https://:8443 { respond 421 }"}},
		{name: "a socket", sites: "http://localhost {\n\tbind unix//run/relay.sock" + closed + "}", want: []string{"bind unix//run/relay.sock; respond 421"}},
		{name: "a wildcard", sites: "http://*.studio.example {" + closed + "}", want: []string{":80 { respond 421 }"}},
		{name: "no host", sites: "http://:8081 {\n\tbind 10.0.0.2" + closed + "}"},
		{name: "a catch-all site", sites: "http://10.0.0.2:8081 {\n\tbind 10.0.0.2" + closed + "}\nhttp://:8081 {\n\tbind 10.0.0.2\n\trespond 421\n}"},
		{name: "a catch-all site on both ports", sites: "events.studio.example {" + closed + "}\n:80, :443 {\n\trespond 421\n}"},
		{name: "a catch-all site that aborts", sites: "http://a:8081 {" + closed + "}\nhttp://:8081 {\n\tabort\n}"},
		{name: "a catch-all site that serves", sites: "http://a:8081 {" + closed + "}\nhttp://:8081 {\n\tfile_server\n}"},
		{name: "a catch-all site elsewhere", sites: "http://a:8081 {" + closed + "}\nhttp://:8082 {\n\trespond 421\n}", want: []string{"http://:8081 { respond 421 }"}},
		{name: "a catch-all site with holes", sites: "http://a:8081 {" + closed + "}\nhttp://:8081 {\n\trespond /x 421\n}", want: []string{"http://:8081 { respond 421 }"}},
		{name: "strict_sni_host", options: "servers {\n\tstrict_sni_host on\n}", sites: "events.studio.example {" + closed + "}"},
		{name: "certificates of clients", sites: "events.studio.example {\n\ttls {\n\t\tclient_auth {\n\t\t\tmode require\n\t\t}\n\t}" + closed + "}"},
		{name: "strict_sni_host without TLS", options: "servers {\n\tstrict_sni_host on\n}", sites: "http://a:8081 {" + closed + "}", want: []string{"http://:8081 { respond 421 }"}},
		{name: "a server without a mount", sites: "http://:8081 {" + closed + "}\nhttp://blog.example:8082 {\n\tencode gzip\n}"},

		{name: "other paths of the site", sites: "http://:8081 {" + mount + "}", want: []string{"/a-path-that-no-route-takes", "respond 404"}},
		{name: "other paths of a named site", sites: "http://a:8081 {" + mount + "}\nhttp://:8081 {\n\trespond 421\n}", want: []string{"a request to a with a path"}},
		{name: "the whole site", sites: "http://:8081 {\n\tevent_relay\n}"},
		{name: "error", sites: "http://:8081 {" + mount + "\terror 404\n}"},
		{name: "handle", sites: "http://:8081 {\n\thandle /api/* {\n\t\treverse_proxy 10.0.0.1\n\t}\n\thandle {" + closed + "\t}\n}"},
		{name: "handle without an end", sites: "http://:8081 {\n\thandle /listen.php* {" + mount + "\t}\n\thandle {\n\t\trespond 404\n\t}\n}", want: []string{"/listen.phpx"}},
		{name: "handle, and respond behind it", sites: "http://:8081 {\n\thandle /api/* {" + mount + "\t}\n\trespond 404\n}"},
		{name: "handle_path", sites: "http://:8081 {\n\thandle_path /hooks/* {" + closed + "\t}\n\thandle {\n\t\trespond 404\n\t}\n}"},
		{name: "handle_path without an end", sites: "http://:8081 {\n\thandle_path /hooks/* {" + mount + "\t}\n\thandle {\n\t\trespond 404\n\t}\n}", want: []string{"/hooks/"}},
		{name: "route", sites: "http://:8081 {\n\troute {" + closed + "\t}\n}"},
		{name: "route, too early an end", sites: "http://:8081 {\n\troute {\n\t\tevent_relay /listen.php\n\t}\n\theader X-A b\n}", want: []string{"respond 404"}},
		{name: "a named route", sites: "&(events) {" + closed + "}\nhttp://:8081 {\n\tinvoke events\n}"},
		{name: "a named route without an end", sites: "&(events) {" + mount + "}\nhttp://:8081 {\n\tinvoke events\n}", want: []string{"respond 404"}},
		{name: "a mount with a matcher", sites: "http://:8081 {\n\t@lan remote_ip 10.0.0.0/8\n\tevent_relay @lan /listen.php\n\trespond 404\n}"},
		{name: "a mount with a matcher, without an end", sites: "http://:8081 {\n\t@lan remote_ip 10.0.0.0/8\n\tevent_relay @lan\n}", want: []string{"respond 404"}},
		{name: "a matcher and its opposite", sites: "http://:8081 {\n\t@lan remote_ip 10.0.0.0/8\n\t@wan not remote_ip 10.0.0.0/8\n\tevent_relay @lan\n\trespond @wan 404\n}"},
		{name: "a method and its opposite", sites: "http://:8081 {\n\t@post method POST\n\t@other not method POST\n\tevent_relay @post\n\trespond @other 405\n}"},
		{name: "one method", sites: "http://:8081 {\n\t@post method POST\n\tevent_relay @post\n}", want: []string{"respond 404"}},
		{name: "a handle that only sometimes takes", sites: "http://:8081 {\n\t@lan remote_ip 10.0.0.0/8\n\thandle @lan {\n\t\theader X-A b\n\t}\n\thandle {" + closed + "\t}\n}", want: []string{"respond 404"}},
		{name: "what only hands on", sites: "http://:8081 {\n\tencode gzip\n\theader X-A b\n\tlog_append a b\n\tbasic_auth {\n\t\ta $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n\t}" + closed + "}"},
		{name: "forward_auth before it", sites: "http://:8081 {\n\tforward_auth 10.0.0.1 {\n\t\turi /ok\n\t}" + mount + "}", want: []string{"respond 404"}},
		{name: "a redirect", sites: "http://:8081 {" + mount + "\tredir https://elsewhere.example\n}"},
		{name: "the console beside it", sites: "http://:8081 {" + closed + "}\nhttp://localhost:8090 {\n\tevent_relay_console\n}"},
		{name: "two holes", sites: "http://a:8081 {" + mount + "}", want: []string{"empty 200"}},
	} {
		warnings := adaptSites(t, test.options, test.sites).EmptyAnswers()
		if len(test.want) == 0 && len(warnings) > 0 || len(test.want) > 0 && len(warnings) == 0 {
			t.Errorf("%s: warnings %q, want %q", test.name, warnings, test.want)
			continue
		}
		all := strings.Join(warnings, "\n")
		for _, want := range test.want {
			if !strings.Contains(all, want) {
				t.Errorf("%s: there is no %q in %s", test.name, want, all)
			}
		}
	}
}

// TestManyUndecidedMatchers bounds the work for a configuration whose routes
// depend on what only a request can tell.
func TestManyUndecidedMatchers(t *testing.T) {
	var text strings.Builder
	text.WriteString("http://:8081 {\n")
	for i := range 60 {
		name := strings.Repeat("x", i+1)
		text.WriteString("\t@" + name + " header X-" + name + " a\n\trewrite @" + name + " /" + name + "\n")
	}
	text.WriteString("\tevent_relay /listen.php\n\trespond 404\n}\n")
	app := adaptSites(t, "", text.String())
	if warnings := app.EmptyAnswers(); len(warnings) > 0 {
		t.Error(warnings)
	}
}

// FuzzEmptyAnswers holds that no routes make the search panic or run on.
func FuzzEmptyAnswers(f *testing.F) {
	f.Add(`{"servers":{"a":{"listen":[":80"],"routes":[{"handle":[{"handler":"event_relay","path":"/x"},{"handler":"invoke","name":"n"}]}],"named_routes":{"n":{"handle":[{"handler":"invoke","name":"n"}]}}}}}`)
	f.Add(`{"servers":{"a":{"routes":[{"group":"g","terminal":true,"match":[{"not":[{"path":["*","/{x}"]}],"host":["*.a"]}],"handle":[{"handler":"subroute","routes":[{}]},{"handler":"event_relay"}]}]}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var app sites.Sites
		if json.Unmarshal([]byte(text), &app) == nil {
			app.EmptyAnswers()
		}
	})
}
