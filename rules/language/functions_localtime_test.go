package language

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func londonLanguage(t *testing.T) *Language {
	return newLanguage(t, Definitions{
		Timezone: zoneCalled(t, "Europe/London"),
		Now:      func() time.Time { return time.Date(2026, 7, 17, 23, 30, 0, 0, time.UTC) },
		Sources:  []Source{{Name: "here"}, {Name: "york", Timezone: zoneCalled(t, "America/New_York")}},
		Parameters: []config.Parameter{
			{Name: "opens", Value: "08:00"}, {Name: "closes", Value: "18:00", Tenants: map[string]string{"200": "late"}},
		},
	})
}

// TestLocalTime asks for the time of day and the weekday of one instant: Friday
// 2026-07-17 21:30 in London, 16:30 in New York, Saturday 05:30 in Tokyo.
func TestLocalTime(t *testing.T) {
	l := londonLanguage(t)
	for _, test := range []struct {
		source, expression string
		want               any // an error where it is a text that begins with "error: "
	}{
		{"here", `time_between(received, "20:00", "07:00")`, true},
		{"here", `time_between(received, "21:30", "21:31")`, true},
		{"here", `time_between(received, "21:00", "21:30")`, false},
		{"here", `time_between(received, "08:00", "18:00")`, false},
		{"here", `time_between(received, "18:00", "24:00")`, true},
		{"here", `time_between(received, "00:00", "24:00")`, true},
		{"here", `time_between(received, "22:00", "00:00")`, false},
		{"here", `time_between(received, "9:00 PM", "9:31 PM")`, true},
		{"here", `time_between(received, "7:00", "21:30:01")`, true},
		{"here", `time_between(received, "20:00", "07:00", "UTC")`, true},
		{"here", `time_between(received, "21:00", "07:00", "UTC")`, false},
		{"here", `time_between(received, "16:00", "17:00", "America/New_York")`, true},
		{"york", `time_between(received, "21:00", "22:00")`, true},
		{"here", `time_between(now(), "00:00", "01:00")`, true},
		{"here", `time_between(now().In(timezone("Asia/Tokyo")), "00:00", "01:00")`, true},
		{"here", `time_between(1784320200, "21:30", "21:31")`, true},
		{"here", `time_between("1784320200", "21:30", "21:31")`, true},
		{"here", `time_between("2026-07-17T20:30:00Z", "21:30", "21:31")`, true},
		{"here", `time_between("2026-07-17T20:30:00Z", "20:30", "20:31", "UTC")`, true},
		{"here", `time_between("2026-07-17 20:30", "20:30", "20:31")`, true},
		{"york", `time_between("2026-07-17 20:30", "20:30", "20:31")`, true},
		{"york", `time_between("2026-07-17 16:30", "21:30", "21:31", "Europe/London")`, true},
		{"york", `time_between(time, "16:30", "16:31")`, true},
		{"here", `time_between(received, opens, "22:00")`, true},
		{"here", `time_between(body.at, "20:00", "07:00")`, nil},
		{"here", `not time_between(body.at, "20:00", "07:00")`, nil},
		{"here", `time_between(received, body.opens, "07:00")`, nil},
		{"here", `time_between(received, body.text, "07:00")`, `error: it begins at a time of day from "00:00" to "24:00"`},
		{"here", `time_between(received, "20:00", body.number)`, "error: it ends at a time of day as text, such as \"07:30\", not a number"},
		{"here", `time_between(body.text, "20:00", "07:00")`, "error: the text is not a date and time"},
		{"here", `time_between("2026-07-17", "20:00", "07:00")`, "error: the text names a day and no time of day"},
		{"here", `time_between(true, "20:00", "07:00")`, "error: it takes a time, a number of seconds or text, not true or false"},

		{"here", `weekday(received)`, "Friday"},
		{"here", `weekday(received, "Asia/Tokyo")`, "Saturday"},
		{"york", `weekday(received)`, "Friday"},
		{"here", `weekday(now())`, "Saturday"},
		{"here", `weekday(now(), "UTC")`, "Friday"},
		{"here", `weekday(1784320200)`, "Friday"},
		{"here", `weekday("2026-07-18")`, "Saturday"},
		{"here", `weekday(date)`, "Friday"},
		{"here", `weekday("2026-07-17T23:30:00Z")`, "Saturday"},
		{"york", `weekday("2026-07-17 23:30")`, "Friday"},
		{"here", `weekday(time)`, "Friday"},
		{"here", `weekday(body.at)`, nil},
		{"here", `weekday(received) in ["Saturday", "Sunday"]`, false},
		{"here", `weekday(received) != "Monday" and "Friday" == received.Weekday()`, true},
		{"here", `weekday(body.text)`, "error: the text is not a date and time"},
		{"here", `weekday(received, body.text)`, "error: does not name a time zone"},
	} {
		e := &event.Event{
			Source: test.source, Received: time.Date(2026, 7, 17, 20, 30, 0, 0, time.UTC),
			Body: map[string]any{"text": "Tea o'clock", "number": int64(7)},
		}
		e.Parameters[event.Date], e.Parameters[event.Time] = "2026-07-17", "16:30:00"
		x, err := l.Compile(test.expression)
		var got any
		if err == nil {
			got, err = l.Bind(e).Evaluate(x)
		}
		if wanted, isText := test.want.(string); isText && strings.HasPrefix(wanted, "error: ") {
			if err == nil || !strings.Contains(err.Error(), strings.TrimPrefix(wanted, "error: ")) || strings.Contains(err.Error(), "Tea") {
				t.Errorf("`%s` gives %v, %v; want %s", test.expression, got, err, wanted)
			}
			continue
		}
		if err != nil || got != test.want {
			t.Errorf("`%s` of %s gives %v, %v; want %v", test.expression, test.source, got, err, test.want)
		}
	}
}

// TestClocksAreChanged: what counts is what the clock shows, also in the two nights in
// which clocks are changed in London.
func TestClocksAreChanged(t *testing.T) {
	l := londonLanguage(t)
	for _, test := range []struct {
		at, clock, day string
		night, early   bool
	}{
		// At 01:00 GMT clocks go forward to 02:00 BST.
		{"2026-03-28T19:59:59Z", "19:59", "Saturday", false, false},
		{"2026-03-28T20:00:00Z", "20:00", "Saturday", true, false},
		{"2026-03-29T00:59:59Z", "00:59", "Sunday", true, false},
		{"2026-03-29T01:00:00Z", "02:00", "Sunday", true, false},
		{"2026-03-29T05:59:59Z", "06:59", "Sunday", true, false},
		{"2026-03-29T06:00:00Z", "07:00", "Sunday", false, false},
		{"2026-03-29T19:00:00Z", "20:00", "Sunday", true, false},
		// At 02:00 BST clocks go back to 01:00 GMT: 01:30 comes twice.
		{"2026-10-24T18:59:59Z", "19:59", "Saturday", false, false},
		{"2026-10-24T19:00:00Z", "20:00", "Saturday", true, false},
		{"2026-10-24T23:00:00Z", "00:00", "Sunday", true, false},
		{"2026-10-25T00:30:00Z", "01:30", "Sunday", true, true},
		{"2026-10-25T01:00:00Z", "01:00", "Sunday", true, true},
		{"2026-10-25T01:30:00Z", "01:30", "Sunday", true, true},
		{"2026-10-25T02:00:00Z", "02:00", "Sunday", true, false},
		{"2026-10-25T06:59:59.999999999Z", "06:59", "Sunday", true, false},
		{"2026-10-25T07:00:00Z", "07:00", "Sunday", false, false},
		{"2026-10-25T23:59:59Z", "23:59", "Sunday", true, false},
		{"2026-10-26T00:00:00Z", "00:00", "Monday", true, false},
	} {
		e := &event.Event{Source: "here", Received: instant(t, test.at)}
		for expression, want := range map[string]any{
			`format_time(received, "15:04")`:            test.clock,
			`weekday(received)`:                         test.day,
			`time_between(received, "20:00", "07:00")`:  test.night,
			`time_between(received, "07:00", "20:00")`:  !test.night,
			`time_between(received, "01:00", "02:00")`:  test.early,
			`time_between(received, "00:00", "24:00")`:  true,
			`time_between(unix_time, "20:00", "07:00")`: test.night,
		} {
			e.Parameters[event.UnixTime] = e.Received.Unix()
			x, err := l.Compile(expression)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := l.Bind(e).Evaluate(x); err != nil || got != want {
				t.Errorf("`%s` at %s gives %v, %v; want %v", expression, test.at, got, err, want)
			}
		}
	}
}

// TestLocalTimeMistakes: what is written wrong is an error when the configuration is
// loaded, and says how it is written.
func TestLocalTimeMistakes(t *testing.T) {
	l := londonLanguage(t)
	for expression, want := range map[string]string{
		`time_between(received, "25:00", "07:00")`:                  `it begins at a time of day from "00:00" to "24:00", such as "07:30" or "19:30", which this text is not`,
		`time_between(received, "20:00", "7")`:                      `it ends at a time of day from`,
		`time_between(received, "20.00", "07:00")`:                  `it begins at a time of day from`,
		`time_between(received, "20:60", "07:00")`:                  `it begins at a time of day from`,
		`time_between(received, "20:00Z", "07:00")`:                 `it begins at a time of day from`,
		`time_between(received, "2026-07-17 20:00", "07:00")`:       `it begins at a time of day from`,
		`time_between(received, "", "07:00")`:                       `it begins at a time of day from`,
		`time_between(received, 20, 7)`:                             `it begins at a time of day as text, such as "07:30", not a number`,
		`time_between(received, "08:00", "08:00")`:                  `for the whole day write "00:00" and "24:00"`,
		`time_between(received, "24:00", "07:00")`:                  `no day begins at 24:00; write "00:00"`,
		`time_between(received, "08:00", opens)`:                    `it begins and ends at the same time of day`,
		`time_between(received, "20:00")`:                           "time_between takes 3 to 4 values",
		`time_between(received, "20:00", "07:00", "Europe/Londn")`:  "does not name a time zone such as Europe/London",
		`time_between(received, "20:00", "07:00", timezone("UTC"))`: "it takes a time zone as text, not a time zone",
		`time_betwen(received, "20:00", "07:00")`:                   "did you mean time_between?",
		`weekday()`:                                      "weekday takes 1 to 2 values",
		`weekday(received, "Londn")`:                     "does not name a time zone",
		`weekday(received, 1)`:                           "a time zone as text, not a number",
		`weekday(received) == "saturday"`:                `"saturday" is not the name of a weekday; did you mean Saturday?`,
		`weekday(received) in ["Sat", "Sun"]`:            `"Sat" is not the name of a weekday; did you mean Saturday?`,
		`not (weekday(now()) in ["Saturday", "Sundy"])`:  `"Sundy" is not the name of a weekday; did you mean Sunday?`,
		`"Samstag" != weekday(received)`:                 `"Samstag" is not the name of a weekday: Sunday, Monday`,
		`received.Weekday() == "friday"`:                 `did you mean Friday?`,
		`any(body.items, time_between(#, "x", "07:00"))`: `it begins at a time of day`,
	} {
		x, err := l.Compile(expression)
		if err == nil && strings.Contains(expression, "timezone(") { // not a literal, so only an event shows it
			_, err = l.Bind(&event.Event{}).Evaluate(x)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("`%s`: got %v, want %s", expression, err, want)
		}
	}
	// A tenant's value is known when an event of the tenant comes.
	x, err := l.Compile(`time_between(received, opens, closes)`)
	if err != nil {
		t.Fatal(err)
	}
	e := &event.Event{}
	e.Parameters[event.Tenant] = "200"
	if _, err := l.Bind(e).Evaluate(x); err == nil || !strings.Contains(err.Error(), "it ends at a time of day") || strings.Contains(err.Error(), "late") {
		t.Errorf("a tenant's wrong value: %v", err)
	}
}

// FuzzLocalTime: whatever an event says for a time of day, either it is an error, or each
// time of day is in one of two complementary spans.
func FuzzLocalTime(f *testing.F) {
	l, err := New(Definitions{Sources: []Source{{Name: "here"}}})
	if err != nil {
		f.Fatal(err)
	}
	compile := func(source string) *Expression {
		x, err := l.Compile(source)
		if err != nil {
			f.Fatal(err)
		}
		return x
	}
	inside := compile(`time_between(body.when ?? received, body.from, body.until)`)
	outside := compile(`time_between(body.when ?? received, body.until, body.from)`)
	day := compile(`weekday(body.when, body.zone)`)
	for _, seed := range [][4]string{
		{"20:00", "07:00", "2026-07-17T20:30:00Z", "Europe/London"}, {"9:05 PM", "24:00", "1784320200", "UTC"}, {"00:00", "24:00", "17.7.2026 9:05", "Local"},
		{"25:00", "", "Fri, 17 Jul 2026 21:30:00 BST", ""}, {"24:00", "24:00", "1e400", "../x"}, {"\xff", "1:2", "-1", "Asia/Tokyo"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, from, until, when, zone string) {
		e := &event.Event{Source: "here", Received: time.Date(2026, 7, 17, 20, 30, 0, 0, time.UTC), Body: map[string]any{"from": from, "until": until, "when": when, "zone": zone}}
		is, err := l.Bind(e).Evaluate(inside)
		if isNot, failed := l.Bind(e).Evaluate(outside); err == nil && failed == nil && is != nil && is == isNot {
			t.Errorf("%q is both between %q and %q and between %q and %q, or neither", when, from, until, until, from)
		}
		name, _ := l.Bind(e).Evaluate(day)
		if text, ok := name.(string); name != nil && (!ok || !strings.HasSuffix(text, "day")) {
			t.Errorf("a weekday is %v", name)
		}
	})
}
