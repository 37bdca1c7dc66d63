// Package configtest makes configured values ready for the tests of other packages.
package configtest

import (
	"errors"
	"strings"
	"testing"

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

// Action returns an action that passes its check, named "test" and sent with POST
// unless it says otherwise or sends a mail.
func Action(tb testing.TB, action config.Action) config.Action {
	tb.Helper()
	if action.Name == "" {
		action.Name = "test"
	}
	if action.Method == "" && action.Mail == nil {
		action.Method = "POST"
	}
	if err := errors.Join(action.Check()...); err != nil {
		tb.Fatalf("checking: %v", err)
	}
	return action
}
