package caddymodule

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

func (a *App) action(action *config.Action, wrong *config.Findings) forward.Action {
	converted := forward.FromConfig(action)
	if len(action.Sign) > 0 {
		var err error
		converted.Sign, err = a.secrets("action "+action.Name, "sign", action.Sign)
		wrong.Add(action.Place, err)
		if a.dry != nil {
			converted.Sign = []string{maskedKey}
		}
	}
	// A dry run connects to nobody.
	if action.TLS != nil && a.dry == nil {
		var err error
		converted.TLS, err = resolvedTLS(action.TLS)
		if err != nil {
			wrong.Add(action.Place, fmt.Errorf("reading tls of action %s: %w", action.Name, err))
		}
	}
	return converted
}

// resolvedTLS returns the settings with the placeholders of file names replaced.
func resolvedTLS(t *config.TLS) (*forward.TLS, error) {
	converted := &forward.TLS{
		CAFiles: make([]string, len(t.CAFiles)), ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify,
		Pins: t.Pins, ProtocolMin: t.ProtocolMin, ProtocolMax: t.ProtocolMax,
	}
	replacer := caddy.NewReplacer()
	var wrong config.Findings
	file := func(name string) string {
		resolved, err := replacer.ReplaceOrErr(name, true, true)
		if err != nil {
			wrong.Add("", fmt.Errorf("reading the file name %q: %w", name, err))
		}
		return resolved
	}
	for i, name := range t.CAFiles {
		converted.CAFiles[i] = file(name)
	}
	converted.ClientCertificateFile = file(t.ClientCertificateFile)
	converted.ClientKeyFile = file(t.ClientCertificateKeyFile)
	return converted, errors.Join(wrong...)
}
