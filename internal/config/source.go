package config

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Source is a system that posts events: how it proves itself, how its requests
// name the event, and which events it is known to send.
type Source struct {
	// The name by which handlers, rules and the history call the source.
	Name string `json:"name"`

	// What the source is, if it is one that the relay knows: `icfm` (the event
	// queue of iCFM by CETA Software) or `pbxware` (Event Manager and Event
	// Publisher of Bicom's PBXware). A preset brings the events, the places
	// where their names stand, and the meaning of their fields. Default: none.
	Preset string `json:"preset,omitempty"`

	// How a request proves that it comes from this source. Any one of them is
	// enough. Required: for a source that takes requests without proof, the kind
	// `none`, which must be the only source of its handler.
	Auth []Credential `json:"auth,omitempty"`

	// The networks that the source sends from: each a network in CIDR
	// notation, a single IP address, or `private_ranges`. The address is the
	// client's as Caddy determines it (`trusted_proxies`), and must match in
	// addition to `auth`. Default: any address.
	Allow []string `json:"allow,omitempty"`

	// An expression that gives the event's name, such as `body.type`. Default:
	// the usual places, which are the path below the handler's mount, query,
	// header and body.
	NameFrom string `json:"name_from,omitempty"`

	// The events that the source sends, in addition to those of its preset.
	Events []EventType `json:"events,omitempty"`

	// Named values that are read from each event of the source, for templates
	// and rules. One that is called like a system parameter, such as
	// `caller_id`, says where the source has that.
	Fields []Field `json:"fields,omitempty"`

	// What an event of the source is about, in one short line for people: a template
	// such as `Order {{body.order.number}} of {{body.customer.name}}`. It is stored with
	// each event and shown in lists, and templates and rules have it as `subject`. It
	// becomes one line of at most 200 characters. An event that has nothing of what the
	// template names gets the default. `off` leaves events without one. Default: what
	// the preset knows of its events, such as project or caller; then who calls whom;
	// then the source's own fields.
	Subject string `json:"subject,omitempty"`

	// An expression that gives the list whose elements are the events of a
	// request, such as `body.events`. They are stored together or not at all.
	// Default: none, so that only an array at the top of a body is a list of
	// events.
	Batch string `json:"batch,omitempty"`

	// The time zone of the source's dates and times, as a name of the IANA time
	// zone database, such as `Europe/London`. Default: the relay's.
	Timezone string `json:"timezone,omitempty"`

	// After how long without an event the source counts as quiet: the relay then
	// makes the event `relay:source_quiet`, for which a rule can send a message.
	// Only what is stored counts as an event. Default: none, so that the source
	// may be silent for ever.
	Quiet Duration `json:"quiet,omitempty"`

	// How the relay recognises an event that was sent before. It stores and
	// answers such an event, shows it as a duplicate, and makes no delivery for
	// it. Default: none, so that every event goes to the rules.
	Dedupe *Dedupe `json:"dedupe,omitempty"`

	// What is removed from events before anything else is done with them, so
	// that it is neither stored nor seen by rules and templates: a path such as
	// `body.customer.phone`, `query.phone` or `headers.X-Phone`, a system
	// parameter such as `caller_id`, or the name of a header. Default: nothing
	// but what proves where a request comes from.
	Redact []string `json:"redact,omitempty"`

	// How large a body may be, in bytes, as sent and when decompressed. A
	// larger one is refused with status 413. Default: `1048576` (1 MiB).
	MaxBody int64 `json:"max_body,omitempty"`

	// The status that answers an event which is stored: `200`, `202` or `204`.
	// Default: `200`.
	Respond int `json:"respond,omitempty"`

	// Where this stands in the Caddyfile, as `FILE:LINE`. Default: empty.
	Place string `json:"place,omitempty"`
}

// Dedupe says how the relay recognises an event that was sent before.
type Dedupe struct {
	// For how long an event is remembered. Required.
	Window Duration `json:"window"`

	// An expression for what two events have in common if they are the same,
	// such as `body.id`. Events for which it gives nothing are told apart as by
	// default. Default: the sender's id of the event, else the call, the name
	// of the event and the bytes of its request.
	Key string `json:"key,omitempty"`
}

// EventType is an event that a source is known to send.
type EventType struct {
	// The name of the event. Letter case, spaces and hyphens do not count:
	// `Incoming Call` is `incoming_call`.
	Name string `json:"name"`

	// What the event means, for lists. Default: empty.
	Description string `json:"description,omitempty"`
}

// Field is a named value that is read from each event of a source.
type Field struct {
	// How templates and rules call the value. It is an identifier: letters,
	// digits and underscores, not beginning with a digit or an underscore.
	Name string `json:"name"`

	// The expression that reads the value, such as `body.data.id`.
	Expression string `json:"expression"`
}

// NoSubject is the Subject of a source whose events are to have none.
const NoSubject = "off"

// DefaultMaxBody is the largest body that a source accepts unless it says
// otherwise: 1 MiB, twice what the PBX vendor's own sample receiver takes.
const DefaultMaxBody = 1 << 20

// DefaultRespond is the status that answers an event which is stored, unless the
// source says otherwise.
const DefaultRespond = http.StatusOK

// Location returns the time zone of the source's dates and times. relay is that of
// the relay.
func (s *Source) Location(relay *time.Location) (*time.Location, error) {
	if s.Timezone == "" {
		return relay, nil
	}
	return Timezone(s.Timezone)
}

// Networks returns the networks that the source sends from, none for any.
func (s *Source) Networks() (allowed []netip.Prefix, err error) {
	for _, text := range s.Allow {
		prefixes, err := Networks(text)
		if err != nil {
			return nil, err
		}
		allowed = append(allowed, prefixes...)
	}
	return allowed, nil
}

// Check finds what is wrong with the values of the source by themselves: names,
// time zone, networks, durations, sizes, statuses. What its expressions and credentials say, and what
// its preset has to do with, is found when they are compiled.
func (s *Source) Check(wrong *Findings) {
	if err := names.Check("source", s.Name); err != nil {
		wrong.Add(s.Place, err)
		return
	}
	add := func(setting string, err error) {
		if err != nil {
			wrong.Add(s.Place, fmt.Errorf("reading %s of source %s: %w", setting, s.Name, err))
		}
	}
	for _, field := range s.Fields {
		add("fields", names.CheckIdentifier("field", field.Name))
	}
	_, err := s.Location(nil)
	add("timezone", err)
	add("subject", CheckTemplate(s.Subject))
	for _, network := range s.Allow {
		_, err := Networks(network)
		add("allow", err)
	}
	add("quiet", checkSign("it", time.Duration(s.Quiet)))
	if s.Dedupe != nil && s.Dedupe.Window <= 0 {
		add("dedupe", fmt.Errorf("it needs a window above zero, such as 10m, not %s", time.Duration(s.Dedupe.Window)))
	}
	if s.MaxBody < 0 {
		wrong.Add(s.Place, fmt.Errorf("source %s, max_body: a size is not negative", s.Name))
	}
	switch s.Respond {
	case 0, http.StatusOK, http.StatusAccepted, http.StatusNoContent:
	default:
		wrong.Add(s.Place, fmt.Errorf("source %s, respond: %d is not among 200, 202 and 204", s.Name, s.Respond))
	}
}
