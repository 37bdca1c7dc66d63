package receive

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/preset"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// DefaultMaxBody is the largest body that a source accepts unless it says
// otherwise: 1 MiB, twice what the PBX vendor's own sample receiver takes.
const DefaultMaxBody = 1 << 20

// Source is a configured sender: how it proves itself, how its requests name
// the event, and which events it knows.
type Source struct {
	// Name is the source's name. See names.Check.
	Name string

	// Place says where the source is configured ("Caddyfile:12"), for messages.
	Place string

	// Preset is "" or one of preset.Names. A preset adds the events of that
	// system to Events and maps system parameters from what it sends.
	Preset string

	// Events are the source's own events. See Known.
	Events []event.Type

	// Credentials prove that a request comes from this source; any one of them
	// is enough. At least one is required.
	Credentials []config.Credential

	// Allow are the networks that the source sends from. Empty means anywhere.
	// A request must pass Allow and carry a credential.
	Allow []netip.Prefix

	// NameFrom is an expression for the event's name. Empty means the usual
	// places: path, query, header, body. Of a request that only a signature
	// proves, it means the body alone, because the others are not signed.
	NameFrom string

	// Fields are values that the source reads from its events, in this order:
	// a later one may refer to an earlier one.
	Fields []Field

	// Batch is an expression for the list whose elements are events. An array
	// at the top of the body is one without it.
	Batch string

	// Timezone is where the source's dates and times are local. Nil means UTC.
	Timezone *time.Location

	// MaxBody is the largest body in bytes, before and after decoding of its
	// Content-Encoding. 0 means DefaultMaxBody.
	MaxBody int64

	// Respond is the status that answers a stored event: 200, 202 or 204. 0
	// means 200.
	Respond int

	// DedupeWindow is for how long an event with the same dedupe key counts as
	// a duplicate. 0 means that the source does not ask for it.
	DedupeWindow time.Duration

	// DedupeKey is an expression for the dedupe key. Empty means the vendor's
	// event id where there is one, else the call, event, time and bytes. A
	// source whose requests have a signed id has none: that is the key.
	DedupeKey string

	// Redact names what is removed before anything else is done with an event:
	// "body.customer.phone", "query.phone", "headers.X-Phone", the name of a
	// system parameter, or the name of a header. Keys of the query count without
	// regard to case, those of forms also as customer[phone]. A parameter is also
	// removed from where a preset maps it from, and other parameters that are
	// mapped from the same place are then absent too. A parameter that a field
	// fills cannot be redacted, only the place that the field reads.
	Redact []string
}

// Field is a named value that a source reads from its events. A field with the
// name of a system parameter replaces what the preset maps.
type Field struct {
	Name, Expression string
}

// Known returns the events that the source declares: its own, then those of
// its preset that it does not declare itself. It is what rules.Source.Events
// is made of, so that rules and receiver never disagree.
func (s Source) Known() []event.Type {
	what, _ := preset.Named(s.Preset)
	known := slices.Clone(s.Events)
	for _, e := range what.Events {
		same := func(own event.Type) bool {
			return names.Normal(own.Name) == names.Normal(e.Name)
		}
		if !slices.ContainsFunc(s.Events, same) {
			known = append(known, e)
		}
	}
	return known
}

// Setup returns the source as those have to know it who are to post its events to
// the URL.
func (s Source) Setup(url string) preset.Setup {
	what, _ := preset.Named(s.Preset)
	return preset.Setup{
		Source: s.Name, Preset: what, Events: s.Known(), NameFrom: cmp.Or(s.NameFrom, what.NameFrom),
		Credentials: s.Credentials, Anywhere: len(s.Allow) == 0, URL: url,
	}
}

// title names the source in messages.
func (s Source) title() string {
	if s.Place == "" {
		return fmt.Sprintf("source %q", s.Name)
	}
	return fmt.Sprintf("source %q (%s)", s.Name, s.Place)
}

// CheckSharing reports whether the sources of one handler may share it. A
// source that takes requests without credentials must be alone, so that a
// mistyped key of another source never falls through to it.
func CheckSharing(sources []Source) error {
	if len(sources) < 2 {
		return nil
	}
	for _, s := range sources {
		for _, c := range s.Credentials {
			if auth.IsOpen(c) {
				return fmt.Errorf("source %q has auth none and shares its handler with other sources: "+
					"give it a handler (a path) of its own, or credentials", s.Name)
			}
		}
	}
	return nil
}

// source is a Source made ready for requests.
type source struct {
	Source
	known       map[string]string // normal name → name as declared
	credentials []auth.Authenticator
	nameFrom    *language.Expression
	nameInBody  bool // nameFrom may read the body
	batch       *language.Expression
	dedupeKey   *language.Expression
	fields      []field
	redact      redaction
	preset      preset.Preset
}

type field struct {
	name       string
	parameter  event.Parameter
	overrides  bool // the field stands for a system parameter
	expression *language.Expression
}

var fieldName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// compileSource checks a source and returns it with all that is wrong.
func compileSource(config Source, l *language.Language) (*source, error) {
	what, isKnown := preset.Named(config.Preset)
	config.NameFrom = cmp.Or(config.NameFrom, what.NameFrom)
	s := &source{Source: config, known: map[string]string{}, preset: what}
	var problems []error
	wrong := func(setting, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: %s: %w", config.title(), setting, fmt.Errorf(format, args...)))
	}
	compile := func(setting, expression string) *language.Expression {
		if expression == "" {
			return nil
		}
		compiled, err := l.Compile(expression)
		if err != nil {
			wrong(setting, "%w", err)
		}
		return compiled
	}

	if err := names.Check("source", config.Name); err != nil {
		wrong("name", "%w", err)
	}
	if config.Name == "relay" {
		wrong("name", "relay is the name of the relay's own events; choose another")
	}
	if !isKnown {
		wrong("preset", "%w", names.Unknown("preset", config.Preset, preset.Names(), ""))
	}
	for _, e := range config.Known() {
		normal := names.Normal(e.Name)
		if normal == "" {
			wrong("event", "an event needs a name")
		} else if other, taken := s.known[normal]; taken {
			wrong("event", "%q and %q are the same name; declare one", other, e.Name)
		}
		s.known[normal] = e.Name
	}

	if len(config.Credentials) == 0 {
		wrong("auth", "no credentials: anyone could send events; add auth bearer with a secret, or another "+
			"kind of %s; auth none leaves the source open", strings.Join(auth.Kinds(), ", "))
	}
	signsID := "" // the kind that does
	for _, c := range config.Credentials {
		compiled, err := auth.New(c)
		if err != nil {
			wrong("auth "+c.Kind, "%w", err)
			continue
		}
		s.credentials = append(s.credentials, compiled)
		if compiled.Traits().SignsID {
			signsID = c.Kind
		}
	}

	s.nameFrom = compile("name_from", config.NameFrom)
	s.nameInBody = slices.ContainsFunc(l.References(config.NameFrom), func(r language.Reference) bool {
		return r.Name != "query" && r.Name != "headers" && r.Name != "path"
	})
	s.batch = compile("batch", config.Batch)
	s.dedupeKey = compile("dedupe", config.DedupeKey)
	for i, f := range config.Fields {
		setting := "field " + f.Name
		switch {
		case !fieldName.MatchString(f.Name):
			wrong(setting, "a field's name is made of letters, digits and _")
		case slices.ContainsFunc(config.Fields[:i], func(o Field) bool { return o.Name == f.Name }):
			wrong(setting, "the field is defined twice; remove one")
		case f.Expression == "":
			wrong(setting, "say where the field is read from, such as body.%s", f.Name)
		}
		parameter, overrides := event.ParameterByName(f.Name)
		s.fields = append(s.fields, field{f.Name, parameter, overrides, compile(setting, f.Expression)})
	}

	var err error
	if s.redact, err = compileRedaction(config.Redact); err != nil {
		wrong("redact", "%w", err)
	}
	for _, p := range s.redact.parameters {
		for _, f := range s.fields {
			if f.overrides && f.parameter == p {
				wrong("redact", "%s is filled by field %s, which would leave it in the stored event: redact the place it is "+
					"read from instead, such as body.from", p, f.name)
			}
		}
		if what.Holds != nil {
			s.redact.fields = append(s.redact.fields, what.Holds(p)...)
		}
	}
	if s.Timezone == nil {
		s.Timezone = time.UTC
	}
	if s.MaxBody == 0 {
		s.MaxBody = DefaultMaxBody
	} else if s.MaxBody < 0 {
		wrong("max_body", "a size is not negative")
	}
	if s.DedupeWindow < 0 {
		wrong("dedupe", "a window is not negative")
	}
	if config.DedupeKey != "" && s.DedupeWindow == 0 {
		wrong("dedupe", "a key needs a window, such as 10m")
	}
	if config.DedupeKey != "" && signsID != "" {
		wrong("dedupe", "with auth %s, signed ids are the keys already, and another key would let a copied "+
			"request pass: write dedupe with its window alone, or make two sources", signsID)
	}
	switch s.Respond {
	case 0:
		s.Respond = http.StatusOK
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
	default:
		wrong("respond", "%d is not among 200, 202 and 204", s.Respond)
	}
	return s, errors.Join(problems...)
}
