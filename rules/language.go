package rules

import "errors"

// Definitions says what expressions may name beyond the variables that every
// event has.
type Definitions struct {
	Sources    []Source
	Parameters []CustomParameter
}

// Source is a configured sender as the rules see it: which events it declares
// and which fields it reads.
type Source struct {
	Name   string
	Events []EventType
	Fields []string
}

// EventType is an event that a source is known to send.
type EventType struct {
	Name string
	// Description is the vendor's text, empty where the vendor gives none.
	Description string
}

// CustomParameter is a named value from the configuration.
type CustomParameter struct {
	Name, Value string
	// Secret says that the value came whole from the environment or a file. It
	// is never searched for tags and is masked wherever requests are shown.
	Secret bool
}

// Language compiles the expressions of one configuration. It is safe for
// concurrent use.
type Language struct{}

// NewLanguage checks the definitions and returns the language they make.
func NewLanguage(definitions Definitions) (*Language, error) {
	return nil, errors.New("not built")
}

// Compile checks an expression against the known names and compiles it.
func (l *Language) Compile(source string) (*Expression, error) { return nil, errors.New("not built") }

// Parameter returns the value of a custom parameter, with the parameters in it
// put in.
func (l *Language) Parameter(name string) (CustomParameter, bool) { return CustomParameter{}, false }

// Expression is a compiled expression. It is safe for concurrent use.
type Expression struct{}

// Constant returns the value of an expression that names nothing but custom
// parameters and functions of their values: what the administrator wrote, and
// therefore trusted. Any other expression is untrusted.
func (x *Expression) Constant() (value any, trusted bool) { return nil, false }

// Bind prepares an event for evaluation. The result is for one goroutine.
func (l *Language) Bind(event *Event) *Bound { return nil }

// Bound is an event as expressions see it.
type Bound struct{}

// Evaluate returns the value of an expression for an event: nil (absent),
// bool, int64, int, float64, json.Number, string, []any or map[string]any.
func (b *Bound) Evaluate(x *Expression) (any, error) { return nil, errors.New("not built") }

// Absent returns what evaluations since Bind referred to and the event did not
// have, each once, in the order met.
func (b *Bound) Absent() []string { return nil }
