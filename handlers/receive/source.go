package receive

import (
	"cmp"
	"fmt"
	"net/netip"
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

// Known returns the events that the source declares: its own, then those of
// its preset that it does not declare itself. It is what rules.Source.Events
// is made of, so that rules and receiver never disagree.
func Known(s config.Source) []event.Type {
	what, _ := preset.Named(s.Preset)
	known := make([]event.Type, len(s.Events))
	for i, e := range s.Events {
		known[i] = event.Type(e)
	}
	for _, e := range what.Events {
		same := func(own config.EventType) bool {
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
func Setup(s config.Source, url string) preset.Setup {
	what, _ := preset.Named(s.Preset)
	return preset.Setup{
		Source: s.Name, Preset: what, Events: Known(s), NameFrom: cmp.Or(s.NameFrom, what.NameFrom),
		Credentials: s.Auth, Anywhere: len(s.Allow) == 0, URL: url,
	}
}

// CheckSharing reports whether the sources of one handler may share it. A
// source that takes requests without credentials must be alone, so that a
// mistyped key of another source never falls through to it.
func CheckSharing(sources []config.Source) error {
	if len(sources) < 2 {
		return nil
	}
	for _, s := range sources {
		for _, c := range s.Auth {
			if auth.IsOpen(c) {
				return fmt.Errorf("source %q has auth none and shares its handler with other sources: "+
					"give it a handler (a path) of its own, or credentials", s.Name)
			}
		}
	}
	return nil
}

// source is a configured source made ready for requests.
type source struct {
	config.Source
	allow       []netip.Prefix
	timezone    *time.Location
	window      time.Duration     // of dedupe, 0 for none
	known       map[string]string // normal name → name as declared
	credentials []auth.Authenticator
	// nameFrom gives the event's name. Of a request that only a signature proves,
	// it sees the body alone, because the rest is not signed.
	nameFrom   *language.Expression
	nameInBody bool // nameFrom may read the body
	batch      *language.Expression
	dedupeKey  *language.Expression
	fields     []field
	subject    subject
	noSubject  bool
	// redact removes what is named before anything else is done with an event. Keys
	// of the query count without regard to case, those of forms also as
	// customer[phone]. A parameter is also removed from where a preset maps it from,
	// and other parameters that are mapped from the same place are then absent too.
	redact redaction
	preset preset.Preset
}

type field struct {
	name       string
	parameter  event.Parameter
	overrides  bool // the field stands for a system parameter
	expression *language.Expression
}

// compileSource checks a source and returns it with all that is wrong. timezone is
// that of a source without one.
func compileSource(settings config.Source, l *language.Language, timezone *time.Location) (*source, error) {
	what, isKnown := preset.Named(settings.Preset)
	settings.NameFrom = cmp.Or(settings.NameFrom, what.NameFrom)
	s := &source{Source: settings, known: map[string]string{}, preset: what}
	var problems config.Findings
	wrong := func(setting, format string, args ...any) {
		problems.Add(settings.Place, fmt.Errorf("source %s, %s: %w", settings.Name, setting, fmt.Errorf(format, args...)))
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

	var found config.Findings
	settings.Check(&found)
	problems = append(problems, found...)
	if settings.Name == names.RelaySource {
		wrong("name", "relay is the name of the relay's own events; choose another")
	}
	if !isKnown {
		wrong("preset", "%w", names.Unknown("preset", settings.Preset, preset.Names(), ""))
	}
	for _, e := range Known(settings) {
		normal := names.Normal(e.Name)
		if normal == "" {
			wrong("event", "an event needs a name")
		} else if other, taken := s.known[normal]; taken {
			wrong("event", "%q and %q are the same name; declare one", other, e.Name)
		}
		s.known[normal] = e.Name
	}

	if len(settings.Auth) == 0 {
		wrong("auth", "no credentials: anyone could send events; add auth bearer with a secret, or another "+
			"kind of %s; auth none leaves the source open", strings.Join(auth.Kinds(), ", "))
	}
	signsID := "" // the kind that does
	for _, c := range settings.Auth {
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

	s.nameFrom = compile("name_from", settings.NameFrom)
	s.nameInBody = slices.ContainsFunc(l.References(settings.NameFrom), func(r language.Reference) bool {
		return r.Name != "query" && r.Name != "headers" && r.Name != "path"
	})
	s.batch = compile("batch", settings.Batch)
	var dedupe config.Dedupe
	if settings.Dedupe != nil {
		dedupe = *settings.Dedupe
	}
	s.window, s.dedupeKey = time.Duration(dedupe.Window), compile("dedupe", dedupe.Key)
	for i, f := range settings.Fields {
		setting := "field " + f.Name
		switch {
		case slices.ContainsFunc(settings.Fields[:i], func(o config.Field) bool { return o.Name == f.Name }):
			wrong(setting, "the field is defined twice; remove one")
		case f.Expression == "":
			wrong(setting, "say where the field is read from, such as body.%s", f.Name)
		}
		parameter, overrides := event.ParameterByName(f.Name)
		s.fields = append(s.fields, field{f.Name, parameter, overrides, compile(setting, f.Expression)})
	}

	var err error
	if s.noSubject = settings.Subject == config.NoSubject; settings.Subject != "" && !s.noSubject {
		if s.subject, err = compileSubject(settings.Subject, l); err != nil {
			wrong("subject", "%w", err)
		}
	}
	if s.redact, err = compileRedaction(settings.Redact); err != nil {
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
	// What is wrong with these two is among what Check found.
	s.timezone, _ = settings.Location(timezone)
	s.allow, _ = settings.Networks()
	s.MaxBody = cmp.Or(s.MaxBody, config.DefaultMaxBody)
	s.Respond = cmp.Or(s.Respond, config.DefaultRespond)
	if dedupe.Key != "" && signsID != "" {
		wrong("dedupe", "with auth %s, signed ids are the keys already, and another key would let a copied "+
			"request pass: write dedupe with its window alone, or make two sources", signsID)
	}
	return s, problems.Err()
}
