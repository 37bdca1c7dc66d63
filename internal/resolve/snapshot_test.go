package resolve_test

import (
	"bytes"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// FuzzSnapshot takes snapshots. One of what was masked already must be the same.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(`{"sources": [{"name": "a", "auth": [{"kind": "standard_webhooks", "values": ["{env.A}"]}]}], "parameters": [{"name": "a", "value": "{{b}}/x"},
		{"name": "b", "value": "{file./a}"}, {"name": "token", "tenants": {"1": "a{{b}}c"}}], "actions": [{"name": "a", "url": "{{a}}/?key=1&b={{token}}",
		"auth": {"kind": "bearer", "value": "x{{token}}"}, "sign": ["x"], "tls": {"ca_files": ["/a"]}, "body": {"kind": "json", "text": "{\"password\": \"x\"}"}}]}`))
	f.Add([]byte(`{"parameters": [{"name": "a", "value": "http://a:b@c/?token=d<key>e</key>"}], "actions": [{"name": "a", "url": "{{a}}", "headers": [{"name": "Cookie", "value": "{{'x'}}{{a}}"}]}]}`))
	f.Add([]byte(`{"queue": {"engine": "postgres", "dsn": "postgres://a:b@c,d/e?password=f&g"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		settings, err := config.Parse(text)
		if err != nil {
			return
		}
		first, err := resolve.Snapshot(settings)
		if err != nil {
			t.Fatal(err)
		}
		masked, err := config.Parse(first)
		if err != nil {
			t.Fatal(err)
		}
		again, err := resolve.Snapshot(masked)
		if err != nil || !bytes.Equal(first, again) {
			t.Errorf("%v; a snapshot of a snapshot is another:\n%s\n%s", err, first, again)
		}
	})
}
