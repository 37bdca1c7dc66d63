package queuetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// odd returns a text that storages have their trouble with: a NUL, bytes that are no
// UTF-8, half a surrogate pair as some encode it, the character that stands for such,
// one that an engine may have made its own, and the escapes of JSON.
func odd(text string) string {
	return text + "\x00\xff\xed\xa0\x80\xc3\ufffd\U0010feff\\u0000\"'" + text
}

// textTests put odd text in each string that the contract carries, because senders can.
// None may be refused for it: one would keep out all that share its commit. Bodies,
// requests and answers come back byte for byte, and names and keys that differ stay
// different. In other texts the odd bytes may come back as others.
var textTests = map[string]func(*fixture){
	"an event": func(f *fixture) {
		e := f.entry("x")
		e.Event = fullEvent(f.Now())
		for _, s := range []*string{&e.Event.Source, &e.Event.Name, &e.Event.Method, &e.Event.Path, &e.Event.IP} {
			*s = odd(*s)
		}
		e.Event.RawBody = []byte(odd("body"))
		e.Event.Query = map[string][]string{odd("q"): {odd("1"), odd("2")}}
		e.Event.Headers = map[string][]string{odd("H"): {odd("1"), odd("2")}}
		e.Event.Body, e.Event.BodyIsRaw = map[string]any{odd("name"): odd("value"), "list": []any{odd("one"), int64(2)}}, false
		e.Event.Fields = map[string]any{odd("field"): odd("value")}
		e.Event.Parameters[event.Tenant] = odd("acme")
		e.Event.Unread = map[event.Parameter]string{event.Duration: odd("7")}
		f.put(e)
		same := func(from string, got *event.Event) {
			f.Helper()
			if got == nil {
				f.Fatalf("%s: no event", from)
			}
			equal(f, from+": body", string(got.RawBody), string(e.Event.RawBody))
			equal(f, from+": name", got.Name, e.Event.Name)
			equal(f, from+": source", got.Source, e.Event.Source)
			equalTime(f, from+": received", got.Received, e.Event.Received)
			copied := *got
			copied.Received = e.Event.Received
			readable(f, from+": event", fmt.Sprintf("%+v", copied), fmt.Sprintf("%+v", *e.Event))
		}
		same("memory", f.one("x", e.Deliveries[0].ID).Event)
		f.reopen()
		same("storage", f.one("x", e.Deliveries[0].ID).Event)
		same("history", f.find(e.Event.ID).Event)
	},

	"one event among others": func(f *fixture) {
		var done sync.WaitGroup
		for i := range 64 {
			done.Go(func() {
				e := f.entry("x")
				if i%16 == 0 {
					e.Event.Name, e.Event.Source, e.Event.Subject = odd("n"), odd("s"), odd("subject")
					e.Verdict.Reason, e.Deliveries[0].OrderKey = odd("reason"), odd("key")
					e.DedupeKey, e.DedupeWindow = odd(e.Event.ID), f.Lease()
				}
				if _, err := f.Put(f.patient(), []queue.Entry{e}); err != nil {
					f.Errorf("Put of entry %d: %v", i, err)
				}
			})
		}
		done.Wait()
		equal(f, "events", len(f.all(queue.Filter{}, 100)), 64)
	},

	"what lists show, and are filtered by": func(f *fixture) {
		e := f.entry("x")
		e.Event.Source, e.Event.Name, e.Event.Subject, e.Event.ParseError = odd("erp"), odd("paid"), odd("Quote"), odd("broken")
		e.Event.Parameters[event.Tenant] = odd("acme")
		e.Verdict.Reason, e.Verdict.Rule, e.Verdict.Absent, e.Verdict.Errors = odd("because"), odd("Caddyfile:7"), []string{odd("body.x")}, []string{odd("cannot")}
		f.put(e)
		f.put(f.entry())
		f.reopen()
		for _, filter := range []queue.Filter{
			{Source: e.Event.Source}, {Event: e.Event.Name}, {Tenant: odd("acme")}, {Source: e.Event.Source, Event: e.Event.Name, Action: "x"}, {Text: "BECAUSE"}, {Text: "quote"},
		} {
			equalIDs(f, fmt.Sprintf("events of %+v", filter), eventIDs(f.all(filter, 10)), []string{e.Event.ID})
		}
		for _, filter := range []queue.Filter{{Source: odd("e")}, {Event: odd("")}, {Tenant: odd("x")}, {Action: odd("x")}, {Text: odd("nowhere")}, {Event: "paid"}, {Event: strings.ReplaceAll(odd("paid"), "\xff", "\U0010feff")}} {
			equalIDs(f, fmt.Sprintf("events of %+v", filter), eventIDs(f.all(filter, 10)), nil)
		}
		s := f.find(e.Event.ID).Summary
		for what, texts := range map[string][2]string{
			"source": {s.Source, e.Event.Source}, "event": {s.Event, e.Event.Name}, "subject": {s.Subject, e.Event.Subject}, "tenant": {s.Tenant, odd("acme")},
			"parse error": {s.ParseError, e.Event.ParseError}, "reason": {s.Verdict.Reason, e.Verdict.Reason}, "rule": {s.Verdict.Rule, e.Verdict.Rule},
			"absent": {strings.Join(s.Verdict.Absent, ","), e.Verdict.Absent[0]}, "errors": {strings.Join(s.Verdict.Errors, ","), e.Verdict.Errors[0]},
		} {
			readable(f, what, texts[0], texts[1])
		}
	},

	"order keys": func(f *fixture) {
		head, next := f.ordered("x", odd("k")), f.ordered("x", odd("k"))
		other := f.ordered("x", "k\x00\xfe")
		another := f.ordered("x", "k\x00\xfd")
		leases := f.take("x", 3)
		equalIDs(f, "heads", ids(leases), []string{head.ID, other.ID, another.ID})
		f.nothing("x")
		f.reopen()
		leases = f.take("x", 3)
		f.nothing("x")
		f.deliver(leases[0])
		f.deliver(f.one("x", next.ID))
	},

	"dedupe keys": func(f *fixture) {
		first := f.put(f.dedupe(odd("k"), "x"))
		for _, other := range []string{"k\x00\xff", "k\x00\xfe", "k\x00", "k", "k\xff", "k\ufffd", "k\U0010feff"} {
			equal(f, fmt.Sprintf("duplicate with key %q", other), f.putAll(f.dedupe(other, "x"))[0].DuplicateOf, "")
		}
		f.reopen()
		equal(f, "duplicate", f.putAll(f.dedupe(odd("k"), "x"))[0].DuplicateOf, first.Event.ID)
	},

	"attempts": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		want := queue.Attempt{Began: f.Now(), Status: 400, Error: odd("refused"), Request: odd("POST"), Response: odd("No Room"), Empty: []string{odd("caller")}}
		f.settle(f.one("x", id), queue.Settlement{State: queue.Failed, Attempt: &want})
		readable(f, "error of the delivery", f.state(id, queue.Failed).Error, want.Error)
		f.reopen()
		got := f.find(id).Attempts[id]
		if len(got) != 1 || len(got[0].Empty) != 1 {
			f.Fatalf("the attempts are %+v", got)
		}
		equal(f, "request", got[0].Request, want.Request)
		equal(f, "response", got[0].Response, want.Response)
		readable(f, "error", got[0].Error, want.Error)
		readable(f, "empty tag", got[0].Empty[0], want.Empty[0])
		for _, text := range []string{"refused", "no room"} {
			equal(f, "events with "+text, len(f.all(queue.Filter{Text: text}, 10)), 1)
		}
	},

	"actions": func(f *fixture) {
		x, y := odd("x"), odd("y")
		f.put(f.entry(x))
		id := f.put(f.entry(x)).Deliveries[0].ID
		f.change(queue.Change{Switch: off(x)})
		f.nothing(x)
		f.change(queue.Change{Switch: on(x)})
		f.deliver(f.take(x, 1)[0])
		equal(f, "number that is moved", f.move(x, y), 1)
		f.reopen()
		lease := f.one(y, id)
		equal(f, "action", lease.Delivery.Action, y)
		equal(f, "number that is cancelled", f.change(queue.Change{CancelAction: y}).Deliveries, 1)
		equal(f, "number that is tried", f.change(queue.Change{TryAction: y}).Deliveries, 0)
	},

	"switches": func(f *fixture) {
		f.turn(queue.Switch{Kind: queue.SwitchEvent, Name: odd("pbx:call"), Off: true, Reason: odd("audit")})
		f.reopen()
		switches, err := f.Switches(f.patient())
		if err != nil || len(switches) != 1 {
			f.Fatalf("the switches are %+v and %v", switches, err)
		}
		equal(f, "name", switches[0].Name, odd("pbx:call"))
		readable(f, "reason", switches[0].Reason, odd("audit"))
		equal(f, "number of notes", len(f.notes(queue.NoteSwitch, 10)), 1)
		f.turn(queue.Switch{Kind: queue.SwitchEvent, Name: odd("pbx:call")})
		equal(f, "number", len(f.switches()), 0)
	},

	"notes": func(f *fixture) {
		f.note(queue.Note{Kind: "other", Name: odd("a"), Text: odd("first")})
		f.note(queue.Note{Kind: "other", Name: odd("a"), Text: odd("second"), Replace: true})
		f.reopen()
		note, err := f.FindNote(f.patient(), "other", odd("a"))
		if err != nil {
			f.Fatal(err)
		}
		equal(f, "name", note.Name, odd("a"))
		readable(f, "text", note.Text, odd("second"))
		equal(f, "number", len(f.notes("other", 10)), 1)
		if _, err := f.FindNote(f.patient(), "other", odd("b")); !errors.Is(err, queue.ErrNotFound) {
			f.Errorf("a note that there is not gave %v, want ErrNotFound", err)
		}
	},

	"uses": func(f *fixture) {
		x, r := queue.Thing{Kind: queue.ActionThing, Name: odd("x"), Place: odd("Caddyfile:1")}, queue.Thing{Kind: queue.RuleThing, Name: odd("r")}
		f.exist(x, r)
		f.put(f.held(f.entry(odd("x")), odd("r")))
		f.reopen()
		f.wantUses(x, 1, f.Now(), f.Now())
		f.wantUses(r, 1, f.Now(), f.Now())
		readable(f, "place", f.use(x).Place, x.Place)
	},

	"ids, cursors and names of turns": func(f *fixture) {
		f.put(f.entry("x"))
		id := odd("01890000")
		if _, err := f.Find(f.patient(), id); !errors.Is(err, queue.ErrNotFound) {
			f.Errorf("Find gave %v, want ErrNotFound", err)
		}
		for _, change := range []queue.Change{{CancelDelivery: id}, {TryDelivery: id}} {
			if _, err := f.Change(f.patient(), change); !errors.Is(err, queue.ErrNotFound) {
				f.Errorf("Change(%+v) gave %v, want ErrNotFound", change, err)
			}
		}
		if err := f.Amend(f.patient(), []queue.Amendment{{Event: id, Deliveries: []queue.Delivery{{ID: newID(), Action: "x"}}}}); !errors.Is(err, queue.ErrNotFound) {
			f.Errorf("Amend gave %v, want ErrNotFound", err)
		}
		if found, err := f.Summaries(f.patient(), []string{id}); err != nil || len(found) > 0 {
			f.Errorf("Summaries gave %+v and %v", found, err)
		}
		if _, err := f.Page(f.patient(), queue.Filter{}, queue.NewestFirst, queue.Cursor(id), 10); !errors.Is(err, queue.ErrCursor) {
			f.Errorf("Page gave %v, want ErrCursor", err)
		}
		ran := false
		if err := f.Exclusive(f.patient(), id, func(ctx context.Context) error {
			ran = true
			return f.Exclusive(ctx, odd("other"), func(context.Context) error { return nil })
		}); err != nil || !ran {
			f.Errorf("Exclusive gave %v, run: %v", err, ran)
		}
	},

	"what is added": func(f *fixture) {
		e := f.put(f.entry())
		d := queue.Delivery{ID: newID(), Action: odd("x"), OrderKey: odd("k")}
		f.amend(queue.Amendment{Event: e.Event.ID, Verdict: &rules.Verdict{Decision: rules.Act, Reason: odd("again"), Held: []string{odd("r")}}, Deliveries: []queue.Delivery{d}})
		f.reopen()
		equal(f, "order key", f.one(odd("x"), d.ID).Delivery.OrderKey, odd("k"))
		readable(f, "reason", f.find(e.Event.ID).Summary.Verdict.Reason, odd("again"))
	},
}

// readable checks that a text has kept all but its odd bytes.
func readable(f *fixture, what, got, want string) {
	f.Helper()
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r == 0 || r == '\ufffd' || r == '\U0010feff' {
				return -1
			}
			return r
		}, s)
	}
	if plain(got) != plain(want) {
		f.Errorf("%s is %q, want %q", what, got, want)
	}
}
