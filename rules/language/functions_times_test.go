package language

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

func zoneCalled(t *testing.T, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

// TestTimesOfTheRelay: what is shown without a zone is in the zone of the relay, and
// texts without one are in that of their source.
func TestTimesOfTheRelay(t *testing.T) {
	received := time.Date(2026, 7, 15, 22, 40, 0, 0, time.UTC)
	l := newLanguage(t, Definitions{
		Timezone: zoneCalled(t, "Europe/London"),
		Now:      func() time.Time { return received.Add(time.Hour) },
		Sources:  []Source{{Name: "here"}, {Name: "york", Timezone: zoneCalled(t, "America/New_York")}},
	})
	for _, test := range []struct{ source, expression, want string }{
		{"here", `received`, "2026-07-15T23:40:00+01:00"},
		{"york", `string(received)`, "2026-07-15T23:40:00+01:00"},
		{"here", `received.Weekday()`, "Wednesday"},
		{"here", `string(received.Hour())`, "23"},
		{"here", `string(received.In(timezone("UTC")).Hour())`, "22"},
		{"here", `string(now())`, "2026-07-16T00:40:00+01:00"},
		{"here", `now().Weekday()`, "Thursday"},
		{"here", `string(now(timezone("UTC")))`, "2026-07-15T23:40:00Z"},
		{"here", `string(now() - received)`, "1h0m0s"},
		{"here", `format_time(received, "15:04 MST")`, "23:40 BST"},
		{"york", `format_time(received, "15:04 MST")`, "23:40 BST"},
		{"here", `format_time(received, "15:04 MST", "UTC")`, "22:40 UTC"},
		{"here", `format_time(1784112000, "15:04 MST")`, "11:40 BST"},
		{"here", `format_time("2026-07-15T09:00:00Z", "15:04 MST")`, "10:00 BST"},
		{"here", `format_time("2026-07-15 09:00", "15:04 MST")`, "09:00 BST"},
		{"york", `format_time("2026-07-15 09:00", "15:04 MST")`, "09:00 EDT"},
		{"here", `string(date("2026-07-15 09:00"))`, "2026-07-15T09:00:00+01:00"},
		{"york", `string(date("2026-07-15 09:00"))`, "2026-07-15T09:00:00-04:00"},
		{"unknown", `string(date("2026-07-15 09:00"))`, "2026-07-15T09:00:00+01:00"},
	} {
		x, err := l.Compile(test.expression)
		if err != nil {
			t.Errorf("`%s`: %v", test.expression, err)
			continue
		}
		if got, err := l.Bind(&event.Event{Source: test.source, Received: received}).Evaluate(x); err != nil || got != test.want {
			t.Errorf("`%s` of %s gives %v, %v; want %s", test.expression, test.source, got, err, test.want)
		}
	}
}

// TestTimesOfSources: texts without a zone are in the zone of the event's source.
func TestTimesOfSources(t *testing.T) {
	l := newLanguage(t, Definitions{Sources: []Source{
		{Name: "london", Timezone: zoneCalled(t, "Europe/London")}, {Name: "york", Timezone: zoneCalled(t, "America/New_York")},
		{Name: "berlin", Timezone: zoneCalled(t, "Europe/Berlin")}, {Name: "utc"},
	}})
	for _, test := range []struct{ source, expression, want string }{
		{"york", `format_time("2026-07-15 09:00:00", "Mon 02.01.2006 15:04 MST", "America/New_York")`, "Wed 15.07.2026 09:00 EDT"},
		{"york", `format_time("2026-07-15", "Mon 02.01.2006", "America/New_York")`, "Wed 15.07.2026"},
		{"york", `format_time(date + " " + time, "15:04 MST", "America/New_York")`, "10:40 EDT"},
		{"york", `format_time("2026-07-15 09:00", "15:04 MST", "UTC")`, "13:00 UTC"},
		{"york", `format_time("2026-07-15 09:00", "15:04 MST")`, "09:00 EDT"},
		{"berlin", `format_time("2026-07-15", "2006-01-02")`, "2026-07-15"},
		{"berlin", `format_time("2026-07-15", "2006-01-02", "America/New_York")`, "2026-07-15"},
		{"berlin", `string(date("2026-07-15 09:00"))`, "2026-07-15T09:00:00+02:00"},
		{"utc", `string(date("2026-07-15 09:00"))`, "2026-07-15T09:00:00Z"},
		{"unknown", `string(date("2026-07-15 09:00"))`, "2026-07-15T09:00:00Z"},
		{"berlin", `string(date("15.7.2026 09:00", "2.1.2006 15:04"))`, "2026-07-15T09:00:00+02:00"},
		{"berlin", `string(date("15.7.2026 09:00", "2.1.2006 15:04", "Asia/Tokyo"))`, "2026-07-15T09:00:00+09:00"},
		{"berlin", `string(date("2026-07-15 07:30") < date("2026-07-15T06:00:00Z"))`, "true"},
		{"london", `format_time(time, "3:04 PM", "Europe/London")`, "10:40 AM"},
		{"london", `format_time(time, "15:04", "Europe/Berlin")`, "11:40"},
		{"london", `format_time(time, "15:04:05 MST")`, "10:40:00 BST"},
		{"london", `string(date(time, "15:04:05", "Europe/Amsterdam"))`, "2026-07-15T10:40:00+02:00"},
		{"london", `string(date(time, "15:04:05"))`, "2026-07-15T10:40:00+01:00"},
		{"london", `string(date("Wed 15 Jul 2026 10:41 BST", "Mon 2 Jan 2006 15:04 MST"))`, "2026-07-15T10:41:00+01:00"},
		{"utc", `string(date("Wed 15 Jul 2026 10:41 CEST", "Mon 2 Jan 2006 15:04 MST"))`, "2026-07-15T10:41:00+02:00"},
		{"utc", `string(date("Wed 15 Jul 2026 10:41 BST", "Mon 2 Jan 2006 15:04 MST"))`, "error: several zones"},
		{"utc", `format_time("Wed, 15 Jul 2026 10:41:58 BST", "15:04")`, "error: set the timezone of the source"},
		{"utc", `format_time("07/08/2026", "15:04")`, "error: date(text, layout)"},
		{"utc", `string(date("07/08/2026", "02/01/2006").Month())`, "8"},
		{"london", `format_time("1784112000", "15:04")`, "10:40"},
	} {
		e := &event.Event{Source: test.source, Received: time.Date(2026, 7, 16, 1, 0, 0, 0, time.UTC)}
		e.Parameters[event.Date], e.Parameters[event.Time] = "2026-07-15", "10:40:00"
		x, err := l.Compile(strings.ReplaceAll(test.expression, `format_time("`, `format_time(body ?? "`))
		if err != nil {
			t.Errorf("`%s`: %v", test.expression, err)
			continue
		}
		got, err := l.Bind(e).Evaluate(x)
		if wanted, isError := strings.CutPrefix(test.want, "error: "); isError {
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), `"02/01/2006"`, "layout"), wanted) {
				t.Errorf("`%s` of %s gives %v, %v; want error %q", test.expression, test.source, got, err, wanted)
			}
			continue
		}
		if err != nil || got != test.want {
			t.Errorf("`%s` of %s gives %v, %v; want %s", test.expression, test.source, got, err, test.want)
		}
	}
}

// TestOneOrMany: list() takes what senders write as a list only when there are
// several, and messages name it.
func TestOneOrMany(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for source, want := range map[string]any{
		`any(list(body.items), .n == 2)`: true, `any(list(body.object), .a == 1)`: true, `list(body.text)[0]`: "Ärger", `len(list(body.nope))`: int64(0), `any(list(body.nope), true)`: false,
		`len(list(body.list))`: int64(3), `len(list(query))`: int64(1), `list(body.object).a`: nil,
	} {
		if got, _, err := evaluate(t, l, source); err != nil || got != want {
			t.Errorf("`%s` gives %v, %v; want %v", source, got, err, want)
		}
	}
	_, _, err := evaluate(t, l, `any(body.object, .a == 1)`)
	if err == nil || !strings.Contains(err.Error(), "goes through a list, not an object; if it may be one or several, write list(body.object)") {
		t.Errorf("a condition over an object: %v", err)
	}
}
