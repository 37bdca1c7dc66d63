package event

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Moment is what a text says about a time: a day, a time of day, or both, and
// perhaps a zone.
type Moment struct {
	// HasDay and HasClock say whether the text names a day and a time of day.
	HasDay, HasClock bool
	// zone is that of the text, nil if it names none.
	zone *time.Location
	// clock holds day and time of day as written, as if they were UTC.
	clock time.Time
}

// MomentOf returns day and time of day as a clock shows them at a time, in its own
// zone. The moment names no zone.
func MomentOf(t time.Time) Moment {
	clock := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
	return Moment{HasDay: true, HasClock: true, clock: clock}
}

// HasZone reports whether the text names a zone.
func (m Moment) HasZone() bool { return m.zone != nil }

// Date returns the day as it is written, as Y-m-d.
func (m Moment) Date() string { return m.clock.Format(time.DateOnly) }

// Clock returns the time of day as it is written, as H:i:s.
func (m Moment) Clock() string { return m.clock.Format(time.TimeOnly) }

// On returns the moment on the day of another one: a time of day has none of its
// own.
func (m Moment) On(day Moment) Moment {
	m.clock = time.Date(day.clock.Year(), day.clock.Month(), day.clock.Day(),
		m.clock.Hour(), m.clock.Minute(), m.clock.Second(), m.clock.Nanosecond(), time.UTC)
	m.HasDay = day.HasDay
	if m.zone == nil {
		m.zone = day.zone
	}
	return m
}

// In returns the time that is meant, in the zone of the text, or in the given
// zone if the text names none.
func (m Moment) In(zone *time.Location) time.Time {
	if m.zone != nil {
		zone = m.zone
	}
	c := m.clock
	return time.Date(c.Year(), c.Month(), c.Day(), c.Hour(), c.Minute(), c.Second(), c.Nanosecond(), zone)
}

// The errors of ReadTime. They do not quote the text, which comes with an event.
var (
	ErrNoTime   = errors.New("the text is not a date and time such as 2026-03-13T10:41:58Z; for another form write date(text, layout)")
	errDayOrder = errors.New("the text can mean two days, because day and month may stand in either order; write date(text, \"02/01/2006\") or date(text, \"01/02/2006\")")
	ErrZoneName = errors.New("the letters of the text's time zone stand for several zones; have the sender write an offset such as +02:00, or set the timezone of the source to the zone that is meant")
)

var (
	weekdayBefore = regexp.MustCompile(`^(?i:(?:mon|tue|tues|wed|wednes|thu|thur|thurs|fri|sat|satur|sun)(?:day)?)[.,]?\s+`)
	yearFirst     = regexp.MustCompile(`^(\d{4})([-/.])(\d{1,2})([-/.])(\d{1,2})`)
	yearLast      = regexp.MustCompile(`^(\d{1,2})([-/.])(\d{1,2})([-/.])(\d{4})`)
	dayFirst      = regexp.MustCompile(`^(\d{1,2})[ -]([A-Za-z]{3,9})\.?,?[ -](\d{4}|\d{2})\b`)
	monthFirst    = regexp.MustCompile(`^([A-Za-z]{3,9})\.? +(\d{1,2}),? +(\d{4})\b`)
	unixDate      = regexp.MustCompile(`^([A-Za-z]{3}) +(\d{1,2}) (\d\S*)(.*) (\d{4})$`)
	betweenParts  = regexp.MustCompile(`^(?:[Tt]|,? +(?:at +)?)`)
	timeOfDay     = regexp.MustCompile(`^(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s?([AaPp])\.?[Mm]\b\.?)?`)
	zoneOffset    = regexp.MustCompile(`^(?:(?:UTC|GMT)\s?([+-])(\d{1,2})|([+-])(\d{2}))(?::?(\d{2}))?(?: \([^()]*\)| [A-Z]{2,5})?$`)
	zoneLetters   = regexp.MustCompile(`^\(?([A-Z]{1,5})\)?$`)
)

// zoneOffsets are the letters of zones that mean one offset, in hours: those of
// RFC 2822 but for CST, which is China's too, and of Europe but for Britain and
// Ireland.
var zoneOffsets = map[string]int{
	"UT": 0, "UTC": 0, "GMT": 0, "Z": 0, "EDT": -4, "EST": -5, "CDT": -5, "MDT": -6, "MST": -7, "PDT": -7, "PST": -8,
	"WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3,
}

// ReadTime reads a text whose meaning is certain: the forms of RFC 3339 and RFC
// 2822 and their relatives, Y-m-d, d.m.Y, a day or a time of day alone, with AM
// or PM. Of d/m/Y and m/d/Y it reads what can be only one of them. Letters for a
// time zone are those that the given zone, in which the sender's times without a
// zone are, uses; else those that stand for one zone only. The error does not
// quote the text.
func ReadTime(text string, zone *time.Location) (Moment, error) {
	const longest = 100
	if text == "" || len(text) > longest {
		return Moment{}, ErrNoTime
	}
	// What most senders write is read without the rest.
	for _, layout := range []string{time.DateOnly, time.TimeOnly, time.DateTime} {
		if len(text) != len(layout) {
			continue
		}
		if clock, err := time.Parse(layout, text); err == nil {
			return Moment{HasDay: layout != time.TimeOnly, HasClock: layout != time.DateOnly, clock: clock}, nil
		}
	}
	rest := strings.TrimSpace(text)
	rest = rest[len(weekdayBefore.FindString(rest)):]
	if m := unixDate.FindStringSubmatch(rest); m != nil {
		rest = m[1] + " " + m[2] + " " + m[5] + " " + m[3] + m[4]
	}
	var moment Moment
	year, month, day := 0, 1, 1
	if y, m, d, after, err := readDay(rest); err != nil {
		return Moment{}, err
	} else if after != rest {
		year, month, day, moment.HasDay = y, m, d, true
		separator := betweenParts.FindString(after)
		if separator == "" && after != "" {
			return Moment{}, ErrNoTime
		}
		if rest = after[len(separator):]; rest == "" && separator != "" {
			return Moment{}, ErrNoTime
		}
	}
	hour, minute, second, nanosecond := 0, 0, 0, 0
	if m := timeOfDay.FindStringSubmatch(rest); m != nil {
		hour, minute, second = atoi(m[1]), atoi(m[2]), atoi(m[3])
		nanosecond = atoi((m[4] + "000000000")[:9])
		if half := strings.ToUpper(m[5]); half != "" {
			if hour < 1 || hour > 12 {
				return Moment{}, ErrNoTime
			}
			if hour %= 12; half == "P" {
				hour += 12
			}
		}
		moment.HasClock = true
		rest = strings.TrimSpace(rest[len(m[0]):])
	}
	moment.clock = time.Date(year, time.Month(month), day, hour, minute, second, nanosecond, time.UTC)
	if !moment.HasDay && !moment.HasClock || hour > 23 || minute > 59 || second > 59 ||
		moment.clock.Day() != day || int(moment.clock.Month()) != month {
		return Moment{}, ErrNoTime
	}
	if rest == "" {
		return moment, nil
	}
	if !moment.HasClock {
		return Moment{}, ErrNoTime
	}
	var err error
	moment.zone, err = ReadZone(rest, moment, zone)
	return moment, err
}

// readDay reads a day at the beginning of a text and returns what follows it,
// which is all if there is none.
func readDay(text string) (year, month, day int, after string, err error) {
	if m := yearFirst.FindStringSubmatch(text); m != nil && m[2] == m[4] {
		return atoi(m[1]), atoi(m[3]), atoi(m[5]), text[len(m[0]):], nil
	}
	if m := yearLast.FindStringSubmatch(text); m != nil && m[2] == m[4] {
		a, b := atoi(m[1]), atoi(m[3])
		switch {
		case m[2] == "." || a == b || a > 12:
			return atoi(m[5]), b, a, text[len(m[0]):], nil
		case b > 12:
			return atoi(m[5]), a, b, text[len(m[0]):], nil
		}
		return 0, 0, 0, text, errDayOrder
	}
	if m := dayFirst.FindStringSubmatch(text); m != nil {
		year = atoi(m[3])
		if len(m[3]) == 2 { // as in RFC 822
			if year += 1900; year < 1969 {
				year += 100
			}
		}
		return year, monthOf(m[2]), atoi(m[1]), text[len(m[0]):], nil
	}
	if m := monthFirst.FindStringSubmatch(text); m != nil {
		return atoi(m[3]), monthOf(m[1]), atoi(m[2]), text[len(m[0]):], nil
	}
	return 0, 0, 0, text, nil
}

// ReadZone reads the zone that stands behind a time of day, as ReadTime does: an
// offset, or letters. The error does not quote the text.
func ReadZone(text string, moment Moment, zone *time.Location) (*time.Location, error) {
	if m := zoneOffset.FindStringSubmatch(text); m != nil {
		hours, minutes := atoi(m[2]+m[4]), atoi(m[5])
		if hours > 14 || minutes > 59 {
			return nil, ErrNoTime
		}
		seconds := hours*3600 + minutes*60
		if m[1]+m[3] == "-" {
			seconds = -seconds
		}
		return fixedZone("", seconds), nil
	}
	m := zoneLetters.FindStringSubmatch(strings.ToUpper(text))
	if m == nil {
		return nil, ErrNoTime
	}
	letters := m[1]
	// A zone calls itself by two names in a year: that of the day goes first.
	year := moment.clock.Year()
	for _, at := range []time.Time{moment.In(zone), time.Date(year, 1, 1, 0, 0, 0, 0, zone), time.Date(year, 7, 1, 0, 0, 0, 0, zone)} {
		if name, offset := at.Zone(); name == letters {
			return fixedZone(letters, offset), nil
		}
	}
	if hours, certain := zoneOffsets[letters]; certain {
		return fixedZone(letters, hours*3600), nil
	}
	return nil, ErrZoneName
}

func fixedZone(name string, seconds int) *time.Location {
	if seconds == 0 {
		return time.UTC
	}
	return time.FixedZone(name, seconds)
}

// monthOf returns the number of a month by its English name or the first three
// letters of it, 0 for others, which is no month.
func monthOf(name string) int {
	name = strings.ToLower(name)
	return 1 + slices.IndexFunc(months, func(month string) bool {
		return month == name || month[:3] == name || name == "sept" && month == "september"
	})
}

var months = []string{
	"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december",
}

// atoi returns the number that digits write, 0 for none.
func atoi(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}
