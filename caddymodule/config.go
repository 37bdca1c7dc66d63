// Package caddymodule is the adapter between Caddy and Event Relay: the app
// with its life, the HTTP handlers, the Caddyfile, the admin API and the
// commands. It knows Caddy and converts; what the relay does is in the other
// rooms.
package caddymodule

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
)

// appName is the name of the app in the JSON configuration, of the global
// option and of the directive in the Caddyfile.
const appName = sites.RelayHandler

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(new(Handler))
}

// App is Event Relay: it takes the events that business systems post to one
// public URL, decides by rules what each leads to, and carries out actions,
// which are templated HTTP requests to services on the local network. An event
// that was answered with 200 is on stable storage.
//
// The app listens nowhere by itself. Place the `http.handlers.event_relay`
// handler in a route of the `http` app to say where events come in.
//
// The Caddyfile's global option `event_relay` writes this structure; both read
// alike.
type App struct {
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
	// not looked at. Default: `268435456` (256 MiB).
	MinFree int64 `json:"min_free,omitempty"`

	// Whether a reload is left to Caddy as far as connections go. By default the
	// HTTP servers that have an `event_relay` handler keep their listening sockets
	// over a reload and hand their connections to the new configuration, so that
	// no request is refused or cut off; a reload then waits up to two seconds for
	// what is under way. If `true`, a reload closes connections as Caddy does by
	// itself, also those on which an event is on its way. Default: `false`.
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

	appState
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  appName,
		New: func() caddy.Module { return new(App) },
	}
}

// Queue says where events and unfinished deliveries are kept.
type Queue struct {
	// The engine. Default: `sqlite`, which is built in and the only one.
	Engine string `json:"engine,omitempty"`

	// The directory of the database. It is created if it does not exist, and
	// must not be on a network file system. It may be a placeholder such as
	// `{env.RELAY_DIR}`. Default: `event_relay` in Caddy's data directory.
	Directory string `json:"directory,omitempty"`
}

// Retention bounds the history of finished events.
type Retention struct {
	// How long an event is kept after it was received. Default: `30d`.
	Age caddy.Duration `json:"age,omitempty"`

	// How large the history may grow, in bytes; the oldest events go first.
	// Default: 2147483648 (2 GiB).
	Size int64 `json:"size,omitempty"`
}

// Parameter is a custom parameter: a named value for templates and rules.
type Parameter struct {
	// How templates and rules call the value. It is an identifier: letters,
	// digits and underscores, not beginning with a digit or an underscore.
	// Names that every event has, such as `caller_id` or `body`, are taken.
	Name string `json:"name"`

	// The value. It may hold other custom parameters, as `{{name}}`. A value
	// that is wholly `{env.NAME}` or `{file./path}` is a secret: it is read
	// when the configuration is loaded, is never searched for tags, and is
	// masked wherever requests are shown. Default: none, so that events of
	// other tenants than those of `tenants` have no such value.
	Value string `json:"value,omitempty"`

	// The values for events of single tenants, by the tenant's code, instead of
	// `value`. The same goes for them.
	Tenants map[string]string `json:"tenants,omitempty"`

	// Where this stands in the Caddyfile, as `FILE:LINE`. Default: empty.
	Place string `json:"place,omitempty"`
}

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
	// enough. Required; a source that is open to everybody says so with the
	// kind `none`, and is then the only source of its handler.
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

	// An expression that gives the list whose elements are the events of a
	// request, such as `body.events`. They are stored together or not at all.
	// Default: none, so that only an array at the top of a body is a list of
	// events.
	Batch string `json:"batch,omitempty"`

	// The time zone of the source's dates and times, as a name of the IANA time
	// zone database, such as `Europe/London`. Default: `UTC`.
	Timezone string `json:"timezone,omitempty"`

	// After how long without an event the source counts as quiet: the relay then
	// makes the event `relay:source_quiet`, for which a rule can tell somebody.
	// Only what is stored counts as an event. Default: none, so that the source
	// may be silent for ever.
	Quiet caddy.Duration `json:"quiet,omitempty"`

	// How an event is recognised that was sent before. It is stored, answered
	// like any other and shown as a duplicate, and leads to nothing. Default:
	// none, so that every event counts.
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

// Credential is one way in which a request can prove where it comes from.
//
// Secrets may be given as they are, or as a value that is wholly `{env.NAME}`
// or `{file./path}`, which is read when the configuration is loaded. One that
// turns out empty is skipped with a warning if others remain, and is an error
// otherwise; it never matches.
type Credential struct {
	// What kind of proof it is: `bearer` (a token in the Authorization
	// header), `basic` (user and password in the Authorization header),
	// `api_key` (a value in a header, in the query or in the body), `path` (the
	// last segment of the path), `hmac` (a signature over the body, in a
	// header), `standard_webhooks` (the signature of the Standard Webhooks
	// specification) or `none` (no proof).
	Kind string `json:"kind"`

	// Where an `api_key` stands: `header`, `query` or `body`.
	In string `json:"in,omitempty"`

	// The name of the header, query key or body field of an `api_key`, or of
	// the header with the signature of `hmac`.
	Name string `json:"name,omitempty"`

	// The hash of `hmac`: `sha256`, `sha512` or `sha1`.
	Algorithm string `json:"algorithm,omitempty"`

	// The header with the time of `hmac`, in seconds or milliseconds of Unix
	// time. The signature must then be over the time, a dot and the body, or
	// over `v0:`, the time, a colon and the body. Default: none, so that a
	// request is as good in a year as it is now.
	Timestamp string `json:"timestamp,omitempty"`

	// How far the time of `hmac` with a `timestamp`, or of `standard_webhooks`,
	// may be from now. Default: `5m`.
	Tolerance caddy.Duration `json:"tolerance,omitempty"`

	// The user of `basic`.
	User string `json:"user,omitempty"`

	// The password of `basic`.
	Password string `json:"password,omitempty"`

	// The secrets of all kinds but `basic` and `none`. Any one of them is
	// enough, so that a secret can be replaced without a gap. Those of
	// `standard_webhooks` are base64, with or without `whsec_` before it.
	Values []string `json:"values,omitempty"`
}

// Dedupe says how an event is recognised that was sent before.
type Dedupe struct {
	// For how long an event is remembered. Required.
	Window caddy.Duration `json:"window"`

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

// Rule says what some events lead to. It has either actions or `ignore`.
type Rule struct {
	// The names of the events that the rule is for. A name may be a pattern
	// with `*` at its end, and may say whose event it is: `source:event`.
	Events []string `json:"events"`

	// What the rule is for. Default: empty.
	Description string `json:"description,omitempty"`

	// Whether the rule is switched off, as if it were not there. It is checked
	// all the same. Default: `false`.
	Disabled bool `json:"disabled,omitempty"`

	// Conditions, which must all be true for the rule to hold. A condition
	// about something that an event does not have is not true. Default: none,
	// so that the rule always holds.
	When []string `json:"when,omitempty"`

	// The names of the actions to carry out.
	Do []string `json:"do,omitempty"`

	// Whether events for which the rule holds are ignored: the rules below it
	// are not read. Actions that rules above it asked for remain. Default:
	// `false`.
	Ignore bool `json:"ignore,omitempty"`

	// Why events are ignored, for the history. Default: empty.
	Reason string `json:"reason,omitempty"`

	// Where this stands in the Caddyfile, as `FILE:LINE`. The history names
	// the rule by it. Default: empty; the history then names the rule by its
	// position.
	Place string `json:"place,omitempty"`
}

// Handler takes events: it recognises the source of a request, understands
// which event it is, has the rules decide, and answers when event and
// deliveries are on stable storage.
type Handler struct {
	// The path under which events come in, without a slash at the end. What
	// follows it in a request's path can name the event, as in
	// `/listen.php/incoming_call`. The route's matcher must let the path
	// itself and everything below it through. Default: empty, so that the
	// whole path is what follows.
	Path string `json:"path,omitempty"`

	// The names of the sources that may post here. Default: all sources.
	Sources []string `json:"sources,omitempty"`

	// Whether requests appear in Caddy's access log. It takes them as they
	// came, with the secrets in their URLs and headers, before any handler
	// could remove those. Default: `false`.
	AccessLog bool `json:"access_log,omitempty"`

	handlerState
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers." + appName,
		New: func() caddy.Module { return new(Handler) },
	}
}
