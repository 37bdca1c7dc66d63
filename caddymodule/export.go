package caddymodule

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/postman"
)

// ExportActions writes actions as Caddyfile text, all if none is named.
func (a *App) ExportActions(names []string) (string, error) {
	chosen, err := a.chooseActions(names)
	if err != nil {
		return "", err
	}
	actions := make([]forward.Action, len(chosen))
	for i, action := range chosen {
		actions[i] = asWritten(action)
	}
	text, err := postman.Caddyfile(a.parametersOf(actions), actions)
	if err != nil {
		return "", err
	}
	return "# Actions, to be imported into the event_relay block.\n" + separated(text), nil
}

// separated puts a blank line before text that does not begin with one.
func separated(text string) string {
	if text == "" || strings.HasPrefix(text, "\n") {
		return text
	}
	return "\n" + text
}

func (a *App) chooseActions(wanted []string) (chosen []*config.Action, err error) {
	var known []string
	for i := range a.Actions {
		known = append(known, a.Actions[i].Name)
		if len(wanted) == 0 || slices.Contains(wanted, a.Actions[i].Name) {
			chosen = append(chosen, &a.Actions[i])
		}
	}
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return nil, names.Unknown("action", name, known, "")
		}
	}
	return chosen, nil
}

// asWritten returns the action with its secrets and file names as the
// configuration has them.
func asWritten(a *config.Action) forward.Action {
	written := forward.Action{
		Name: a.Name, Description: a.Description, Method: a.Method, URL: a.URL,
		Query: pairs(a.Query), Headers: pairs(a.Headers),
		Timeout: time.Duration(a.Timeout), Success: a.Success, RetryFor: time.Duration(a.RetryFor), Concurrency: a.Concurrency,
		Expires: time.Duration(a.Expires), OrderBy: a.OrderBy, Sign: a.Sign,
	}
	if written.Method == "" {
		written.Method = http.MethodPost
	}
	if auth := a.Auth; auth != nil {
		written.Auth = forward.Auth{Kind: auth.Kind, In: auth.In, Name: auth.Name, User: auth.User, Value: auth.Value}
		if auth.Kind == forward.AuthBasic {
			written.Auth.Value = auth.Password
		}
	}
	if body := a.Body; body != nil {
		written.Body = forward.Body{Kind: body.Kind, Type: body.Type, Text: body.Text}
		for _, field := range body.Fields {
			written.Body.Fields = append(written.Body.Fields, forward.Field(field))
		}
	}
	if interval := a.RetryInterval; interval != nil {
		written.RetryFirst, written.RetryCap = time.Duration(interval.First), time.Duration(interval.Cap)
	}
	if a.Rate != nil {
		written.Rate = forward.Rate{Count: a.Rate.Count, Per: time.Duration(a.Rate.Per)}
	}
	if a.TLS != nil {
		written.TLS = &forward.TLS{CAFiles: a.TLS.CAFiles, ClientCertificateFile: a.TLS.ClientCertificateFile,
			ClientKeyFile: a.TLS.ClientCertificateKeyFile, ServerName: a.TLS.ServerName, InsecureSkipVerify: a.TLS.InsecureSkipVerify,
			Pins: a.TLS.Pins, ProtocolMin: a.TLS.ProtocolMin, ProtocolMax: a.TLS.ProtocolMax}
	}
	return written
}

var (
	tagsInText = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	wordInTag  = regexp.MustCompile(`[A-Za-z][A-Za-z0-9_]*`)
)

// parametersOf returns the parameters that actions use, and those that these
// hold, in the order of the configuration. One too many does no harm, so that a
// word in a tag is enough to count.
func (a *App) parametersOf(actions []forward.Action) []postman.Parameter {
	used := map[string]bool{}
	var note func(text string)
	words := func(expression string) {
		for _, word := range wordInTag.FindAllString(expression, -1) {
			i := slices.IndexFunc(a.Parameters, func(p config.Parameter) bool { return p.Name == word })
			if i < 0 || used[word] {
				continue
			}
			used[word] = true
			note(a.Parameters[i].Value)
			for _, value := range a.Parameters[i].Tenants {
				note(value)
			}
		}
	}
	note = func(text string) {
		for _, tag := range tagsInText.FindAllString(text, -1) {
			words(tag)
		}
	}
	for _, action := range actions {
		words(action.OrderBy)
		for _, text := range texts(&action) {
			note(text)
		}
	}
	var parameters []postman.Parameter
	for _, p := range a.Parameters {
		if used[p.Name] {
			parameters = append(parameters, postman.Parameter{Name: p.Name, Value: p.Value, Tenants: p.Tenants})
		}
	}
	return parameters
}

// texts returns the templates of an action.
func texts(a *forward.Action) []string {
	all := append([]string{a.URL, a.Body.Type, a.Body.Text, a.Auth.Name, a.Auth.User, a.Auth.Value}, a.Sign...)
	for _, pair := range slices.Concat(a.Query, a.Headers) {
		all = append(all, pair.Name, pair.Value)
	}
	for _, field := range a.Body.Fields {
		all = append(all, field.Name, field.Value, field.Type)
	}
	return all
}
