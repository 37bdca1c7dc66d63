package template

import (
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// OrderKey returns the text that order_by makes of an event, "" if the action has
// no order_by or its value is absent. The error holds no value of the event.
func (s *Set) OrderKey(bound *language.Bound) (string, error) {
	if s.orderBy == nil {
		return "", nil
	}
	value, err := bound.Evaluate(s.orderBy)
	if err != nil {
		return "", err
	}
	return event.TextOf(value)
}

// orderBy compiles the expression of order_by, nil if there is none. It reports
// mistakes.
func (c *actionCompiler) orderBy() *language.Expression {
	if c.action.OrderBy == "" {
		return nil
	}
	// It is like a template that is one tag.
	by := &tag{source: c.action.OrderBy}
	if !c.expression(&writtenText{place: "order_by", text: c.action.OrderBy}, piece{tag: by}) {
		return nil
	}
	return by.expression
}
