// Package preset holds what is known about the senders that have a name of their
// own in the configuration: each sender whole, in files that carry its name.
//
// A sender is a Preset: its events, how its requests are read, and what to give
// to the people at the other end. A source without a preset is one too, with
// nothing known beforehand. No other room names a sender.
package preset

import (
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// Preset is what is known about one kind of sender. Only Name is required.
type Preset struct {
	// Name is what the configuration calls the sender.
	Name string

	// Events are those that the vendor documents, in the vendor's order. Their
	// names are in the form of names.Normal.
	Events []event.Type

	// NameFrom is the expression for the event's name in a source that has none
	// of its own. Default: the usual places.
	NameFrom string

	// Single says why a body with several JSON values tells one event alone, for
	// the note that the event then has. Default: each value is an event.
	Single string

	// Map reads system parameters from the fields of a body. It gets the event's
	// name in the form of names.Normal. It changes nothing, and keeps nothing of
	// the fields but scalars. Default: only fields that are called like a
	// parameter are one.
	Map func(name string, fields map[string]any) Mapping

	// Holds returns where in the fields of a body Map finds a parameter, or what
	// tells the same: what redact has to remove with it. Each is a path of keys.
	// Required with Map.
	Holds func(event.Parameter) [][]string

	// Subject tells a person what an event is about, from its name, its parameters and
	// the fields of its body, or of its query if it has no body. It need not be one
	// line, nor short. "" means that it cannot tell. It changes nothing. Default: what
	// every event can have, see receive.
	Subject func(e *event.Event, fields map[string]any) string

	// HandOver writes what the other side needs to post events. Default: a
	// description with an example.
	HandOver func(Setup) (Handover, error)
}

// Mapping is what Map reads.
type Mapping struct {
	// Values are system parameters as they were sent, nil for those that Map
	// does not find. One that the request has under its own name is kept.
	Values event.Parameters

	// Not are the parameters whose names mean something else in these fields.
	// What stands under the name does not become the parameter.
	Not []event.Parameter
}

// presets are all senders, in the order of the manual.
var presets = []Preset{icfm, pbxware}

// Names returns the names of all presets, in the order of the manual.
func Names() []string {
	all := make([]string, len(presets))
	for i := range presets {
		all[i] = presets[i].Name
	}
	return all
}

// Named returns a preset by its name, and whether there is one. The name "" is
// that of a source without a preset. The caller may change the result.
func Named(name string) (Preset, bool) {
	for _, p := range presets {
		if p.Name == name {
			p.Events = slices.Clone(p.Events)
			return p, true
		}
	}
	return Preset{}, name == ""
}
