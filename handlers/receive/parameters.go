package receive

import (
	"encoding/json"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/preset"
)

// tagNames are the system parameters by tag.
var tagNames = func() map[string]event.Parameter {
	names := map[string]event.Parameter{}
	for _, p := range event.SystemParameters() {
		names[p.String()] = p
	}
	return names
}()

// tagInitials are the first letters of the tags of each length, a bit for each letter.
var tagInitials = func() (initials [32]uint32) {
	for name := range tagNames {
		initials[len(name)] |= initialOf(name)
	}
	return initials
}()

// initialOf returns the bit of a name's first letter, which upper case does not change.
func initialOf(name string) uint32 { return 1 << (name[0] & 0x1f) }

// tagOf returns the system parameter whose tag a key is, without regard to
// case.
func tagOf(key string) (event.Parameter, bool) {
	// Most keys are none, and this tells it sooner than the map.
	if n := len(key); n == 0 || n >= len(tagInitials) || tagInitials[n]&initialOf(key) == 0 {
		return 0, false
	}
	p, ok := tagNames[key]
	if !ok {
		for i := range len(key) {
			if isUpper(key[i]) {
				p, ok = tagNames[strings.ToLower(key)]
				break
			}
		}
	}
	return p, ok
}

// readTags sets the parameters that are still absent from fields with the names
// of their tags.
func readTags[V any](e *event.Event, fields map[string]V, value func(V) any) {
	parameters := &e.Parameters
	var keys [len(event.Parameters{})]string
	for key, v := range fields {
		p, ok := tagOf(key)
		if !ok || parameters[p] != nil && (keys[p] == "" || !precedes(key, keys[p], p.String())) {
			continue
		}
		if typed := typedParameter(e, p, value(v)); typed != nil {
			parameters[p], keys[p] = typed, key
		}
	}
}

// readMapped sets the parameters that are still absent from what a preset found.
func readMapped(e *event.Event, mapped preset.Mapping) {
	for _, p := range mapped.Not {
		e.Parameters[p] = nil
		delete(e.Unread, p)
	}
	for i, value := range mapped.Values {
		if p := event.Parameter(i); value != nil && e.Parameters[p] == nil {
			e.Parameters[p] = typedParameter(e, p, value)
		}
	}
}

// typedParameter returns a value as the parameter's type, or nil when it is
// absent or cannot be one. What was sent for a number and is none is kept in the
// event, so that an administrator can see why the parameter is absent. Dates and
// times are left as they are, for setTimes.
func typedParameter(e *event.Event, p event.Parameter, value any) any {
	text, ok := event.Text(value)
	if p.Numeric() {
		number := numberOf(value)
		if number == nil && p != event.UnixTime {
			number = readNumber(text, p != event.CallCost)
		}
		if p == event.UnixTime {
			number = unixSeconds(number)
		}
		if number != nil {
			delete(e.Unread, p)
			return number
		}
	}
	if !ok || isAbsent(text) {
		return nil
	}
	if p.Numeric() {
		if e.Parameters[p] != nil {
			return nil // Sent twice, and read once.
		}
		const most = 200 // bytes: more is no number in any form
		if e.Unread == nil {
			e.Unread = map[event.Parameter]string{}
		}
		e.Unread[p] = strings.ToValidUTF8(text[:min(len(text), most)], "")
		return nil
	}
	if _, isText := value.(string); isText {
		return value // without making it a value anew
	}
	return text
}

// numberOf returns a number, however it was sent, as int64 if that holds it and
// else as json.Number; nil if it is none.
func numberOf(value any) any {
	switch value := value.(type) {
	case int64, json.Number:
		return value
	case string:
		text := strings.TrimSpace(value)
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if text == "" || text[0] != '-' && !isDigit(text[0]) {
			return nil
		}
		switch number, _ := event.DecodeJSON(text); number.(type) {
		case int64, json.Number:
			return number
		}
	}
	return nil
}

// lastUnixTime is the end of the year 9999, beyond which a date has no Y-m-d.
const lastUnixTime = 253402300799

// unixSeconds returns a Unix time in seconds. One that would be beyond the year
// 9999 is in milliseconds, as JavaScript counts: left so, date and time would be
// those of the receipt.
func unixSeconds(number any) any {
	if n, isInt := number.(int64); isInt && n > lastUnixTime && n/1000 <= lastUnixTime {
		return n / 1000
	}
	return number
}

// setTimes sets date, time and unix_time where the event did not: each from the
// others as far as it can be, else from the time of receipt. given are the
// parameters as the event had them. A date or time that cannot be read with
// certainty stays as it was sent: it is never replaced by another.
func setTimes(parameters *event.Parameters, given event.Parameters, received time.Time, zone *time.Location) {
	at := received
	day, dayErr := readParameter(given[event.Date], zone)
	clock, clockErr := readParameter(given[event.Time], zone)
	hasDay := dayErr == nil && day.HasDay
	hasClock := clockErr == nil && clock.HasClock
	// Either can hold both: date=2026-07-15T09:00:00+01:00.
	if given[event.Time] == nil && hasDay && day.HasClock {
		clock, hasClock = day, true
	}
	if given[event.Date] == nil && hasClock && clock.HasDay {
		day, hasDay = clock, true
	}
	unix, isInt := given[event.UnixTime].(int64)
	if n, isNumber := given[event.UnixTime].(json.Number); isNumber {
		if f, err := n.Float64(); err == nil && f >= 0 && f <= lastUnixTime {
			unix, isInt = int64(f), true
		}
	}
	switch {
	case isInt && 0 <= unix && unix <= lastUnixTime:
		at = time.Unix(unix, 0)
	case hasDay && hasClock:
		at = clock.On(day).In(zone)
	}
	parameters[event.UnixTime] = given[event.UnixTime]
	if given[event.UnixTime] == nil {
		parameters[event.UnixTime] = at.Unix()
	}
	switch {
	case hasDay:
		parameters[event.Date] = sameOr(given[event.Date], day.Date())
	case given[event.Date] == nil:
		parameters[event.Date] = secondOf(at, zone).date
	default:
		parameters[event.Date] = given[event.Date]
	}
	switch {
	case hasClock:
		parameters[event.Time] = sameOr(given[event.Time], clock.Clock())
	case given[event.Time] == nil:
		parameters[event.Time] = secondOf(at, zone).clock
	default:
		parameters[event.Time] = given[event.Time]
	}
}

// second is a second in a zone, as the values of the parameters date and time.
type second struct {
	zone        *time.Location
	unix        int64
	date, clock any
}

// newest is the second that was asked for last. Most events of a source have the times of
// their receipt, and at a high rate many share them.
var newest atomic.Pointer[second]

func secondOf(at time.Time, zone *time.Location) *second {
	s, unix := newest.Load(), at.Unix()
	if s == nil || s.unix != unix || s.zone != zone {
		local := at.In(zone)
		s = &second{zone: zone, unix: unix, date: local.Format(time.DateOnly), clock: local.Format(time.TimeOnly)}
		newest.Store(s)
	}
	return s
}

// sameOr returns the given value if it is that text, which costs no new one.
func sameOr(given any, text string) any {
	if given == text {
		return given
	}
	return text
}

// readParameter reads a date or time as it was sent.
func readParameter(value any, zone *time.Location) (event.Moment, error) {
	text, _ := value.(string)
	return event.ReadTime(text, zone)
}
