package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

func (a *App) action(action *config.Action, wrong *config.Findings) forward.Action {
	converted := forward.Action{
		Name: action.Name, Description: action.Description, Place: action.Place,
		Method: strings.ToUpper(action.Method), URL: action.URL,
		Query: pairs(action.Query), Headers: pairs(action.Headers),
		Timeout: time.Duration(action.Timeout), Success: action.Success,
		RetryFor: time.Duration(action.RetryFor), Concurrency: action.Concurrency,
		Expires: time.Duration(action.Expires), OrderBy: action.OrderBy,
	}
	if converted.Method == "" {
		converted.Method = http.MethodPost
	}
	if auth := action.Auth; auth != nil {
		converted.Auth = forward.Auth{Kind: auth.Kind, In: auth.In, Name: auth.Name, User: auth.User, Value: auth.Value}
		if auth.Kind == "basic" {
			converted.Auth.Value = auth.Password
		}
	}
	if body := action.Body; body != nil {
		converted.Body = forward.Body{Kind: body.Kind, Type: body.Type, Text: body.Text}
		for _, field := range body.Fields {
			converted.Body.Fields = append(converted.Body.Fields, forward.Field(field))
		}
	}
	if action.RetryInterval != nil {
		converted.RetryFirst = time.Duration(action.RetryInterval.First)
		converted.RetryCap = time.Duration(action.RetryInterval.Cap)
	}
	if action.Rate != nil {
		converted.Rate = forward.Rate{Count: action.Rate.Count, Per: time.Duration(action.Rate.Per)}
	}
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

func pairs(values []config.NameValue) []forward.Pair {
	converted := make([]forward.Pair, len(values))
	for i, value := range values {
		converted[i] = forward.Pair(value)
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
