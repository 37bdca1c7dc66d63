package command

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// exported exports actions of the relay's part of a configuration, in JSON.
func exported(t *testing.T, text string, wanted ...string) (string, error) {
	t.Helper()
	settings := new(config.Relay)
	if err := json.Unmarshal([]byte(text), settings); err != nil {
		t.Fatal(err)
	}
	return exportActions(settings, wanted)
}

func TestExportTakesTheParametersThatAreUsed(t *testing.T) {
	text := `{
		"parameters": [{"name": "base", "value": "http://{{host}}/v1"}, {"name": "host", "value": "127.0.0.1"}, {"name": "unused", "value": "x"},
			{"name": "token", "value": "{env.TOKEN}"}, {"name": "key", "tenants": {"100": "a", "200": "{file./run/key}"}}],
		"actions": [{"name": "a", "url": "{{base}}/x", "auth": {"kind": "bearer", "value": "{{token}}"}, "order_by": "key"},
			{"name": "b", "url": "http://127.0.0.1/", "retry_for": -1}]}`
	got, err := exported(t, text, "a")
	if err != nil {
		t.Fatal(err)
	}
	want := `# Actions, to be imported into the event_relay block.

parameter base "http://{{host}}/v1"
parameter host 127.0.0.1
parameter token "{env.TOKEN}"
parameter key {
	tenant 100 a
	tenant 200 "{file./run/key}"
}

action a {
	post "{{base}}/x"
	auth bearer "{{token}}"
	order_by key
}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if _, err := exported(t, text, "c"); err == nil || !strings.Contains(err.Error(), "unknown action c") {
		t.Error(err)
	}
	if _, err := exported(t, `{"actions": [{"name": "a", "url": "x", "rate": {"count": 1, "per": "90s"}}]}`); err == nil ||
		!strings.Contains(err.Error(), "writing rate of action a: a Caddyfile counts by the second, minute or hour, not by 1m30s") {
		t.Error(err)
	}
}
