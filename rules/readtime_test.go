package rules

import (
	"strings"
	"testing"
	"time"
)

// TestReadTime reads texts whose meaning is certain, and refuses the others. The
// sender's times are in the given zone, UTC by default.
func TestReadTime(t *testing.T) {
	for _, test := range []struct {
		text, zone string
		want       string // in RFC 3339, or a part of the error
	}{
		{"2026-07-15", "", "2026-07-15T00:00:00Z"}, {"2026-07-15", "America/New_York", "2026-07-15T00:00:00-04:00"},
		{"2026/07/15", "", "2026-07-15T00:00:00Z"}, {"15.07.2026", "", "2026-07-15T00:00:00Z"}, {"5.7.2026 9:05", "", "2026-07-05T09:05:00Z"},
		{"15/07/2026", "", "2026-07-15T00:00:00Z"}, {"07/15/2026", "", "2026-07-15T00:00:00Z"}, {"07-07-2026", "", "2026-07-07T00:00:00Z"}, {"07/08/2026", "", "two days"}, {"7-8-2026", "", "two days"},
		{"2026-07-15 09:05", "Europe/London", "2026-07-15T09:05:00+01:00"}, {"2026-07-15T09:05", "", "2026-07-15T09:05:00Z"}, {"2026-07-15t09:05z", "Europe/London", "2026-07-15T09:05:00Z"},
		{"2026-07-15, 9:05 pm", "", "2026-07-15T21:05:00Z"}, {"2026-07-15 12:05 AM", "", "2026-07-15T00:05:00Z"}, {"2026-07-15 12:05 p.m.", "", "2026-07-15T12:05:00Z"}, {"2026-07-15 13:05 PM", "", "not a date"}, {"2026-07-15 0:05 AM", "", "not a date"},
		{"2026-07-15T10:41:58.25+02:00", "", "2026-07-15T10:41:58.25+02:00"}, {"2026-07-15 10:41:58,5", "", "2026-07-15T10:41:58.5Z"},
		// Offsets in all spellings.
		{"2026-07-15T10:41:58+0200", "", "2026-07-15T10:41:58+02:00"}, {"2026-07-15 08:41:58+00", "Europe/London", "2026-07-15T08:41:58Z"}, {"2026-07-15 08:41:58-03", "", "2026-07-15T08:41:58-03:00"},
		{"Wed, 15 Jul 2026 10:41:58 +0200", "", "2026-07-15T10:41:58+02:00"}, {"Wed, 15 Jul 2026 10:41:58 +0200 (CEST)", "", "2026-07-15T10:41:58+02:00"}, {"Wed, 15 Jul 2026 10:41:58 +02", "", "2026-07-15T10:41:58+02:00"},
		{"Wed, 15 Jul 2026 10:41:58 GMT+2", "", "2026-07-15T10:41:58+02:00"}, {"Wed Jul 15 2026 10:41:58 GMT+0530 (India Standard Time)", "", "2026-07-15T10:41:58+05:30"}, {"2026-07-15 10:41:58 +0200 CEST", "", "2026-07-15T10:41:58+02:00"},
		{"2026-07-15 10:41:58 UTC-7", "", "2026-07-15T10:41:58-07:00"}, {"2026-07-15 10:41:58+25", "", "not a date"}, {"2026-07-15 10:41:58+0260", "", "not a date"}, {"2026-07-15 10:41:58 +2", "", "not a date"},
		// Letters, if they are certain or those of the sender's zone.
		{"Wed, 15 Jul 2026 10:41:58 CEST", "", "2026-07-15T10:41:58+02:00"}, {"Fri, 13 Mar 2026 10:41:58 EST", "", "2026-03-13T10:41:58-05:00"}, {"15 Jul 26 10:41 PDT", "", "2026-07-15T10:41:00-07:00"},
		{"Wed, 15 Jul 2026 10:41:58 GMT", "", "2026-07-15T10:41:58Z"}, {"Wed, 15 Jul 2026 10:41:58 BST", "", "several zones"}, {"Wed, 15 Jul 2026 10:41:58 BST", "Europe/London", "2026-07-15T10:41:58+01:00"},
		{"Wed Jul 15 10:41:58 CST 2026", "", "several zones"}, {"Wed Jul 15 10:41:58 CST 2026", "Asia/Shanghai", "2026-07-15T10:41:58+08:00"}, {"Wed Jul 15 10:41:58 CST 2026", "America/Chicago", "2026-07-15T10:41:58-06:00"},
		{"Wed Jul  1 10:41:58 IST 2026", "Asia/Kolkata", "2026-07-01T10:41:58+05:30"}, {"2026-07-15 10:41:58 XYZ", "", "several zones"}, {"2026-07-15 10:41:58 Mars", "", "several zones"},
		{"Wednesday, 15-Jul-26 10:41:58 UTC", "", "2026-07-15T10:41:58Z"}, {"Jul 15, 2026", "", "2026-07-15T00:00:00Z"}, {"July 15, 2026 at 9:05 AM", "", "2026-07-15T09:05:00Z"}, {"15 September 2026", "", "2026-09-15T00:00:00Z"}, {"15 Sept 2026", "", "2026-09-15T00:00:00Z"},
		{"1 Jan 69", "", "1969-01-01T00:00:00Z"}, {"1 Jan 68", "", "2068-01-01T00:00:00Z"},
		{"9:05", "", "0000-01-01T09:05:00Z"}, {"09:05:30", "", "0000-01-01T09:05:30Z"},
		{"", "", "not a date"}, {"yesterday", "", "not a date"}, {"2026-02-30", "", "not a date"}, {"2026-13-01", "", "not a date"}, {"0000-00-00 00:00:00", "", "not a date"}, {"24:00", "", "not a date"}, {"10:60", "", "not a date"},
		{"2026-07-15T", "", "not a date"}, {"2026-07-15x", "", "not a date"}, {"2026-07-15 CEST", "", "not a date"}, {"15 Juli 2026", "", "not a date"}, {"15.07.26", "", "not a date"}, {"2026-07.15", "", "not a date"}, {strings.Repeat("2026-07-15", 50), "", "not a date"},
	} {
		zone, err := time.LoadLocation(test.zone)
		if err != nil {
			t.Fatal(err)
		}
		moment, err := ReadTime(test.text, zone)
		if err != nil {
			if !strings.Contains(err.Error(), test.want) || strings.HasPrefix(test.want, "2026") {
				t.Errorf("%q in %s: %v, want %s", test.text, zone, err, test.want)
			}
			continue
		}
		if got := moment.In(zone).Format(time.RFC3339Nano); got != test.want {
			t.Errorf("%q in %s is %s, want %s", test.text, zone, got, test.want)
		}
	}
}

// TestTimesOfSources: texts without a zone are in the zone of the event's source.
func TestTimesOfSources(t *testing.T) {
	zone := func(name string) *time.Location {
		location, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		return location
	}
	l := newLanguage(t, Definitions{Sources: []Source{
		{Name: "london", Timezone: zone("Europe/London")}, {Name: "york", Timezone: zone("America/New_York")}, {Name: "berlin", Timezone: zone("Europe/Berlin")}, {Name: "utc"},
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
		event := &Event{Source: test.source, Received: time.Date(2026, 7, 16, 1, 0, 0, 0, time.UTC)}
		event.Parameters[Date], event.Parameters[Time] = "2026-07-15", "10:40:00"
		x, err := l.Compile(strings.ReplaceAll(test.expression, `format_time("`, `format_time(body ?? "`))
		if err != nil {
			t.Errorf("`%s`: %v", test.expression, err)
			continue
		}
		got, err := l.Bind(event).Evaluate(x)
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
