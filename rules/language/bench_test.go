package language

import (
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/config/configtest"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"testing"
)

func typicalDefinitions() Definitions {
	return Definitions{
		Sources: []Source{{Name: "icfm", Fields: []string{"order_id"}}, {Name: "pbx"}},
		Parameters: []config.Parameter{
			{Name: "studio_api", Value: "http://192.168.1.20:8080"},
			{Name: "approved", Value: "Approved"},
		},
	}
}

// newLanguage makes a language. Its parameters are resolved: the value {env.VALUE} is
// the secret VALUE.
func newLanguage(tb testing.TB, definitions Definitions) *Language {
	tb.Helper()
	definitions.Parameters = configtest.Resolved(definitions.Parameters...)
	l, err := New(definitions)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func compile(tb testing.TB, l *Language, source string) *Expression {
	tb.Helper()
	x, err := l.Compile(source)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// sink keeps what is bound alive, so that its memory is counted.
var sink *Bound

func BenchmarkEvaluate(b *testing.B) {
	l := newLanguage(b, typicalDefinitions())
	e := eventtest.Typical(b)
	for _, test := range []struct{ name, source string }{
		{"in", `body.status in ["Approved", "Confirmed"]`},
		{"equal", `body.status == approved`},
		{"and", `body.status == "Approved" and body.project.depot == "London" and body.previous_status != "Approved"`},
		{"absent", `caller_id != "anonymous"`},
		{"number", `body.project.budget > 10000`},
		{"any", `any(body.services, .hours > 10)`},
		{"matches", `body.project.code matches "^ABC-[0-9]+$"`},
		{"reference", `body.project.id`},
		{"constant", `studio_api + "/folders"`},
	} {
		b.Run(test.name, func(b *testing.B) {
			x := compile(b, l, test.source)
			bound := l.Bind(e)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bound.Evaluate(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBind(b *testing.B) {
	l := newLanguage(b, typicalDefinitions())
	e := eventtest.Typical(b)
	b.ReportAllocs()
	for b.Loop() {
		sink = l.Bind(e)
	}
}

func BenchmarkCompile(b *testing.B) {
	l := newLanguage(b, typicalDefinitions())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Compile(`body.status in ["Approved", "Confirmed"] and caller_id != "anonymous"`); err != nil {
			b.Fatal(err)
		}
	}
}
