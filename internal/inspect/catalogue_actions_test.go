package inspect

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// TestListOfActionsHasEverySetting changes each setting of an action by itself, of one
// that sends a request and of one that sends a mail: a setting that a list leaves out
// would change nothing there.
func TestListOfActionsHasEverySetting(t *testing.T) {
	for _, mail := range []bool{false, true} {
		t.Run(fmt.Sprint("mail ", mail), func(t *testing.T) { checkListed(t, mail) })
	}
}

func checkListed(t *testing.T, mail bool) {
	generation := relaytest.Compile(t, relaytest.Configuration(relaytest.NewService(t), "/record"))
	var action config.Action
	settings := leaves(reflect.ValueOf(&action).Elem(), "")
	listed := func() string { return fmt.Sprint(settingsOf(generation, action)) }
	// The request or the mail itself is what a delivery shows, with its values.
	shown := []string{"Query", "Headers", "Auth", "Body", "Mail.Server", "Mail.From", "Mail.To", "Mail.CC", "Mail.BCC", "Mail.ReplyTo",
		"Mail.Subject", "Mail.Text", "Mail.HTML"}
	if mail {
		shown = append(shown, "Success", "Sign")
	} else {
		shown, action.Mail = append(shown, "Mail.StartTLS", "Mail.Recipients"), nil
	}
	known := reflect.TypeFor[ActionListed]()
	for name, change := range settings {
		if _, is := known.FieldByName(name); is {
			continue
		}
		if slices.Contains(shown, name) {
			continue
		}
		before := listed()
		change()
		if listed() == before {
			t.Errorf("the list of actions does not have %s", name)
		}
	}
	if len(settings) < 25 {
		t.Errorf("only %d settings were found", len(settings))
	}
}

// leaves gives a value to all that is in a structure, and returns by its path what
// changes each value.
func leaves(structure reflect.Value, path string) map[string]func() {
	found := make(map[string]func())
	for i := range structure.NumField() {
		field, name := structure.Field(i), path+structure.Type().Field(i).Name
		change := func() {}
		switch field.Kind() {
		case reflect.String:
			change = func() { field.SetString(field.String() + "x") }
		case reflect.Int, reflect.Int64:
			change = func() { field.SetInt(field.Int() + 7) }
		case reflect.Bool:
			change = func() { field.SetBool(!field.Bool()) }
		case reflect.Slice:
			if field.Type().Elem().Kind() == reflect.String {
				change = func() { field.Set(reflect.Append(field, reflect.ValueOf("x"))) }
			}
		case reflect.Pointer:
			if name != "Auth" && name != "Body" {
				field.Set(reflect.New(field.Type().Elem()))
				for name, change := range leaves(field.Elem(), name+".") {
					found[name] = change
				}
				continue
			}
		}
		change()
		found[name] = change
	}
	return found
}

// TestWrittenAction: what an action would send is seen with its templates, and no
// secret.
func TestWrittenAction(t *testing.T) {
	configuration := relaytest.Configuration(relaytest.NewService(t), "/record")
	action := &configuration.Actions[0]
	action.Headers = []config.NameValue{{Name: "X-Key", Value: "key-51ab"}}
	action.Auth = &config.ActionAuth{Kind: "bearer", Value: "token-8812"}
	action.Body = &config.Body{Kind: "json", Text: `{"project": {{body.project.id}}}`}
	var err error
	if configuration.Snapshot, err = resolve.Snapshot(configuration.Relay); err != nil {
		t.Fatal(err)
	}
	runtime := relaytest.Open(t, t.TempDir())
	var stack relay.Stack
	stack.Push(runtime, relaytest.Compile(t, configuration))
	written, err := Written(runtime, "record")
	if err != nil || written.Lacking != "" {
		t.Fatalf("%+v, %v", written, err)
	}
	for _, line := range []string{"action record {\n", "query id {{body.id}}", `{"project": {{body.project.id}}}`, "auth bearer ***", "header X-Key ***"} {
		if !strings.Contains(strings.ReplaceAll(written.Caddyfile, "`", ""), line) && !strings.Contains(strings.ReplaceAll(written.Caddyfile, `"`, ""), line) {
			t.Errorf("no %q in:\n%s", line, written.Caddyfile)
		}
	}
	if strings.Contains(written.Caddyfile, "token-8812") || strings.Contains(written.Caddyfile, "key-51ab") {
		t.Errorf("a secret is shown:\n%s", written.Caddyfile)
	}
	if _, err := Written(runtime, "recrod"); !errors.Is(err, queue.ErrNotFound) || !strings.Contains(err.Error(), "did you mean record?") {
		t.Errorf("an unknown action gives %v", err)
	}
}
