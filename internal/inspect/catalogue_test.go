package inspect

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/config/configtest"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// secretToken must be seen nowhere.
const secretToken = "s3cr3t-t0ken"

// listedConfiguration has one of everything that is listed.
func listedConfiguration() relay.Configuration {
	return relay.Configuration{
		Relay: config.Relay{
			Parameters: configtest.Resolved([]config.Parameter{
				{Name: "base", Value: "http://127.0.0.1:8080"},
				{Name: "token", Value: "{env." + secretToken + "}"},
				{Name: "api", Value: "{{base}}/api"},
				{Name: "number", Tenants: map[string]string{"north": "1", "south": "{env." + secretToken + "}"}},
				{Name: "written", Value: "in-the-caddyfile"},
				{Name: "spare", Value: "never used, but for icfm-credential"},
			}...),
			Sources: []config.Source{
				{Name: "icfm", Preset: "icfm", Place: "Caddyfile:3", Auth: []config.Credential{{Kind: auth.APIKey, In: auth.InQuery, Name: "key", Values: []string{"icfm-credential"}}}},
				{Name: "erp", Place: "Caddyfile:7", Events: []config.EventType{{Name: "order_paid", Description: "An order has been paid"}},
					Auth: []config.Credential{{Kind: auth.None}}, Fields: []config.Field{{Name: "order_id", Expression: "body.data.id"}}},
			},
			Actions: []config.Action{
				{Name: "pay", Place: "Caddyfile:20", Description: "Tell of the payment", Method: "POST", URL: "http://me:hush@127.0.0.1:8080/orders/{{order_id}}",
					Headers: []config.NameValue{{Name: "X-Token", Value: "{{token}}"}}, Query: []config.NameValue{{Name: "n", Value: "{{number ?? 0}}"}},
					Body: &config.Body{Kind: config.BodyJSON, Text: `{"sum": {{body.data.sum * 2}}, "lines": {{body.lines[0].text}}, "who": {{caller_id}} }`},
					Rate: &config.Rate{Count: 5, Per: config.Duration(time.Second)}, RetryFor: -1, OrderBy: "order_id", Expires: config.Duration(36 * time.Hour), Sign: []string{"whsec_" + "c2VjcmV0c2VjcmV0"}},
				{Name: "idle", Method: "GET", URL: "{{api}}/idle", Auth: &config.ActionAuth{Kind: config.AuthBearer, Value: "{{written}}"}},
			},
			Rules: []config.Rule{
				{Place: "Caddyfile:30", Description: "Paid orders", Events: []string{"order_paid"}, When: []string{`body.data.sum > 0`, `body.data.state == "paid"`}, Do: []string{"pay"}},
				{Place: "Caddyfile:34", Events: []string{"dmg_*"}, Ignore: true, Reason: "not automated"},
				{Place: "Caddyfile:38", Events: []string{"job_saved"}, Disabled: true, Do: []string{"pay"}},
				{Place: "Caddyfile:40", Events: []string{"relay:*", "icfm:unknown"}, Do: []string{"pay"}},
			},
			Retention: &config.Retention{Age: config.Duration(time.Hour), Size: 1 << 30},
		}}
}

// orderPaid is an event that fits listedConfiguration.
func orderPaid(t *testing.T, generation *relay.Generation, body string) *event.Event {
	t.Helper()
	decoded, err := event.DecodeJSON(body)
	if err != nil {
		t.Fatal(err)
	}
	e := &event.Event{ID: uuid.Must(uuid.NewV7()).String(), Source: "erp", Name: "order_paid", Received: time.Now(), Method: "POST", RawBody: []byte(body), Body: decoded, BodyIsRaw: true,
		Headers: map[string][]string{"X-Trace": {"7"}}, Query: map[string][]string{"page size": {"10"}, "empty": {""}}}
	e.Parameters[event.Tenant] = ""
	e.Fields = map[string]any{"order_id": nil}
	if object, ok := decoded.(map[string]any); ok {
		if data, ok := object["data"].(map[string]any); ok {
			e.Fields["order_id"] = data["id"]
		}
	}
	return e
}

func noSecrets(t *testing.T, listed any) string {
	t.Helper()
	text, err := json.Marshal(listed)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{secretToken, "hush", "icfm-credential", "in-the-caddyfile", "c2VjcmV0"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("it shows the secret %s:\n%s", secret, text)
		}
	}
	return string(text)
}

func TestCatalogue(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	if got := Catalogue(t.Context(), runtime); len(got) != 0 {
		t.Errorf("without a configuration there are %v", got)
	}
	relaytest.Push(t, runtime, listedConfiguration())
	if _, err := runtime.Turn(t.Context(), queue.Switch{Kind: queue.SwitchEvent, Name: "relay:source_quiet", Off: true}, 0); err != nil {
		t.Fatal(err)
	}
	catalogue := Catalogue(t.Context(), runtime)
	noSecrets(t, catalogue)
	find := func(source, name string) EventListed {
		t.Helper()
		for _, s := range catalogue {
			for _, event := range s.Events {
				if s.Source == source && event.Name == name {
					return event
				}
			}
		}
		t.Fatalf("there is no %s:%s", source, name)
		return EventListed{}
	}
	if catalogue[0].Preset != "icfm" || catalogue[0].Place != "Caddyfile:3" || len(catalogue) != 3 || catalogue[2].Source != names.RelaySource {
		t.Errorf("the sources are %+v", catalogue)
	}
	for _, test := range []struct {
		source, event string
		active, off   bool
		rules         string
	}{
		{"erp", "order_paid", true, false, "Caddyfile:30"},
		{"icfm", "dmg_work_started", false, false, "Caddyfile:34"},
		{"icfm", "job_saved", false, false, "Caddyfile:38"},
		{"icfm", "project_created", false, false, ""},
		{"icfm", "unknown", true, false, "Caddyfile:40"},
		{"relay", "target_down", true, false, "Caddyfile:40"},
		{"relay", "source_quiet", false, true, "Caddyfile:40"},
	} {
		event := find(test.source, test.event)
		var places []string
		for _, rule := range event.Rules {
			places = append(places, rule.Place)
		}
		if event.Active != test.active || (event.Switch != nil) != test.off || strings.Join(places, " ") != test.rules {
			t.Errorf("%s:%s is %+v", test.source, test.event, event)
		}
	}
	if event := find("erp", "order_paid"); event.Description != "An order has been paid" || event.Rules[0].Do[0] != "pay" || len(event.Rules[0].When) != 2 {
		t.Errorf("order_paid is %+v", event)
	}
}

func TestActionsAndParametersAreListed(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	relaytest.Push(t, runtime, listedConfiguration())
	actions, err := Actions(t.Context(), runtime)
	if err != nil {
		t.Fatal(err)
	}
	noSecrets(t, actions)
	pay, idle := actions[0], actions[1]
	if pay.URL != "http://***@127.0.0.1:8080/orders/{{order_id}}" || !slices.Equal(pay.Targets, []string{"http://127.0.0.1:8080"}) {
		t.Errorf("pay calls %s at %v", pay.URL, pay.Targets)
	}
	if !slices.Equal(pay.UsedBy, []string{"Caddyfile:30", "Caddyfile:38", "Caddyfile:40"}) || len(idle.UsedBy) != 0 {
		t.Errorf("pay is used by %v, idle by %v", pay.UsedBy, idle.UsedBy)
	}
	for _, want := range [][2]string{{"timeout", "10s"}, {"retry_for", "off"}, {"retry_interval", "1s 5m"}, {"rate", "5/s"}, {"expires", "36h"}, {"order_by", "order_id"}, {"sign", "***"}} {
		if !slices.Contains(pay.Settings, want) {
			t.Errorf("the settings %v lack %v", pay.Settings, want)
		}
	}

	parameters := Parameters(runtime)
	noSecrets(t, parameters)
	byName := map[string]ParameterListed{}
	for _, parameter := range parameters {
		byName[parameter.Name] = parameter
	}
	for name, want := range map[string]string{
		"caller_id": "pay", "call_cost": "", "base": "parameter api", "api": "idle", "token": "pay", "number": "pay", "written": "idle", "spare": "",
	} {
		if got := strings.Join(byName[name].UsedBy, " "); got != want {
			t.Errorf("%s is used by %q, want %q", name, got, want)
		}
	}
	if token := byName["token"]; token.Value != "***" || !token.Secret || token.Kind != "custom" {
		t.Errorf("token is %+v", token)
	}
	if number := byName["number"]; number.Value != "" || number.Tenants["north"] != "1" || number.Tenants["south"] != "***" {
		t.Errorf("number is %+v", number)
	}
	if len(parameters) != len(event.SystemParameters())+6 {
		t.Errorf("there are %d parameters", len(parameters))
	}
}

func TestExample(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	configuration := listedConfiguration()
	// That nobody listens at the target must not make further events of it.
	configuration.Rules[3].Events = []string{"icfm:unknown"}
	generation := relaytest.Push(t, runtime, configuration)
	made, err := Example(t.Context(), runtime, "pay")
	if err != nil || made.Error != "" || made.EventID != "" {
		t.Fatalf("made up: %+v, %v", made, err)
	}
	noSecrets(t, made)
	if !strings.Contains(made.Request, "/orders/") || !strings.Contains(made.Request, `"sum": 2`) {
		t.Errorf("made up:\n%s", made.Request)
	}
	// One whose rules did not hold will do.
	other := orderPaid(t, generation, `{"data":{"id":8,"sum":0}}`)
	relaytest.Accept(t, runtime, generation, other)
	example, err := Example(t.Context(), runtime, "pay")
	if err != nil || example.EventID != other.ID || !strings.Contains(example.Request, "/orders/8") {
		t.Errorf("of an ignored event: %+v, %v", example, err)
	}
	paid := orderPaid(t, generation, `{"data":{"id":7,"sum":4,"state":"paid"}}`)
	relaytest.Accept(t, runtime, generation, paid)
	relaytest.Accept(t, runtime, generation, orderPaid(t, generation, `{"data":{"id":9,"sum":0}}`))
	example, err = Example(t.Context(), runtime, "pay")
	if err != nil || example.EventID != paid.ID || !strings.Contains(example.Request, `"sum": 8`) {
		t.Errorf("of the event it was carried out for: %+v, %v", example, err)
	}
	noSecrets(t, example)
	if unused, err := Example(t.Context(), runtime, "idle"); err != nil || !strings.Contains(unused.Request, "GET http://127.0.0.1:8080/api/idle") {
		t.Errorf("of an unused action: %+v, %v", unused, err)
	}
	if _, err := Example(t.Context(), runtime, "pya"); !errors.Is(err, queue.ErrNotFound) || !strings.Contains(err.Error(), "did you mean pay?") {
		t.Errorf("of an unknown action: %v", err)
	}
}

func TestFieldsSeen(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, listedConfiguration())
	none, err := Fields(t.Context(), runtime, "erp", "order_paid")
	if err != nil || none.Events != 0 || none.Fields == nil {
		t.Errorf("without events: %+v, %v", none, err)
	}
	for _, body := range []string{
		`{"data":{"id":7,"sum":4.5,"tags":["new","big"]},"text":"` + strings.Repeat("ä", 200) + `","nothing":null,"void":"","tag":"{{call_cost}}"}`,
		`{"data":{"id":"A-7","X-Key":true,"lines":[{"text":"<b>"}]}}`,
	} {
		relaytest.Accept(t, runtime, generation, orderPaid(t, generation, body))
	}
	seen, err := Fields(t.Context(), runtime, "erp", "order_paid")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]FieldSeen{}
	for _, field := range seen.Fields {
		got[field.Path] = field
	}
	for _, want := range []FieldSeen{
		{"body.data.id", []string{"string", "number"}, `"A-7"`, 2},
		{"body.data.sum", []string{"number"}, `4.5`, 1},
		{"body.data.tags", []string{"array"}, `[… 2]`, 1},
		{"body.data.tags[0]", []string{"string"}, `"new"`, 1},
		{`body.data["X-Key"]`, []string{"boolean"}, `true`, 1},
		{"body.data.lines[0].text", []string{"string"}, `"<b>"`, 1},
		{`query["page size"]`, []string{"text"}, `"10"`, 2},
		{`headers["X-Trace"]`, []string{"text"}, `"7"`, 2},
		{"order_id", []string{"string", "number"}, `"A-7"`, 2},
		{"body", []string{"object"}, `{…}`, 2},
	} {
		if field := got[want.Path]; field.Seen != want.Seen || field.Example != want.Example || !slices.Equal(field.Types, want.Types) {
			t.Errorf("%s is %+v, want %+v", want.Path, field, want)
		}
	}
	for _, path := range []string{"body.nothing", "body.void", "body.tag", "query.empty", "tenant", "body.data.tags[1]"} {
		if field, listed := got[path]; listed {
			t.Errorf("%s counts as absent, and is listed: %+v", path, field)
		}
	}
	if text := got["body.text"].Example; len([]rune(text)) > longestExample+3 {
		t.Errorf("an example is %d characters long", len([]rune(text)))
	}
	if seen.Events != 2 || seen.Newest.IsZero() || !strings.HasPrefix(seen.Fields[0].Path, "body") {
		t.Errorf("seen are %+v", seen)
	}
}

// TestFieldsAreBounded: senders choose how many there are.
func TestFieldsAreBounded(t *testing.T) {
	wide, many := map[string]any{}, map[string]any{}
	for i := range mostValues + 1 {
		wide[fmt.Sprint("k", i)] = "v"
	}
	for i := range mostFields + 1 {
		many[fmt.Sprint("k", i)] = "v"
	}
	var deep any = "bottom"
	for range 100 {
		deep = map[string]any{"d": deep}
	}
	for name, test := range map[string]struct {
		body any
		want int
	}{
		"wide": {wide, 1}, "many": {many, mostFields}, "deep": {deep, deepestField + 1},
		"long":     {map[string]any{strings.Repeat("k", longestField): 1}, 1},
		"not text": {map[string]any{"\xff": "v"}, 1},
	} {
		all := newFields()
		event := &event.Event{Body: test.body}
		all.look(event)
		all.look(event)
		if got := len(all.list()); got != test.want {
			t.Errorf("%s: there are %d fields, want %d", name, got, test.want)
		}
	}
}

// FuzzFields: whatever an event holds, the paths can be used in rules and lead
// to a value, and there are no more than can be shown.
func FuzzFields(f *testing.F) {
	for _, body := range []string{`{"a":{"b":[1,{"c":"d"}]}}`, `{"in":1,"nil":{"#":2}}`, "{\"\\u0000\":1,\"\\\"]\":2}", `[[[[1]]]]`, `{"{{x}}":"{{y}}"}`} {
		f.Add(body)
	}
	language, err := language.New(language.Definitions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		decoded, err := event.DecodeJSON(body)
		if err != nil {
			return
		}
		event := &event.Event{Body: decoded, Query: map[string][]string{body: {"1"}}, Headers: map[string][]string{"X": {body}}}
		all := newFields()
		all.look(event)
		list := all.list()
		if len(list) > mostFields {
			t.Errorf("there are %d fields", len(list))
		}
		for _, field := range list {
			expression, err := language.Compile(field.Path)
			if err != nil {
				t.Fatalf("%s: %v", field.Path, err)
			}
			if value, err := language.Bind(event).Evaluate(expression); err != nil || isAbsent(value) {
				t.Errorf("%s gives %v, %v", field.Path, value, err)
			}
			if len([]rune(field.Example)) > longestExample+1 {
				t.Errorf("%s has an example of %d characters", field.Path, len([]rune(field.Example)))
			}
		}
	})
}
