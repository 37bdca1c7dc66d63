package template

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/config/configtest"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// byTenant is a parameter with a default and values for tenants.
func byTenant(name, value string, pairs ...string) config.Parameter {
	p := config.Parameter{Name: name, Value: value, Tenants: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		p.Tenants[pairs[i]] = pairs[i+1]
	}
	return p
}

// only is a parameter without a default.
func only(name string, pairs ...string) config.Parameter {
	return byTenant(name, "", pairs...)
}

// tenantParameters have values for the tenants 200 and 300.
func tenantParameters() []config.Parameter {
	return []config.Parameter{
		byTenant("site_api", "http://london.lan:8080/v1", "200", "https://Leeds.lan", "300", "http://jo:hush@york.lan:81/v2?k={{site}}"),
		byTenant("site", "London", "200", "Leeds & Co", "300", "../York"),
		only("site_host", "200", "leeds.lan", "300", "york.lan"),
		only("site_only", "200", "two"),
		{Name: "site_url", Value: "http://{{site_host}}/{{site}}"},
		byTenant("site_type", "text/plain", "200", "application/json", "300", "text/xml"),
		byTenant("site_json", `1`, "200", `{"deep": [true]}`, "300", `"x", "more": "y"`),
		byTenant("site_cut", `a`, "200", ``, "300", `b", "c": "d`),
		byTenant("site_header", "X-London", "200", "X-Leeds", "300", "Host"),
		byTenant("site_token", "open", "200", "{env.t0ken/of&leeds}"),
	}
}

func tenantEvent(tenant string, body any) *event.Event {
	e := eventtest.With(body)
	e.Parameters[event.Tenant] = tenant
	return e
}

func TestRenderByTenant(t *testing.T) {
	const unsent = ` and no default; not sent: add the one or the other to the parameter`
	cases := []struct {
		name   string
		action config.Action
		// want are, for the tenants 200, 300, 999 and none, what must be in the
		// bytes sent, or "error: …".
		want [4]string
	}{
		{"whole base", config.Action{URL: "{{site_api}}/{{body.v}}"}, [4]string{
			"POST /a%2Fb HTTP/1.1\r\nHost: leeds.lan\r\n", "POST /v2?k=../York/a%2Fb HTTP/1.1\r\nHost: york.lan:81\r\n",
			"POST /v1/a%2Fb HTTP/1.1\r\nHost: london.lan:8080\r\n", "POST /v1/a%2Fb HTTP/1.1\r\nHost: london.lan:8080\r\n"}},
		{"host in an expression", config.Action{URL: `http://{{ lower(site_host ?? "other") + ".example" }}:81/x`}, [4]string{
			"Host: leeds.lan.example:81\r\n", "Host: york.lan.example:81\r\n", "Host: other.example:81\r\n", "Host: other.example:81\r\n"}},
		{"host without default", config.Action{URL: "http://{{site_host}}:81/x"}, [4]string{
			"Host: leeds.lan:81\r\n", "Host: york.lan:81\r\n",
			`error: url: parameter site_host has no value for tenant "999"` + unsent, `error: url: parameter site_host has no value for events without a tenant` + unsent}},
		{"host glued", config.Action{URL: "http://a{{site_only}}/x"}, [4]string{
			"Host: atwo\r\n", `error: url: parameter site_only has no value for tenant "300"` + unsent,
			`error: url: parameter site_only has no value for tenant "999"` + unsent, `error: url: parameter site_only has no value for events without a tenant` + unsent}},
		{"URL that holds one without default", config.Action{URL: "{{site_url}}"}, [4]string{
			"POST /Leeds%20&%20Co HTTP/1.1\r\nHost: leeds.lan\r\n", "POST /../York HTTP/1.1\r\nHost: york.lan\r\n",
			`error: url: parameter site_url has no value for tenant "999"` + unsent, `error: url: parameter site_url has no value for events without a tenant` + unsent}},
		{"path", config.Action{URL: "http://h/{{site}}/{{body.v}}"}, [4]string{
			"POST /Leeds%20&%20Co/a%2Fb HTTP", "POST /../York/a%2Fb HTTP", "POST /London/a%2Fb HTTP", "POST /London/a%2Fb HTTP"}},
		{"path without default", config.Action{URL: "http://h/{{site_only}}"}, [4]string{
			"POST /two HTTP", "error: url: {{site_only}} is absent or empty, and the path needs a value there; not sent",
			"error: url: {{site_only}} is absent or empty", "error: url: {{site_only}} is absent or empty"}},
		{"value among the event's", config.Action{URL: `http://h/{{site + body.v}}`}, [4]string{
			"POST /Leeds%20%26%20Coa%2Fb HTTP", "error: url: {{site + body.v}} makes a path segment of dots", "POST /Londona%2Fb HTTP", "POST /Londona%2Fb HTTP"}},
		{"query", config.Action{URL: "http://h/?a={{site_only}}", Query: []config.NameValue{{Name: "{{site}}", Value: "{{site}}"}, {Name: "o", Value: "{{site_only}}"}}}, [4]string{
			"POST /?a=two&Leeds%20%26%20Co=Leeds%20%26%20Co&o=two HTTP", "POST /?a=&../York=../York&o= HTTP",
			"POST /?a=&London=London&o= HTTP", "POST /?a=&London=London&o= HTTP"}},
		{"header", config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "X-Site", Value: "{{site}} {{body.v}}"}, {Name: "X-Site", Value: "{{site_only}}"}}}, [4]string{
			"\r\nX-Site: Leeds & Co a/b\r\nX-Site: two\r\n", "\r\nX-Site: ../York a/b\r\nX-Site: \r\n", "\r\nX-Site: London a/b\r\nX-Site: \r\n", "\r\nX-Site: London a/b\r\nX-Site: \r\n"}},
		{"name of a header", config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "{{site_header}}", Value: "{{site_host ?? 'x'}}"}}}, [4]string{
			"\r\nX-Leeds: leeds.lan\r\n", "\r\nHost: york.lan\r\n", "\r\nX-London: x\r\n", "\r\nX-London: x\r\n"}},
		{"name of a header without default", config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "X-{{site_only}}", Value: "1"}}}, [4]string{
			"\r\nX-two: 1\r\n", `error: header X-{{site_only}}: parameter site_only has no value for tenant "300"` + unsent,
			`error: header X-{{site_only}}: parameter site_only has no value for tenant "999"`, `error: header X-{{site_only}}: parameter site_only has no value for events`}},
		{"Host", config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "Host", Value: "{{site_host}}"}}}, [4]string{
			"\r\nHost: leeds.lan\r\n", "\r\nHost: york.lan\r\n",
			`error: header Host: parameter site_host has no value for tenant "999"`, `error: header Host: parameter site_host has no value for events`}},
		{"authorization", config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "Authorization", Value: "Bearer {{site_token}}"}}}, [4]string{
			"\r\nAuthorization: Bearer t0ken/of&leeds\r\n", "\r\nAuthorization: Bearer open\r\n", "\r\nAuthorization: Bearer open\r\n", "\r\nAuthorization: Bearer open\r\n"}},
		{"JSON", config.Action{URL: "http://h/", Body: &config.Body{Kind: config.BodyJSON, Text: `{"a": {{site_json}}, "b": "{{site_cut}}", "v": "{{body.v}}", "q": ["{{site_only}}"]}`}}, [4]string{
			`{"a": {"deep": [true]}, "b": "", "v": "a/b", "q": ["two"]}`, `{"a": "x", "more": "y", "b": "b", "c": "d", "v": "a/b", "q": [""]}`,
			`{"a": 1, "b": "a", "v": "a/b", "q": [""]}`, `{"a": 1, "b": "a", "v": "a/b", "q": [""]}`}},
		{"type decides escaping", config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "Content-Type", Value: "{{site_type}}"}}, Body: &config.Body{Kind: config.BodyRaw, Text: `["{{body.q}}"]`}}, [4]string{
			`["\"<"]`, `["&quot;&lt;"]`, `[""<"]`, `[""<"]`}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := prepare(t, c.action, tenantParameters()...)
			for i, tenant := range []string{"200", "300", "999", ""} {
				request, err := p.Render(tenantEvent(tenant, map[string]any{"v": "a/b", "q": `"<`}), testDelivery)
				if err != nil {
					if want, fails := strings.CutPrefix(c.want[i], "error: "); !fails || !strings.HasPrefix(err.Error(), want) {
						t.Errorf("%q: got error %v, want %s", tenant, err, c.want[i])
					}
					continue
				}
				if got := string(onWire(t, request)); !strings.Contains(got, c.want[i]) {
					t.Errorf("%q: got\n%s\nwant %s", tenant, got, c.want[i])
				}
				if slices.Contains(request.Empty(), "site_only") != (tenant != "200" && strings.Contains(fmt.Sprint(c.action, c.action.Body), "site_only")) {
					t.Errorf("%q: empty are %q", tenant, request.Empty())
				}
			}
		})
	}
}

// A tenant's request is, byte for byte, what it would be if there were that
// tenant's values only.
func TestTenantIsAsIfAlone(t *testing.T) {
	var parameters []config.Parameter
	for _, p := range tenantParameters() {
		if p.HasDefault() && p.Name != "site_url" {
			parameters = append(parameters, p)
		}
	}
	actions := []config.Action{
		{URL: "{{site_api}}", Query: []config.NameValue{{Name: "a{{site}}", Value: "{{site_json}}{{body.v}}"}}},
		{URL: " {{ site_api }}/{{site}}/{{body.v}}?{{site_cut}}={{body.v}}#{{site}}", Headers: []config.NameValue{{Name: "Authorization", Value: "{{site_token}}"}, {Name: "{{site_header}}", Value: "h"}}},
		{URL: "http://{{lower(site_type[:4])}}.lan:8{{len(site_json)}}{{site_cut}}/{{site_type}}/{{body.v}}", Body: &config.Body{Kind: config.BodyRaw, Type: "text/csv", Text: "{{site}}{{site_cut}};{{body.v}}"}},
		{URL: "http://h{{site_cut == '' ? '/' + site : '/x'}}", Headers: []config.NameValue{{Name: "content-type", Value: "{{site_type}}"}, {Name: "X-A", Value: "{{body.v}} {{site_token}}"}, {Name: "x-a", Value: "{{site}}"}},
			Body: &config.Body{Kind: config.BodyRaw, Text: `["{{body.v}}", {{site_json == "1" ? "[]" : "{}"}}]`}},
		{URL: "{{site_api}}", Body: &config.Body{Kind: config.BodyJSON, Text: `{"{{site_type}}": {{site_json}}, "a{{body.v}}": "{{site_cut}}{{body.v}}", {{caller_id}}: [{{body}}]}`}},
	}
	for i, action := range actions {
		// In a host there is no place for the quotes of site_cut.
		use := slices.Clone(parameters)
		if i == 2 {
			use = slices.DeleteFunc(use, func(p config.Parameter) bool { return p.Name == "site_cut" })
			use = append(use, byTenant("site_cut", "0", "200", "", "300", "1"))
		}
		p := prepare(t, action, use...)
		for _, tenant := range []string{"200", "300", "999", "", "200 ", "{{site}}"} {
			var alone []config.Parameter
			for _, parameter := range use {
				if own, listed := parameter.Tenants[tenant]; listed {
					parameter.Value = own
				}
				parameter.Tenants = nil
				alone = append(alone, parameter)
			}
			single := prepare(t, action, alone...)
			if targets := single.Targets(); len(targets) != 1 || !slices.Contains(p.Targets(), targets[0]) {
				t.Errorf("%d: targets are %q, for tenant %q %q", i, p.Targets(), tenant, targets)
			}
			for _, value := range []string{"x", `a/b "<&>`, "é=?#", ".."} {
				event := tenantEvent(tenant, map[string]any{"v": value})
				want, wantErr := single.Render(event, testDelivery)
				got, err := p.Render(event, testDelivery)
				if fmt.Sprint(err) != fmt.Sprint(wantErr) {
					t.Errorf("%d for tenant %q: %v, alone %v", i, tenant, err, wantErr)
				}
				if err != nil || wantErr != nil {
					continue
				}
				if got, want := string(onWire(t, got)), string(onWire(t, want)); got != want {
					t.Errorf("%d for tenant %q: got\n%s\nalone\n%s", i, tenant, got, want)
				}
				if got.URL.Host != want.URL.Host || got.URL.Scheme != want.URL.Scheme || !slices.Equal(got.Empty(), want.Empty()) {
					t.Errorf("%d for tenant %q goes to %s, alone to %s", i, tenant, got.URL.Host, want.URL.Host)
				}
			}
		}
	}
}

// Mistakes in any tenant's values are found at load, and the message says whose.
func TestLoadErrorsByTenant(t *testing.T) {
	many := byTenant("api", "http://h")
	for i := range 1000 {
		many.Tenants[fmt.Sprint(1000+i)] = fmt.Sprintf("{env.gehe im%d}", i)
	}
	secret := byTenant("secret", "x", "200", "{env.gehe im\n}")
	cases := []struct {
		name   string
		action config.Action
		want   string
	}{
		{"no URL", config.Action{URL: "{{api}}/x"}, `action make, url, with api for tenant 200: the URL must begin with http:// or https://, not "{{api}}/x"`},
		{"bad host", config.Action{URL: "http://{{host}}/x"}, "action make, url, with host for tenant 200: with the parameters put in, host and port are not valid"},
		{"bad port", config.Action{URL: "http://h:{{ port }}/x"}, "url, with port for tenants 200, 300: with the parameters put in, host and port are not valid"},
		{"bad default", config.Action{URL: "http://{{secret}}{{odd}}/x"}, "url, with odd, secret for tenant 200 and those without a value of their own: "},
		{"bad default only", config.Action{URL: "http://{{odd}}/x"}, "url, with odd for tenants without a value of their own: "},
		{"event glued to a tenant's", config.Action{URL: "http://{{slash}}{{body.v}}"}, "url, with slash for tenant 200: {{body.v}} comes with the event and may not choose the host or port"},
		{"event after a tenant's fragment", config.Action{URL: "http://h/{{hash}}{{body.v}}"}, "url, with hash for tenant 200: {{body.v}} stands after #"},
		{"many", config.Action{URL: "{{many}}/x"}, "url, with many for tenants 1000, 1001, 1002 and 997 more: the URL must begin with"},
		{"control character", config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "X-A", Value: "a {{secret}}b"}}}, "header X-A, with secret for tenant 200: the value holds a control character"},
		{"name of a header", config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "{{secret}}", Value: "x"}}}, "header {{secret}}, with secret for tenant 200: with the parameters put in, the name of the header is not valid"},
		{"JSON", config.Action{URL: "http://h/", Body: &config.Body{Kind: config.BodyJSON, Text: `{"a": {{json}}}`}}, `body, with json for tenant 200: at character 7: the body is not well-formed JSON: invalid character`},
		{"JSON by its type", config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "Content-Type", Value: "{{media}}"}}, Body: &config.Body{Kind: config.BodyRaw, Text: "{"}}, "body, with media for tenant 200: at character"},
		{"whatever the tenant", config.Action{URL: "{{good}}/x", Headers: []config.NameValue{{Name: "X A", Value: "1"}}}, `action make, header X A: "X A" cannot be the name`},
		{"an expression", config.Action{URL: "{{good}}/{{int(port)}}"}, "url: at character 10: compiling `int(port)`: for tenant 300: `int(port)`: the text is not a number"},
	}
	definitions := []config.Parameter{
		byTenant("api", "http://h", "200", "gehe im", "300", "http://i"), byTenant("host", "h", "200", "a b", "300", "i"),
		byTenant("port", "1", "200", "99999", "300", "x"), byTenant("odd", "a b", "200", "h", "300", "i"), byTenant("slash", "h/", "200", "h", "300", "h/i?"),
		byTenant("hash", "h", "200", "h#"), byTenant("json", "1", "200", "1 2"), byTenant("media", "text/plain", "200", "application/json"),
		byTenant("good", "http://h", "200", "http://i"), secret,
	}
	many.Name = "many"
	definitions = append(definitions, many)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.action.Name, c.action.Place, c.action.Method = "make", "Caddyfile:7", "POST"
			_, err := Compile([]config.Action{c.action}, testLanguage(t, definitions...), Settings{})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "gehe") {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
			if err != nil && strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("more than one error: %v", err)
			}
		})
	}
}

// The secrets of all tenants are hidden, whoever's request it is, and what is
// made of them too.
func TestSecretsOfTenants(t *testing.T) {
	token := byTenant("token", "{env.default-secret}", "200", "{env.leeds-secret}", "300", "{env.york-secret}")
	api := byTenant("api", "http://h", "200", "http://jo:url-password@h")
	p := prepare(t, config.Action{URL: "{{api}}/{{body.echo}}", Headers: []config.NameValue{{Name: "X-A", Value: "{{upper(token)}}"}, {Name: "X-B", Value: "{{token}}"}}}, token, api)
	for _, tenant := range []string{"200", "300", ""} {
		for _, echo := range []string{"leeds-secret", "york-secret", "default-secret", "LEEDS-SECRET", "YORK-SECRET", "DEFAULT-SECRET", "url-password"} {
			request, err := p.Render(tenantEvent(tenant, map[string]any{"echo": echo}), testDelivery)
			if err != nil {
				t.Fatal(err)
			}
			if text := request.String(); strings.Contains(strings.ToLower(text), "secret") || strings.Contains(text, "password") || !strings.Contains(text, "X-B: ***") {
				t.Errorf("%q shows %s", tenant, text)
			}
		}
	}
}

// Variants are made when they are needed, by whoever comes first.
func TestVariantsConcurrently(t *testing.T) {
	p := prepare(t, benchTenantAction, manyTenants(50)...)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 60 {
				e := benchEvent()
				tenant := fmt.Sprint(1000 + i)
				e.Parameters[event.Tenant] = tenant
				want := fmt.Sprintf("10.1.0.%d:8080", i)
				if i >= 50 {
					want = "10.0.0.1:8080"
				}
				if request, err := p.Render(e, testDelivery); err != nil || request.URL.Host != want {
					t.Errorf("tenant %s: %v, %v", tenant, request, err)
				}
			}
		})
	}
	all.Wait()
	if len(p.tenants) != 50 {
		t.Errorf("%d variants are kept", len(p.tenants))
	}
}

// FuzzTenant looks for a tenant, or another value of an event, that names a
// target.
func FuzzTenant(f *testing.F) {
	var prepared []requests
	for _, url := range []string{"{{site_api}}{{ '/' }}{{body.v}}", "http://{{site_host}}:81/{{tenant}}/{{body.v}}", "{{site_url}}?{{tenant}}", "http://{{ upper(site_host ?? 'x') }}/"} {
		prepared = append(prepared, prepare(f, config.Action{URL: url, Headers: []config.NameValue{{Name: "Host", Value: "{{site_host ?? 'fixed'}}"}}}, tenantParameters()...))
	}
	for _, value := range append(hostile, "200", "300", "200/../x", "200@evil", "200.evil", "evil", "site_host", "http://evil", "default", "*") {
		f.Add(value, value)
		f.Add("200", value)
		f.Add(value, "x")
	}
	hosts := []string{"leeds.lan", "york.lan", "fixed"}
	f.Fuzz(func(t *testing.T, tenant, value string) {
		for i, p := range prepared {
			request, err := p.Render(tenantEvent(tenant, map[string]any{"v": value}), testDelivery)
			if err != nil {
				continue
			}
			if target := request.URL.Scheme + "://" + request.URL.Host; !slices.Contains(p.Targets(), target) {
				t.Errorf("%d: goes to %s, configured are %q", i, target, p.Targets())
			}
			got, _ := parsed(t, onWire(t, request))
			if !slices.Contains(hosts, got.Host) || got.URL.Host != "" {
				t.Errorf("%d: says that it goes to %q, %q", i, got.Host, got.URL.Host)
			}
		}
	})
}

// manyTenants are parameters with a value for each of n tenants.
func manyTenants(n int) []config.Parameter {
	site, token := byTenant("site", "10.0.0.1"), byTenant("site_token", "x")
	for i := range n {
		tenant := fmt.Sprint(1000 + i)
		site.Tenants[tenant] = fmt.Sprintf("10.1.%d.%d", i/250, i%250)
		token.Tenants[tenant] = fmt.Sprintf("{env.%.16x}", sha256.Sum256([]byte(tenant)))
	}
	return []config.Parameter{site, token, {Name: "site_api", Value: "http://{{site}}:8080/v1"}}
}

var benchTenantAction = config.Action{
	Method: "POST", URL: "{{site_api}}/folders/{{body.project.id}}", Query: benchAction.Query,
	Headers: []config.NameValue{{Name: "X-Project", Value: "{{body.project.id}}"}, {Name: "Authorization", Value: "Bearer {{site_token}}"}}, Body: benchAction.Body,
}

// BenchmarkTenants is the loading of 20 actions that depend on the tenant, and
// the rendering for the events of many tenants.
func BenchmarkTenants(b *testing.B) {
	for _, n := range []int{0, 1000} {
		definitions := language.Definitions{Parameters: configtest.Resolved(manyTenants(n)...)}
		actions := make([]config.Action, 20)
		for i := range actions {
			actions[i] = benchTenantAction
			actions[i].Name = fmt.Sprint("action", i)
		}
		load := func() []*Set {
			language, err := language.New(definitions)
			if err != nil {
				b.Fatal(err)
			}
			prepared, err := Compile(actions, language, Settings{})
			if err != nil {
				b.Fatal(err)
			}
			return prepared
		}
		b.Run(fmt.Sprintf("load/tenants=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				load()
			}
		})
		b.Run(fmt.Sprintf("render/tenants=%d", n), func(b *testing.B) {
			p := load()[0]
			events := make([]*event.Event, max(n, 1))
			for i := range events {
				events[i] = benchEvent()
				events[i].Parameters[event.Tenant] = fmt.Sprint(1000 + i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := p.Render(events[i%len(events)], testDelivery); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
