package rules

import (
	"errors"
	"fmt"
	"time"

	"github.com/expr-lang/expr/ast"
)

// dateLayouts are the forms that date(text) tries, in this order.
var dateLayouts = []string{
	time.DateOnly, time.TimeOnly, time.DateTime, time.RFC3339, time.RFC822, time.RFC850, time.RFC1123,
}

// parseDate is date(text), date(text, layout) and date(text, layout, zone).
func parseDate(t []string) (any, error) {
	layouts, location := dateLayouts, time.UTC
	if len(t) > 1 {
		layouts = t[1:2]
	}
	if len(t) > 2 {
		named, err := loadZone(t[2:])
		if err != nil {
			return nil, err
		}
		location = named.(zone).location
	}
	for _, layout := range layouts {
		if parsed, err := time.ParseInLocation(layout, t[0], location); err == nil {
			return parsed, nil
		}
	}
	return nil, errors.New("the text is not a date of that form")
}

// The errors of the time package quote the text, which may come with an event.

func parseDuration(t []string) (any, error) {
	d, err := time.ParseDuration(t[0])
	if err != nil {
		return nil, errors.New("the text is not a duration such as 1h30m")
	}
	return d, nil
}

func loadZone(t []string) (any, error) {
	location, err := time.LoadLocation(t[0])
	if err != nil {
		return nil, errors.New("the text does not name a time zone such as Europe/London")
	}
	return zone{location}, nil
}

// formatTime is format_time(when, layout) and format_time(when, layout, zone).
// When is a time, a number of seconds since 1970, or a text that date() reads.
func formatTime(args []any) (any, error) {
	layout, ok := args[1].(string)
	if !ok {
		return nil, wrongKind("a layout as text", args[1])
	}
	if !showsTime(layout) {
		return nil, errLayout
	}
	location := time.UTC
	if len(args) == 3 {
		name, ok := args[2].(string)
		if !ok {
			return nil, wrongKind("a time zone as text", args[2])
		}
		named, err := loadZone([]string{name})
		if err != nil {
			return nil, err
		}
		location = named.(zone).location
	}
	when, err := timeOf(args[0])
	if err != nil {
		return nil, err
	}
	return when.In(location).Format(layout), nil
}

// timeOf reads what stands for a time.
func timeOf(v any) (time.Time, error) {
	text, isText := v.(string)
	switch {
	case isText && isNumberLiteral(text):
		number, err := DecodeJSON([]byte(text))
		if err != nil {
			return time.Time{}, errors.New("the text is not a time")
		}
		return timeOf(number)
	case isText:
		parsed, err := parseDate([]string{text})
		if err != nil {
			return time.Time{}, errors.New("the text is not a date and time such as 2026-03-13T10:41:58Z")
		}
		return parsed.(time.Time), nil
	case isNumber(v):
		// The first and the last second that a layout can write.
		const first, last = -62167219200, 253402300799
		if compareNumbers(v, int64(first)) < 0 || compareNumbers(v, int64(last)) > 0 {
			return time.Time{}, errors.New("the number is not a time in seconds since 1970; milliseconds must be divided by 1000")
		}
		whole, err := rounded(v, 0)
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
	if len(args) == 3 {
		if name, ok := args[2].(string); ok {
			_, err := loadZone([]string{name})
			return err
		}
	}
	return nil
}

// methods are what can be asked of times and durations, by their names in Go.
// Months are numbers and days of the week English names.
var methods = map[string]struct {
	arguments int
	call      func(args []any) (any, error)
}{
	"Year":      {0, ofTime(func(t time.Time) any { return int64(t.Year()) })},
	"Month":     {0, ofTime(func(t time.Time) any { return int64(t.Month()) })},
	"Day":       {0, ofTime(func(t time.Time) any { return int64(t.Day()) })},
	"YearDay":   {0, ofTime(func(t time.Time) any { return int64(t.YearDay()) })},
	"Weekday":   {0, ofTime(func(t time.Time) any { return t.Weekday().String() })},
	"Hour":      {0, ofTime(func(t time.Time) any { return int64(t.Hour()) })},
	"Minute":    {0, ofTime(func(t time.Time) any { return int64(t.Minute()) })},
	"Second":    {0, ofTime(func(t time.Time) any { return int64(t.Second()) })},
	"Unix":      {0, ofTime(func(t time.Time) any { return t.Unix() })},
	"UnixMilli": {0, ofTime(func(t time.Time) any { return t.UnixMilli() })},
	"Format": {1, func(args []any) (any, error) {
		t, ok := args[0].(time.Time)
		layout, isText := args[1].(string)
		if !ok || !isText {
			return nil, errors.New("calling Format: it is for a time and takes a layout as text")
		}
		return t.Format(layout), nil
	}},
	"In": {1, func(args []any) (any, error) {
		t, ok := args[0].(time.Time)
		z, isZone := args[1].(zone)
		if !ok || !isZone {
			return nil, errors.New("calling In: it is for a time and takes a time zone")
		}
		return t.In(z.location), nil
	}},
	"Hours":        {0, ofDuration(func(d time.Duration) (any, error) { return fromFloat(d.Hours()) })},
	"Minutes":      {0, ofDuration(func(d time.Duration) (any, error) { return fromFloat(d.Minutes()) })},
	"Seconds":      {0, ofDuration(func(d time.Duration) (any, error) { return fromFloat(d.Seconds()) })},
	"Milliseconds": {0, ofDuration(func(d time.Duration) (any, error) { return d.Milliseconds(), nil })},
	"String":       {0, func(args []any) (any, error) { return textOf(args[0]) }},
}

func ofTime(call func(t time.Time) any) func(args []any) (any, error) {
	return func(args []any) (any, error) {
		t, ok := args[0].(time.Time)
		if !ok {
			return nil, fmt.Errorf("only a time has that, not %s", kindOf(args[0]))
		}
		return call(t), nil
	}
}

func ofDuration(call func(d time.Duration) (any, error)) func(args []any) (any, error) {
	return func(args []any) (any, error) {
		d, ok := args[0].(time.Duration)
		if !ok {
			return nil, fmt.Errorf("only a duration has that, not %s", kindOf(args[0]))
		}
		return call(d)
	}
}

// method is value.Name(arguments).
func (c *compilation) method(n *ast.CallNode, value ast.Node, name string) ast.Node {
	text := partOf(n)
	m, ok := methods[name]
	if !ok {
		known := sortedNames(methods)
		return c.fail(&UnknownNameError{
			Name: name, Expression: c.source, Function: true, Suggestion: Nearest(name, known), Known: known,
		})
	}
	if len(n.Arguments) != m.arguments {
		return c.fail(fmt.Errorf("`%s`: %s takes %d values", text, name, m.arguments))
	}
	return c.call(func(args ...any) (any, error) {
		for _, arg := range args {
			if arg == nil {
				return nil, nil
			}
		}
		v, err := m.call(args)
		if err != nil {
			return nil, fmt.Errorf("`%s`: %w", text, err)
		}
		return v, nil
	}, append([]ast.Node{c.rewrite(value)}, c.rewriteAll(n.Arguments)...)...)
}
