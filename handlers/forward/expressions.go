package forward

import (
	"sync"

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

// NewMask returns a function that puts *** in place of secrets in a text, in
// every form in which a request may hold them.
func NewMask(secrets []string) func(text string) string {
	masker := sync.OnceValue(func() *masker { return newMasker(secrets) })
	return func(text string) string { return masker().mask(text, len(masked)*(len(text)+1)) }
}
