package console

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/api"
)

// ask is a request as the guard sees it.
type ask struct {
	peer, host, method string
	api, tls           bool
	header             map[string]string
	// client is whom a trusted proxy names, "-" for nobody. Empty means that
	// there is no trusted proxy.
	client string
	allow  string
	hosts  []string
	// old makes it a request of HTTP/1.0.
	old bool
}

// refusal returns what a guard says to a request, "" if it lets it through.
func (a ask) refusal(t *testing.T) string {
	t.Helper()
	method := a.method
	if method == "" {
		method = http.MethodGet
	}
	r := httptest.NewRequest(method, "/", nil)
	r.RemoteAddr, r.Host = a.peer, a.host
	if a.old {
		r.ProtoMinor = 0
	}
	if a.tls {
		r.TLS = new(tls.ConnectionState)
	}
	for name, value := range a.header {
		r.Header.Set(name, value)
	}
	g := guard{hosts: a.hosts, client: func(r *http.Request) (netip.Addr, bool) {
		address, _ := netip.ParseAddr(a.client)
		return address, a.client != ""
	}}
	if a.allow != "" {
		g.allow = []netip.Prefix{netip.MustParsePrefix(a.allow)}
	}
	err := g.check(r, a.api)
	if err == nil {
		return ""
	}
	if api.AsError(err).Status != http.StatusForbidden {
		t.Errorf("refused with %d", api.AsError(err).Status)
	}
	return err.Error()
}

const near = "127.0.0.1:40000"

func TestGuardLooksAtTheAddress(t *testing.T) {
	const lan = "192.168.1.0/24"
	for name, test := range map[string]struct {
		ask
		want string
	}{
		"this machine":                  {ask: ask{peer: near}},
		"this machine by IPv6":          {ask: ask{peer: "[::1]:40000"}},
		"any loopback address":          {ask: ask{peer: "127.8.9.10:1"}},
		"mapped into IPv6":              {ask: ask{peer: "[::ffff:127.0.0.1]:40000"}},
		"another machine":               {ask: ask{peer: "192.168.1.20:40000"}, want: "it is open to this machine only, and you are 192.168.1.20; to open it to you, add to event_relay_console: allow 192.168.1.20"},
		"another by IPv6":               {ask: ask{peer: "[fe80::1%eth0]:40000"}, want: "allow fe80::1"},
		"unspecified":                   {ask: ask{peer: "0.0.0.0:1"}, want: "allow 0.0.0.0"},
		"a Unix socket":                 {ask: ask{peer: "@"}, want: "no IP address"},
		"allowed":                       {ask: ask{peer: "192.168.1.20:40000", allow: lan}},
		"allowed, mapped into IPv6":     {ask: ask{peer: "[::ffff:192.168.1.20]:40000", allow: lan}},
		"not the one that is allowed":   {ask: ask{peer: "192.168.2.20:40000", allow: lan}, want: "allow 192.168.2.20"},
		"allowed does not shut out":     {ask: ask{peer: near, allow: lan}},
		"trusted proxy for near":        {ask: ask{peer: near, client: "127.0.0.1"}},
		"trusted proxy for far":         {ask: ask{peer: near, client: "203.0.113.9"}, want: "allow 203.0.113.9"},
		"trusted proxy for allowed":     {ask: ask{peer: near, client: "192.168.1.20", allow: lan}},
		"trusted proxy for nobody":      {ask: ask{peer: near, client: "-"}, want: "does not say who asks"},
		"a client that names itself":    {ask: ask{peer: near, client: "127.0.0.1", header: map[string]string{"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}}, want: "allow 203.0.113.9"},
		"a chain of near ones":          {ask: ask{peer: near, client: "127.0.0.1", header: map[string]string{"X-Forwarded-For": "127.0.0.1,::1"}}},
		"a chain with nonsense":         {ask: ask{peer: near, client: "127.0.0.1", header: map[string]string{"X-Forwarded-For": "unknown"}}, want: "no address"},
		"a proxy that is not allowed":   {ask: ask{peer: "10.0.0.1:1", client: "192.168.1.20", allow: lan}, want: "allow 10.0.0.1"},
		"a proxy that is not trusted":   {ask: ask{peer: near, header: map[string]string{"X-Forwarded-For": "127.0.0.1"}}, want: "trusted_proxies"},
		"the same, by its other header": {ask: ask{peer: near, header: map[string]string{"Forwarded": "for=127.0.0.1"}}, want: "trusted_proxies"},
		"nginx as people set it up":     {ask: ask{peer: near, header: map[string]string{"X-Real-IP": "203.0.113.9"}}, want: "trusted_proxies"},
		"nginx as it comes":             {ask: ask{peer: near, old: true}, want: "HTTP/1.0"},
		"nginx that is trusted":         {ask: ask{peer: near, old: true, client: "127.0.0.1"}},
		"a proxy that names itself":     {ask: ask{peer: near, header: map[string]string{"Via": "1.1 cache"}}, want: "trusted_proxies"},
		"one that names its own site":   {ask: ask{peer: near, header: map[string]string{"X-Forwarded-Host": "relay.example"}}, want: "trusted_proxies"},
	} {
		t.Run(name, func(t *testing.T) {
			test.host = "localhost:8090"
			checkRefusal(t, test.ask, test.want)
		})
	}
}

func TestGuardLooksAtTheHost(t *testing.T) {
	names := []string{"relay.lan", "192.168.1.5", "[fd00::5]", "Console.Example."}
	for _, host := range []string{
		"localhost", "localhost:8090", "LocalHost:8090", "localhost.", "localhost.:8090", "127.0.0.1", "127.0.0.1:80", "127.1.2.3:8090",
		"[::1]", "[::1]:8090", "[0:0:0:0:0:0:0:1]:8090", "[::ffff:127.0.0.1]:8090",
	} {
		checkRefusal(t, ask{peer: near, host: host}, "")
		checkRefusal(t, ask{peer: near, host: host, hosts: names}, "")
	}
	for _, host := range []string{"relay.lan:8090", "RELAY.lan", "relay.lan.", "192.168.1.5:8090", "[fd00:0::5]:8090", "console.example"} {
		checkRefusal(t, ask{peer: near, host: host, hosts: names}, "")
		checkRefusal(t, ask{peer: near, host: host}, "add to event_relay_console: hosts ")
	}
	// A site that gives its own name the address of this machine.
	for _, host := range []string{
		"evil.example", "evil.example:8090", "localhost.evil.example", "evil.localhost", "127.0.0.1.evil.example", "127.0.0.1@evil.example",
		"0.0.0.0", "[::]", "10.0.0.1", "localhost:8090:1", "localhost..", "relay.lan.evil.example", "xrelay.lan", "127.1", "2130706433", "[::1", " localhost",
	} {
		checkRefusal(t, ask{peer: near, host: host, hosts: names}, "add to event_relay_console: hosts ")
	}
	for _, host := range []string{"", ":8090", ".", "[]"} {
		checkRefusal(t, ask{peer: near, host: host, hosts: []string{""}}, "names no host")
	}
}

func TestGuardLooksAtTheOrigin(t *testing.T) {
	const (
		page    = "http://localhost:8090"
		foreign = "another page"
		unsaid  = "does not say which page it comes from"
	)
	header := func(pairs ...string) map[string]string {
		h := make(map[string]string)
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = pairs[i+1]
		}
		return h
	}
	for name, test := range map[string]struct {
		ask
		want string
	}{
		"page, from a link elsewhere":    {ask: ask{header: header("Sec-Fetch-Site", "cross-site")}},
		"read, by a program":             {ask: ask{api: true}},
		"read, by the page":              {ask: ask{api: true, header: header("Sec-Fetch-Site", "same-origin")}},
		"read, typed in":                 {ask: ask{api: true, header: header("Sec-Fetch-Site", "none")}},
		"read, by another site":          {ask: ask{api: true, header: header("Sec-Fetch-Site", "cross-site")}, want: foreign},
		"read, by another port":          {ask: ask{api: true, header: header("Sec-Fetch-Site", "same-site")}, want: foreign},
		"read, by an old browser":        {ask: ask{api: true, header: header("Origin", "http://evil.example")}, want: foreign},
		"read, from a sandbox":           {ask: ask{api: true, header: header("Origin", "null")}, want: foreign},
		"head, by another site":          {ask: ask{method: http.MethodHead, api: true, header: header("Sec-Fetch-Site", "cross-site")}, want: foreign},
		"change, by the page":            {ask: ask{method: http.MethodPost, api: true, header: header("Sec-Fetch-Site", "same-origin", "Origin", page)}},
		"change, browser on a plain LAN": {ask: ask{method: http.MethodPost, api: true, header: header("Origin", page)}},
		"change, capital letters":        {ask: ask{method: http.MethodPost, api: true, header: header("Origin", "http://LOCALHOST:8090")}},
		"change, nothing said":           {ask: ask{method: http.MethodPost, api: true}, want: unsaid},
		"change, by another site":        {ask: ask{method: http.MethodPost, api: true, header: header("Sec-Fetch-Site", "cross-site", "Origin", "http://evil.example")}, want: foreign},
		"change, by another port":        {ask: ask{method: http.MethodPost, api: true, header: header("Sec-Fetch-Site", "same-site", "Origin", "http://localhost:3000")}, want: foreign},
		"change, another port, old":      {ask: ask{method: http.MethodPost, api: true, header: header("Origin", "http://localhost:3000")}, want: foreign},
		"change, from a sandbox":         {ask: ask{method: http.MethodPost, api: true, header: header("Origin", "null")}, want: foreign},
		"change, navigated to":           {ask: ask{method: http.MethodPost, api: true, header: header("Sec-Fetch-Site", "none")}, want: foreign},
		"change, says both":              {ask: ask{method: http.MethodPost, api: true, header: header("Sec-Fetch-Site", "cross-site", "Origin", page)}, want: foreign},
		"change, another scheme":         {ask: ask{method: http.MethodPost, api: true, tls: true, header: header("Origin", page)}, want: foreign},
		"change, by TLS":                 {ask: ask{method: http.MethodPost, api: true, tls: true, header: header("Origin", "https://localhost:8090")}},
		"change, outside of the API":     {ask: ask{method: http.MethodPost, header: header("Origin", "http://evil.example")}, want: foreign},
	} {
		t.Run(name, func(t *testing.T) {
			test.peer, test.host = near, "localhost:8090"
			checkRefusal(t, test.ask, test.want)
		})
	}
}

func checkRefusal(t *testing.T, a ask, want string) {
	t.Helper()
	switch got := a.refusal(t); {
	case want == "" && got != "":
		t.Errorf("%+v is refused: %s", a, got)
	case want != "" && !strings.Contains(got, want):
		t.Errorf("%+v: the refusal is %q, want one that says %q", a, got, want)
	}
}

func TestCheckHost(t *testing.T) {
	for _, name := range []string{"relay.lan", "relay", "192.168.1.5", "fd00::5", "[fd00::5]", "xn--bcher-kva.example", "a_b.example."} {
		if err := CheckHost(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "*", "*.lan", "http://relay.lan", "relay.lan:8090", "bücher.example", "a b", "{host}"} {
		if CheckHost(name) == nil {
			t.Errorf("%q can be a host", name)
		}
	}
}
