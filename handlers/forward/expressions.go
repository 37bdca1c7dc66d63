package forward

import (
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Expressions returns the expressions in the action's templates and in order_by.
func (p *Prepared) Expressions() []*language.Expression {
	var expressions []*language.Expression
	for _, text := range p.written.texts() {
		for _, piece := range text.pieces {
			if piece.tag != nil {
				expressions = append(expressions, piece.tag.expression)
			}
		}
	}
	if p.orderBy != nil {
		expressions = append(expressions, p.orderBy)
	}
	return expressions
}
