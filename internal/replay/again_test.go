package replay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// steps remembers how a long call said it went on.
type steps []replay.Progress

func (s *steps) add(p replay.Progress) { *s = append(*s, p) }

func (s *steps) check(t *testing.T, total int) {
	t.Helper()
	if last := (*s)[len(*s)-1]; last.Done != total || last.Total != total {
		t.Errorf("the last progress is %+v, want %d of %d", last, total, total)
	}
	if !slices.IsSortedFunc(*s, func(a, b replay.Progress) int { return a.Done - b.Done }) {
		t.Errorf("progress goes back: %+v", *s)
	}
}

// TestResendFilter sends more again than is held at once: in order of receipt,
// linked to the old deliveries, and once.
func TestResendFilter(t *testing.T) {
	const n = 300
	target := relaytest.NewService(t)
	target.Answer(http.StatusBadRequest)
	configured := relaytest.Configuration(target, "/record")
	configured.Actions[0].OrderBy = `"all"`
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, configured)
	var want []string
	for i := range n {
		relaytest.Post(t, runtime, generation, fmt.Sprintf(`{"event":"job_saved","id":"%d","status":"Approved"}`, i))
		want = append(want, fmt.Sprintf("/record?id=%d", i))
	}
	relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":"ignored"}`)
	relaytest.WaitEnded(t, runtime)
	target.Answer(http.StatusOK)
	delivered := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":"well","status":"Approved"}`)
	relaytest.WaitEnded(t, runtime)

	for _, dry := range []bool{true, false} {
		var progress steps
		resent, err := replay.Resend(t.Context(), runtime, replay.Selection{}, dry, progress.add)
		if err != nil || resent.Events != n || resent.Deliveries != n || resent.Actions["record"] != n || len(resent.IDs) != map[bool]int{false: n}[dry] {
			t.Fatalf("dry %v: sent %+v, %v", dry, resent, err)
		}
		progress.check(t, n)
		relaytest.WaitEnded(t, runtime)
	}
	if got := target.Got(); got != "/record?id=well "+strings.Join(want, " ") {
		t.Errorf("the target got %s", got)
	}
	failed := relaytest.Stored(t, runtime, queue.Filter{States: []queue.State{queue.Mended}})
	if len(failed) != n {
		t.Fatalf("%d events are mended, want %d", len(failed), n)
	}
	for _, event := range failed {
		if d := event.Deliveries; len(d) != 2 || d[1].Of != d[0].ID || d[1].ID == d[0].ID || d[1].State != queue.Delivered || d[0].State != queue.Failed {
			t.Fatalf("the deliveries of an event are %+v", d)
		}
	}

	// What was sent again is not sent a third time, but what went well is if
	// that is asked for.
	if resent, err := replay.Resend(t.Context(), runtime, replay.Selection{}, false, nil); err != nil || resent.Deliveries != 0 {
		t.Errorf("sent again a second time: %+v, %v", resent, err)
	}
	resent, err := replay.Resend(t.Context(), runtime, replay.Selection{Filter: queue.Filter{States: []queue.State{queue.Delivered}, Action: "record"}}, true, nil)
	if err != nil || resent.Deliveries != n+1 || resent.Arrived != n+1 {
		t.Errorf("of those that were delivered: %+v, %v", resent, err)
	}
	if resent, err := replay.Resend(t.Context(), runtime, replay.Selection{IDs: []string{delivered}}, false, nil); err != nil || resent.Deliveries != 1 {
		t.Errorf("one that was delivered: %+v, %v", resent, err)
	}
}

// TestResendIDs chooses events and deliveries by id.
func TestResendIDs(t *testing.T) {
	target := relaytest.NewService(t)
	target.Answer(http.StatusBadRequest)
	two := relaytest.Configuration(target, "/record")
	second := two.Actions[0]
	second.Name = "second"
	two.Actions = append(two.Actions, second)
	two.Rules[0].Do = []string{"record", "second"}
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, two)
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchAction, Name: "second", Off: true}, 0)
	id := relaytest.Post(t, runtime, generation, relaytest.Approved)
	processtest.WaitFor(t, "the failure", func() bool { return relaytest.Summary(t, runtime, id).Deliveries[0].State == queue.Failed })
	failed, waiting := relaytest.Summary(t, runtime, id).Deliveries[0].ID, relaytest.Summary(t, runtime, id).Deliveries[1].ID

	for _, test := range []struct {
		name string
		ids  []string
		want int
	}{
		{"one that waits", []string{waiting}, 0},
		{"an event", []string{id}, 1},
		{"an event and its delivery", []string{id, failed}, 1},
		{"a delivery, twice", []string{failed, failed}, 1},
		{"the beginning of a delivery", []string{strings.ToUpper(failed[:30])}, 1},
	} {
		resent, err := replay.Resend(t.Context(), runtime, replay.Selection{IDs: test.ids, Filter: queue.Filter{Action: "none", States: []queue.State{queue.Pending}}}, true, nil)
		if err != nil || resent.Deliveries != test.want || resent.Events != test.want {
			t.Errorf("%s: %+v, %v; want %d", test.name, resent, err, test.want)
		}
	}
	if _, err := replay.Resend(t.Context(), runtime, replay.Selection{IDs: []string{"01900000-0000-7000-8000-000000000000"}}, true, nil); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("an id that there is not: %v", err)
	}
	_, err := replay.Resend(t.Context(), runtime, replay.Selection{Filter: queue.Filter{States: []queue.State{queue.Pending}}}, true, nil)
	relaytest.CheckWrong(t, err, "state", "not over")

	target.Answer(http.StatusOK)
	for n := range 2 {
		resent, err := replay.Resend(t.Context(), runtime, replay.Selection{IDs: []string{failed}}, false, nil)
		// The second time the first one has arrived.
		if err != nil || len(resent.IDs) != 1 || resent.Arrived != n {
			t.Fatal(resent, err)
		}
		processtest.WaitFor(t, "the delivery", func() bool {
			d := relaytest.Summary(t, runtime, id).Deliveries
			return d[len(d)-1].State == queue.Delivered && len(d) == 3+n && d[2+n].ID == resent.IDs[0] && d[2+n].Of == failed
		})
	}
	// What arrived is not chosen with other failures.
	for _, states := range [][]queue.State{nil, {queue.Failed}, {queue.Failed, queue.Expired}} {
		resent, err := replay.Resend(t.Context(), runtime, replay.Selection{Filter: queue.Filter{Action: "record", States: states}}, true, nil)
		if err != nil || resent.Deliveries != 0 {
			t.Errorf("what is mended is chosen by %v: %+v, %v", states, resent, err)
		}
	}
	_, err = replay.Resend(t.Context(), runtime, replay.Selection{Filter: queue.Filter{States: []queue.State{queue.Mended}}}, true, nil)
	relaytest.CheckWrong(t, err, "state", "they have arrived")

	without := relaytest.Configuration(target, "/record")
	without.Actions, without.Rules = nil, nil
	relaytest.Push(t, runtime, without)
	if resent, err := replay.Resend(t.Context(), runtime, replay.Selection{IDs: []string{failed}}, false, nil); err != nil || resent.Unknown != 1 || resent.Deliveries+resent.Events != 0 {
		t.Errorf("of an action that is gone: %+v, %v", resent, err)
	}
}

// TestResendExpired: who sends an old screen pop again means it.
func TestResendExpired(t *testing.T) {
	target := relaytest.NewService(t)
	short := relaytest.Configuration(target, "/record")
	short.Actions[0].Expires = config.Duration(10 * time.Minute)
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, short)
	received, err := generation.Receiver.Receive(httptest.NewRequest(http.MethodPost, "/listen.php?key=icfm-key", strings.NewReader(relaytest.Approved)), receive.Origin{Mount: "/listen.php"})
	if err != nil {
		t.Fatal(err)
	}
	received.Events[0].Received = time.Now().Add(-time.Hour)
	if err := runtime.Accept(t.Context(), generation, received); err != nil {
		t.Fatal(err)
	}
	id := received.Events[0].ID
	processtest.WaitFor(t, "the expiry", func() bool { return relaytest.Summary(t, runtime, id).Deliveries[0].State == queue.Expired })
	if resent, err := replay.Resend(t.Context(), runtime, replay.Selection{IDs: []string{id}}, false, nil); err != nil || resent.Deliveries != 1 {
		t.Fatal(resent, err)
	}
	processtest.WaitFor(t, "the delivery", func() bool { return target.Got() == "/record?id=1" })
}

// TestResendStops checks what is said when it cannot be finished.
func TestResendStops(t *testing.T) {
	target := relaytest.NewService(t)
	target.Answer(http.StatusBadRequest)
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(target, "/record"))
	for range 300 {
		relaytest.Post(t, runtime, generation, relaytest.Approved)
	}
	relaytest.WaitEnded(t, runtime)
	few := relaytest.Configuration(target, "/record")
	few.MaxPending = 200
	relaytest.Push(t, runtime, few)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := replay.Resend(ctx, runtime, replay.Selection{}, false, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after its caller went away: %v", err)
	}
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 0)
	resent, err := replay.Resend(t.Context(), runtime, replay.Selection{}, false, nil)
	backlog, err2 := runtime.Store().Backlog(t.Context())
	if !errors.Is(err, queue.ErrFull) || err2 != nil || len(backlog) != 1 || backlog[0].Count != resent.Deliveries {
		t.Errorf("sent %d again, %v; waiting are %+v, %v", resent.Deliveries, err, backlog, err2)
	}
}

// decide decides everything again.
func decide(t *testing.T, runtime *relay.Runtime, options replay.DecideOptions) replay.Decided {
	t.Helper()
	var progress steps
	decided, err := replay.Decide(t.Context(), runtime, replay.Selection{}, options, progress.add)
	if err != nil {
		t.Fatal(err)
	}
	progress.check(t, decided.Events)
	return decided
}

// TestDecide mends the rules and decides again what came before.
func TestDecide(t *testing.T) {
	target := relaytest.NewService(t)
	wrong := relaytest.Configuration(target, "/record")
	wrong.Sources[0].Dedupe = &config.Dedupe{Window: config.Duration(time.Hour), Key: "body.id"}
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, wrong)
	events := map[string]string{}
	for _, body := range []string{
		`{"event":"job_saved","id":"good","status":"Approved"}`,
		`{"event":"job_saved","id":"good","status":"Approved","again":true}`,
		`{"event":"job_saved","id":"error","status":7}`,
		`{"event":"job_saved","id":"pencil","status":"Pencil"}`,
		`{"event":"job_completed","id":"none"}`,
	} {
		id := relaytest.Post(t, runtime, generation, body)
		events[id] = body
	}
	relaytest.Turn(t, runtime, queue.Switch{Kind: queue.SwitchEvent, Name: "job_saved", Off: true}, 0)
	disabled := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":"disabled","status":"Approved"}`)
	for i := range 50 {
		relaytest.Post(t, runtime, generation, fmt.Sprintf(`{"event":"job_completed","id":"none%d"}`, i))
	}
	relaytest.WaitEnded(t, runtime)

	mended := wrong
	mended.Rules = []config.Rule{{Place: "Caddyfile:9", Description: "mended", Events: []string{"job_saved"}, When: []string{`string(body.status) in ["7", "Pencil"] or body.id == "disabled"`}, Do: []string{"record"}}}
	relaytest.Push(t, runtime, mended)
	want := map[string]string{"good": "action ignored stops", "error": "rule_error action fires", "pencil": "ignored action fires", "disabled": "disabled action fires"}
	for _, dry := range []bool{true, false} {
		decided := decide(t, runtime, replay.DecideOptions{Dry: dry})
		if decided.Events != 55 || decided.Changed != 4 || decided.Fires["record"] != 3 || decided.Stops["record"] != 1 {
			t.Errorf("dry %v: decided %+v", dry, decided)
		}
		got := map[string]string{}
		for _, d := range decided.Differences {
			history := relaytest.Find(t, runtime, d.ID)
			detail := history.Summary
			var body struct{ ID string }
			if err := json.Unmarshal(history.Event.RawBody, &body); err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprint(d.Before, " ", d.After)
			if len(d.Fires) > 0 {
				text += " fires"
			}
			if len(d.Stops) > 0 {
				text += " stops"
			}
			got[body.ID] = text
			if dry != detail.Verdict.Decided.IsZero() || !dry && (detail.Verdict.Decision != d.After || detail.Verdict.Reason != d.Reason) {
				t.Errorf("dry %v: the verdict on %s is %+v", dry, body.ID, detail.Verdict)
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("dry %v: differences %v, want %v", dry, got, want)
		}
		relaytest.WaitEnded(t, runtime)
		if got := target.Got(); dry && got != "/record?id=good" {
			t.Errorf("a dry run sent %s", got)
		}
	}
	requests := strings.Fields(target.Got())
	slices.Sort(requests)
	if got := strings.Join(requests, " "); got != "/record?id=disabled /record?id=error /record?id=good /record?id=pencil" {
		t.Errorf("the target got %s", got)
	}
	if again := decide(t, runtime, replay.DecideOptions{}); again.Changed != 0 || len(again.Fires) != 0 {
		t.Errorf("deciding a second time changes %+v", again)
	}
	if one, err := replay.Decide(t.Context(), runtime, replay.Selection{IDs: []string{disabled}}, replay.DecideOptions{}, nil); err != nil || one.Events != 1 {
		t.Errorf("deciding one: %+v, %v", one, err)
	}
}

// TestDecideLargeBodies checks that what is large is taken in parts, and
// nothing of it left out.
func TestDecideLargeBodies(t *testing.T) {
	const n = 12
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(relaytest.NewService(t), "/record"))
	var want, got []string
	for i := range n {
		want = append(want, relaytest.Post(t, runtime, generation, fmt.Sprintf(`{"event":"job_saved","id":%d,"status":"Pencil","text":"%s"}`, i, strings.Repeat("x", 900_000))))
	}
	changed := relaytest.Configuration(relaytest.NewService(t), "/record")
	changed.Rules[0].When = nil
	relaytest.Push(t, runtime, changed)
	var progress steps
	decided, err := replay.Decide(t.Context(), runtime, replay.Selection{}, replay.DecideOptions{Dry: true}, progress.add)
	for _, difference := range decided.Differences {
		got = append(got, difference.ID)
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("decided %v, %v; want %v", got, err, want)
	}
	progress.check(t, n)
	progress = slices.DeleteFunc(progress, func(p replay.Progress) bool { return p.Done == 0 })
	if len(progress) < 2 {
		t.Errorf("%d MB were taken at once", n)
	}
}

// TestDecideLeavesOutWhatCannotBeAmended checks that an event whose deliveries
// cannot be read does not keep those behind it from being decided.
func TestDecideLeavesOutWhatCannotBeAmended(t *testing.T) {
	dir := t.TempDir()
	runtime := relaytest.Open(t, dir)
	generation := relaytest.Push(t, runtime, relaytest.Configuration(relaytest.NewService(t), "/record"))
	for range 3 {
		relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":1,"status":"Pencil"}`)
	}
	spoiled := relaytest.Stored(t, runtime, queue.Filter{})[2].ID
	if err := runtime.Close(); err != nil {
		t.Fatal(err)
	}
	relaytest.Spoil(t, dir, "UPDATE events SET deliveries = '[{' WHERE uuid = '"+spoiled+"'")
	runtime = relaytest.Open(t, dir)
	changed := relaytest.Configuration(relaytest.NewService(t), "/record")
	changed.Rules[0].When = nil
	relaytest.Push(t, runtime, changed)
	decided, err := replay.Decide(t.Context(), runtime, replay.Selection{}, replay.DecideOptions{}, nil)
	if err != nil || decided.Events != 2 || decided.Fires["record"] != 2 {
		t.Errorf("decided %+v, %v; want two events", decided, err)
	}
}

// TestDecideByAnother decides by a configuration that is not running.
func TestDecideByAnother(t *testing.T) {
	target := relaytest.NewService(t)
	running := relaytest.Configuration(target, "/record")
	other := func(when, do string) json.RawMessage {
		other := relaytest.Configuration(target, "/other").Relay
		other.Rules[0].When, other.Rules[0].Do = []string{when}, []string{do}
		other.Actions[0].Name = do
		other.Parameters = []config.Parameter{{Name: "code", Value: "{env.EVENT_RELAY_CODE}"}, {Name: "codes", Value: "a {{code}}"}}
		text, err := json.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, running)
	id := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":1,"status":"Pencil"}`)
	for _, test := range []struct {
		configuration json.RawMessage
		dry           bool
		problem       string
		fires         int
	}{
		{other("true", "other"), true, "", 1},
		{other("true", "other"), false, "action other fires", 0},
		{other("false", "other"), false, "", 0},
		{other("bodi.x", "other"), true, "bodi", 0},
		{json.RawMessage(`{`), true, "reading the configuration", 0},
		{json.RawMessage(`{"rulez": []}`), true, `unknown field "rulez"`, 0},
		{other("body.status != code", "record"), false, "parameter code", 0},
		{other("body.status in [codes]", "record"), true, "parameter codes", 0},
		{other("true", "record"), false, "", 1},
	} {
		decided, err := replay.Decide(t.Context(), runtime, replay.Selection{}, replay.DecideOptions{Configuration: test.configuration, Dry: test.dry}, nil)
		if test.problem != "" {
			relaytest.CheckWrong(t, err, "configuration", test.problem)
		} else if err != nil || len(decided.Fires) != test.fires {
			t.Errorf("%s: %+v, %v", test.configuration, decided, err)
		}
		if test.fires == 0 && len(relaytest.Summary(t, runtime, id).Deliveries) > 0 {
			t.Errorf("%s made a delivery", test.configuration)
		}
	}
	processtest.WaitFor(t, "the delivery of the running action", func() bool { return target.Got() == "/record?id=1" })
}

// TestSlowReaderHoldsNobodyUp has one call wait for who reads its progress, and
// another go on meanwhile.
func TestSlowReaderHoldsNobodyUp(t *testing.T) {
	target := relaytest.NewService(t)
	target.Answer(http.StatusBadRequest)
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(target, "/record"))
	relaytest.Post(t, runtime, generation, relaytest.Approved)
	relaytest.WaitEnded(t, runtime)
	calls := map[string]func(progress func(replay.Progress)) error{
		"resend": func(progress func(replay.Progress)) error {
			_, err := replay.Resend(t.Context(), runtime, replay.Selection{}, true, progress)
			return err
		},
		"decide": func(progress func(replay.Progress)) error {
			_, err := replay.Decide(t.Context(), runtime, replay.Selection{}, replay.DecideOptions{Dry: true}, progress)
			return err
		},
	}
	for name, slow := range calls {
		t.Run(name, func(t *testing.T) {
			ended := make(chan error, 1)
			err := slow(func(p replay.Progress) {
				if p.Done == 0 || len(ended) > 0 {
					return
				}
				go func() { ended <- calls["resend"](nil) }()
				for deadline := time.Now().Add(10 * time.Second); len(ended) == 0; time.Sleep(time.Millisecond) {
					if time.Now().After(deadline) {
						t.Error("a second call waits for the reader of the first")
						return
					}
				}
			})
			if second := <-ended; err != nil || second != nil {
				t.Errorf("the calls end with %v and %v", err, second)
			}
		})
	}
}

// counting is a store whose engine counts the reads of whole events.
type counting struct {
	sqlite.Store
	reads *atomic.Int64
}

type countingEngine struct {
	queue.Engine
	reads *atomic.Int64
}

func (c counting) Open(must bool, logger *zap.Logger) (queue.Engine, error) {
	engine, err := c.Store.Open(must, logger)
	return countingEngine{engine, c.reads}, err
}

func (c countingEngine) Find(ctx context.Context, id string) (queue.Detail, error) {
	c.reads.Add(1)
	return c.Engine.Find(ctx, id)
}

func (c countingEngine) Events(ctx context.Context, filter queue.Filter, order queue.Order, after queue.Cursor, n int) (queue.Events, error) {
	c.reads.Add(1)
	return c.Engine.Events(ctx, filter, order, after, n)
}

// TestReadsOnce checks that one event or delivery is read once, whatever is done
// with it again, and that counting reads no events.
func TestReadsOnce(t *testing.T) {
	target := relaytest.NewService(t)
	target.Answer(http.StatusBadRequest)
	var reads atomic.Int64
	runtime, err := relay.Open(counting{sqlite.Store{Dir: t.TempDir()}, &reads}, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.Close()
	generation := relaytest.Push(t, runtime, relaytest.Configuration(target, "/record"))
	id := relaytest.Post(t, runtime, generation, relaytest.Approved)
	relaytest.WaitEnded(t, runtime)
	delivery := relaytest.Summary(t, runtime, id).Deliveries[0].ID

	named := replay.Selection{IDs: []string{delivery}}
	resend := func(selection replay.Selection, dry bool) func() (int, error) {
		return func() (int, error) {
			resent, err := replay.Resend(t.Context(), runtime, selection, dry, nil)
			return resent.Deliveries, err
		}
	}
	for _, test := range []struct {
		name  string
		do    func() (done int, err error)
		reads int64
	}{
		{"counting a delivery", resend(named, true), 1},
		{"counting what passes a filter", resend(replay.Selection{}, true), 0},
		{"sending a delivery again", resend(named, false), 1},
		{"sending again the two of an event and a delivery", resend(replay.Selection{IDs: []string{id, delivery}}, false), 2},
		{"deciding an event again", func() (int, error) {
			decided, err := replay.Decide(t.Context(), runtime, replay.Selection{IDs: []string{id}}, replay.DecideOptions{}, nil)
			return decided.Events, err
		}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			relaytest.WaitEnded(t, runtime)
			reads.Store(0)
			if done, err := test.do(); err != nil || done == 0 {
				t.Fatalf("%d were done, %v", done, err)
			}
			if got := reads.Load(); got != test.reads {
				t.Errorf("%d reads, want %d", got, test.reads)
			}
		})
	}
}

// TestUnknownIDIsNoProgress checks that an id that means nothing ends the call
// before it says that it went on: the answer has its own status only then.
func TestUnknownIDIsNoProgress(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	relaytest.Push(t, runtime, relaytest.Configuration(relaytest.NewService(t), "/record"))
	unknown := replay.Selection{IDs: []string{"01a1ff6f-59a7-7781-0000-000000000000"}}
	for name, do := range map[string]func(func(replay.Progress)) error{
		"resend": func(progress func(replay.Progress)) error {
			_, err := replay.Resend(t.Context(), runtime, unknown, false, progress)
			return err
		},
		"count": func(progress func(replay.Progress)) error {
			_, err := replay.Resend(t.Context(), runtime, unknown, true, progress)
			return err
		},
		"decide": func(progress func(replay.Progress)) error {
			_, err := replay.Decide(t.Context(), runtime, unknown, replay.DecideOptions{}, progress)
			return err
		},
	} {
		var progress steps
		if err := do(progress.add); !errors.Is(err, queue.ErrNotFound) || len(progress) > 0 {
			t.Errorf("%s: %v after %v", name, err, progress)
		}
	}
}

// TestMendedAfterDecide: what deciding again sends is mended like any other, and
// neither sent nor decided once more.
func TestMendedAfterDecide(t *testing.T) {
	target := relaytest.NewService(t)
	target.Answer(http.StatusBadRequest)
	runtime := relaytest.Open(t, t.TempDir())
	without := relaytest.Configuration(target, "/record")
	without.Rules = nil
	id := relaytest.Post(t, runtime, relaytest.Push(t, runtime, without), relaytest.Approved)
	relaytest.Push(t, runtime, relaytest.Configuration(target, "/record"))
	if decided := decide(t, runtime, replay.DecideOptions{}); decided.Fires["record"] != 1 {
		t.Fatalf("decided %+v", decided)
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusOK} {
		relaytest.WaitEnded(t, runtime)
		target.Answer(status)
		if resent, err := replay.Resend(t.Context(), runtime, replay.Selection{}, false, nil); err != nil || resent.Deliveries != 1 || resent.Arrived != 0 {
			t.Fatal(resent, err)
		}
	}
	relaytest.WaitEnded(t, runtime)
	for i, d := range relaytest.Summary(t, runtime, id).Deliveries {
		if want := []queue.State{queue.Mended, queue.Mended, queue.Delivered}[i]; d.Standing() != want {
			t.Errorf("delivery %d is %s, want %s", i, d.Standing(), want)
		}
	}
	if resent, err := replay.Resend(t.Context(), runtime, replay.Selection{}, false, nil); err != nil || resent.Deliveries != 0 {
		t.Errorf("sent once more: %+v, %v", resent, err)
	}
	if decided := decide(t, runtime, replay.DecideOptions{}); decided.Changed != 0 {
		t.Errorf("decided once more: %+v", decided)
	}
}
