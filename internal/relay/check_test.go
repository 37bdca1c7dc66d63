package relay

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

func TestWarnings(t *testing.T) {
	runtime := openRuntime(t, t.TempDir())
	if _, err := runtime.Check(t.Context()); err == nil {
		t.Error("checked without a configuration")
	}
	configuration := listedConfiguration()
	configuration.Rules[0].When = append(configuration.Rules[0].When, `body.data.stauts != "void" and caller_id == nil`)
	generation := push(t, runtime, configuration)
	warnings := func() string {
		t.Helper()
		warnings, err := runtime.warnings(t.Context(), runtime.Newest())
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
	accept(t, runtime, generation, paid)
	got = warnings()
	for _, part := range []string{
		"rule Caddyfile:30: body.data.stauts, which the only stored event of its kind did not have; did you mean body.data.status?",
		"rule Caddyfile:30: caller_id",
		"action pay (Caddyfile:20): body.lines[0].text",
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

	accept(t, runtime, generation, orderPaid(t, generation, `{"lines":[{"text":"x"}],"data":{"stauts":"x"}}`))
	got = warnings()
	for _, part := range []string{"stauts", "body.lines"} {
		if strings.Contains(got, part) {
			t.Errorf("it warns of %s, which one of the events has:\n%s", part, got)
		}
	}

	if _, err := runtime.Turn(t.Context(), queue.Switch{Kind: queue.SwitchEvent, Name: "erp:order_paid", Off: true}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := warnings(); !strings.Contains(got, "rule Caddyfile:30: all its events are switched off (erp:order_paid)") || strings.Contains(got, "rule Caddyfile:40: all") {
		t.Errorf("with an event switched off:\n%s", got)
	}
	if _, err := runtime.Turn(t.Context(), queue.Switch{Kind: queue.SwitchEvent, Name: "erp:order_paid"}, 0); err != nil {
		t.Fatal(err)
	}

	// An action that is gone leaves its deliveries.
	without := listedConfiguration()
	without.Actions, without.Rules = without.Actions[1:], nil
	push(t, runtime, without)
	accept(t, runtime, generation, orderPaid(t, generation, `{"data":{"id":7,"sum":4,"state":"paid","stauts":"open"}}`))
	if got := warnings(); !strings.Contains(got, "action pay: there is no such action any more, and deliveries of it wait (1)") {
		t.Errorf("with an action gone:\n%s", got)
	}
}
