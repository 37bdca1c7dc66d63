package forward

import (
	"errors"
	"fmt"
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

// Prepared is a compiled action. It is safe for concurrent use.
type Prepared struct {
	action   config.Action
	language *language.Language
	success  *config.Statuses
	targets  []string
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
func (p *Prepared) Name() string { return p.action.Name }

// Action returns the action as configured, with defaults filled in.
func (p *Prepared) Action() config.Action { return p.action }

// Targets returns the schemes, hosts and ports that the action calls, as URLs,
// sorted: one, or several if the tenant of an event chooses among them.
func (p *Prepared) Targets() []string { return p.targets }

// Secrets returns the credentials of the action, such as a parameter that it
// sends as a token, even if that is no secret by itself. The result must not be
// changed.
func (p *Prepared) Secrets() []string { return p.secrets }

// Timeout returns how long an attempt may last.
func (p *Prepared) Timeout() time.Duration { return time.Duration(p.action.Timeout) }

// Concurrency returns how many attempts may be in flight at once.
func (p *Prepared) Concurrency() int { return p.action.Concurrency }

// variantFor returns the variant for the events of a tenant.
func (p *Prepared) variantFor(tenant string) *variant {
	kept, listed := p.tenants[tenant]
	if !listed {
		return p.standard
	}
	made := kept.Load()
	if made == nil {
		made = p.written.build(tenant).made
		kept.Store(made)
	}
	return made
}

// Compile compiles actions that have passed their Check. What is wrong is reported
// together: each mistake by itself, and all undefined parameters of all actions as one
// UndefinedError. Each action is checked with the values that its parameters
// have for each tenant.
func Compile(actions []config.Action, language *language.Language, settings Settings) ([]*Prepared, error) {
	if settings.UserAgent == "" {
		settings.UserAgent = "event-relay"
	}
	if settings.Now == nil {
		settings.Now = time.Now
	}
	all := &compilation{language: language, secrets: slices.Concat(settings.Secrets, language.Secrets())}
	prepared := make([]*Prepared, 0, len(actions))
	for _, action := range actions {
		one := &actionCompiler{compilation: all, action: action.WithDefaults()}
		prepared = append(prepared, one.compile(settings))
	}
	if len(all.undefined) > 0 {
		all.errors = append(all.errors, &UndefinedError{Names: all.undefined})
	}
	if settings.Targets != nil {
		if err := checkTargets(settings.Targets, prepared); err != nil {
			// A host may come from a parameter that is secret.
			all.errors = append(all.errors, errors.New(secret.New(all.secrets).MaskTo(err.Error(), 4096)))
		}
	}
	if len(all.errors) > 0 {
		return nil, errors.Join(all.errors...)
	}
	// Only now are all secrets known that any action puts into a request.
	masker := secret.New(all.secrets)
	for _, p := range prepared {
		p.masker = masker
	}
	return prepared, nil
}

// compilation is what the actions of one Compile share.
type compilation struct {
	language  *language.Language
	secrets   []string
	errors    []error
	undefined []UndefinedName
	tlsByKey  map[[32]byte]*send.TLS
}

// actionCompiler compiles one action.
type actionCompiler struct {
	*compilation
	action config.Action
}

// fail reports a mistake in a part of the action (empty: the action itself).
func (c *actionCompiler) fail(place string, err error) {
	title := actionTitle(c.action.Name, c.action.Place)
	if place != "" {
		title += ", " + place
	}
	c.errors = append(c.errors, fmt.Errorf("%s: %w", title, err))
}

func (c *actionCompiler) compile(settings Settings) *Prepared {
	p := &Prepared{action: c.action, language: c.language}
	before := len(c.secrets)
	var err error
	if p.success, err = config.ParseStatuses(c.action.Success); err != nil {
		c.fail("success", err)
	}
	p.written = c.write(settings.UserAgent)
	p.signer = c.signer(settings.Now)
	p.tls = c.tls()
	p.orderBy = c.orderBy()

	var found findings
	tenants := p.written.listTenants()
	for _, tenant := range append(tenants, "") {
		b := p.written.build(tenant)
		found.add(tenant, b.problems)
		c.secrets = append(c.secrets, b.secrets...)
		if b.made.missing == nil {
			p.targets = append(p.targets, b.made.target.String())
		}
		if tenant == "" {
			p.standard = b.made
		}
	}
	p.secrets = slices.Clip(c.secrets[before:])
	found.report(c, p.written, len(tenants)+1)
	slices.Sort(p.targets)
	p.targets = slices.Compact(p.targets)

	p.tenants = make(map[string]*atomic.Pointer[variant], len(tenants))
	kept := make([]atomic.Pointer[variant], len(tenants))
	for i, tenant := range tenants {
		p.tenants[tenant] = &kept[i]
	}
	return p
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
func checkTargets(targets *send.Targets, actions []*Prepared) error {
	var wrong []error
	var missing []string
	for _, action := range actions {
		for _, called := range action.targets {
			scheme, host, _ := strings.Cut(called, "://")
			refused := targets.CheckURL(target{scheme, host}.withPort().host)
			if refused == nil {
				continue
			}
			if refused.Remedy != "" {
				missing = append(missing, refused.Name())
			}
			refused.Remedy = ""
			wrong = append(wrong, fmt.Errorf("%s, url: %w", actionTitle(action.action.Name, action.action.Place), refused))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		wrong = append(wrong, fmt.Errorf("to allow what is not among the targets, write in event_relay: %s", targets.With(slices.Compact(missing)...)))
	}
	return errors.Join(wrong...)
}
