package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
)

// findings holds what is wrong with a configuration.
type findings []error

// add adds an error, if it is one, with the place that it is about, if that is
// known.
func (f *findings) add(place string, err error) {
	if err == nil {
		return
	}
	if place != "" {
		err = fmt.Errorf("%w, at %s", err, place)
	}
	*f = append(*f, err)
}

// check finds what the parser of the Caddyfile refuses: a configuration in JSON
// has not been through it. What the rooms refuse by themselves is left to them.
func (a *App) check() findings {
	var wrong findings
	if a.Queue != nil && a.Queue.Engine != "" && queueEngines.find(a.Queue.Engine) == nil {
		wrong.add(a.Place, queueEngines.unknownKind(a.Queue.Engine))
	}
	if a.Retention != nil {
		wrong.add(a.Place, checkSign("the age of retention", time.Duration(a.Retention.Age)))
		wrong.add(a.Place, checkSign("the size of retention", a.Retention.Size))
	}
	wrong.add(a.Place, checkSign("max_pending", a.MaxPending))
	if a.MinFree != minFreeOff {
		wrong.add(a.Place, checkSign("min_free", a.MinFree))
	}
	for i := range a.Parameters {
		parameter := &a.Parameters[i]
		wrong.add(parameter.Place, parameter.check())
		if slices.ContainsFunc(a.Parameters[:i], func(p Parameter) bool { return p.Name == parameter.Name }) {
			wrong.add(parameter.Place, fmt.Errorf("parameter %s is defined twice; rename or remove one of them", parameter.Name))
		}
	}
	for i := range a.Sources {
		a.Sources[i].check(&wrong)
	}
	for i := range a.Actions {
		a.Actions[i].check(&wrong)
	}
	return wrong
}

// checkSign returns an error for a negative value.
func checkSign[T int | int64 | time.Duration](setting string, value T) error {
	if value < 0 {
		return fmt.Errorf("%s must be above zero, not %v; without it the default counts", setting, value)
	}
	return nil
}

func (p *Parameter) check() error {
	if err := checkIdentifier("parameter", p.Name); err != nil {
		return err
	}
	for _, value := range slices.AppendSeq([]string{p.Value}, maps.Values(p.Tenants)) {
		if err := checkValue(value); err != nil {
			return fmt.Errorf("reading parameter %s: %w", p.Name, err)
		}
	}
	return nil
}

func (s *Source) check(wrong *findings) {
	if err := checkName("source", s.Name); err != nil {
		wrong.add(s.Place, err)
		return
	}
	add := func(setting string, err error) {
		if err != nil {
			wrong.add(s.Place, fmt.Errorf("reading %s of source %s: %w", setting, s.Name, err))
		}
	}
	add("auth", checkOpen(s.Auth))
	for _, field := range s.Fields {
		add("fields", checkIdentifier("field", field.Name))
	}
	add("quiet", checkSign("it", time.Duration(s.Quiet)))
	if s.Dedupe != nil && s.Dedupe.Window <= 0 {
		add("dedupe", fmt.Errorf("it needs a window above zero, such as 10m, not %s", time.Duration(s.Dedupe.Window)))
	}
}

// checkOpen returns an error if a source that is open to everybody has another
// credential.
func checkOpen(credentials []Credential) error {
	if len(credentials) > 1 && slices.ContainsFunc(credentials, func(c Credential) bool { return c.Kind == "none" }) {
		return errors.New("`auth none` leaves the source open, so another auth beside it has no meaning; keep one of them")
	}
	return nil
}

// check finds unknown kinds, secrets in the middle of values, and what has no
// meaning for the kind: it would be lost without a word, and with it perhaps
// the bound of a signature's age.
func (c *Credential) check() error {
	var takes []string
	switch c.Kind {
	case "none":
	case "bearer", "path":
		takes = []string{"values"}
	case "basic":
		takes = []string{"user", "password"}
	case "api_key":
		takes = []string{"in", "name", "values"}
	case "hmac":
		takes = []string{"name", "algorithm", "timestamp", "tolerance", "values"}
	case "standard_webhooks":
		takes = []string{"tolerance", "values"}
	case "":
		return fmt.Errorf("it has no kind; the kinds are: %s", list(credentialKinds.names()))
	default:
		return credentialKinds.unknownKind(c.Kind)
	}
	for _, field := range []struct {
		name  string
		given bool
	}{
		{"in", c.In != ""},
		{"name", c.Name != ""},
		{"algorithm", c.Algorithm != ""},
		{"timestamp", c.Timestamp != ""},
		{"tolerance", c.Tolerance != 0},
		{"user", c.User != ""},
		{"password", c.Password != ""},
		{"values", len(c.Values) > 0},
	} {
		if field.given && !slices.Contains(takes, field.name) {
			return fmt.Errorf("%s has no %s; it takes: %s", c.Kind, field.name, list(takes))
		}
	}
	if c.Kind == "hmac" && c.Tolerance != 0 && c.Timestamp == "" {
		return errors.New("the tolerance of hmac needs a timestamp, which is the header with the time")
	}
	for _, value := range append([]string{c.User, c.Password}, c.Values...) {
		if err := checkValue(value); err != nil {
			return err
		}
	}
	return nil
}

// check finds what the parser of the directive refuses, and writes the mount
// as the parser does.
func (h *Handler) check() error {
	mount, err := sites.MountPath(h.Path)
	if err != nil {
		return err
	}
	h.Path = mount
	for i, source := range h.Sources {
		if slices.Contains(h.Sources[:i], source) {
			return fmt.Errorf("source %s is given twice", source)
		}
	}
	return nil
}
