package template

import (
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Expressions returns the expressions in the action's templates and in order_by.
func (s *Set) Expressions() []*language.Expression {
	var expressions []*language.Expression
	for _, text := range s.written.texts() {
		for _, piece := range text.pieces {
			if piece.tag != nil {
				expressions = append(expressions, piece.tag.expression)
			}
		}
	}
	if s.orderBy != nil {
		expressions = append(expressions, s.orderBy)
	}
	return expressions
}
