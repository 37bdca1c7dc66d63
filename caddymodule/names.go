package caddymodule

import (
	"fmt"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// didYouMean ends the part of a message that tells of an unknown name: with the
// question whether the nearest known one was meant, if one is near.
func didYouMean(name string, known []string) string {
	if nearest := names.Nearest(name, known); nearest != "" {
		return fmt.Sprintf("; did you mean %s?", nearest)
	}
	return "."
}

// relaySource is the name of the source that the relay's own events have.
const relaySource = "relay"

// checkName returns an error if a source or an action cannot be called name.
func checkName(kind, name string) error {
	if err := names.Check(kind, name); err != nil {
		return err
	}
	if kind == "source" && strings.EqualFold(name, relaySource) {
		return fmt.Errorf("the source cannot be called %s: that is the relay itself", name)
	}
	return nil
}

// checkIdentifier returns an error if a parameter or a field cannot be called
// name in an expression.
func checkIdentifier(kind, name string) error {
	for i, r := range name {
		letter := r == '_' && i > 0 || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return fmt.Errorf("%q cannot be the name of a %s: a name is made of letters, digits and underscores, and begins with a letter",
				name, kind)
		}
	}
	if name == "" {
		return fmt.Errorf("the name of the %s is empty", kind)
	}
	return nil
}
