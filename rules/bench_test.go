package rules

import (
	"fmt"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/config/configtest"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// newLanguage makes a language. Its parameters are resolved: the value {env.VALUE} is
// the secret VALUE.
func newLanguage(tb testing.TB, definitions language.Definitions) *language.Language {
	tb.Helper()
	definitions.Parameters = configtest.Resolved(definitions.Parameters...)
	l, err := language.New(definitions)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func BenchmarkDecide(b *testing.B) {
	for _, count := range []int{1, 1000} {
		b.Run(fmt.Sprintf("rules=%d", count), func(b *testing.B) {
			events := []event.Type{{Name: "project_status_change"}}
			rules := []config.Rule{{Place: "f:1", Events: []string{"project_status_change"}, When: []string{`body.status in ["Approved", "Confirmed"]`}, Do: []string{"a"}}}
			for i := range count - 1 {
				name := fmt.Sprintf("event_%d", i)
				events = append(events, event.Type{Name: name})
				rules = append(rules, config.Rule{Place: "f:2", Events: []string{name}, When: []string{`body.status == "x"`}, Do: []string{"a"}})
			}
			l := newLanguage(b, language.Definitions{})
			s, err := New(l, []Source{{Name: "icfm", Events: events}}, rules, []string{"a"})
			if err != nil {
				b.Fatal(err)
			}
			e := eventtest.Typical(b)
			b.ReportAllocs()
			for b.Loop() {
				if v := s.Decide(l.Bind(e)); v.Decision != Act {
					b.Fatal(v)
				}
			}
		})
	}
}

// BenchmarkDecideIgnored is for an event of which no condition holds.
func BenchmarkDecideIgnored(b *testing.B) {
	for _, secrets := range []bool{false, true} {
		b.Run(fmt.Sprintf("secrets=%t", secrets), func(b *testing.B) {
			var definitions language.Definitions
			if secrets {
				definitions.Parameters = []config.Parameter{{Name: "hidden", Value: "{env.h1dden-value}"}}
			}
			l := newLanguage(b, definitions)
			s, err := New(l, []Source{{Name: "icfm", Events: []event.Type{{Name: "project_status_change"}}}},
				[]config.Rule{{Place: "Caddyfile:12", Events: []string{"project_status_change"}, When: []string{`body.status in ["Confirmed", "Won"]`}, Do: []string{"a"}}}, []string{"a"})
			if err != nil {
				b.Fatal(err)
			}
			e := eventtest.Typical(b)
			b.ReportAllocs()
			for b.Loop() {
				if v := s.Decide(l.Bind(e)); v.Decision != Ignored {
					b.Fatal(v)
				}
			}
		})
	}
}
