package language

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/expr-lang/expr/ast"
)

// What people say about times is about what a clock on the wall shows: at night, on
// Saturdays. These functions ask for that.

// local returns a time as a clock shows it: in the named zone; without one a text
// that names no zone as it reads, all else in the zone of the relay. A day alone is
// the same day in every zone; hasClock is false for it.
func (b *Bound) local(when any, named *time.Location) (local time.Time, hasClock bool, err error) {
	zone := named
	if zone == nil {
		zone = b.language.timezone
	}
	text, isText := when.(string)
	if !isText || event.IsNumberLiteral(text) {
		t, err := timeOf(when)
		return t.In(zone), true, err
	}
	own := b.timezone()
	moment, err := b.moment(text, own)
	switch {
	case err != nil:
		return time.Time{}, false, err
	case !moment.HasClock:
		return moment.In(zone), false, nil
	case !moment.HasZone() && named == nil:
		return moment.In(own), true, nil
	}
	return moment.In(own).In(zone), true, nil
}

// zoneArgument returns the zone that the argument at a place names, nil if there is
// none.
func zoneArgument(args []any, place int) (*time.Location, error) {
	if len(args) <= place || args[place] == nil {
		return nil, nil
	}
	name, ok := args[place].(string)
	if !ok {
		return nil, wrongKind("a time zone as text", args[place])
	}
	return loadZone(name)
}

// timeBetween is time_between(when, from, until) and time_between(when, from, until,
// zone): whether the time of day is from and later, and before until. If until is
// before from, midnight lies between them.
func timeBetween(args []any) (any, error) {
	bound, args := args[0].(*Bound), args[1:]
	from, until, err := bounds(args)
	if err != nil {
		return nil, err
	}
	zone, err := zoneArgument(args, 3)
	if err != nil {
		return nil, err
	}
	when, hasClock, err := bound.local(args[0], zone)
	switch {
	case err != nil:
		return nil, err
	case !hasClock:
		return nil, errors.New("the text names a day and no time of day")
	}
	clock := timeOfDay(when)
	if from < until {
		return from <= clock && clock < until, nil
	}
	return from <= clock || clock < until, nil
}

// timeOfDay is how far a clock has gone since it showed midnight. On a day on which
// clocks are changed that is not how long midnight is ago.
func timeOfDay(t time.Time) time.Duration {
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute +
		time.Duration(t.Second())*time.Second + time.Duration(t.Nanosecond())
}

const wholeDay = 24 * time.Hour

// bounds reads from and until of time_between.
func bounds(args []any) (from, until time.Duration, err error) {
	if from, err = clockOf(args[1], "it begins at"); err == nil {
		until, err = clockOf(args[2], "it ends at")
	}
	switch {
	case err != nil:
		return 0, 0, err
	case from == wholeDay:
		return 0, 0, errors.New(`no day begins at 24:00; write "00:00"`)
	case from == until:
		return 0, 0, errors.New(`it begins and ends at the same time of day; for the whole day write "00:00" and "24:00"`)
	}
	return from, until, nil
}

// clockOf reads a time of day. 24:00 is the end of the day. The error does not quote
// the text, which may come with an event.
func clockOf(value any, what string) (time.Duration, error) {
	text, ok := value.(string)
	if !ok {
		return 0, fmt.Errorf(`%s a time of day as text, such as "07:30", not %s`, what, kindOf(value))
	}
	if strings.TrimSpace(text) == "24:00" {
		return wholeDay, nil
	}
	moment, err := event.ReadTime(text, time.UTC)
	if err != nil || !moment.HasClock || moment.HasDay || moment.HasZone() {
		return 0, fmt.Errorf(`%s a time of day from "00:00" to "24:00", such as "07:30" or "19:30", which this text is not`, what)
	}
	return timeOfDay(moment.In(time.UTC)), nil
}

// checkTimeBetween finds what is wrong with the bounds and the zone as far as they
// are written out.
func checkTimeBetween(args []any) error {
	known := slices.Clone(args)
	for i, other := range []string{1: "00:00", 2: "24:00"} {
		if i > 0 && known[i] == nil {
			known[i] = other
		}
	}
	_, _, err := bounds(known)
	if err == nil {
		_, err = zoneArgument(args, 3)
	}
	return err
}

// weekday is weekday(when) and weekday(when, zone).
func weekday(args []any) (any, error) {
	bound, args := args[0].(*Bound), args[1:]
	zone, err := zoneArgument(args, 1)
	if err != nil {
		return nil, err
	}
	when, _, err := bound.local(args[0], zone)
	if err != nil {
		return nil, err
	}
	return when.Weekday().String(), nil
}

func checkWeekday(args []any) error {
	_, err := zoneArgument(args, 1)
	return err
}

var weekdays = func() (names []string) {
	for day := time.Sunday; day <= time.Saturday; day++ {
		names = append(names, day.String())
	}
	return names
}()

// checkWeekdays finds a weekday that is compared with a text that is none: such a
// condition is the same on every day.
func (c *compilation) checkWeekdays(n *ast.BinaryNode) {
	var with ast.Node
	switch {
	case isWeekday(n.Left):
		with = n.Right
	case isWeekday(n.Right) && n.Operator != "in":
		with = n.Left
	default:
		return
	}
	compared := []ast.Node{with}
	if list, ok := with.(*ast.ArrayNode); ok {
		compared = list.Nodes
	}
	for _, node := range compared {
		value, _ := c.constant(node)
		if text, ok := value.(string); ok && !slices.Contains(weekdays, text) {
			near := ""
			if i := slices.IndexFunc(weekdays, func(day string) bool {
				return len(text) >= 2 && len(text) <= len(day) && strings.EqualFold(day[:len(text)], text)
			}); i >= 0 {
				near = weekdays[i]
			} else {
				near = names.Nearest(text, weekdays)
			}
			end := ": " + strings.Join(weekdays, ", ")
			if near != "" {
				end = names.DidYouMean(near)
			}
			c.fail(fmt.Errorf("`%s`: %q is not the name of a weekday%s", partOf(n), text, end))
		}
	}
}

// isWeekday reports whether a node is a call of weekday, or of the method Weekday.
func isWeekday(node ast.Node) bool {
	call, ok := node.(*ast.CallNode)
	if !ok {
		return false
	}
	if member, ok := call.Callee.(*ast.MemberNode); ok {
		name, ok := member.Property.(*ast.StringNode)
		return ok && name.Value == "Weekday"
	}
	return isCallOf(call, "weekday")
}
