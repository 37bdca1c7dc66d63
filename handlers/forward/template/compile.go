package template

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/secret"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Settings are what actions need to know of the relay around them.
type Settings struct {
	// Secrets are further texts to be masked wherever a request, an answer or an
	// error is shown, such as the credentials of sources. The values of secret
	// custom parameters are known from the language.
	Secrets []string

	// UserAgent is the User-Agent of requests. Default: event-relay.
	UserAgent string

	// Targets are those that may be called. An action whose host is known not to
	// be among them is a mistake. Default: nil, not checked.
	Targets *send.Targets

	// Now is the clock by which requests are signed. Default: time.Now.
	Now func() time.Time
}

// Set holds the compiled templates of one action. It is safe for concurrent use.
type Set struct {
	action   config.Action
	language *language.Language
	targets  []send.Target
	secrets  []string
	masker   *secret.Masker
	signer   *signer
	// orderBy is nil for deliveries in any order.
	orderBy *language.Expression
	tls     *send.TLS

	// What is sent depends on the event's tenant where custom parameters do. All
	// variants are checked when the action is compiled, but those of single
	// tenants are kept from their first use only, so that memory is spent on
	// tenants that send something. A tenant that no parameter lists has the
	// standard variant, so events cannot add any.
	written  *writtenAction
	standard *variant
	tenants  map[string]*atomic.Pointer[variant]
}

// Name returns the action's name.
func (s *Set) Name() string { return s.action.Name }

// Action returns the action as configured, with defaults filled in.
func (s *Set) Action() config.Action { return s.action }

// Targets returns the schemes, hosts and ports that the action calls, as URLs,
// sorted: one, or several if the tenant of an event chooses among them.
func (s *Set) Targets() []string {
	urls := make([]string, len(s.targets))
	for i, target := range s.targets {
		urls[i] = target.String()
	}
	return urls
}

// targetPlace is the part of the action that names its target, for messages.
func (s *Set) targetPlace() string {
	if s.action.Mail != nil {
		return "mail"
	}
	return "url"
}

// OnlyTarget returns the target of an action that has no other.
func (s *Set) OnlyTarget() (target send.Target, ok bool) {
	if len(s.targets) != 1 {
		return send.Target{}, false
	}
	return s.targets[0], true
}

// TargetFor returns the target of requests for the events of a tenant. ok is false
// if there can be none, because a parameter has no value for the tenant.
func (s *Set) TargetFor(tenant string) (target send.Target, ok bool) {
	v := s.variantFor(tenant)
	return v.target, v.missing == nil
}

// TLS returns how connections to the targets are made, nil for Go's defaults.
func (s *Set) TLS() *send.TLS { return s.tls }

// Masker masks the secrets of the whole configuration in what is shown.
func (s *Set) Masker() *secret.Masker { return s.masker }

// Secrets returns the credentials of the action, such as a parameter that it
// sends as a token, even if that is no secret by itself. The result must not be
// changed.
func (s *Set) Secrets() []string { return s.secrets }

// variantFor returns the variant for the events of a tenant.
func (s *Set) variantFor(tenant string) *variant {
	kept, listed := s.tenants[tenant]
	if !listed {
		return s.standard
	}
	made := kept.Load()
	if made == nil {
		made = s.written.build(tenant).made
		kept.Store(made)
	}
	return made
}

// Compile compiles actions that have passed their Check. What is wrong is reported
// together: each mistake by itself, and all undefined parameters of all actions as one
// error. Each action is checked with the values that its parameters
// have for each tenant.
func Compile(actions []config.Action, language *language.Language, settings Settings) ([]*Set, error) {
	if settings.UserAgent == "" {
		settings.UserAgent = "event-relay"
	}
	if settings.Now == nil {
		settings.Now = time.Now
	}
	all := &compilation{language: language, secrets: slices.Concat(settings.Secrets, language.Secrets())}
	sets := make([]*Set, 0, len(actions))
	for _, action := range actions {
		one := &actionCompiler{compilation: all, action: action.WithDefaults()}
		sets = append(sets, one.compile(settings))
	}
	if len(all.undefined) > 0 {
		all.errors = append(all.errors, &undefinedError{Names: all.undefined})
	}
	if settings.Targets != nil {
		if err := checkTargets(settings.Targets, sets); err != nil {
			// A host may come from a parameter that is secret.
			all.errors.Add("", errors.New(secret.New(all.secrets).MaskTo(err.Error(), 4096)))
		}
	}
	if len(all.errors) > 0 {
		return nil, all.errors.Err()
	}
	// Only now are all secrets known that any action puts into a request.
	masker := secret.New(all.secrets)
	for _, set := range sets {
		set.masker = masker
	}
	return sets, nil
}

// compilation is what the actions of one Compile share.
type compilation struct {
	language  *language.Language
	secrets   []string
	errors    config.Findings
	undefined []undefinedName
	tlsByKey  map[[32]byte]*send.TLS
}

// actionCompiler compiles one action.
type actionCompiler struct {
	*compilation
	action config.Action
}

// fail reports a mistake in a part of the action (empty: the action itself).
func (c *actionCompiler) fail(place string, err error) {
	what := "action " + c.action.Name
	if place != "" {
		what += ", " + place
	}
	c.errors.Add(c.action.Place, fmt.Errorf("%s: %w", what, err))
}

func (c *actionCompiler) compile(settings Settings) *Set {
	s := &Set{action: c.action, language: c.language}
	before := len(c.secrets)
	s.written = c.write(settings.UserAgent)
	s.signer = c.signer(settings.Now)
	s.tls = c.tls()
	s.orderBy = c.orderBy()

	var found findings
	called := map[send.Target]bool{}
	tenants := s.written.listTenants()
	for _, tenant := range append(tenants, "") {
		b := s.written.build(tenant)
		found.add(tenant, b.problems)
		c.secrets = append(c.secrets, b.secrets...)
		if b.made.missing == nil {
			called[b.made.target] = true
		}
		if tenant == "" {
			s.standard = b.made
		}
	}
	s.secrets = slices.Clip(c.secrets[before:])
	found.report(c, s.written, len(tenants)+1)
	s.targets = slices.SortedFunc(maps.Keys(called), func(a, b send.Target) int { return strings.Compare(a.String(), b.String()) })

	s.tenants = make(map[string]*atomic.Pointer[variant], len(tenants))
	kept := make([]atomic.Pointer[variant], len(tenants))
	for i, tenant := range tenants {
		s.tenants[tenant] = &kept[i]
	}
	return s
}

// tls reads the action's TLS setting, nil if it has none. It reports what is
// wrong with its files.
func (c *actionCompiler) tls() *send.TLS {
	if c.action.TLS == nil {
		return nil
	}
	setting, err := send.ReadTLS(c.action.TLS)
	if err != nil {
		c.fail("tls", err)
		return nil
	}
	// Many actions call one target: what is the same is kept once.
	if known := c.tlsByKey[setting.Key()]; known != nil {
		return known
	}
	if c.tlsByKey == nil {
		c.tlsByKey = map[[32]byte]*send.TLS{}
	}
	c.tlsByKey[setting.Key()] = setting
	return setting
}

// checkTargets finds the actions that can never call a target of theirs, as far
// as that is known without asking for the address of a name.
func checkTargets(targets *send.Targets, sets []*Set) error {
	var wrong []error
	var missing []string
	for _, set := range sets {
		for _, called := range set.targets {
			refused := targets.CheckURL(called.WithPort().Host)
			if refused == nil {
				continue
			}
			if refused.Remedy != "" {
				missing = append(missing, refused.Name())
			}
			refused.Remedy = ""
			wrong = append(wrong, fmt.Errorf("action %s, %s: %w%s", set.action.Name, set.targetPlace(), refused, at(set.action.Place)))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		wrong = append(wrong, fmt.Errorf("to allow what is not among the targets, write in event_relay: %s", targets.With(slices.Compact(missing)...)))
	}
	return errors.Join(wrong...)
}
