package resolve

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// Snapshot returns a configuration as indented JSON without secrets, to be
// kept with the history: years later it can say what the rules were, and it
// must not say more. A value that is wholly {env.NAME} or {file./path} stays as
// it is written; a secret that stands in the configuration itself is masked.
func Snapshot(settings config.Relay) (json.RawMessage, error) {
	// What is masked is a copy: the configuration itself is still needed.
	written, err := json.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("taking a snapshot of the configuration: %w", err)
	}
	var without config.Relay
	if err := json.Unmarshal(written, &without); err != nil {
		return nil, fmt.Errorf("taking a snapshot of the configuration: %w", err)
	}
	maskSecrets(&without)
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	// People read it: && is not to be \u0026\u0026.
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(without); err != nil {
		return nil, fmt.Errorf("taking a snapshot of the configuration: %w", err)
	}
	return bytes.TrimSpace(text.Bytes()), nil
}

// maskSecrets masks what the configuration holds of secrets.
func maskSecrets(settings *config.Relay) {
	if settings.Queue != nil {
		settings.Queue.DSN = secret.DSN(settings.Queue.DSN)
	}
	for i := range settings.Sources {
		for j := range settings.Sources[i].Auth {
			credential := &settings.Sources[i].Auth[j]
			credential.Password = secret.Literal(credential.Password)
			maskLiterals(credential.Values)
		}
	}
	// Parameters that stand where a credential is wanted hold one.
	names := make(map[string]bool)
	for i := range settings.Actions {
		maskAction(&settings.Actions[i], names)
	}
	maskParameters(settings.Parameters, names)
}

// maskAction masks what an action holds of secrets, and notes the names of the
// parameters that stand for one.
func maskAction(a *config.Action, names map[string]bool) {
	within := func(text string) string { return secret.Within(text, names) }
	// Of what is called like a secret, the value is one.
	byName := func(name, value string) string {
		if secret.Named(name) || secret.Proves(value) {
			return secret.Template(value, names)
		}
		return within(value)
	}
	a.URL = within(a.URL)
	for _, pairs := range [][]config.NameValue{a.Query, a.Headers} {
		for i, pair := range pairs {
			pairs[i].Value = byName(pair.Name, pair.Value)
		}
	}
	if auth := a.Auth; auth != nil {
		if auth.Kind == "basic" && auth.Password == "" {
			// Some services want a key for the user, and nothing for the password.
			auth.User = secret.Template(auth.User, names)
		}
		auth.Value, auth.Password = secret.Template(auth.Value, names), secret.Template(auth.Password, names)
	}
	if body := a.Body; body != nil {
		body.Text = within(body.Text)
		for i, field := range body.Fields {
			body.Fields[i].Value = byName(field.Name, field.Value)
		}
	}
	if mail := a.Mail; mail != nil {
		for _, text := range []*string{&mail.Server, &mail.From, &mail.ReplyTo, &mail.Subject, &mail.Text, &mail.HTML} {
			*text = within(*text)
		}
		for _, list := range [][]string{mail.To, mail.CC, mail.BCC} {
			for i, address := range list {
				list[i] = within(address)
			}
		}
	}
	maskLiterals(a.Sign)
}

// maskParameters masks the values of the parameters that are secret, and of
// those in them.
func maskParameters(parameters []config.Parameter, names map[string]bool) {
	// A value may hold further parameters, the values of those yet others.
	for known := -1; known != len(names); {
		known = len(names)
		for i := range parameters {
			maskParameter(&parameters[i], names)
		}
	}
}

// maskParameter masks what the parameter holds of secrets, and notes the names of the
// parameters that stand for one. It changes nothing the second time.
func maskParameter(p *config.Parameter, names map[string]bool) {
	mask := secret.Within
	if names[p.Name] || secret.Named(p.Name) {
		mask = secret.Template
	}
	p.Value = mask(p.Value, names)
	for tenant, value := range p.Tenants {
		p.Tenants[tenant] = mask(value, names)
	}
}

func maskLiterals(texts []string) {
	for i, text := range texts {
		texts[i] = secret.Literal(text)
	}
}
