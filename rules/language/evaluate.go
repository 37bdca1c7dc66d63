package language

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
)

// Expression is a compiled expression. It is safe for concurrent use.
type Expression struct {
	source string
	// Exactly one of these says what the value is: the configuration, what the
	// event has at a reference, or what a program gives.
	configured *configured
	reference  *reference
	program    *vm.Program
	verbatim   bool
	// named are the custom parameters in the expression, each once.
	named []*parameter
	// miss is for conditions only.
	miss miss
}

// String returns the expression as the administrator wrote it.
func (x *Expression) String() string { return x.source }

// Trusted reports whether an expression names nothing but custom parameters and
// functions of their values: what the administrator wrote. An event can do no
// more than choose, by its tenant, among values that were configured. Any other
// expression is untrusted, also one that calls now().
func (x *Expression) Trusted() bool { return x.configured != nil }

// Tenants returns the tenants that have a value of their own in one of the
// parameters that a trusted expression names, sorted. The expression must be
// trusted.
func (x *Expression) Tenants() []string { return tenantsOf([]*configured{x.configured}) }

// Lists reports whether a tenant is one of Tenants, without making that list: an action with many
// tenants asks for each of them.
func (x *Expression) Lists(tenant string) bool {
	_, listed := x.configured.tenants[tenant]
	return listed
}

// TrustedValue is the value of a trusted expression for the events of a tenant.
type TrustedValue struct {
	// Value is as Evaluate returns it.
	Value any
	// Secret says that a secret parameter is named in the expression.
	Secret bool
	// Missing are the parameters named in the expression that have neither a
	// value for the tenant nor a default.
	Missing []string
}

// For returns the value of a trusted expression for the events of a tenant. For
// a tenant that is not listed, such as "", it is the default. The expression must
// be trusted.
func (x *Expression) For(tenant string) TrustedValue {
	result := TrustedValue{Value: x.configured.of(tenant)}
	for _, p := range x.named {
		value, ok := p.valueFor(tenant)
		if !ok {
			result.Missing = append(result.Missing, p.name)
		}
		result.Secret = result.Secret || value.secret
	}
	return result
}

// Parameters returns the custom parameters that the expression names, each once.
func (x *Expression) Parameters() []string {
	names := make([]string, len(x.named))
	for i, p := range x.named {
		names[i] = p.name
	}
	return names
}

// Verbatim reports whether the whole expression is a call verbatim(…), by which
// an administrator asks that the value not be escaped in a body. Evaluating such
// an expression gives the value in the brackets.
func (x *Expression) Verbatim() bool { return x.verbatim }

// Bound is an event as expressions see it. It is for one goroutine.
type Bound struct {
	language *Language
	event    *event.Event
	absent   []string
	// raw is the raw body as text, once it has been asked for.
	raw any
	// steps counts the work of an evaluation.
	steps int
}

// Bind prepares an event for evaluation. It costs one small allocation: nothing
// of the event is copied or looked at until an expression names it. The event
// must not be changed while the result is in use.
func (l *Language) Bind(event *event.Event) *Bound { return &Bound{language: l, event: event} }

// Event returns the event. It must not be changed.
func (b *Bound) Event() *event.Event { return b.event }

// Evaluate returns the value of an expression for an event: nil (absent), bool,
// int64, json.Number (a number that int64 cannot hold), string, []any or
// map[string]any; times and durations as text. The value may be part of the
// event or the expression and must not be changed. The error names the
// expression, the part that failed and the types in it, but no values. Evaluate
// never panics.
func (b *Bound) Evaluate(x *Expression) (any, error) {
	switch {
	case x.configured != nil:
		return x.configured.value(b), nil
	case x.reference != nil:
		// What an event holds is plain, but for a few of its own variables.
		switch v := x.reference.value(b).(type) {
		case multimap, time.Time:
			return plain(v)
		default:
			return v, nil
		}
	}
	return b.run(x)
}

// machines are the virtual machines at rest.
var machines = sync.Pool{New: func() any { return &vm.VM{MemoryBudget: maxElements} }}

// maxStack is the number of values above which the stack of a machine is given
// back to the garbage collector rather than kept.
const maxStack = 1024

func (b *Bound) run(x *Expression) (any, error) {
	b.steps = 0
	machine := machines.Get().(*vm.VM)
	v, err := machine.Run(x.program, b)
	if cap(machine.Stack) <= maxStack {
		machines.Put(machine)
	}
	if err == nil {
		v, err = plain(v)
	}
	if err != nil {
		return nil, within("evaluating", x.source, cause(err))
	}
	return v, nil
}

// within names the expression in an error, unless the error begins with it.
func within(doing, source string, err error) error {
	if strings.HasPrefix(err.Error(), "`"+source+"`") {
		return fmt.Errorf("%s %w", doing, err)
	}
	return fmt.Errorf("%s `%s`: %w", doing, source, err)
}

// cause takes what a helper complained about out of the machine's error, which
// adds a picture of the place. Panics inside helpers arrive here too.
func cause(err error) error {
	e := (*file.Error)(nil)
	if !errors.As(err, &e) {
		return err
	}
	if e.Prev != nil {
		return e.Prev
	}
	return errors.New(e.Message)
}

// Absent returns what evaluations since Bind referred to and the event did not
// have, each once, as the administrator wrote it, in the order met.
func (b *Bound) Absent() []string { return b.absent }

func (b *Bound) noteAbsent(text string) {
	if !slices.Contains(b.absent, text) {
		b.absent = append(b.absent, text)
	}
}

func (b *Bound) rawBody() any {
	if b.raw == nil && len(b.event.RawBody) > 0 {
		b.raw = string(b.event.RawBody)
	}
	return b.raw
}
