package inspect

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/config/configtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

func TestWarnings(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	configuration := listedConfiguration()
	configuration.Rules[0].When = append(configuration.Rules[0].When, `body.data.stauts != "void" and caller_id == nil`)
	generation := relaytest.Push(t, runtime, configuration)
	warnings := func() string {
		t.Helper()
		warnings, err := warnings(t.Context(), runtime, runtime.Generation())
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(warnings, "\n")
	}

	// While no event is stored, nobody knows what they have.
	got := warnings()
	want := []string{
		"action idle: no rule uses it",
		"parameter spare: nothing uses it",
	}
	for _, part := range want {
		if !strings.Contains(got, part) {
			t.Errorf("it lacks %q:\n%s", part, got)
		}
	}
	if strings.Count(got, "\n") != 1 {
		t.Errorf("without events there are further warnings:\n%s", got)
	}

	paid := orderPaid(t, generation, `{"data":{"id":7,"sum":4,"state":"paid","status":"open"}}`)
	relaytest.Accept(t, runtime, generation, paid)
	got = warnings()
	for _, part := range []string{
		"a rule asks for body.data.stauts, which the only stored event of its kind did not have, at Caddyfile:30; did you mean body.data.status?",
		"a rule asks for caller_id, which the only stored event of its kind did not have, at Caddyfile:30",
		"action pay asks for body.lines[0].text, which the only stored event of its kind did not have, at Caddyfile:20",
	} {
		if !strings.Contains(got, part) {
			t.Errorf("it lacks %q:\n%s", part, got)
		}
	}
	for _, part := range []string{"body.data.sum", "body.data.state,", "order_id,", "number"} {
		if strings.Contains(got, part) {
			t.Errorf("it warns of %s, which the event has:\n%s", part, got)
		}
	}

	relaytest.Accept(t, runtime, generation, orderPaid(t, generation, `{"lines":[{"text":"x"}],"data":{"stauts":"x"}}`))
	got = warnings()
	for _, part := range []string{"stauts", "body.lines"} {
		if strings.Contains(got, part) {
			t.Errorf("it warns of %s, which one of the events has:\n%s", part, got)
		}
	}

	if _, err := runtime.Turn(t.Context(), queue.Switch{Kind: queue.SwitchEvent, Name: "erp:order_paid", Off: true}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := warnings(); !strings.Contains(got, "all events of a rule are switched off (erp:order_paid); to turn one on, use caddy event-relay enable, at Caddyfile:30") || strings.Contains(got, "enable, at Caddyfile:40") {
		t.Errorf("with an event switched off:\n%s", got)
	}
	if _, err := runtime.Turn(t.Context(), queue.Switch{Kind: queue.SwitchEvent, Name: "erp:order_paid"}, 0); err != nil {
		t.Fatal(err)
	}

	// An action that is gone leaves its deliveries.
	without := listedConfiguration()
	without.Actions, without.Rules = without.Actions[1:], nil
	relaytest.Push(t, runtime, without)
	relaytest.Accept(t, runtime, generation, orderPaid(t, generation, `{"data":{"id":7,"sum":4,"state":"paid","stauts":"open"}}`))
	if got := warnings(); !strings.Contains(got, "action pay: there is no such action any more, and deliveries of it wait (1)") {
		t.Errorf("with an action gone:\n%s", got)
	}
}

// Parameters that are still to be given a value are named if an action uses them.
func TestWarnOfUndefined(t *testing.T) {
	secret := config.Parameter{Name: "p", Value: "{env.undefined}"}
	for name, c := range map[string]struct {
		parameters []config.Parameter
		value      string
		want       string // "" for no warning
	}{
		"empty":       {[]config.Parameter{{Name: "p", Place: "a.caddy:3"}}, "{{p}}", "parameter p: it is empty, and actions use it (pay); fill in: parameter p VALUE, at a.caddy:3"},
		"undefined":   {[]config.Parameter{{Name: "p", Value: "undefined"}}, "{{p}}", "parameter p: its value is undefined, which stands for a missing one, and actions use it (pay)"},
		"placeholder": {[]config.Parameter{{Name: "p", Value: "http://p.invalid"}}, "{{upper(p)}}", "parameter p: its value is http://p.invalid, which stands"},
		"held":        {[]config.Parameter{{Name: "p"}, {Name: "q", Value: "{{p}}"}, {Name: "r", Value: "x{{q}}"}}, "{{r}}", "parameter p: it is empty, and actions use it (pay)"},
		"unused":      {[]config.Parameter{{Name: "p"}}, "x", ""},
		"defined":     {[]config.Parameter{{Name: "p", Value: "x"}}, "{{p}}", ""},
		"secret":      {[]config.Parameter{secret}, "{{p}}", ""},
		"by tenant":   {[]config.Parameter{{Name: "p", Tenants: map[string]string{"a": "x"}}}, "{{p}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			runtime := relaytest.Open(t, t.TempDir())
			configuration := listedConfiguration()
			configuration.Parameters = append(configuration.Parameters, configtest.Resolved(c.parameters...)...)
			configuration.Actions[0].Headers = append(configuration.Actions[0].Headers, config.NameValue{Name: "X-P", Value: c.value})
			generation := relaytest.Push(t, runtime, configuration)
			got := strings.Join(warnOfUndefined(generation), "\n")
			complete := got == "" || strings.HasSuffix(strings.TrimSuffix(got, ", at a.caddy:3"), "fill in: parameter p VALUE")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) || !complete {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			checked, err := Check(t.Context(), runtime)
			if err != nil || !strings.Contains(strings.Join(checked.Warnings, "\n"), c.want) {
				t.Errorf("check says %q, %v", checked.Warnings, err)
			}
			for _, parameter := range Parameters(runtime) {
				if parameter.Name == "p" && parameter.Undefined != (c.want != "" || name == "unused") {
					t.Errorf("undefined is %t", parameter.Undefined)
				}
			}
		})
	}
}

func TestCheckAsksTheStore(t *testing.T) {
	directory := t.TempDir()
	runtime := relaytest.Open(t, directory)
	if _, err := Check(t.Context(), runtime); err == nil {
		t.Error("checked without a configuration")
	}
	generation := relaytest.Push(t, runtime, listedConfiguration())
	relaytest.Accept(t, runtime, generation, relaytest.Event("job_saved", `{}`))
	if checked, err := Check(t.Context(), runtime); err != nil || checked.Database == nil || len(checked.Database) > 0 || len(checked.Warnings) != 2 {
		t.Errorf("of a whole database: %+v, %v", checked, err)
	}
	if err := runtime.Close(); err != nil {
		t.Fatal(err)
	}
	relaytest.Spoil(t, directory, "UPDATE events SET deliveries = '[{'")
	runtime = relaytest.Open(t, directory)
	relaytest.Push(t, runtime, listedConfiguration())
	if checked, err := Check(t.Context(), runtime); err != nil || len(checked.Database) != 1 {
		t.Errorf("of a spoiled database: %+v, %v", checked, err)
	}
}

// TestWarnsOfTagsInJSONInAnotherPlace: values are escaped for the place only, so
// that a quote in one could end a string of the JSON.
func TestWarnsOfTagsInJSONInAnotherPlace(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	configuration := listedConfiguration()
	configuration.Actions[0].Query = []config.NameValue{
		{Name: "bare", Value: `{"a":"{{caller_id}}"}`}, {Name: "escaped", Value: `{"a":"{{json_text(caller_id)}}"}`}, {Name: "plain", Value: "{{caller_id}}"},
	}
	generation := relaytest.Push(t, runtime, configuration)
	unescaped := warnOfUnescaped(generation)
	if len(unescaped) != 1 || !strings.Contains(unescaped[0], "query bare: {{caller_id}} stands in JSON") || !strings.Contains(unescaped[0], "write {{json_text(caller_id)}}") {
		t.Errorf("it warns of %q", unescaped)
	}
	all, err := warnings(t.Context(), runtime, runtime.Generation())
	if err != nil || !strings.Contains(strings.Join(all, "\n"), unescaped[0]) {
		t.Errorf("check does not say it: %q, %v", all, err)
	}
}
