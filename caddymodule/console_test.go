package caddymodule

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestConsoleIsProvisioned loads consoles as JSON, which no Caddyfile has
// checked.
func TestConsoleIsProvisioned(t *testing.T) {
	const relay = `"event_relay": {"sources": [{"name": "icfm", "preset": "icfm", "auth": [{"kind": "none"}]}]},`
	for _, test := range []struct{ name, relay, console, want string }{
		{"as it is", relay, `{}`, ""},
		{"opened", relay, `{"path": "/console", "allow": ["private_ranges", "10.0.0.1"], "hosts": ["relay.lan"]}`, ""},
		{"without a relay", "", `{}`, "no event_relay block among the global options, which the console could show"},
		{"a wrong network", relay, `{"allow": ["lan"]}`, `reading allow: "lan" is neither a network`},
		{"a wrong host", relay, `{"hosts": ["http://relay.lan"]}`, `reading hosts: "http://relay.lan" is no host name`},
		{"a setting that is not known", relay, `{"password": "x"}`, `unknown field "password"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			handler := strings.Replace(test.console, "{", `{"handler": "event_relay_console", `, 1)
			handler = strings.Replace(handler, ", }", "}", 1)
			var config caddy.Config
			err := json.Unmarshal([]byte(`{"admin": {"disabled": true}, "apps": {`+test.relay+
				`"http": {"servers": {"srv0": {"listen": [":0"], "routes": [{"handle": [`+handler+`]}]}}}}}`), &config)
			if err != nil {
				t.Fatal(err)
			}
			err = caddy.Validate(&config)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error is %v, want %q", err, test.want)
			}
		})
	}
}

// TestClientOf: an address counts only if Caddy trusts whoever named it.
func TestClientOf(t *testing.T) {
	for _, test := range []struct {
		trusted bool
		address string
		want    netip.Addr
	}{
		{false, "203.0.113.9", netip.MustParseAddr("203.0.113.9")},
		{true, "203.0.113.9", netip.MustParseAddr("203.0.113.9")},
		{true, "", netip.Addr{}},
		{true, "unknown", netip.Addr{}},
	} {
		vars := map[string]any{caddyhttp.TrustedProxyVarKey: test.trusted, caddyhttp.ClientIPVarKey: test.address}
		request := httptest.NewRequest("GET", "/", nil)
		request = request.WithContext(context.WithValue(request.Context(), caddyhttp.VarsCtxKey, vars))
		if address, trusted := clientOf(request); address != test.want || trusted != test.trusted {
			t.Errorf("%+v: got %v, %v", test, address, trusted)
		}
	}
}

// TestConsoleIsInADirectory: behind handle_path the page does not see where it
// is, and its parts are named relative to it.
func TestConsoleIsInADirectory(t *testing.T) {
	page := &Console{consoleState: consoleState{handler: http.NotFoundHandler()}}
	for _, test := range []struct{ asked, left, want string }{
		{"/relay", "/", "/relay/"},
		{"/a/b%20c?x=1", "/", "/a/b%20c/"},
		{"//evil.example", "/", "//evil.example/"},
		{"/relay/", "/", ""},
		{"/relay/js/main.js", "/js/main.js", ""},
		{"/", "/", ""},
	} {
		original := httptest.NewRequest("GET", "http://localhost"+test.asked, nil)
		request := original.WithContext(context.WithValue(original.Context(), caddyhttp.OriginalRequestCtxKey, *original))
		request.URL = &url.URL{Path: test.left}
		answer := httptest.NewRecorder()
		must(t, page.ServeHTTP(answer, request, nil))
		location := answer.Header().Get("Location")
		if location != "" {
			target, err := original.URL.Parse(location)
			must(t, err)
			if target.Host != "localhost" {
				t.Errorf("%s leads to %s", test.asked, target)
			}
			location = target.EscapedPath()
		}
		if location != test.want {
			t.Errorf("%s leads to %q, want %q", test.asked, location, test.want)
		}
	}
}
