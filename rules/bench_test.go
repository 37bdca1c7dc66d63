package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// typicalBody has the length and shape of a status change in a booking system.
const typicalBody = `{"event":"project_status_change","event_id":"0f5b2c9e-7d43-4b0e-9a51-1f2f3c0f7a11","timestamp":1773398518,` +
	`"user":{"id":417,"name":"Zoë Müller","email":"zoe@studio.example"},` +
	`"project":{"id":9007199254740993,"code":"ABC-1042","name":"The \"Long\" Night – Ep. 3","client":"Northern Lights Ltd","depot":"London","budget":12500.50},` +
	`"status":"Approved","previous_status":"Pencil","tags":["drama","4k","hdr"],"services":[{"id":1,"name":"Grade","hours":7.5},{"id":2,"name":"Mix","hours":12}],` +
	`"note":null,"confirmed":true,"path":"/mnt/san/projects/ABC-1042"}`

func typicalEvent(tb testing.TB) *Event {
	tb.Helper()
	raw := []byte(typicalBody)
	body, err := DecodeJSON(raw)
	if err != nil {
		tb.Fatal(err)
	}
	e := &Event{
		ID:       "0195903e-3c5c-7bd0-9d0c-6a9f2f4f2f11",
		Source:   "icfm",
		Name:     "project_status_change",
		Received: time.Date(2026, 3, 13, 10, 41, 58, 0, time.UTC),
		Method:   "POST",
		Path:     "/listen.php",
		IP:       "203.0.113.9",
		Query:    map[string][]string{"site": {"london"}},
		Headers: map[string][]string{
			"Content-Type":    {"application/json"},
			"User-Agent":      {"Go-http-client/1.1"},
			"Accept-Encoding": {"gzip"},
			"Content-Length":  {"612"},
			"X-Request-Id":    {"5b0f1a1e-77d4"},
			"Accept":          {"*/*"},
		},
		RawBody:   raw,
		Body:      body,
		BodyIsRaw: true,
	}
	e.Parameters[Tenant] = ""
	e.Parameters[Date] = "2026-03-13"
	e.Parameters[Time] = "10:41:58"
	e.Parameters[UnixTime] = int64(1773398518)
	return e
}

func typicalDefinitions() Definitions {
	return Definitions{
		Sources: []Source{
			{Name: "icfm", Events: PresetEvents("icfm"), Fields: []string{"order_id"}},
			{Name: "pbx", Events: PresetEvents("pbxware")},
		},
		Parameters: []CustomParameter{
			{Name: "studio_api", Value: "http://192.168.1.20:8080"},
			{Name: "approved", Value: "Approved"},
		},
	}
}

func newLanguage(tb testing.TB, definitions Definitions) *Language {
	tb.Helper()
	l, err := NewLanguage(definitions)
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

func BenchmarkEvaluate(b *testing.B) {
	l := newLanguage(b, typicalDefinitions())
	e := typicalEvent(b)
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

// sink keeps what is bound alive, so that its memory is counted.
var sink *Bound

func BenchmarkBind(b *testing.B) {
	l := newLanguage(b, typicalDefinitions())
	e := typicalEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		sink = l.Bind(e)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, count := range []int{1, 1000} {
		b.Run(fmt.Sprintf("rules=%d", count), func(b *testing.B) {
			events := []EventType{{Name: "project_status_change"}}
			rules := []Rule{{Place: "f:1", Events: []string{"project_status_change"}, When: []string{`body.status in ["Approved", "Confirmed"]`}, Do: []string{"a"}}}
			for i := range count - 1 {
				name := fmt.Sprintf("event_%d", i)
				events = append(events, EventType{Name: name})
				rules = append(rules, Rule{Place: "f:2", Events: []string{name}, When: []string{`body.status == "x"`}, Do: []string{"a"}})
			}
			l := newLanguage(b, Definitions{Sources: []Source{{Name: "icfm", Events: events}}})
			s, err := l.NewRuleset(rules, []string{"a"})
			if err != nil {
				b.Fatal(err)
			}
			e := typicalEvent(b)
			b.ReportAllocs()
			for b.Loop() {
				if v := s.Decide(l.Bind(e)); v.Decision != Act {
					b.Fatal(v)
				}
			}
		})
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

func BenchmarkRecord(b *testing.B) {
	e := typicalEvent(b)
	b.ReportAllocs()
	for b.Loop() {
		if len(e.Record()) == 0 {
			b.Fatal("empty")
		}
	}
}

func BenchmarkDecodeRecord(b *testing.B) {
	e := typicalEvent(b)
	record := e.Record()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeRecord(record, e.RawBody); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	for _, test := range []struct{ name, body string }{
		{"typical", typicalBody},
		{"long", `[` + strings.Repeat(typicalBody+",", 99) + typicalBody + `]`},
	} {
		b.Run(test.name, func(b *testing.B) {
			raw := []byte(test.body)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := DecodeJSON(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
