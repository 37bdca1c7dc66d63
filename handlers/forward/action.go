package forward

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/handlers/forward/template"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Prepared is a compiled action: its templates, and how its deliveries are carried
// out. It is safe for concurrent use.
type Prepared struct {
	*template.Set
	action   config.Action
	protocol protocol
	success  *config.Statuses
}

// Compile compiles actions that have passed their Check. What is wrong is reported
// together, as template.Compile does.
func Compile(actions []config.Action, language *language.Language, settings template.Settings) ([]*Prepared, error) {
	sets, err := template.Compile(actions, language, settings)
	if err != nil {
		return nil, err
	}
	prepared := make([]*Prepared, len(sets))
	var wrong []error
	for i, set := range sets {
		action := set.Action()
		one := &Prepared{Set: set, action: action, protocol: httpProtocol{}}
		statuses := action.Success
		if action.Mail != nil {
			one.protocol, statuses = smtpProtocol{}, []string{"2xx"}
		}
		if one.success, err = config.ParseStatuses(statuses); err != nil {
			wrong = append(wrong, fmt.Errorf("action %s, success: %w", action.Name, err))
		}
		prepared[i] = one
	}
	return prepared, errors.Join(wrong...)
}

// timeout returns how long an attempt may last.
func (p *Prepared) timeout() time.Duration { return time.Duration(p.action.Timeout) }

// masked returns a text for an administrator without the secrets of the
// configuration, cut to 1 KiB.
func (p *Prepared) masked(text string) string { return p.Masker().MaskTo(text, 1024) }

// endpointFor returns what requests for the events of a tenant go to. ok is false
// if there can be none.
func (p *Prepared) endpointFor(tenant string) (e endpoint, ok bool) {
	target, ok := p.TargetFor(tenant)
	return p.endpoint(target), ok
}

// onlyEndpoint returns the endpoint of an action that has no other.
func (p *Prepared) onlyEndpoint() (e endpoint, ok bool) {
	target, ok := p.OnlyTarget()
	return p.endpoint(target), ok
}

func (p *Prepared) endpoint(target send.Target) endpoint {
	e := endpoint{Target: target}
	if p.action.Mail != nil {
		e.startTLS = p.action.Mail.StartTLS
	}
	if tls := p.TLS(); tls != nil && target.Scheme != "http" {
		e.tls = tls.Key()
	}
	return e
}
