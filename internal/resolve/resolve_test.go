package resolve_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/config/configtest"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// values are what placeholders stand for.
type values map[string]string

// lookUp is a resolve.Lookup: what has no value is an error, as with Caddy.
func (v values) lookUp(text string) (string, error) {
	for placeholder, value := range v {
		if value != "" {
			text = strings.ReplaceAll(text, placeholder, value)
		}
	}
	if strings.Contains(text, "{env.") || strings.Contains(text, "{file.") {
		return "", errors.New("a placeholder is empty")
	}
	return text, nil
}

func known() values {
	return values{"{env.SECRET}": "from outside", "{env.DIR}": "/certificates", "{env.EMPTY}": "", "{file./key}": "from a file"}
}

func TestReferencesAreFollowed(t *testing.T) {
	for _, test := range []struct {
		name     string
		settings config.Relay
		want     config.Relay
	}{
		{"values of a credential",
			config.Relay{Sources: []config.Source{{Name: "erp", Auth: []config.Credential{{Kind: auth.Bearer, Values: []string{"{env.SECRET}", "{env.EMPTY}", "plain"}}}}}},
			config.Relay{Sources: []config.Source{{Name: "erp", Auth: []config.Credential{{Kind: auth.Bearer, Values: []string{"from outside", "plain"}}}}}}},
		{"user and password",
			config.Relay{Sources: []config.Source{{Name: "erp", Auth: []config.Credential{{Kind: auth.Basic, User: "{env.SECRET}", Password: "{file./key}"}}}}},
			config.Relay{Sources: []config.Source{{Name: "erp", Auth: []config.Credential{{Kind: auth.Basic, User: "from outside", Password: "from a file"}}}}}},
		{"no credential",
			config.Relay{Sources: []config.Source{{Name: "erp", Auth: []config.Credential{{Kind: auth.None}}}}},
			config.Relay{Sources: []config.Source{{Name: "erp", Auth: []config.Credential{{Kind: auth.None}}}}}},
		{"keys of signatures, and file names",
			config.Relay{Actions: []config.Action{{Name: "call", URL: "https://lan/", Sign: []string{"{env.SECRET}"},
				TLS: &config.TLS{CAFiles: []string{"{env.DIR}/ca.pem"}, ClientCertificateFile: "/a.pem", ClientCertificateKeyFile: "{env.DIR}/a.key", ServerName: "lan"}}}},
			config.Relay{Actions: []config.Action{{Name: "call", URL: "https://lan/", Sign: []string{"from outside"},
				TLS: &config.TLS{CAFiles: []string{"/certificates/ca.pem"}, ClientCertificateFile: "/a.pem", ClientCertificateKeyFile: "/certificates/a.key", ServerName: "lan"}}}}},
		{"what is no reference stays",
			config.Relay{Disabled: true, Targets: []string{"lan"}, Rules: []config.Rule{{Events: []string{"paid"}, Do: []string{"call"}}},
				Actions: []config.Action{{Name: "call", URL: "http://{{env.SECRET}}/"}}},
			config.Relay{Disabled: true, Targets: []string{"lan"}, Rules: []config.Rule{{Events: []string{"paid"}, Do: []string{"call"}}},
				Actions: []config.Action{{Name: "call", URL: "http://{{env.SECRET}}/"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			resolved, err := resolve.Relay(test.settings, known().lookUp, zap.NewNop())
			if err != nil || !reflect.DeepEqual(resolved.Relay, test.want) {
				t.Errorf("got %v:\n%+v\nwant:\n%+v", err, resolved.Relay, test.want)
			}
		})
	}
}

func TestParametersAreResolved(t *testing.T) {
	settings := config.Relay{Parameters: []config.Parameter{
		{Name: "token", Value: "{env.SECRET}"},
		{Name: "base", Value: "http://lan/{{token}}", Tenants: map[string]string{"101": "{file./key}", "102": "x"}},
		{Name: "only", Tenants: map[string]string{"101": "x"}},
	}}
	want := configtest.Resolved(
		config.Parameter{Name: "token", Value: "{env.from outside}"},
		config.Parameter{Name: "base", Value: "http://lan/{{token}}", Tenants: map[string]string{"101": "{env.from a file}", "102": "x"}},
		config.Parameter{Name: "only", Tenants: map[string]string{"101": "x"}},
	)
	resolved, err := resolve.Relay(settings, known().lookUp, zap.NewNop())
	if err != nil || !reflect.DeepEqual(resolved.Relay.Parameters, want) {
		t.Errorf("got %v:\n%+v\nwant:\n%+v", err, resolved.Relay.Parameters, want)
	}
}

// TestEmptySecrets has a secret without a value in each place that can hold one.
func TestEmptySecrets(t *testing.T) {
	bearer := func(values ...string) config.Relay {
		return config.Relay{Sources: []config.Source{{Name: "erp", Place: "erp.caddy:3", Auth: []config.Credential{{Kind: auth.Bearer, Values: values}}}}}
	}
	sign := func(keys ...string) config.Relay {
		return config.Relay{Actions: []config.Action{{Name: "call", URL: "http://lan/", Place: "lan.caddy:7", Sign: keys}}}
	}
	for _, test := range []struct {
		name     string
		settings config.Relay
		skipped  string
		problem  string
	}{
		{"one of a credential's", bearer("{env.EMPTY}", "x"),
			"source erp, auth bearer: {env.EMPTY} is empty and was left out; a reload does not see a changed environment file: restart Caddy, or write {file./path} in its place", ""},
		{"a file's", bearer("x", "{file./nowhere}"),
			"source erp, auth bearer: {file./nowhere} is empty and was left out; see that its file can be read and is not empty, then: caddy reload --force", ""},
		{"all of a credential's", bearer("{env.EMPTY}"), "{env.EMPTY} is empty",
			"reading the secrets of source erp, auth bearer: every value is empty; set the environment variable or the file that [{env.EMPTY}] names; a running process keeps its environment: restart Caddy, or write {file./path} in its place, at erp.caddy:3"},
		{"one key", sign("x", "{env.EMPTY}"), "action call, sign: {env.EMPTY} is empty and was left out", ""},
		{"all keys", sign("{env.EMPTY}"), "{env.EMPTY} is empty", "reading the secrets of action call, sign: every value is empty"},
		{"a parameter", config.Relay{Parameters: []config.Parameter{{Name: "token", Value: "{env.EMPTY}", Place: "a.caddy:1"}}}, "",
			"reading parameter token: {env.EMPTY} is empty; set the environment variable or the file that it names; a running process keeps its environment: restart Caddy, or write {file./path} in its place, at a.caddy:1"},
		{"a parameter of a tenant", config.Relay{Parameters: []config.Parameter{{Name: "token", Tenants: map[string]string{"1": "{env.EMPTY}"}}}}, "",
			"reading parameter token: {env.EMPTY} is empty"},
		{"the name of a file", config.Relay{Actions: []config.Action{{Name: "call", URL: "http://lan/", TLS: &config.TLS{CAFiles: []string{"{env.EMPTY}/ca.pem"}}}}}, "",
			`reading tls of action call: reading the file name "{env.EMPTY}/ca.pem": a placeholder is empty`},
	} {
		t.Run(test.name, func(t *testing.T) {
			core, logged := observer.New(zap.WarnLevel)
			resolved, err := resolve.Relay(test.settings, known().lookUp, zap.New(core))
			if message := fmt.Sprint(err); (err == nil) != (test.problem == "") || !strings.Contains(message, test.problem) && err != nil {
				t.Errorf("the error is %v, want %s", err, test.problem)
			}
			if skipped := strings.Join(resolved.Skipped, "\n"); (skipped == "") != (test.skipped == "") || !strings.Contains(skipped, test.skipped) {
				t.Errorf("skipped is %q, want %q", skipped, test.skipped)
			}
			if logged.Len() != len(resolved.Skipped) {
				t.Errorf("%d warnings are logged for %d secrets", logged.Len(), len(resolved.Skipped))
			}
		})
	}
}

// TestOneSourceIsResolved has another source whose secret is not set.
func TestOneSourceIsResolved(t *testing.T) {
	source := config.Source{Name: "erp", Place: "erp.caddy:3", Auth: []config.Credential{{Kind: auth.Path, Values: []string{"{env.SECRET}"}}}}
	got, err := resolve.Source(source, known().lookUp, zap.NewNop())
	if err != nil || got.Auth[0].Values[0] != "from outside" || source.Auth[0].Values[0] != "{env.SECRET}" {
		t.Errorf("got %+v, %v; it was %+v", got, err, source)
	}
	source.Timezone, source.Auth[0].Values = "Nowhere", []string{"{env.EMPTY}"}
	_, err = resolve.Source(source, known().lookUp, zap.NewNop())
	for _, want := range []string{"reading timezone of source erp", "reading the secrets of source erp", "at erp.caddy:3"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
}

func TestChangedFilesAreSeen(t *testing.T) {
	outside := known()
	settings := config.Relay{Parameters: []config.Parameter{{Name: "a", Value: "{file./key}"}, {Name: "b", Value: "{env.SECRET}"}}}
	resolved, err := resolve.Relay(settings, outside.lookUp, zap.NewNop())
	if err != nil || len(resolved.Changed()) > 0 {
		t.Fatalf("changed at once: %q, %v", resolved.Changed(), err)
	}
	settings = config.Relay{Queue: &config.Queue{Engine: "postgres", DSN: "{file./key}"}}
	queue, err := resolve.Relay(settings, outside.lookUp, zap.NewNop())
	if err != nil || queue.Relay.Queue.DSN != "{file./key}" {
		t.Fatalf("the DSN is %q, %v: only what opens the queue is to have it", queue.Relay.Queue.DSN, err)
	}
	outside["{file./key}"], outside["{env.SECRET}"] = "another", "another"
	if changed := resolved.Changed(); len(changed) != 1 || !strings.Contains(changed[0], "{file./key} has changed") {
		t.Errorf("changed are %q", changed)
	}
	if changed := queue.Changed(); len(changed) != 1 || !strings.Contains(changed[0], "{file./key} has changed") {
		t.Errorf("of the queue, changed are %q", changed)
	}
	outside["{file./key}"] = "" // the file is gone
	if changed := resolved.Changed(); len(changed) != 1 {
		t.Errorf("with the file gone, changed are %q", changed)
	}
	outside["{file./key}"] = "from a file"
	if changed := resolved.Changed(); len(changed) != 0 {
		t.Errorf("with the file as it was, changed are %q", changed)
	}
}
