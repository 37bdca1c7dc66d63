// Package eventtest holds events for the tests and benchmarks of other packages.
package eventtest

import (
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// Body has the length and shape of a status change in a booking system.
const Body = `{"event":"project_status_change","event_id":"0f5b2c9e-7d43-4b0e-9a51-1f2f3c0f7a11","timestamp":1773398518,` +
	`"user":{"id":417,"name":"Zoë Müller","email":"zoe@studio.example"},` +
	`"project":{"id":9007199254740993,"code":"ABC-1042","name":"The \"Long\" Night – Ep. 3","client":"Northern Lights Ltd","depot":"London","budget":12500.50},` +
	`"status":"Approved","previous_status":"Pencil","tags":["drama","4k","hdr"],"services":[{"id":1,"name":"Grade","hours":7.5},{"id":2,"name":"Mix","hours":12}],` +
	`"note":null,"confirmed":true,"path":"/mnt/san/projects/ABC-1042"}`

// Typical returns an event with that body, as it is received.
func Typical(tb testing.TB) *event.Event {
	tb.Helper()
	raw := []byte(Body)
	body, err := event.DecodeJSON(Body)
	if err != nil {
		tb.Fatal(err)
	}
	e := &event.Event{
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
	e.Parameters[event.Tenant] = ""
	e.Parameters[event.Date] = "2026-03-13"
	e.Parameters[event.Time] = "10:41:58"
	e.Parameters[event.UnixTime] = int64(1773398518)
	return e
}

// With returns an event with a decoded body, and the parameters of a call.
func With(body any) *event.Event {
	e := &event.Event{ID: "018f0000-0000-7000-8000-00000000000e", Source: "icfm", Name: "project_created", Body: body}
	e.Parameters[event.CallerID] = "0044 20"
	e.Parameters[event.CallingName] = `Bob "B" Lee`
	e.Parameters[event.Duration] = int64(61)
	return e
}
