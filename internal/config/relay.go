// Package config holds each setting once: its name in JSON, its comment, its
// default and its check. The Caddyfile's parser fills these structures, the relay
// works with them, and the printer writes them. The comments of the fields are the
// manual of the JSON form.
package config

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Relay is the configuration of the relay as a whole: the JSON of Caddy's app.
type Relay struct {
	// Whether the relay is switched off. Events are then still accepted and
	// stored, with the verdict "disabled", but lead to nothing. Default:
	// `false`.
	Disabled bool `json:"disabled,omitempty"`

	// Where events and unfinished deliveries are kept. Default: an SQLite
	// database in the directory `event_relay` of Caddy's data directory.
	Queue *Queue `json:"queue,omitempty"`

	// Whether Caddy is to start only with a queue that can be used. Otherwise it
	// starts, serves its other sites, refuses events with status 503, and opens
	// the queue as soon as that is possible. Default: `false`.
	QueueRequired bool `json:"queue_required,omitempty"`

	// The time zone of the relay, as a name of the IANA time zone database, such as
	// `Europe/London`: that of `received`, `now()` and `format_time` without a
	// zone, and of sources that have none of their own. Default: the machine's,
	// which is what the environment variable `TZ` names, else what
	// `/etc/localtime` is, else UTC.
	Timezone string `json:"timezone,omitempty"`

	// How much of the history is kept. Unfinished deliveries and their events
	// are always kept. Default: 30 days, but not more than 2 GiB.
	Retention *Retention `json:"retention,omitempty"`

	// The hosts and networks that actions may call. Each is a network in CIDR
	// notation, a single IP address, a host name as it stands in the action's
	// URL, `private_ranges` (the networks that Caddy means by it) or `loopback`.
	// Addresses are checked after name resolution. Link-local and metadata
	// addresses and Caddy's own admin address are always refused. Default:
	// `["private_ranges", "loopback"]`.
	Targets []string `json:"targets,omitempty"`

	// How many deliveries may be unfinished. While there are as many, events
	// are refused with status 503, so that senders keep them and come again.
	// Default: `1000000`.
	MaxPending int `json:"max_pending,omitempty"`

	// How many bytes must be free on the file system of the queue. While there
	// are fewer, events are refused with status 503, so that what was accepted
	// can still be carried out and cleared away. `-1` means that free space is
	// not looked at, as it never is for a queue in a database server. Default: `268435456` (256 MiB).
	MinFree int64 `json:"min_free,omitempty"`

	// Whether a reload closes connections. By default the
	// HTTP servers that have an `event_relay` handler keep their listening sockets
	// over a reload and hand their connections to the new configuration, so that
	// no request is refused or cut off; a reload then waits up to two seconds for
	// requests under way. If `true`, a reload closes connections as Caddy does by
	// itself, also those on which an event is arriving. Default: `false`.
	CloseConnections bool `json:"close_connections,omitempty"`

	// Named values for templates and rules, in addition to what events bring.
	// They are trusted, because they come from this configuration.
	Parameters []Parameter `json:"parameters,omitempty"`

	// The systems that post events. Names must be unique.
	Sources []Source `json:"sources,omitempty"`

	// The requests that rules can ask for. Names must be unique.
	Actions []Action `json:"actions,omitempty"`

	// What events lead to. Rules are read in order: every rule that holds adds
	// its actions, and an ignoring rule that holds ends the reading. An event
	// that no rule asks an action for is ignored.
	Rules []Rule `json:"rules,omitempty"`

	// Where this stands in the Caddyfile, as `FILE:LINE`. The Caddyfile adapter
	// sets it so that messages can name the place. Default: empty.
	Place string `json:"place,omitempty"`
}

// Retention bounds the history of finished events.
type Retention struct {
	// How long an event is kept after it was received. Default: `30d`.
	Age Duration `json:"age,omitempty"`

	// How large the history may grow, in bytes; the oldest events go first.
	// Default: 2147483648 (2 GiB).
	Size int64 `json:"size,omitempty"`
}

// The defaults of the relay. A month of history covers "what happened last week";
// its size keeps a busy telephone system from filling a small server's disk
// before that.
const (
	defaultRetentionAge  = Duration(30 * 24 * time.Hour)
	defaultRetentionSize = 2 << 30
	defaultMaxPending    = 1_000_000
	defaultMinFree       = 256 << 20
)

// DefaultTargets are the services that an action may call unless the
// configuration says otherwise: those of the local network and of this machine.
var DefaultTargets = []string{PrivateRangesWord, LoopbackWord}

// Parse reads the relay's configuration from JSON, as Caddy does: a setting that
// does not exist is an error. Values are not checked.
func Parse(text []byte) (Relay, error) {
	var r Relay
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&r)
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		err = fmt.Errorf("%w, at offset %d", err, wrong.Offset)
	}
	return r, err
}

// WithDefaults returns a copy of the relay's own settings in which each has a
// value. Sources and actions have methods of their own for theirs.
func (r Relay) WithDefaults() Relay {
	var retention Retention
	if r.Retention != nil {
		retention = *r.Retention
	}
	retention.Age = cmp.Or(retention.Age, defaultRetentionAge)
	retention.Size = cmp.Or(retention.Size, defaultRetentionSize)
	r.Retention = &retention
	if len(r.Targets) == 0 {
		r.Targets = DefaultTargets
	}
	r.MaxPending = cmp.Or(r.MaxPending, defaultMaxPending)
	r.MinFree = cmp.Or(r.MinFree, defaultMinFree)
	return r
}

// Check finds what the parser of the Caddyfile refuses: a configuration in JSON
// has not been through it. What the rooms refuse by themselves is left to them.
func (r *Relay) Check() Findings {
	var wrong Findings
	if r.Queue != nil {
		wrong.Add(cmp.Or(r.Queue.Place, r.Place), r.Queue.Check())
	}
	if r.Timezone != "" {
		if _, err := Timezone(r.Timezone); err != nil {
			wrong.Add(r.Place, fmt.Errorf("reading timezone: %w", err))
		}
	}
	if r.Retention != nil {
		wrong.Add(r.Place, checkSign("the age of retention", time.Duration(r.Retention.Age)))
		wrong.Add(r.Place, checkSign("the size of retention", r.Retention.Size))
	}
	wrong.Add(r.Place, checkSign("max_pending", r.MaxPending))
	if r.MinFree != MinFreeOff {
		wrong.Add(r.Place, checkSign("min_free", r.MinFree))
	}
	for i := range r.Parameters {
		parameter := &r.Parameters[i]
		wrong.Add(parameter.Place, parameter.Check())
		if slices.ContainsFunc(r.Parameters[:i], func(p Parameter) bool { return p.Name == parameter.Name }) {
			wrong.Add(parameter.Place, fmt.Errorf("parameter %s is defined twice; rename or remove one of them", parameter.Name))
		}
	}
	for i := range r.Sources {
		r.Sources[i].Check(&wrong)
	}
	for i := range r.Actions {
		action := &r.Actions[i]
		wrong = append(wrong, action.Check()...)
		if action.Name != "" && slices.ContainsFunc(r.Actions[:i], func(a Action) bool { return a.Name == action.Name }) {
			wrong.Add(action.Place, fmt.Errorf("action %s is defined twice; rename or remove one of them", action.Name))
		}
	}
	return wrong
}

// MinFreeOff is the MinFree of a relay that does not look at free space.
const MinFreeOff = -1
