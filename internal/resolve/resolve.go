// Package resolve puts the values of what a configuration refers to in place of the
// references: secrets, and the names of files. It also does the opposite: it puts
// stand-ins in place of secrets for dry runs, and takes secrets out of a
// configuration that is to be kept.
package resolve

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// Lookup returns a text with the values of its placeholders, such as {env.NAME} and
// {file./path}, in their places. A placeholder that is unknown or empty is an error.
type Lookup func(text string) (string, error)

// Resolved is a configuration whose values are known.
type Resolved struct {
	// Relay is the configuration with the values of its parameters, the secrets of its
	// sources and actions, and the names of files.
	Relay config.Relay

	// Skipped says of each secret that is empty, and was left out for that, what it is
	// of: sentences for people, with a remedy.
	Skipped []string

	lookup Lookup
	// files are the references to files that were followed, with the value that each
	// had.
	files map[string]string
}

// Changed says which files of secrets hold something else than when they were read:
// sentences for people, with a remedy. Caddy takes a reload of an unchanged
// configuration for nothing to be done, with exit status 0, also if such a file has
// changed.
func (r *Resolved) Changed() (changed []string) {
	for _, reference := range slices.Sorted(maps.Keys(r.files)) {
		if valueOf(r.lookup, reference) != r.files[reference] {
			changed = append(changed, fmt.Sprintf("the file of %s has changed since the configuration was loaded; "+
				"the old value counts until: %s reload --force", reference, names.Program()))
		}
	}
	return changed
}

// Relay checks a configuration and follows its references. Everything that is wrong
// with single values is reported together, each with its place. The logger is warned
// of secrets that are left out. The configuration itself stays as it is written.
func Relay(settings config.Relay, lookup Lookup, logger *zap.Logger) (Resolved, error) {
	return newResolver(lookup, logger).relay(settings)
}

// Source checks one source and follows its references, as Relay does with all of
// them: a command may not have the secrets of others in its environment.
func Source(source config.Source, lookup Lookup, logger *zap.Logger) (config.Source, error) {
	var wrong config.Findings
	source.Check(&wrong)
	resolved := newResolver(lookup, logger).source(source, &wrong)
	return resolved, errors.Join(wrong...)
}

// resolver is one reading of a configuration.
type resolver struct {
	lookup Lookup
	logger *zap.Logger

	// standIns are what takes the places of secrets in a dry run, which follows no
	// reference; nil otherwise.
	standIns *standIns

	skipped []string
	files   map[string]string
}

func newResolver(lookup Lookup, logger *zap.Logger) *resolver {
	return &resolver{lookup: lookup, logger: logger, files: make(map[string]string)}
}

func (r *resolver) relay(settings config.Relay) (Resolved, error) {
	wrong := settings.Check()
	resolved := Resolved{Relay: settings, lookup: r.lookup}
	resolved.Relay.Parameters = nil
	for i := range settings.Parameters {
		resolved.Relay.Parameters = append(resolved.Relay.Parameters, r.parameter(&settings.Parameters[i], &wrong))
	}
	resolved.Relay.Sources = nil
	for _, source := range settings.Sources {
		resolved.Relay.Sources = append(resolved.Relay.Sources, r.source(source, &wrong))
	}
	resolved.Relay.Actions = nil
	for _, action := range settings.Actions {
		resolved.Relay.Actions = append(resolved.Relay.Actions, r.action(action, &wrong))
	}
	if settings.Queue != nil {
		// What opens the queue reads it by itself, and nothing else is to have it. But
		// a file that has changed since is to be told of.
		_, _ = r.value(settings.Queue.DSN)
	}
	resolved.Skipped, resolved.files = r.skipped, r.files
	return resolved, errors.Join(wrong...)
}

// parameter resolves the values of a parameter. A secret that is empty is an error:
// requests that need it would be sent without.
func (r *resolver) parameter(parameter *config.Parameter, wrong *config.Findings) config.Parameter {
	return parameter.Resolved(func(text string) (value string, secret bool) {
		value, secret = r.value(text)
		if r.standIns != nil {
			var unknown bool
			value, unknown = r.standIns.value(parameter.Name, value)
			secret = secret || unknown
		}
		if secret && value == "" {
			wrong.Add(parameter.Place, fmt.Errorf("reading parameter %s: %s is empty; %s", parameter.Name, text, EmptyText(text)))
		}
		return value, secret
	})
}

// source returns a copy of a source with its secrets resolved.
func (r *resolver) source(source config.Source, wrong *config.Findings) config.Source {
	if err := auth.CheckOpen(source.Auth); err != nil {
		wrong.Add(source.Place, fmt.Errorf("reading auth of source %s: %w", source.Name, err))
	}
	credentials := make([]config.Credential, len(source.Auth))
	for i, credential := range source.Auth {
		resolved, err := r.credential(source.Name, credential)
		wrong.Add(source.Place, err)
		credentials[i] = resolved
	}
	source.Auth = credentials
	return source
}

// credential resolves the secrets of a credential.
func (r *resolver) credential(source string, credential config.Credential) (config.Credential, error) {
	if err := auth.Check(credential); err != nil {
		return credential, fmt.Errorf("reading auth of source %s: %w", source, err)
	}
	if auth.IsOpen(credential) {
		return credential, nil
	}
	credential.User, _ = r.value(credential.User)
	secrets, err := r.secrets("source "+source, "auth "+credential.Kind, credential.Secrets())
	if r.standIns != nil {
		for i := range secrets {
			secrets[i] = auth.StandIn(credential.Kind, secrets[i])
		}
	}
	if credential.Password == "" {
		credential.Values = secrets
	} else if credential.Password = ""; len(secrets) > 0 {
		credential.Password = secrets[0]
	}
	return credential, err
}

// action returns a copy of an action with its secrets and file names resolved.
func (r *resolver) action(action config.Action, wrong *config.Findings) config.Action {
	if len(action.Sign) > 0 {
		var err error
		action.Sign, err = r.secrets("action "+action.Name, "sign", action.Sign)
		wrong.Add(action.Place, err)
		if r.standIns != nil {
			action.Sign = []string{maskedKey}
		}
	}
	if action.TLS == nil {
		return action
	}
	if r.standIns != nil {
		// A dry run opens no connection, and its files may be gone.
		action.TLS = nil
		return action
	}
	var err error
	if action.TLS, err = r.tls(action.TLS); err != nil {
		wrong.Add(action.Place, fmt.Errorf("reading tls of action %s: %w", action.Name, err))
	}
	return action
}

// tls returns the settings with the placeholders of file names replaced.
func (r *resolver) tls(t *config.TLS) (*config.TLS, error) {
	resolved := *t
	var wrong config.Findings
	file := func(name string) string {
		resolved, err := r.lookup(name)
		if err != nil {
			wrong.Add("", fmt.Errorf("reading the file name %q: %w", name, err))
		}
		return resolved
	}
	resolved.CAFiles = make([]string, len(t.CAFiles))
	for i, name := range t.CAFiles {
		resolved.CAFiles[i] = file(name)
	}
	resolved.ClientCertificateFile = file(t.ClientCertificateFile)
	resolved.ClientCertificateKeyFile = file(t.ClientCertificateKeyFile)
	return &resolved, errors.Join(wrong...)
}

// secrets resolves the secrets of a setting of something. Empty ones are left
// out with a warning, because an empty secret would let everybody in, or sign
// what everybody can sign; it is an error when none remains.
func (r *resolver) secrets(of, setting string, texts []string) ([]string, error) {
	values := make([]string, 0, len(texts))
	for _, text := range texts {
		value, _ := r.value(text)
		if value == "" {
			r.logger.Warn("a secret is empty and was left out", zap.String("of", of),
				zap.String("setting", setting), zap.String("value", text))
			r.skipped = append(r.skipped, skippedText(of, setting, text))
			continue
		}
		values = append(values, value)
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("reading the secrets of %s, %s: every value is empty; "+
			"set the environment variable or the file that %v names%s", of, setting, texts, restartText(texts...))
	}
	return values, nil
}

// EmptyText says what to do about a reference that is empty.
func EmptyText(reference string) string {
	return "set the environment variable or the file that it names" + restartText(reference)
}

// restartText says how the relay gets to see a changed environment variable, empty
// if all texts name files: a reload reads those anew.
func restartText(texts ...string) string {
	for _, text := range texts {
		if !isFileReference(text) {
			return "; a running process keeps its environment: restart Caddy, or write {file./path} in its place"
		}
	}
	return ""
}

// skippedText says that a secret is empty and what to do.
func skippedText(of, setting, text string) string {
	remedy := "a reload does not see a changed environment file: restart Caddy, or write {file./path} in its place"
	if isFileReference(text) {
		remedy = "see that its file can be read and is not empty, then: " + names.Program() + " reload --force"
	}
	return fmt.Sprintf("%s, %s: %s is empty and was left out; %s", of, setting, text, remedy)
}

// value returns the value that a configured text stands for, and whether it came
// from outside the configuration and is therefore a secret. Only a text that is
// wholly a reference is replaced, because replacing would destroy JSON and templates.
// A dry run follows no reference.
func (r *resolver) value(text string) (value string, isSecret bool) {
	if !secret.IsReference(text) {
		return text, false
	}
	if r.standIns != nil {
		return secret.Masked, true
	}
	value = valueOf(r.lookup, text)
	if isFileReference(text) {
		r.files[text] = value
	}
	return value, true
}

// valueOf returns the value of a reference. One to something unset, unreadable or
// empty gives an empty value: whether that is an error depends on its setting.
func valueOf(lookup Lookup, reference string) string {
	value, err := lookup(reference)
	if err != nil {
		return ""
	}
	return value
}

func isFileReference(text string) bool { return strings.HasPrefix(text, "{file.") }
