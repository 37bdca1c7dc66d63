package language

import "fmt"

// CompileCondition compiles an expression that must be true or false. A condition
// that the configuration alone decides, and decides to something else, is an
// error here; for others Holds says so when an event comes.
func (l *Language) CompileCondition(source string) (*Expression, error) {
	x, err := l.Compile(source)
	if err != nil {
		return nil, err
	}
	x.miss = l.missOf(x)
	if !x.Trusted() {
		return x, nil
	}
	for _, tenant := range append(x.Tenants(), "") {
		value := x.For(tenant)
		if _, ok := value.Value.(bool); ok || value.Value == nil && len(value.Missing) > 0 {
			continue
		}
		err := noCondition(source, value.Value)
		if tenant != "" {
			err = fmt.Errorf("for tenant %s: %w", tenant, err)
		}
		return nil, err
	}
	return x, nil
}

// Holds reports whether a condition is true for the event. What is false, unknown
// or absent does not hold; another value is an error.
func (b *Bound) Holds(condition *Expression) (bool, error) {
	value, err := b.Evaluate(condition)
	if err != nil {
		return false, err
	}
	switch value {
	case true:
		return true, nil
	case false, nil:
		return false, nil
	}
	return false, noCondition(condition.source, value)
}

func noCondition(source string, value any) error {
	return fmt.Errorf("the condition `%s` is %s, but must be true or false", source, kindOf(value))
}
