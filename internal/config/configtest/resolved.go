// Package configtest resolves configured values for the tests of other packages.
package configtest

import (
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// Resolved returns the parameters with secrets in the place of placeholders. A
// placeholder {env.VALUE} stands for the secret VALUE, which may hold anything.
func Resolved(parameters ...config.Parameter) []config.Parameter {
	resolved := make([]config.Parameter, len(parameters))
	for i := range parameters {
		resolved[i] = parameters[i].Resolved(func(text string) (value string, secret bool) {
			name, begins := strings.CutPrefix(text, "{env.")
			name, ends := strings.CutSuffix(name, "}")
			if begins && ends {
				return name, true
			}
			return text, false
		})
	}
	return resolved
}
