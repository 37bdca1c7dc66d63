package language

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// kind is what an administrator calls the type of a value.
type kind = event.Kind

// The kinds of values that only expressions make.
const (
	timeKind     kind = "a time"
	durationKind kind = "a duration"
	zoneKind     kind = "a time zone"
)

// zone is a time zone as a value. It is not a pointer, because the machine
// follows pointers.
type zone struct{ location *time.Location }

// multimap is the request's query or headers as a value: an object whose
// members are the first of each name's values.
type multimap struct {
	values map[string][]string
	// headers says that names are header names, whose case does not count.
	headers bool
}

// objectLike is a value that expressions take for an object and that is none.
type objectLike interface {
	// get returns the member of that name, nil if there is none.
	get(name any) any
	object() map[string]any
}

func (m multimap) get(key any) any {
	name, ok := key.(string)
	if !ok {
		return nil
	}
	if m.headers {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	if all := m.values[name]; len(all) > 0 {
		return all[0]
	}
	return nil
}

func (m multimap) object() map[string]any {
	object := make(map[string]any, len(m.values))
	for name, all := range m.values {
		if len(all) > 0 {
			object[name] = all[0]
		}
	}
	return object
}

// groups is what groupBy makes: lists of elements by keys of any kind, in the
// order in which the keys were met. Elsewhere it is an object with the texts of
// the keys as names.
type groups struct {
	keys  []any
	lists map[string][]any // by identity of the key
}

func (g groups) get(key any) any {
	id, err := identity(key)
	if list, ok := g.lists[id]; ok && err == nil {
		return list
	}
	return nil
}

func (g groups) object() map[string]any {
	object := make(map[string]any, len(g.keys))
	for _, key := range g.keys {
		name, err := textOf(key)
		if err != nil {
			continue
		}
		list, _ := object[name].([]any)
		id, _ := identity(key)
		object[name] = append(list, g.lists[id]...)
	}
	return object
}

// identity returns a text that is the same for equal values, and for no others.
func identity(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return `"` + v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case time.Time:
		return "time " + v.UTC().Format(time.RFC3339Nano), nil
	case time.Duration:
		return "duration " + v.String(), nil
	case zone:
		return "zone " + v.location.String(), nil
	case []any:
		var all strings.Builder
		for _, element := range v {
			id, err := identity(element)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&all, "%d,%s", len(id), id)
		}
		return "[" + all.String(), checkSize(all.Len())
	case map[string]any:
		var all strings.Builder
		for _, name := range slices.Sorted(maps.Keys(v)) {
			id, err := identity(v[name])
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&all, "%q:%d,%s", name, len(id), id)
		}
		return "{" + all.String(), checkSize(all.Len())
	case objectLike:
		return identity(v.object())
	}
	if isNumber(v) {
		m := parseMagnitude(numberText(v))
		if i, ok := wholeNumber(v); ok {
			return strconv.FormatInt(i, 10), nil
		}
		return fmt.Sprintf("%t %se%d", m.negative, m.digits, m.exponent), nil
	}
	return textOf(v)
}

func checkSize(length int) error {
	if length > maxText {
		return errTextSize
	}
	return nil
}

func kindOf(v any) kind {
	switch v.(type) {
	case int, float64:
		return event.NumberKind
	case objectLike:
		return event.ObjectKind
	case time.Time:
		return timeKind
	case time.Duration:
		return durationKind
	case zone:
		return zoneKind
	}
	return event.KindOf(v)
}

// order compares two values of one kind that has an order. ok is false for
// values that cannot be compared.
func order(a, b any) (result int, ok bool) {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			return strings.Compare(a, b), true
		}
	case time.Time:
		if b, ok := b.(time.Time); ok {
			return a.Compare(b), true
		}
	case time.Duration:
		if b, ok := b.(time.Duration); ok {
			return compareInts(int64(a), int64(b)), true
		}
	default:
		if isNumber(a) && isNumber(b) {
			return compareNumbers(a, b), true
		}
	}
	return 0, false
}

// same reports whether two values are equal. Values of different kinds are not.
// Lists and objects must have been weighed.
func same(a, b any) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case bool:
		b, ok := b.(bool)
		return ok && a == b
	case objectLike:
		return same(a.object(), b)
	case zone:
		b, ok := b.(zone)
		return ok && a.location.String() == b.location.String()
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	case map[string]any:
		if m, ok := b.(objectLike); ok {
			b = m.object()
		}
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, same)
	}
	result, ok := order(a, b)
	return ok && result == 0
}

// textOf returns a value as the text that string() and join() make of it.
func textOf(v any) (string, error) {
	switch v := v.(type) {
	case int, float64:
		return numberText(v), nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	case time.Duration:
		return v.String(), nil
	case zone:
		return v.location.String(), nil
	}
	v, err := plain(v)
	if err != nil {
		return "", err
	}
	return event.TextOf(v)
}

// weigh reports values that are nested too deep or too large to be walked
// through or written out. A body is neither, but an expression can put a list into a list
// twice, and the result into another twice, until the smallest expression stands
// for more elements than can ever be counted.
func weigh(values ...any) error {
	left := maxWeight
	for _, v := range values {
		if err := weighWithin(v, &left, event.MaxDepth); err != nil {
			return err
		}
	}
	return nil
}

const (
	maxWeight = 4 * maxElements
	// weightBytes is how much text weighs as much as an element.
	weightBytes = 64
)

var errWeight = fmt.Errorf("a value has more than %d elements and members, or that much text", maxWeight)

func weighWithin(v any, left *int, depth int) error {
	if depth < 0 {
		return event.ErrDepth
	}
	switch v := v.(type) {
	case string:
		if *left -= len(v) / weightBytes; *left < 0 {
			return errWeight
		}
	case json.Number:
		if *left -= len(v) / weightBytes; *left < 0 {
			return errWeight
		}
	case []any:
		if *left -= len(v); *left < 0 {
			return errWeight
		}
		for _, element := range v {
			if err := weighWithin(element, left, depth-1); err != nil {
				return err
			}
		}
	case map[string]any:
		if *left -= len(v); *left < 0 {
			return errWeight
		}
		for _, member := range v {
			if err := weighWithin(member, left, depth-1); err != nil {
				return err
			}
		}
	case groups:
		return weighWithin(v.object(), left, depth)
	}
	return nil
}

// plain turns a value of the language into one of those that Evaluate returns:
// numbers become int64 or json.Number, times, durations and zones text. A value
// that is plain already is returned as it is.
func plain(v any) (any, error) {
	if err := weigh(v); err != nil {
		return nil, err
	}
	if isPlain(v) {
		return v, nil
	}
	return plainCopy(v)
}

func isPlain(v any) bool {
	switch v := v.(type) {
	case nil, bool, string, int64, json.Number:
		return true
	case []any:
		return !slices.ContainsFunc(v, func(element any) bool { return !isPlain(element) })
	case map[string]any:
		for _, member := range v {
			if !isPlain(member) {
				return false
			}
		}
		return true
	}
	return false
}

func plainCopy(v any) (_ any, err error) {
	switch v := v.(type) {
	case nil, bool, string, int64, json.Number:
		return v, nil
	case int:
		return int64(v), nil
	case float64:
		return fromFloat(v)
	case objectLike:
		return plainCopy(v.object())
	case []any:
		list := make([]any, len(v))
		for i, element := range v {
			if list[i], err = plainCopy(element); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		object := make(map[string]any, len(v))
		for name, member := range v {
			if object[name], err = plainCopy(member); err != nil {
				return nil, err
			}
		}
		return object, nil
	}
	return textOf(v)
}
