package language

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/expr-lang/expr/ast"
)

// now is now() and now(zone).
func now(args []any) (any, error) {
	language := args[0].(*Bound).language
	if len(args) == 1 {
		return language.now().In(language.timezone), nil
	}
	in, ok := args[1].(zone)
	if !ok {
		return nil, wrongKind(string(zoneKind), args[1])
	}
	return language.now().In(in.location), nil
}

// date is date(text), date(text, layout) and date(text, layout, zone), each with
// a zone before the text if wanted. It is expr's where there is a layout, but for
// letters of zones, which Go takes for UTC when it does not know them.
func date(args []any) (any, error) {
	bound, args := args[0].(*Bound), args[1:]
	location := bound.timezone()
	values := args
	if first, ok := args[0].(zone); ok {
		location, values = first.location, args[1:]
	}
	if len(values) == 0 || len(values) > 3 {
		return nil, errors.New("it takes a text, and a layout and a time zone if wanted")
	}
	for _, value := range values {
		if _, ok := value.(string); !ok {
			return nil, wrongKind(string(event.TextKind), value)
		}
	}
	if len(values) == 1 {
		moment, err := bound.moment(values[0].(string), location)
		if err != nil {
			return nil, err
		}
		return moment.In(location), nil
	}
	if len(values) == 3 {
		named, err := loadZone(values[2].(string))
		if err != nil {
			return nil, err
		}
		location = named
	}
	parsed, err := time.ParseInLocation(values[1].(string), values[0].(string), location)
	if err != nil {
		return nil, errors.New("the text is not a date of that form")
	}
	return bound.completed(parsed, values[1].(string), location)
}

// completed mends what Go makes of letters for a zone that it does not know, and
// of a time of day without a day.
func (b *Bound) completed(parsed time.Time, layout string, location *time.Location) (any, error) {
	moment := event.MomentOf(parsed)
	moment.HasDay = parsed.Year() != 0 || parsed.YearDay() != 1
	letters, offset := parsed.Zone()
	invented := offset == 0 && letters != "" && letters != "UTC" && letters != "GMT" && parsed.Location() != location
	if strings.Contains(layout, "MST") && invented {
		zone, err := event.ReadZone(letters, moment, location)
		if err != nil {
			return nil, err
		}
		return moment.In(zone), nil
	}
	if !moment.HasDay && parsed.Location() == location {
		// In the year 0 zones had local mean time, minutes apart from what a time
		// of day means.
		return moment.On(b.day(location)).In(location), nil
	}
	return parsed, nil
}

// timezone is the zone in which the times of the event's source are.
func (b *Bound) timezone() *time.Location {
	for i := range b.language.sources {
		if source := &b.language.sources[i]; source.Name == b.event.Source && source.Timezone != nil {
			return source.Timezone
		}
	}
	return b.language.timezone
}

// moment reads a text. A time of day alone is that of the event's day.
func (b *Bound) moment(text string, zone *time.Location) (event.Moment, error) {
	moment, err := event.ReadTime(text, zone)
	if err == nil && !moment.HasDay {
		moment = moment.On(b.day(zone))
	}
	return moment, err
}

// day is the day of the event.
func (b *Bound) day(zone *time.Location) event.Moment {
	if text, ok := b.event.Parameters[event.Date].(string); ok {
		if day, err := time.Parse(time.DateOnly, text); err == nil {
			return event.MomentOf(day)
		}
	}
	return event.MomentOf(b.event.Received.In(zone))
}

// The errors of the time package quote the text, which may come with an event.

func loadZone(name string) (*time.Location, error) {
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, errors.New("the text does not name a time zone such as Europe/London")
	}
	return location, nil
}

// formatTime is format_time(when, layout) and format_time(when, layout, zone).
// When is a time, a number of seconds since 1970, or a text that date() reads.
// Without a zone a text without one is written as it reads, all else in the zone of
// the relay. A day alone is the same day in every zone.
func formatTime(args []any) (any, error) {
	bound, args := args[0].(*Bound), args[1:]
	layout, ok := args[1].(string)
	if !ok {
		return nil, wrongKind("a layout as text", args[1])
	}
	if !showsTime(layout) {
		return nil, errLayout
	}
	zone, err := zoneArgument(args, 2)
	if err != nil {
		return nil, err
	}
	when, _, err := bound.local(args[0], zone)
	if err != nil {
		return nil, err
	}
	return when.Format(layout), nil
}

// timeOf returns the time that a time or a number stands for.
func timeOf(v any) (time.Time, error) {
	if text, ok := v.(string); ok {
		number, err := event.DecodeJSON(text)
		if err != nil {
			return time.Time{}, event.ErrNoTime
		}
		v = number
	}
	if isNumber(v) {
		// The first and the last second that a layout can write.
		const first, last = -62167219200, 253402300799
		if compareNumbers(v, int64(first)) < 0 || compareNumbers(v, int64(last)) > 0 {
			return time.Time{}, errors.New("the number is not a time in seconds since 1970; milliseconds must be divided by 1000")
		}
		whole, err := rounded(v, exact.Floor)
		if err != nil {
			return time.Time{}, err
		}
		seconds, _ := wholeNumber(whole)
		return time.Unix(seconds, 0), nil
	}
	if t, ok := v.(time.Time); ok {
		return t, nil
	}
	return time.Time{}, wrongKind("a time, a number of seconds or text", v)
}

var errLayout = errors.New("the layout shows no part of a time; it is written with 2 January 2006, 15:04:05, as in 2006-01-02 15:04:05")

// showsTime reports whether a layout has any part of a time in it: %Y-%m-%d and
// the like have none.
func showsTime(layout string) bool {
	odd := time.Date(1999, 11, 28, 21, 48, 57, 123456789, time.FixedZone("XYZ", 5*3600+1800))
	return odd.Format(layout) != layout
}

// checkFormatTime finds a layout or zone that is of no use.
func checkFormatTime(args []any) error {
	if layout, ok := args[1].(string); ok && !showsTime(layout) {
		return errLayout
	}
	_, err := zoneArgument(args, 2)
	return err
}

// methods are the methods of times and durations that can be called, with the
// types of their arguments. Those that take or give something else than values
// of the language are left out.
var methods = func() map[string][]reflect.Type {
	values := []reflect.Type{
		reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int64](), reflect.TypeFor[float64](), reflect.TypeFor[string](),
		reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration](), reflect.TypeFor[*time.Location](),
		reflect.TypeFor[time.Month](), reflect.TypeFor[time.Weekday](),
	}
	methods := map[string][]reflect.Type{}
	for _, receiver := range []reflect.Type{reflect.TypeFor[time.Time](), reflect.TypeFor[time.Duration]()} {
		for i := range receiver.NumMethod() {
			method := receiver.Method(i)
			fits := method.Type.NumOut() == 1 && slices.Contains(values, method.Type.Out(0)) && method.Name != "GoString"
			var arguments []reflect.Type
			for j := 1; j < method.Type.NumIn(); j++ {
				fits = fits && slices.Contains(values, method.Type.In(j))
				arguments = append(arguments, method.Type.In(j))
			}
			if fits {
				methods[method.Name] = arguments
			}
		}
	}
	return methods
}()

// callMethod calls a method as expr does, by its name in Go.
func callMethod(name string, args []any) (any, error) {
	value := args[0]
	if name == "String" {
		return textOf(value)
	}
	if kind := kindOf(value); kind != timeKind && kind != durationKind {
		return nil, fmt.Errorf("only a time has that, not %s", kind)
	}
	method := reflect.ValueOf(value).MethodByName(name)
	if !method.IsValid() {
		return nil, fmt.Errorf("%s has no %s", kindOf(value), name)
	}
	types := make([]reflect.Type, method.Type().NumIn())
	values := make([]reflect.Value, len(types))
	if len(args) != len(types)+1 {
		return nil, fmt.Errorf("%s of %s takes %d values", name, kindOf(value), len(types))
	}
	for i := range types {
		converted, err := toExpr(args[i+1], kindsOfType(method.Type().In(i)))
		if err != nil {
			return nil, err
		}
		values[i] = reflect.ValueOf(converted)
	}
	switch result := method.Call(values)[0].Interface().(type) {
	case time.Month:
		// A number, so that it can be compared.
		return int64(result), nil
	case time.Weekday:
		return result.String(), nil
	default:
		return fromExpr(result)
	}
}

// kindsOfType returns the kind of the values that a method takes as that type.
func kindsOfType(t reflect.Type) []kind {
	for _, known := range exprTypes {
		if known.of == t {
			return []kind{known.kind}
		}
	}
	return nil
}

// method is value.Name(arguments).
func (c *compilation) method(n *ast.CallNode, value ast.Node, name string) ast.Node {
	text := partOf(n)
	arguments, ok := methods[name]
	if !ok {
		known := slices.Sorted(maps.Keys(methods))
		return c.fail(&UnknownNameError{
			Name: name, Expression: c.source, Function: true, Suggestion: names.Nearest(name, known), Known: known,
		})
	}
	if len(n.Arguments) != len(arguments) {
		return c.fail(fmt.Errorf("`%s`: %s takes %d values", text, name, len(arguments)))
	}
	return c.priced(text, shallow, func(args ...any) (any, error) {
		if slices.Contains(args, nil) {
			return nil, nil
		}
		v, err := callMethod(name, args)
		if err != nil {
			return nil, fmt.Errorf("`%s`: %w", text, err)
		}
		return v, nil
	}, append([]ast.Node{c.rewrite(value)}, c.rewriteAll(n.Arguments)...)...)
}
