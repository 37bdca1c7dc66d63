package rules

import "github.com/caddy-event-relay/event-relay/internal/event"

// Source is a configured sender as the rules see it: which events it declares.
type Source struct {
	Name   string
	Events []event.Type
	// Own says that the events are the relay's own: a glob means them only with the
	// source before it (relay:*), and a name that another source declares too means
	// that source's event.
	Own bool
}
