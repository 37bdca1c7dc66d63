package queuetest

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

var putTests = map[string]func(*fixture){
	"several entries are stored as one unit, each with its receipt": func(f *fixture) {
		a, b, c := f.entry(), f.entry("x"), f.entry("x", "y")
		for i, r := range f.putAll(a, b, c) {
			equal(f, fmt.Sprintf("receipt %d", i), r, queue.Receipt{})
		}
		equalIDs(f, "events", eventIDs(f.all(queue.Filter{}, 10)), []string{c.Event.ID, b.Event.ID, a.Event.ID})
		equalIDs(f, "deliveries of x", ids(f.take("x", 2)), []string{b.Deliveries[0].ID, c.Deliveries[0].ID})
		f.one("y", c.Deliveries[1].ID)
		f.nothing("x")
	},

	"nothing of a refused call is stored": func(f *fixture) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := f.Put(ctx, []queue.Entry{f.entry("x"), f.entry("x")}); err == nil {
			f.Fatal("Put took entries after its context had ended")
		}
		if n := len(f.all(queue.Filter{}, 10)); n != 0 && n != 2 {
			f.Errorf("%d of 2 events are stored, want all or none", n)
		}
	},

	"what was put is there after reopening": func(f *fixture) {
		e := f.put(f.entry("x"))
		f.reopen()
		equal(f, "event", f.find(e.Event.ID).Event.ID, e.Event.ID)
		f.one("x", e.Deliveries[0].ID)
	},

	"events come back as they were put": func(f *fixture) {
		e := f.entry("x")
		e.Event = fullEvent(f.Now())
		e.Verdict = rules.Verdict{
			Decision: rules.RuleError, Reason: "because", Rule: "Caddyfile:7", Actions: []rules.ActionCall{{Action: "x", Rule: "Caddyfile:8"}},
			Absent: []string{"body.x"}, Errors: []string{`cannot compare "45" with 30`},
		}
		e.Deliveries[0].Expires = f.Now().Add(f.Lease())
		e.Deliveries[0].Attempts, e.Deliveries[0].FirstAttempt = 7, f.Now()
		f.put(e)
		check := func(from string, lease queue.Lease) {
			f.Helper()
			sameEvent(f, from, lease.Event, e.Event)
			d := lease.Delivery
			equal(f, from+": action", d.Action, "x")
			equalTime(f, from+": expires", d.Expires, e.Deliveries[0].Expires)
			if d.Attempts != 0 || !d.FirstAttempt.IsZero() {
				f.Errorf("%s: %d attempts since %v: Put must ignore what it is given", from, d.Attempts, d.FirstAttempt)
			}
		}
		check("memory", f.one("x", e.Deliveries[0].ID))
		f.reopen()
		check("storage", f.one("x", e.Deliveries[0].ID))
		h := f.find(e.Event.ID)
		sameEvent(f, "history", h.Event, e.Event)
		if !reflect.DeepEqual(h.Summary.Verdict, e.Verdict) {
			f.Errorf("verdict is %+v, want %+v", h.Summary.Verdict, e.Verdict)
		}
		s := h.Summary
		equal(f, "summary's tenant", s.Tenant, "acme")
		equal(f, "summary's test mark", s.Test, true)
		equal(f, "summary's parse error", s.ParseError, "broken")
		equal(f, "summary's subject", s.Subject, "Project Ünïcödé → 7")
		equal(f, "summary's event", s.Event, "project_created")
		equal(f, "summary's source", s.Source, "icfm")
	},

	"many callers at once": func(f *fixture) {
		const callers, calls = 32, 10
		var done sync.WaitGroup
		for range callers {
			done.Go(func() {
				for range calls {
					if _, err := f.Put(f.patient(), []queue.Entry{f.entry("x"), f.entry()}); err != nil {
						f.Errorf("Put: %v", err)
					}
				}
			})
		}
		seen := make(map[string]bool)
		for _, lease := range f.take("x", callers*calls) {
			seen[lease.Delivery.ID] = true
		}
		done.Wait()
		equal(f, "number of deliveries", len(seen), callers*calls)
		events := make(map[string]bool)
		for _, e := range f.all(queue.Filter{}, 100) {
			events[e.ID] = true
		}
		equal(f, "number of events", len(events), 2*callers*calls)
	},
}

// fullEvent has something in every field.
func fullEvent(received time.Time) *event.Event {
	e := &event.Event{
		ID: newID(), Source: "icfm", Name: "project_created", Received: received, Test: true,
		Method: "POST", Path: "/listen.php", IP: "203.0.113.9",
		Query: map[string][]string{"a": {"1", "2"}}, Headers: map[string][]string{"Content-Type": {"application/json"}},
		RawBody: []byte(`{"id":9007199254740993,"name":"Ünïcödé \u0000 end"}`),
		Body:    map[string]any{"id": int64(9007199254740993), "name": "Ünïcödé \x00 end"}, BodyIsRaw: true,
		ParseError: "broken", Subject: "Project Ünïcödé → 7", SubjectError: "no", Fields: map[string]any{"order": int64(7), "none": nil},
	}
	e.Parameters[event.Tenant] = "acme"
	e.Parameters[event.Duration] = int64(61)
	e.Parameters[event.UnixTime] = int64(1700000000)
	return e
}

func sameEvent(f *fixture, from string, got, want *event.Event) {
	f.Helper()
	if got == nil {
		f.Fatalf("%s: no event", from)
	}
	equalTime(f, from+": received", got.Received, want.Received)
	copied := *got
	copied.Received = want.Received
	if !reflect.DeepEqual(&copied, want) {
		f.Errorf("%s: event is\n%+v, want\n%+v", from, copied, *want)
	}
}

var dedupeTests = map[string]func(*fixture){
	"within the window": func(f *fixture) {
		first := f.dedupe("k", "x")
		f.put(first)
		f.Advance(f.Lease() / 4)
		second := f.dedupe("k", "x")
		equal(f, "duplicate of", f.putAll(second)[0].DuplicateOf, first.Event.ID)
		f.one("x", first.Deliveries[0].ID)
		f.nothing("x")
		s := f.find(second.Event.ID).Summary
		equal(f, "the activity's duplicate of", s.DuplicateOf, first.Event.ID)
		equal(f, "number of its deliveries", len(s.Deliveries), 0)
	},

	"after the window": func(f *fixture) {
		f.put(f.dedupe("k", "x"))
		f.Advance(f.Lease())
		equal(f, "duplicate of", f.putAll(f.dedupe("k", "x"))[0].DuplicateOf, "")
		f.take("x", 2)
	},

	"duplicates do not renew the window": func(f *fixture) {
		f.put(f.dedupe("k", "x"))
		f.Advance(f.Lease() / 3)
		f.put(f.dedupe("k", "x"))
		f.Advance(f.Lease() / 3)
		f.Advance(f.Lease() / 3)
		equal(f, "duplicate of", f.putAll(f.dedupe("k", "x"))[0].DuplicateOf, "")
	},

	"among the entries of one call": func(f *fixture) {
		a, b, c := f.dedupe("k", "x"), f.dedupe("other", "x"), f.dedupe("k", "x")
		receipts := f.putAll(a, b, c)
		equal(f, "first", receipts[0].DuplicateOf, "")
		equal(f, "other key", receipts[1].DuplicateOf, "")
		equal(f, "second", receipts[2].DuplicateOf, a.Event.ID)
		equalIDs(f, "deliveries", ids(f.take("x", 2)), []string{a.Deliveries[0].ID, b.Deliveries[0].ID})
		f.nothing("x")
	},

	"of a hundred at once one is stored": func(f *fixture) {
		f.storesOne(100, f)
		f.take("x", 1)
		f.nothing("x")
	},

	"over reopening": func(f *fixture) {
		first := f.put(f.dedupe("k", "x"))
		f.reopen()
		equal(f, "duplicate of", f.putAll(f.dedupe("k", "x"))[0].DuplicateOf, first.Event.ID)
	},

	"without a key nothing is a duplicate": func(f *fixture) {
		f.put(f.dedupe("", "x"))
		equal(f, "duplicate of", f.putAll(f.dedupe("", "x"))[0].DuplicateOf, "")
	},
}

// dedupe returns an entry with a window of one lease.
func (f *fixture) dedupe(key, action string) queue.Entry {
	e := f.entry(action)
	e.DedupeKey, e.DedupeWindow = key, f.Lease()
	return e
}

// storesOne puts n entries with the same dedupe key at once on nodes in turn, and checks
// that one is stored as itself and named by the others.
func (f *fixture) storesOne(n int, nodes ...*fixture) {
	f.Helper()
	var done sync.WaitGroup
	receipts, entries := make([]queue.Receipt, n), make([]queue.Entry, n)
	for i := range entries {
		entries[i] = f.dedupe("k", "x")
		done.Go(func() {
			got, err := nodes[i%len(nodes)].Put(f.patient(), entries[i:i+1])
			if err != nil || len(got) != 1 {
				f.Errorf("Put gave %d receipts and %v", len(got), err)
				return
			}
			receipts[i] = got[0]
		})
	}
	done.Wait()
	var itself []string
	for i, r := range receipts {
		if r.DuplicateOf == "" {
			itself = append(itself, entries[i].Event.ID)
		}
	}
	if len(itself) != 1 {
		f.Fatalf("%d of %d were stored as themselves, want 1", len(itself), n)
	}
	for i, r := range receipts {
		if r.DuplicateOf != "" && r.DuplicateOf != itself[0] {
			f.Errorf("receipt %d names %s, want %s", i, r.DuplicateOf, itself[0])
		}
	}
}
