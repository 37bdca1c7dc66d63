package rules

import "github.com/caddy-event-relay/event-relay/internal/event"

// Source is a configured sender as the rules see it: which events it declares.
type Source struct {
	Name   string
	Events []event.Type
	// Apart says that the source sends something else than the others: a glob
	// means its events only with the source before it (relay:*), and a name that
	// another source declares too means that one's.
	Apart bool
}
