package event_test

import (
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

func BenchmarkRecord(b *testing.B) {
	e := eventtest.Typical(b)
	b.ReportAllocs()
	for b.Loop() {
		if len(e.Record()) == 0 {
			b.Fatal("empty")
		}
	}
}

func BenchmarkDecodeRecord(b *testing.B) {
	e := eventtest.Typical(b)
	record := e.Record()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.DecodeRecord(record, e.RawBody); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	for _, test := range []struct{ name, body string }{
		{"typical", eventtest.Body},
		{"long", `[` + strings.Repeat(eventtest.Body+",", 99) + eventtest.Body + `]`},
	} {
		b.Run(test.name, func(b *testing.B) {
			raw := []byte(test.body)
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := event.DecodeJSON(string(raw)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
