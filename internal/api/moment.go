package api

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Moments lists what ParseMoment reads, for helps and messages.
const Moments = "an age such as 2h or 3d, today, yesterday, a weekday such as tuesday, " +
	"a date such as 2026-03-13, each day with or without a time as in \"2026-03-13 11:40\" or \"tuesday 11:40\", " +
	"a time of today such as 11:40, or 2026-03-13T11:40:00Z"

// dateForms are the forms of a time on the wall, without a zone.
var dateForms = []string{"2006-01-02", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02T15:04:05"}

// ParseMoment reads a moment as people name it, in the zone of now: see Moments.
// A day is its beginning. A weekday is the last one before today. Letter case
// does not count.
func ParseMoment(text string, now time.Time) (time.Time, error) {
	text = strings.TrimSpace(text)
	if moment, err := time.Parse(time.RFC3339, strings.ToUpper(text)); err == nil {
		return moment, nil
	}
	if age, ok := parseAge(text); ok {
		return now.Add(-age), nil
	}
	for _, form := range dateForms {
		if wall, err := time.Parse(form, strings.ToUpper(text)); err == nil {
			return onTheWall(wall, now.Location()), nil
		}
	}
	day, clock := cutClock(strings.ToLower(text))
	if days, ok := daysBack(day, now.Weekday()); ok {
		midnight := time.Date(now.Year(), now.Month(), now.Day()-days, 0, 0, 0, 0, time.UTC)
		return onTheWall(midnight.Add(clock), now.Location()), nil
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write %s", text, Moments)
}

// cutClock cuts the time of day from the end of a text. A time of day alone is one of
// today.
func cutClock(text string) (day string, clock time.Duration) {
	last := text[strings.LastIndexByte(text, ' ')+1:]
	for _, form := range []string{"15:04", "15:04:05"} {
		if at, err := time.Parse(form, last); err == nil {
			day = strings.TrimSpace(strings.TrimSuffix(text, last))
			return cmp.Or(day, "today"), time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute + time.Duration(at.Second())*time.Second
		}
	}
	return text, 0
}

// daysBack returns how many days ago the last day of a name was.
func daysBack(name string, today time.Weekday) (int, bool) {
	switch name {
	case "today":
		return 0, true
	case "yesterday":
		return 1, true
	}
	for day := time.Sunday; day <= time.Saturday; day++ {
		if full := strings.ToLower(day.String()); name == full || name == full[:3] {
			// Today has a word of its own.
			return (int(today-day)+6)%7 + 1, true
		}
	}
	return 0, false
}

// maxDays keeps ages within what a time.Duration can hold.
const maxDays = 100_000

// parseAge reads a duration, which may begin with days.
func parseAge(text string) (time.Duration, bool) {
	if text == "" || text[0] < '0' || text[0] > '9' {
		return 0, false
	}
	before, rest, hasDays := strings.Cut(text, "d")
	if !hasDays {
		before, rest = "0", text
	}
	days, err := strconv.ParseFloat(before, 64)
	if err != nil || !(days <= maxDays) {
		return 0, false
	}
	age := time.Duration(days * 24 * float64(time.Hour))
	if rest == "" {
		return age, hasDays
	}
	if rest[0] < '0' || rest[0] > '9' {
		return 0, false
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more > maxDays*24*time.Hour {
		return 0, false
	}
	return age + more, age+more >= 0
}

// onTheWall returns the first instant at which clocks show a time, which is
// given in UTC. If they never do, because they were put forward past it, it is
// the instant at which that happened. (time.Date leaves open which it takes, and
// may take one of the day before.)
func onTheWall(wall time.Time, zone *time.Location) time.Time {
	// How far clocks are from UTC before and after, should they change around
	// then. The one that is further ahead shows the time first.
	_, before := wall.Add(-24 * time.Hour).In(zone).Zone()
	_, after := wall.Add(24 * time.Hour).In(zone).Zone()
	offsets := []int{max(before, after), min(before, after)}
	at := func(offset int) time.Time { return wall.Add(-time.Duration(offset) * time.Second).In(zone) }
	if i := slices.IndexFunc(offsets, func(offset int) bool { return shows(at(offset), wall) }); i >= 0 {
		return at(offsets[i])
	}
	_, change := at(offsets[0]).ZoneBounds()
	return change
}

// shows reports whether clocks show a time at an instant.
func shows(instant, wall time.Time) bool {
	_, offset := instant.Zone()
	return instant.Add(time.Duration(offset) * time.Second).Equal(wall)
}
