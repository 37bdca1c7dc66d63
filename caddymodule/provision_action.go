package caddymodule

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// action returns a copy of an action with its secrets and file names resolved.
func (a *App) action(action config.Action, wrong *config.Findings) config.Action {
	if len(action.Sign) > 0 {
		var err error
		action.Sign, err = a.secrets("action "+action.Name, "sign", action.Sign)
		wrong.Add(action.Place, err)
		if a.dry != nil {
			action.Sign = []string{maskedKey}
		}
	}
	if action.TLS == nil {
		return action
	}
	if a.dry != nil {
		// A dry run opens no connection, and its files may be gone.
		action.TLS = nil
		return action
	}
	var err error
	if action.TLS, err = resolvedTLS(action.TLS); err != nil {
		wrong.Add(action.Place, fmt.Errorf("reading tls of action %s: %w", action.Name, err))
	}
	return action
}

// resolvedTLS returns the settings with the placeholders of file names replaced.
func resolvedTLS(t *config.TLS) (*config.TLS, error) {
	resolved := *t
	replacer := caddy.NewReplacer()
	var wrong config.Findings
	file := func(name string) string {
		resolved, err := replacer.ReplaceOrErr(name, true, true)
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
