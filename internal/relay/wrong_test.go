package relay_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// checkWrong checks that an error is about what the caller gave, and says so.
func checkWrong(t *testing.T, err error, field, problem string) {
	t.Helper()
	var input *relay.WrongInput
	if !errors.As(err, &input) || input.Field != field || !strings.Contains(err.Error(), problem) {
		t.Errorf("got %v (%+v), want one about %s that says %q", err, input, field, problem)
	}
}
