package template

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// A URL whose address is known can be refused before anything is sent.
func TestConstantTargets(t *testing.T) {
	site := config.Parameter{Name: "site", Value: "http://8.8.8.8"}
	for _, c := range []struct {
		targets, url string
		more         []config.Parameter
		want         string // "" for allowed
	}{
		{"", "http://192.168.1.20/{{caller_id}}", nil, ""},
		{"", "http://localhost:8080/", nil, ""},
		{"", "http://app.localhost/", nil, ""},
		{"", "http://nas.lan/", nil, ""},
		{"", "http://www.example.com/", nil, ""},
		{"8.8.8.8", "http://8.8.8.8/", nil, ""},
		{"::1", "http://localhost/", nil, ""},
		{"mail.example.com", "http://mail.example.com./", nil, ""},
		{"mail.example.com", "http://base-url.invalid/", nil, ""},
		{"", "http://8.8.8.8/{{caller_id}}", nil, "action test, url: the target 8.8.8.8 is not among the targets that actions may call, at Caddyfile:7\nto allow what is not among the targets, write in event_relay: targets 8.8.8.8 private_ranges loopback"},
		{"", "https://[2001:db8::7]:8443/", nil, "write in event_relay: targets 2001:db8::7 private_ranges loopback"},
		{"", "http://[::ffff:8.8.8.8]/", nil, "write in event_relay: targets 8.8.8.8 private_ranges loopback"},
		{"", "{{site}}/x", []config.Parameter{site}, "the target 8.8.8.8 is not among"},
		{"", "{{site}}/x", []config.Parameter{byTenant("site", "http://10.0.0.1", "200", "http://9.9.9.9")}, "the target 9.9.9.9 is not among"},
		{"mail.example.com", "http://www.example.com/", nil, "targets www.example.com mail.example.com"},
		{"203.0.113.0/24", "http://localhost/", nil, "the target localhost ("},
		{"0.0.0.0/0 ::/0", "http://169.254.169.254/", nil, "the target 169.254.169.254 is a metadata address, which is always refused"},
		{"0.0.0.0/0 ::/0", "http://[fe80::1%25eth0]/", nil, "is a link-local address, which is always refused"},
		{"", "http://localhost:2019/", nil, "is Caddy's own admin endpoint, which is always refused"},
		{"", "http://0.0.0.0:2019/", nil, "is Caddy's own admin endpoint, which is always refused"},
	} {
		words := strings.Fields(c.targets)
		if len(words) == 0 {
			words = config.DefaultTargets
		}
		targets, err := send.NewTargets(words, netip.MustParseAddrPort("127.0.0.1:2019"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Compile([]config.Action{{Name: "test", Place: "Caddyfile:7", Method: "POST", URL: c.url}}, testLanguage(t, c.more...), Settings{Targets: targets})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %s: got %v\nwant %s", c.targets, c.url, err, c.want)
		}
		if err != nil && strings.Contains(c.want, "always refused") && strings.Contains(err.Error(), "to allow") {
			t.Errorf("%s: a remedy that is none: %v", c.url, err)
		}
	}
}
