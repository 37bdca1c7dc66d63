package template

import (
	"fmt"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// undefinedError names everything that the templates of all actions refer to
// and that does not exist, so that it can be mended in one go.
type undefinedError struct{ Names []undefinedName }

// undefinedName is one unknown name in one template.
type undefinedName struct {
	Name string
	// Action is the action's name and Configured where that stands.
	Action, Configured string
	// Place is the part of the action: url, query NAME, header NAME,
	// auth, body or body field NAME.
	Place string
	// Meant are what may have been meant, the likeliest first.
	Meant []string
}

// Error lists the names, and after them the line that would define each.
func (e *undefinedError) Error() string {
	var b strings.Builder
	if len(e.Names) == 1 {
		b.WriteString("an undefined parameter:")
	} else {
		fmt.Fprintf(&b, "%d undefined parameters:", len(e.Names))
	}
	var lines []string
	seen := map[string]bool{}
	for _, n := range e.Names {
		fmt.Fprintf(&b, "\n  %s in action %s, %s%s%s", n.Name, n.Action, n.Place, names.DidYouMean(n.Meant...), at(n.Configured))
		if !seen[n.Name] {
			seen[n.Name] = true
			lines = append(lines, "parameter "+n.Name+" VALUE")
		}
	}
	b.WriteString("\nto define what is not a misspelling, add:\n  ")
	b.WriteString(strings.Join(lines, "\n  "))
	return b.String()
}

// at says where something stands, at the end of a message.
func at(place string) string {
	if place == "" {
		return ""
	}
	return ", at " + place
}

// unknownNames returns the undefined parameters that an error of the language
// speaks of, and whether it speaks of nothing else. An unknown function is no
// parameter: no line in the configuration could define it.
func unknownNames(err error) (names []*language.UnknownNameError, only bool) {
	switch err := err.(type) {
	case *language.UnknownNameError:
		if !err.Function {
			return []*language.UnknownNameError{err}, true
		}
	case interface{ Unwrap() error }:
		return unknownNames(err.Unwrap())
	case interface{ Unwrap() []error }:
		only = true
		for _, part := range err.Unwrap() {
			found, all := unknownNames(part)
			names, only = append(names, found...), only && all
		}
		return names, only
	}
	return nil, false
}
