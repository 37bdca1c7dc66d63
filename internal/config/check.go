package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Findings holds what is wrong with a configuration.
type Findings []error

// Add adds an error, if it is one, with the place that it is about, if that is
// known. The parts of an error that is made of several are added one by one.
func (f *Findings) Add(place string, err error) {
	if err == nil {
		return
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok && place == "" {
		for _, one := range several.Unwrap() {
			f.Add("", one)
		}
		return
	}
	if place != "" {
		err = &Mistake{Place: place, Err: err}
	}
	*f = append(*f, err)
}

// AddNew adds mistakes, but for those that are there already.
func (f *Findings) AddNew(others ...error) {
	for _, other := range others {
		if !f.Has(other) {
			*f = append(*f, other)
		}
	}
}

// Has reports whether a mistake is there already, perhaps with more said of its place.
func (f *Findings) Has(mistake error) bool {
	text := mistake.Error()
	return slices.ContainsFunc(*f, func(known error) bool {
		more, same := strings.CutPrefix(known.Error(), text)
		return same && (more == "" || more[0] == ' ')
	})
}

// At names a place, such as Caddyfile:12, at the end of a message, as every message
// of the relay does. It is nothing without a place.
func At(place string) string {
	if place == "" {
		return ""
	}
	return ", at " + place
}

// Mistake is something that is wrong at a known place of a configuration.
type Mistake struct {
	// Place is FILE:LINE, and the lines that import it if it is imported.
	Place string
	Err   error
}

// Error says what is wrong, and at last where.
func (m *Mistake) Error() string { return m.Err.Error() + At(m.Place) }

// Unwrap returns what is wrong.
func (m *Mistake) Unwrap() error { return m.Err }

// mostMistakes is how many mistakes a message lists. More than these have a common
// cause, such as a brace too few.
const mostMistakes = 20

// Mistakes is the error for a configuration with several mistakes.
type Mistakes Findings

// Err returns what is wrong as one error, nil if nothing is.
func (f Findings) Err() error {
	switch len(f) {
	case 0:
		return nil
	case 1:
		return f[0]
	}
	return Mistakes(f)
}

// Error lists the mistakes, each on a line of its own.
func (m Mistakes) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d mistakes:", len(m))
	for i, one := range m {
		if i == mostMistakes {
			fmt.Fprintf(&b, "\n  and %d more", len(m)-i)
			break
		}
		b.WriteString("\n  " + strings.ReplaceAll(one.Error(), "\n", "\n    "))
	}
	return b.String()
}

// Unwrap returns the mistakes.
func (m Mistakes) Unwrap() []error { return m }

// checkSign returns an error for a negative value.
func checkSign[T int | int64 | time.Duration](setting string, value T) error {
	if value < 0 {
		return fmt.Errorf("%s must be above zero, not %v; without it the default counts", setting, value)
	}
	return nil
}

// given says whether a field of a structure has a value.
type given struct {
	field string
	is    bool
}

// refuseOthers returns an error for a field that has no meaning for a kind, which
// would otherwise be ignored without a message.
func refuseOthers(kind string, takes []string, fields ...given) error {
	for _, field := range fields {
		if field.is && !slices.Contains(takes, field.field) {
			taken := "nothing"
			if len(takes) > 0 {
				taken = strings.Join(takes, ", ")
			}
			return fmt.Errorf("%s has no %s; it takes: %s", kind, field.field, taken)
		}
	}
	return nil
}

// placeholder finds Caddy's placeholders for secrets, but not an expression in
// double braces that looks like one.
var placeholder = regexp.MustCompile(`(?:^|[^{])(\{(?:env|file)\.[^{}]+\})`)

func findPlaceholder(text string) string {
	if found := placeholder.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}

// CheckValue returns an error for a value that holds a placeholder among other
// text: the placeholder would not be replaced.
func CheckValue(text string) error {
	found := findPlaceholder(text)
	if found == "" || found == text {
		return nil
	}
	return fmt.Errorf("%s is read only where it is the whole value; what is no secret can be written {$NAME}, "+
		"which Caddy replaces anywhere in the file", found)
}

// CheckTemplate returns an error for a template that holds a placeholder. The relay
// never replaces Caddy's placeholders in templates, because event data could contain
// some and so read secrets.
func CheckTemplate(text string) error {
	found := findPlaceholder(text)
	if found == "" {
		return nil
	}
	return fmt.Errorf("%s is not read in templates: define a parameter with it, as in `parameter my_secret %s`, and write {{my_secret}} here", found, found)
}
