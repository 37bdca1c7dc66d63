package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// What is shown of the fields of events is bounded, because senders choose how
// many there are and what they are called.
const (
	// newestForFields is how many events are looked at, and eventsAtOnce how
	// many of them are held in memory: one can take forty times the bytes of its
	// body there.
	newestForFields = 200
	eventsAtOnce    = 5
	mostFields      = 500
	deepestField    = 8
	longestField    = 200 // bytes of a path
	longestExample  = 80  // characters
	// mostValues bounds the values that are looked at in one event. An object
	// with more members is a list by id, and none of them is looked at.
	mostValues = 5000
)

// FieldSeen is something that events of one name had.
type FieldSeen struct {
	// Path is how templates and rules call it, such as body.project.id.
	Path string `json:"path"`
	// Types are the JSON types it had, or text for values outside of JSON.
	Types []string `json:"types"`
	// Example is a value, as JSON and shortened.
	Example string `json:"example"`
	// Seen is in how many of the events that were looked at it was present.
	Seen int `json:"seen"`
}

// FieldsSeen is what stored events of one name had.
type FieldsSeen struct {
	// Events is how many were looked at, the newest.
	Events int         `json:"events"`
	Newest time.Time   `json:"newest,omitzero"`
	Fields []FieldSeen `json:"fields"`
}

// Fields looks at the newest events of a source and name. Of lists it shows
// the first element. What counts as absent is left out.
func Fields(ctx context.Context, runtime *relay.Runtime, source, e string) (FieldsSeen, error) {
	seen := FieldsSeen{Fields: []FieldSeen{}}
	fields := newFields()
	err := eachStored(ctx, runtime, queue.Filter{Source: source, Event: e}, newestForFields, func(stored *event.Event) bool {
		if seen.Events == 0 {
			seen.Newest = stored.Received
		}
		seen.Events++
		fields.look(stored)
		return true
	})
	if err != nil {
		return FieldsSeen{}, fmt.Errorf("looking at the events %s of source %s: %w", e, source, err)
	}
	seen.Fields = fields.list()
	return seen, nil
}

// eachStored calls do for the newest stored events that pass a filter, up to n of
// them, until do returns false.
func eachStored(ctx context.Context, runtime *relay.Runtime, filter queue.Filter, n int, do func(*event.Event) bool) error {
	var after queue.Cursor
	for n > 0 {
		page, err := runtime.Store().Events(ctx, filter, queue.NewestFirst, after, min(n, eventsAtOnce))
		if err != nil {
			return err
		}
		for _, stored := range page.Events {
			n--
			if stored.Event != nil && !do(stored.Event) {
				return nil
			}
		}
		if after = page.Next; after == "" {
			return nil
		}
	}
	return nil
}

// fields gathers what events had.
type fields struct {
	seen map[string]*FieldSeen
	// event counts the events, and last says in which one a path was seen last.
	event int
	last  map[string]int
	// left is how many values of the event may still be looked at.
	left int
}

func newFields() *fields {
	return &fields{seen: map[string]*FieldSeen{}, last: map[string]int{}}
}

// look gathers what one event has.
func (f *fields) look(e *event.Event) {
	f.event++
	f.left = mostValues
	for _, parameter := range event.SystemParameters() {
		f.value(parameter.String(), e.Parameters[parameter], 0, false)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Fields)) {
		f.value(name, e.Fields[name], 0, true)
	}
	f.texts("query", e.Query)
	f.texts("headers", e.Headers)
	f.value("body", e.Body, 0, true)
}

func (f *fields) texts(base string, values map[string][]string) {
	if len(values) > mostValues {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 0 && utf8.ValidString(name) {
			f.value(language.Member(base, name), values[name][0], 0, false)
		}
	}
}

// value gathers a value and what is in it.
func (f *fields) value(path string, value any, depth int, inJSON bool) {
	if f.left--; f.left < 0 || isAbsent(value) || len(path) > longestField {
		return
	}
	kind := "text"
	switch v := value.(type) {
	case map[string]any:
		kind = "object"
		if depth >= deepestField || len(v) > mostValues {
			break
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if utf8.ValidString(name) {
				f.value(language.Member(path, name), v[name], depth+1, inJSON)
			}
		}
	case []any:
		kind = "array"
		if depth < deepestField && len(v) > 0 {
			f.value(path+"[0]", v[0], depth+1, inJSON)
		}
	case bool:
		kind = "boolean"
	case int64, json.Number:
		kind = "number"
	default:
		if inJSON {
			kind = "string"
		}
	}
	f.note(path, kind, value)
}

func (f *fields) note(path, kind string, value any) {
	seen := f.seen[path]
	if seen == nil {
		if len(f.seen) >= mostFields {
			return
		}
		seen = &FieldSeen{Path: path, Example: exampleOf(value)}
		f.seen[path] = seen
	}
	if f.last[path] != f.event {
		f.last[path] = f.event
		seen.Seen++
	}
	if !slices.Contains(seen.Types, kind) {
		seen.Types = append(seen.Types, kind)
	}
}

// group is the place in which fields are listed, by what they begin with: those
// of a source and parameters stand between the query and the headers.
func group(path string) int {
	begins := path
	if end := strings.IndexAny(path, ".["); end >= 0 {
		begins = path[:end]
	}
	switch begins {
	case "body":
		return 0
	case "query":
		return 1
	case "headers":
		return groupOfHeaders
	}
	return 2
}

const groupOfHeaders = 3

func (f *fields) list() []FieldSeen {
	list := make([]FieldSeen, 0, len(f.seen))
	for _, seen := range f.seen {
		list = append(list, *seen)
	}
	slices.SortFunc(list, func(a, b FieldSeen) int {
		if by := group(a.Path) - group(b.Path); by != 0 {
			return by
		}
		return strings.Compare(a.Path, b.Path)
	})
	return list
}

// isAbsent reports whether a value counts as absent in rules.
func isAbsent(value any) bool {
	text, isText := value.(string)
	return value == nil || isText && (text == "" || event.Unreplaced(text))
}

// exampleOf returns a value as JSON, shortened.
func exampleOf(value any) string {
	switch v := value.(type) {
	case map[string]any:
		return "{…}"
	case []any:
		return fmt.Sprintf("[… %d]", len(v))
	case string:
		value = event.Shortened(v, longestExample)
	}
	encoded, err := marshal(value)
	if err != nil {
		return "…"
	}
	return event.Shortened(encoded, longestExample)
}

// marshal returns a value as JSON without marking up what only HTML minds.
func marshal(value any) (string, error) {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", err
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}
