package api

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

func TestParseMoment(t *testing.T) {
	// A Friday.
	const friday = "2026-03-13T15:30:00Z"
	for _, test := range []struct{ zone, now, text, want string }{
		{"UTC", friday, "2026-03-13T11:41:57Z", "2026-03-13T11:41:57Z"},
		{"UTC", friday, "2026-03-13t11:41:57.25+01:00", "2026-03-13T10:41:57.25Z"},
		{"UTC", friday, "2h", "2026-03-13T13:30:00Z"},
		{"UTC", friday, "3d", "2026-03-10T15:30:00Z"},
		{"UTC", friday, "1.5d", "2026-03-12T03:30:00Z"},
		{"UTC", friday, "1d12h30m", "2026-03-12T03:00:00Z"},
		{"UTC", friday, "0s", friday},
		{"UTC", friday, " Today ", "2026-03-13T00:00:00Z"},
		{"UTC", friday, "yesterday", "2026-03-12T00:00:00Z"},
		{"UTC", friday, "TUESDAY", "2026-03-10T00:00:00Z"},
		{"UTC", friday, "thu", "2026-03-12T00:00:00Z"},
		{"UTC", friday, "saturday", "2026-03-07T00:00:00Z"},
		{"UTC", friday, "sun", "2026-03-08T00:00:00Z"},
		{"UTC", friday, "friday", "2026-03-06T00:00:00Z"},
		{"UTC", "2026-03-01T10:00:00Z", "yesterday", "2026-02-28T00:00:00Z"},
		{"UTC", "2026-01-01T10:00:00Z", "monday", "2025-12-29T00:00:00Z"},
		{"UTC", friday, "2026-03-13", "2026-03-13T00:00:00Z"},
		{"UTC", friday, "2026-03-13 11:40", "2026-03-13T11:40:00Z"},
		{"UTC", friday, "2026-03-13T11:40", "2026-03-13T11:40:00Z"},
		{"UTC", friday, "9:05", "2026-03-13T09:05:00Z"},
		{"UTC", friday, "22:30:05", "2026-03-13T22:30:05Z"},
		{"UTC", friday, "today 00:00", "2026-03-13T00:00:00Z"},
		{"UTC", friday, "Yesterday 23:59", "2026-03-12T23:59:00Z"},
		{"UTC", friday, "sat  11:40", "2026-03-07T11:40:00Z"},
		{"Europe/London", "2026-07-17T23:30:00Z", "11:40", "2026-07-18T10:40:00Z"},
		{"Europe/Berlin", "2026-03-30T10:00:00Z", "sunday 04:00", "2026-03-29T02:00:00Z"},
		{"UTC", friday, "2026-03-13 11:40:05", "2026-03-13T11:40:05Z"},

		// Who asks is in another day already.
		{"Pacific/Auckland", friday, "today", "2026-03-13T11:00:00Z"},
		{"America/Los_Angeles", "2026-03-13T05:00:00Z", "today", "2026-03-12T07:00:00Z"},

		// Clocks go forward at 2:00 and back at 3:00: the days have 23 and 25 hours.
		{"Europe/Berlin", "2026-03-29T10:00:00Z", "today", "2026-03-28T23:00:00Z"},
		{"Europe/Berlin", "2026-03-30T10:00:00Z", "yesterday", "2026-03-28T23:00:00Z"},
		{"Europe/Berlin", "2026-03-30T10:00:00Z", "sunday", "2026-03-28T23:00:00Z"},
		{"Europe/Berlin", "2026-10-25T10:00:00Z", "today", "2026-10-24T22:00:00Z"},
		{"Europe/Berlin", "2026-10-26T10:00:00Z", "yesterday", "2026-10-24T22:00:00Z"},
		// 2:30 was never, and 2:30 was twice: the change, and the first one.
		{"Europe/Berlin", "2026-03-30T10:00:00Z", "2026-03-29 02:30", "2026-03-29T01:00:00Z"},
		{"Europe/Berlin", "2026-10-26T10:00:00Z", "2026-10-25 02:30", "2026-10-25T00:30:00Z"},
		{"Europe/Berlin", "2026-10-26T10:00:00Z", "2026-10-25 03:00", "2026-10-25T02:00:00Z"},
		// There is no midnight: clocks go from 0:00 to 1:00.
		{"Africa/Cairo", "2024-04-26T10:00:00Z", "today", "2024-04-25T22:00:00Z"},
		{"America/Sao_Paulo", "2018-11-04T15:00:00Z", "today", "2018-11-04T03:00:00Z"},
		// There are two: clocks go from 1:00 to 0:00.
		{"America/Havana", "2024-11-03T15:00:00Z", "today", "2024-11-03T04:00:00Z"},
		// There was no such day.
		{"Pacific/Apia", "2012-01-01T15:00:00Z", "2011-12-30", "2011-12-30T10:00:00Z"},
	} {
		t.Run(test.zone+" "+test.text, func(t *testing.T) {
			now, err := time.Parse(time.RFC3339, test.now)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseMoment(test.text, now.In(zone(t, test.zone)))
			if err != nil {
				t.Fatal(err)
			}
			if want, _ := time.Parse(time.RFC3339, test.want); !got.Equal(want) {
				t.Errorf("got %s, want %s", got.UTC().Format(time.RFC3339Nano), test.want)
			}
		})
	}
}

func TestParseMomentRefuses(t *testing.T) {
	for _, text := range []string{
		"", " ", "tomorrow", "tues", "-2h", "+2h", "2", "2 h", "h", "d", ".5d", "3d-2h", "3d2", "1e400d", "1e9d", "Infd", "NaNd",
		"99999999h", "2562047h100000d", "13.03.2026", "2026-02-30", "2026-3-1", "2026-03-13 25:00", "2h\x00", "gestern",
	} {
		if moment, err := ParseMoment(text, time.Now()); err == nil {
			t.Errorf("%q is read as %s", text, moment)
		}
	}
}

// FuzzParseMoment looks for texts that panic, for ages that overflow, and for
// times on the wall that are not read as the first instant at which clocks are
// as far.
func FuzzParseMoment(f *testing.F) {
	for _, text := range []string{"2h", "3d", "1.5d2h", "today", "tuesday", "2026-03-29 02:30", "2026-03-13T11:40:00Z", "0000-01-01", "9999-12-31 23:59:59"} {
		f.Add(text, int64(1_773_415_800), "Europe/Berlin")
	}
	f.Add("2011-12-30", int64(1_325_400_000), "Pacific/Apia")
	f.Add("2024-11-03", int64(1_730_646_000), "America/Havana")
	f.Fuzz(func(t *testing.T, text string, now int64, name string) {
		location, err := time.LoadLocation(name)
		if err != nil || now < 0 || now > 1<<33 {
			return
		}
		at := time.Unix(now, 0).In(location)
		moment, err := ParseMoment(text, at)
		if err != nil {
			return
		}
		if age, isAge := parseAge(text); isAge && (age < 0 || moment.After(at)) {
			t.Errorf("the age %q is read as %s, %s from now", text, moment, moment.Sub(at))
		}
		wall, err := time.Parse("2006-01-02 15:04", text)
		if err != nil || wall.Year() < 1970 {
			return
		}
		if onClocks(moment, location).Before(wall) || !onClocks(moment.Add(-1), location).Before(wall) {
			t.Errorf("%q in %s is read as %s, which is not the first instant at which clocks are as far", text, name, moment)
		}
	})
}

// onClocks returns what clocks show at an instant, in UTC.
func onClocks(instant time.Time, location *time.Location) time.Time {
	_, offset := instant.In(location).Zone()
	return instant.Add(time.Duration(offset) * time.Second)
}
