package relay

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
)

func TestWarnings(t *testing.T) {
	runtime := openRuntime(t, t.TempDir())
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

// faulty is an engine whose storage has a fault, and that can be merged with a
// backup.
type faulty struct{ Engine }

func (faulty) Verify(context.Context) ([]string, error) { return []string{"row 7 is torn"}, nil }

func (faulty) Merge(_ context.Context, file string, progress func(done, total int64)) (int, error) {
	progress(1, 2)
	if file != "backup" {
		return 0, errors.New("reading a file that is no backup")
	}
	return 2, nil
}

func TestCheckAndMergeAskTheEngine(t *testing.T) {
	log := newNewestLog()
	engine, err := sqlite.Open(sqlite.Options{Dir: t.TempDir(), Logger: log.logger("queue")})
	if err != nil {
		t.Fatal(err)
	}
	runtime := newRuntime(faulty{engine}, log)
	t.Cleanup(func() { runtime.Close() })
	if err := runtime.enter(); err != nil {
		t.Fatal(err)
	}
	if _, err := runtime.Check(t.Context()); err == nil {
		t.Error("checked without a configuration")
	}
	push(t, runtime, listedConfiguration())
	checked, err := runtime.Check(t.Context())
	if err != nil || !slices.Equal(checked.Database, []string{"row 7 is torn"}) || len(checked.Warnings) != 2 {
		t.Errorf("found %+v, %v", checked, err)
	}
	var told []Progress
	merged, err := runtime.MergeHistory(t.Context(), "backup", func(p Progress) { told = append(told, p) })
	if err != nil || merged != 2 || !slices.Equal(told, []Progress{{Done: 1, Total: 2}}) {
		t.Errorf("merged %d events, %v; told %v", merged, err, told)
	}
	if _, err := runtime.MergeHistory(t.Context(), "other", nil); err == nil {
		t.Error("merged what is no backup")
	}
}
