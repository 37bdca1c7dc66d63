package docs_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

var (
	functionRow = regexp.MustCompile(`(?m)^\| (.*?) \| (.*?) \| (.*) \|$`)
	calledName  = regexp.MustCompile(`(?:^|[^.\w])(\w+)\(`)
	example     = regexp.MustCompile("^`(.+?)` → `(.*?)`")
)

// exampleEvent is the event that the examples of docs/functions.md are about.
func exampleEvent(t *testing.T) *event.Event {
	t.Helper()
	const text = `{"order id": 7, "items": [{"name": "camera", "price": 200, "room": "A"}, {"name": "lens", "price": 50, "room": "B"}],
		"order": {"item": {"name": "camera"}}}`
	body, err := event.DecodeJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	e := &event.Event{Source: "icfm", Name: "job_saved", Received: time.Date(2026, 3, 13, 10, 41, 58, 0, time.UTC), RawBody: []byte(text), Body: body, BodyIsRaw: true}
	e.Parameters[event.Duration] = int64(61)
	return e
}

// TestFunctionsAreDescribed runs each example of docs/functions.md, and compares
// the functions in its table with those that exist.
func TestFunctionsAreDescribed(t *testing.T) {
	expressions, err := language.New(language.Definitions{Sources: []language.Source{{Name: "icfm"}}})
	if err != nil {
		t.Fatal(err)
	}
	text := func(source string) (string, error) {
		compiled, err := expressions.Compile(source)
		if err != nil {
			return "", err
		}
		value, err := expressions.Bind(exampleEvent(t)).Evaluate(compiled)
		result, _ := value.(string)
		return result, err
	}
	_, err = expressions.Compile("no_such_function()")
	var unknown *language.UnknownNameError
	if !errors.As(err, &unknown) || !unknown.Function || len(unknown.Known) < 50 {
		t.Fatalf("which functions exist is not said: %v", err)
	}

	var described []string
	examples := 0
	for _, row := range functionRow.FindAllStringSubmatch(read(t, "docs/functions.md"), -1) {
		for _, name := range calledName.FindAllStringSubmatch(row[1], -1) {
			described = append(described, name[1])
		}
		found := example.FindStringSubmatch(row[3])
		if found == nil {
			continue
		}
		examples++
		got, err := text(found[1])
		if got == "" && err == nil { // no text
			got, err = text("tojson(" + found[1] + ")")
			got = strings.Trim(got, `"`)
		}
		if err != nil || got != found[2] {
			t.Errorf("%s gives %s, %v; the manual says %s", found[1], got, err, found[2])
		}
	}
	if examples < 50 {
		t.Errorf("ran only %d examples", examples)
	}
	for _, name := range described {
		// verbatim is a function of templates alone.
		if !slices.Contains(unknown.Known, name) && name != "verbatim" {
			t.Errorf("docs/functions.md describes %s, which does not exist", name)
		}
	}
	for _, name := range unknown.Known {
		if !slices.Contains(described, name) {
			t.Errorf("docs/functions.md does not describe %s", name)
		}
	}
}
