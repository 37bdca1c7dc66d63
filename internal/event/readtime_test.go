package event

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
