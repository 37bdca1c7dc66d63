package language

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// Definitions says what expressions may name beyond the variables that every
// event has.
type Definitions struct {
	Sources []Source
	// Parameters are the custom parameters, resolved: which of their values are secret
	// is known to them.
	Parameters []config.Parameter

	// Timezone is the zone of the relay: of received, now() and what is made from
	// them, and of what format_time and the like show without a zone. Nil stands for
	// UTC.
	Timezone *time.Location

	// Now is the clock of now(). Nil means time.Now.
	Now func() time.Time
}

// Source is a configured sender as expressions see it: which fields it reads,
// and in which zone its times are.
type Source struct {
	Name string
	// Fields are the names of the source's own fields. A field that has the
	// name of a system parameter is a way to fill that parameter, and adds no
	// name of its own. Sources may have fields of the same name.
	Fields []string
	// Timezone is the zone of the source's times that name none. Nil stands for
	// that of the relay.
	Timezone *time.Location
}

// Language compiles the expressions of one configuration. It is safe for
// concurrent use.
//
// Its expressions are those of expr, with these differences.
//
//   - Absent is unknown, as NULL in SQL. Comparing something absent is unknown,
//     so is calculating with it, and calling a function with it gives nothing.
//     "not" of unknown is unknown; "and" and "or" follow Kleene and leave their
//     right side alone when the left decides; a choice (?: or if) on an unknown
//     condition is absent. A member of something absent or of another shape is
//     absent. JSON null, an empty text in a request and a tag that its sender
//     forgot to replace count as absent.
//   - x == nil and x != nil test presence and are never unknown. x == "" is
//     unknown for an absent x, and an empty text in a request counts as absent.
//     x ?? y is y when x is absent.
//   - Text and number do not compare, neither with < nor with ==: a rule which
//     could never fire should say so. Values of other unlike types neither.
//     "in" with a list that holds nothing comparable is the same error.
//   - Numbers are exact decimals. An id never becomes 4.8e+18, and 0.1 + 0.2 is
//     0.3. A division that does not end is cut to about 17 digits.
//   - Names of headers are found in any case; query values and headers are the
//     first value of their name.
//   - Over an absent list any, all, none, count and the like are absent. Their
//     conditions follow Kleene, while filter, find, count and the like pass
//     over elements whose condition is not true, as WHERE does.
//   - Functions are expr's own, and pure, but for now(). Where one gives
//     something else than in expr, TestExprFunctions has the reason. date and
//     duration are system parameters; date(…) and duration(…) with brackets are
//     functions. default, digits, format_time, hmac_sha256, list, time_between,
//     tojson, toxml, urlencode, verbatim and weekday are added.
//   - Times in texts that name no zone are in the zone of the event's source.
//     received, now() and what is shown without a zone are in that of the relay.
//   - An evaluation ends with an error after a number of steps, which lengths
//     that an event chooses cannot exceed together.
type Language struct {
	sources    []Source
	fields     map[string]string // name of each field, and the source that has it
	parameters map[string]*parameter
	secrets    []string
	masker     *secret.Masker
	timezone   *time.Location
	now        func() time.Time
}

// words are the names that expr's grammar keeps for itself.
var words = []string{
	"and", "contains", "else", "endsWith", "false", "if", "in", "let",
	"matches", "nil", "not", "or", "startsWith", "true",
}

// New checks the definitions and returns the language they make. It
// reports all that is wrong together: names that are taken, parameters that
// hold undefined ones or each other. With an error the language is for checking the
// rest alone: parameters that cannot be used are absent in it.
func New(definitions Definitions) (*Language, error) {
	l := &Language{
		sources:    definitions.Sources,
		fields:     map[string]string{},
		parameters: map[string]*parameter{},
		timezone:   definitions.Timezone,
		now:        definitions.Now,
	}
	if l.timezone == nil {
		l.timezone = time.UTC
	}
	if l.now == nil {
		l.now = time.Now
	}
	var errs []error
	for _, source := range definitions.Sources {
		for _, name := range source.Fields {
			if _, ok := event.ParameterByName(name); ok {
				continue
			}
			if _, ok := l.fields[name]; ok {
				continue
			}
			if err := l.checkNew(name); err != nil {
				errs = append(errs, fmt.Errorf("defining field %s of source %s: %w", name, source.Name, err))
				continue
			}
			l.fields[name] = source.Name
		}
	}
	defined := make([]config.Parameter, 0, len(definitions.Parameters))
	for _, parameter := range definitions.Parameters {
		if err := l.checkNew(parameter.Name); err != nil {
			errs = append(errs, fmt.Errorf("defining parameter %s: %w%s", parameter.Name, err, config.At(parameter.Place)))
			continue
		}
		l.parameters[parameter.Name] = nil
		defined = append(defined, parameter)
	}
	made, err := makeParameters(defined)
	for name := range l.parameters {
		if l.parameters[name] = made[name]; made[name] == nil {
			l.parameters[name] = newParameter(name)
		}
	}
	l.secrets = secretsOf(defined)
	l.masker = secret.New(l.secrets)
	return l, errors.Join(append(errs, err)...)
}

// IsSecret reports whether a custom parameter has a secret value, for whichever
// tenant. A value that a secret was put into is itself secret.
func (l *Language) IsSecret(name string) bool {
	p := l.parameters[name]
	return p != nil && p.isSecret()
}

// Secrets returns the secret values of all custom parameters and tenants, each
// once: what must not be shown. Values that a secret was put into are not among
// them. The result must not be changed.
func (l *Language) Secrets() []string { return l.secrets }

// checkNew reports why a name cannot be given to a field, a custom parameter or
// a variable of an expression.
func (l *Language) checkNew(name string) error {
	if !names.IsIdentifier(name) {
		return errors.New("a name consists of letters, digits and underscores, and does not begin with a digit")
	}
	if name[0] == '_' {
		return errors.New("a name must not begin with an underscore")
	}
	if what := l.meaning(name); what != "" {
		return fmt.Errorf("%s is %s; choose another name", name, what)
	}
	return nil
}

// meaning says what a name stands for, or returns "" for an unknown one.
func (l *Language) meaning(name string) string {
	if _, ok := event.ParameterByName(name); ok {
		return "a system parameter"
	}
	if _, ok := variables[name]; ok && name != subject {
		return "a variable that every event has"
	}
	if source, ok := l.fields[name]; ok {
		return "a field of source " + source
	}
	if _, ok := l.parameters[name]; ok {
		return "a custom parameter"
	}
	if slices.Contains(words, name) {
		return "a word of the expression language"
	}
	if isFunction(name) {
		return "a function of the expression language"
	}
	return ""
}

// names returns all that an expression may name, without functions, sorted.
func (l *Language) names() []string {
	var names []string
	for _, p := range event.SystemParameters() {
		names = append(names, p.String())
	}
	names = slices.AppendSeq(names, maps.Keys(variables))
	names = slices.AppendSeq(names, maps.Keys(l.fields))
	names = slices.AppendSeq(names, maps.Keys(l.parameters))
	slices.Sort(names)
	return slices.Compact(names)
}

// UnknownNameError says that an expression names something that does not exist.
type UnknownNameError struct {
	// Name is the unknown name, Expression the source it stands in.
	Name, Expression string
	// Function says that the name is called as a function.
	Function bool
	// Suggestion is the known name that was most likely meant, or empty.
	Suggestion string
	// Known lists what exists, sorted: names, or functions for a Function.
	Known []string
}

// Error says what is unknown, and what was probably meant. Where no name is near, it
// lists what exists.
func (e *UnknownNameError) Error() string {
	what := "name"
	if e.Function {
		what = "function"
	}
	text := fmt.Sprintf("unknown %s %q in `%s`%s", what, e.Name, e.Expression, names.DidYouMean(e.Meant()...))
	switch {
	case e.Suggestion != "":
		return text
	case e.Function:
		text += "."
	default:
		text += fmt.Sprintf(" Or declare it in the source: field %s `body.%s`.", e.Name, e.Name)
	}
	return text + " What exists: " + strings.Join(e.Known, ", ")
}

// Meant returns what may have been meant, the likeliest first. A name that is no
// variable is often that of a value in the body.
func (e *UnknownNameError) Meant() []string {
	var meant []string
	if e.Suggestion != "" {
		meant = append(meant, e.Suggestion)
	}
	if !e.Function && !slices.Contains(words, e.Suggestion) {
		meant = append(meant, "body."+e.Name)
	}
	return meant
}
