package preset_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/preset"
)

func TestPresetEvents(t *testing.T) {
	for _, test := range []struct {
		preset           string
		count, described int
		first, last      string
		names            string // beginning of the SHA-256 of the names, one a line
	}{
		{"icfm", 51, 18, "allocation_change", "sundry_saved", "f1bab362cf6a4f4b"},
		{"pbxware", 9, 0, "incoming_call", "event_call_finished", "0ec2794e48c8b56c"},
	} {
		events := eventsOf(test.preset)
		if len(events) != test.count {
			t.Fatalf("%s has %d events, want %d", test.preset, len(events), test.count)
		}
		var all strings.Builder
		seen := map[string]bool{}
		for i, event := range events {
			if seen[event.Name] || event.Name != names.Normal(event.Name) {
				t.Errorf("%s: name %q is given twice or not in normal form", test.preset, event.Name)
			}
			seen[event.Name] = true
			if described := event.Description != ""; described != (i < test.described) {
				t.Errorf("%s: %s has description %q", test.preset, event.Name, event.Description)
			}
			all.WriteString(event.Name + "\n")
		}
		if events[0].Name != test.first || events[len(events)-1].Name != test.last {
			t.Errorf("%s begins with %s and ends with %s", test.preset, events[0].Name, events[len(events)-1].Name)
		}
		if sum := sha256.Sum256([]byte(all.String())); hex.EncodeToString(sum[:])[:16] != test.names {
			t.Errorf("the names of %s have changed: %x", test.preset, sum[:8])
		}
		events[0].Name = "changed"
		if eventsOf(test.preset)[0].Name != test.first {
			t.Errorf("a change of the result changed the catalogue of %s", test.preset)
		}
	}
	if eventsOf("none") != nil {
		t.Error("a preset that does not exist has events")
	}
	for _, preset := range preset.Names() {
		if eventsOf(preset) == nil {
			t.Errorf("preset %s has no events", preset)
		}
	}
}

func eventsOf(name string) []event.Type {
	p, _ := preset.Named(name)
	return p.Events
}
