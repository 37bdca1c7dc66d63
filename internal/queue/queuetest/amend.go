package queuetest

import (
	"errors"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

var amendTests = map[string]func(*fixture){
	"a delivery is added to an old event": func(f *fixture) {
		old := f.put(f.entry("x"))
		f.settle(f.one("x", old.Deliveries[0].ID), queue.Settlement{State: queue.Failed, Attempt: f.attempt(404, "gone")})
		later := f.put(f.entry("x")) // memory is past the old one now
		f.deliver(f.one("x", later.Deliveries[0].ID))
		f.Advance(f.Lease())
		done := f.waiting("x")
		at := f.Now()
		again := queue.Delivery{ID: newID(), Action: "x", Of: old.Deliveries[0].ID, Expires: at.Add(f.Lease())}
		f.amend(queue.Amendment{Event: old.Event.ID, Deliveries: []queue.Delivery{again}})
		lease := f.woken(done, again.ID)
		equal(f, "event", lease.Event.ID, old.Event.ID)
		equal(f, "attempts", lease.Delivery.Attempts, 0)
		equal(f, "repeated delivery", lease.Delivery.Of, again.Of)
		equalTime(f, "expiry", lease.Delivery.Expires, again.Expires)
		s := f.state(again.ID, queue.Pending)
		equal(f, "repeated delivery in the list", s.Of, again.Of)
		f.near("due", s.Due, at)
		f.deliver(lease)
		f.state(again.ID, queue.Delivered)
		f.state(old.Deliveries[0].ID, queue.Failed)
		equal(f, "event found by a beginning of its new id", f.find(again.ID[:20]).Event.ID, old.Event.ID)
		f.reopen()
		equal(f, "number of deliveries", len(f.find(old.Event.ID).Summary.Deliveries), 2)
		f.nothing("x")
	},

	"as if it had just been put": func(f *fixture) {
		old := f.put(f.entry())
		f.Advance(f.Lease())
		waiting := f.put(f.entry("x")).Deliveries[0].ID
		f.Advance(f.Lease() / 100)
		added := f.add(old, "x")
		f.one("x", waiting)
		f.one("x", added.ID)
		f.reopen()
		f.one("x", waiting)
		f.one("x", added.ID)
	},

	"not before its time": func(f *fixture) {
		old := f.put(f.entry())
		d := queue.Delivery{ID: newID(), Action: "x", Due: f.Now().Add(f.Lease())}
		f.amend(queue.Amendment{Event: old.Event.ID, Deliveries: []queue.Delivery{d}})
		f.nothing("x")
		f.Advance(f.Lease())
		f.one("x", d.ID)
	},

	"many at once, to events of which many wait": func(f *fixture) {
		const n = 300
		var entries []queue.Entry
		for range n {
			entries = append(entries, f.entry("x"))
		}
		f.putAll(entries...)
		var amendments []queue.Amendment
		want := make(map[string]bool)
		for _, e := range entries {
			d := queue.Delivery{ID: newID(), Action: "x"}
			amendments = append(amendments, queue.Amendment{Event: e.Event.ID, Deliveries: []queue.Delivery{d}})
			want[e.Deliveries[0].ID], want[d.ID] = true, true
		}
		slices.Reverse(amendments)
		f.amend(amendments...)
		for _, l := range f.take("x", 2*n) {
			if !want[l.Delivery.ID] {
				f.Errorf("delivery %s was handed out twice or was never stored", l.Delivery.ID)
			}
			delete(want, l.Delivery.ID)
			f.deliver(l)
		}
		f.nothing("x")
	},

	"one of an order key goes after the one that is under way": func(f *fixture) {
		old := f.put(f.entry())
		head := f.ordered("x", "k")
		next := f.ordered("x", "k")
		d := queue.Delivery{ID: newID(), Action: "x", OrderKey: "k"}
		f.amend(queue.Amendment{Event: old.Event.ID, Deliveries: []queue.Delivery{d}})
		lease := f.one("x", head.ID)
		f.nothing("x")
		f.deliver(lease)
		// In order of receipt: its event is older than that of the next.
		f.deliver(f.one("x", d.ID))
		f.deliver(f.one("x", next.ID))
		alone := f.add(old, "y")
		f.one("y", alone.ID)
	},

	"a new verdict": func(f *fixture) {
		e := f.entry()
		e.Event.Subject = "Job 730114"
		f.put(e)
		d := queue.Delivery{ID: newID(), Action: "x"}
		verdict := rules.Verdict{Decision: rules.Act, Rule: "Caddyfile:9", Actions: []rules.ActionCall{{Action: "x", Rule: "Caddyfile:9"}}}
		f.amend(queue.Amendment{Event: e.Event.ID, Verdict: &verdict, Deliveries: []queue.Delivery{d}})
		for _, c := range []struct {
			filter queue.Filter
			want   int
		}{
			{queue.Filter{Decision: rules.Act}, 1}, {queue.Filter{Decision: rules.Ignored}, 0}, {queue.Filter{Action: "x"}, 1},
			{queue.Filter{Action: "x", States: []queue.State{queue.Pending}}, 1}, {queue.Filter{Source: "pbx", Action: "y"}, 0},
		} {
			if n := len(f.all(c.filter, 10)); n != c.want {
				f.Errorf("%d events pass %+v, want %d", n, c.filter, c.want)
			}
		}
		equal(f, "rule", f.find(e.Event.ID).Summary.Verdict.Rule, "Caddyfile:9")
		// Without deliveries, too.
		ignored := rules.Verdict{Decision: rules.Ignored, Reason: "mended"}
		f.amend(queue.Amendment{Event: e.Event.ID, Verdict: &ignored})
		h := f.find(e.Event.ID)
		equal(f, "reason", h.Summary.Verdict.Reason, "mended")
		equal(f, "subject", h.Summary.Subject, "Job 730114")
		equal(f, "number of deliveries", len(h.Summary.Deliveries), 1)
		equal(f, "events that are ignored", len(f.all(queue.Filter{Decision: rules.Ignored}, 10)), 1)
	},

	"twice to one event": func(f *fixture) {
		e := f.put(f.entry())
		a, b := queue.Delivery{ID: newID(), Action: "x"}, queue.Delivery{ID: newID(), Action: "y"}
		f.amend(queue.Amendment{Event: e.Event.ID, Deliveries: []queue.Delivery{a}}, queue.Amendment{Event: e.Event.ID, Deliveries: []queue.Delivery{b}})
		f.one("x", a.ID)
		f.one("y", b.ID)
		equal(f, "number of deliveries", len(f.find(e.Event.ID).Summary.Deliveries), 2)
	},

	"all or nothing": func(f *fixture) {
		e := f.put(f.entry("y"))
		for _, unknown := range []string{newID(), e.Deliveries[0].ID, e.Event.ID[:20], "nonsense", ""} {
			err := f.Amend(f.patient(), []queue.Amendment{
				{Event: e.Event.ID, Deliveries: []queue.Delivery{{ID: newID(), Action: "x"}}}, {Event: unknown, Deliveries: []queue.Delivery{{ID: newID(), Action: "x"}}},
			})
			if !errors.Is(err, queue.ErrNotFound) {
				f.Errorf("amending %q gave %v, want ErrNotFound", unknown, err)
			}
		}
		for _, bad := range []queue.Delivery{{ID: "x", Action: "x"}, {ID: newID()}} {
			if err := f.Amend(f.patient(), []queue.Amendment{{Event: e.Event.ID, Deliveries: []queue.Delivery{{ID: newID(), Action: "x"}, bad}}}); err == nil {
				f.Errorf("the delivery %+v was taken", bad)
			}
		}
		f.nothing("x")
		equal(f, "number of deliveries", len(f.find(e.Event.ID).Summary.Deliveries), 1)
		if err := f.Amend(f.patient(), nil); err != nil {
			f.Errorf("amending nothing: %v", err)
		}
	},

	"more than an event can have": func(f *fixture) {
		e := f.put(f.entry("x"))
		var many []queue.Delivery
		for range 1 << 16 {
			many = append(many, queue.Delivery{ID: newID(), Action: "y"})
		}
		if err := f.Amend(f.patient(), []queue.Amendment{{Event: e.Event.ID, Deliveries: many}}); !errors.Is(err, queue.ErrRefused) {
			f.Errorf("it gave %v, want ErrRefused", err)
		}
		f.nothing("y")
	},

	"the backlog counts them since they were added": func(f *fixture) {
		old := f.put(f.entry())
		f.Advance(f.Lease())
		at := f.Now()
		f.add(old, "x")
		f.Advance(f.Lease())
		f.put(f.entry("x"))
		backlog, err := f.Backlog(f.patient())
		if err != nil || len(backlog) != 1 || backlog[0].Count != 2 {
			f.Fatalf("the backlog is %+v and %v", backlog, err)
		}
		f.near("oldest", backlog[0].Oldest, at)
	},

	"an event is pruned with what was added": func(f *fixture) {
		old := f.put(f.entry())
		added := f.add(old, "x")
		f.Advance(f.Lease())
		equal(f, "number while one waits", f.prune(f.Now(), 0), 0)
		f.deliver(f.one("x", added.ID))
		f.state(added.ID, queue.Delivered)
		equal(f, "number", f.prune(f.Now(), 0), 1)
		if _, err := f.Find(f.patient(), added.ID); !errors.Is(err, queue.ErrNotFound) {
			f.Errorf("finding it gave %v, want ErrNotFound", err)
		}
	},

	"an added delivery can be cancelled": func(f *fixture) {
		d := f.add(f.put(f.entry()), "x")
		equal(f, "number", f.change(queue.Change{CancelDelivery: d.ID}).Deliveries, 1)
		f.nothing("x")
		f.state(d.ID, queue.Cancelled)
	},

	"after closing": func(f *fixture) {
		e := f.put(f.entry())
		if err := f.Engine.Close(); err != nil {
			f.Fatal(err)
		}
		if err := f.Amend(f.patient(), []queue.Amendment{{Event: e.Event.ID}}); !errors.Is(err, queue.ErrClosed) {
			f.Errorf("it gave %v, want ErrClosed", err)
		}
	},

	"stored events come with what they say": func(f *fixture) {
		var want []string
		for range 5 {
			e := f.entry("x")
			e.Event.Parameters[event.Tenant] = "T1"
			e.Event.RawBody = []byte(`{"id": 12345678901234567890}`)
			want = append(want, f.put(e).Event.ID)
		}
		f.put(f.entry())
		slices.Reverse(want)
		var got []string
		for after := queue.Cursor(""); ; {
			events, err := f.Events(f.patient(), queue.Filter{Action: "x"}, queue.NewestFirst, after, 2)
			if err != nil {
				f.Fatal(err)
			}
			for _, e := range events.Events {
				got = append(got, e.Summary.ID)
				if e.Event == nil || e.Event.ID != e.Summary.ID || e.Event.Source != "pbx" || string(e.Event.RawBody) != `{"id": 12345678901234567890}` {
					f.Errorf("the event is %+v", e.Event)
				}
				equal(f, "deliveries", len(e.Summary.Deliveries), 1)
			}
			if after = events.Next; after == "" {
				break
			}
		}
		equalIDs(f, "events", got, want)
	},

	"summaries by full ids": func(f *fixture) {
		var ids []string
		for range 40 {
			ids = append(ids, f.put(f.entry("x")).Event.ID)
			f.Advance(time.Second)
		}
		look := append([]string{newID(), "nonsense", "", ids[3][:30]}, ids[:30]...)
		summaries, err := f.Summaries(f.patient(), look)
		if err != nil {
			f.Fatal(err)
		}
		got := eventIDs(summaries)
		slices.Sort(got)
		want := slices.Clone(ids[:30])
		slices.Sort(want)
		equalIDs(f, "events", got, want)
		equal(f, "deliveries", len(summaries[0].Deliveries), 1)
		if none, err := f.Summaries(f.patient(), nil); err != nil || len(none) > 0 {
			f.Errorf("no ids gave %v and %v", none, err)
		}
	},
}

func (f *fixture) amend(amendments ...queue.Amendment) {
	f.Helper()
	if err := f.Amend(f.patient(), amendments); err != nil {
		f.Fatalf("Amend: %v", err)
	}
}

// add adds a delivery to a stored event.
func (f *fixture) add(e queue.Entry, action string) queue.Delivery {
	f.Helper()
	d := queue.Delivery{ID: newID(), Action: action}
	f.amend(queue.Amendment{Event: e.Event.ID, Deliveries: []queue.Delivery{d}})
	return d
}
