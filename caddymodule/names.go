package caddymodule

import (
	"fmt"

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
