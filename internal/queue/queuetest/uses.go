package queuetest

import (
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

var usesTests = map[string]func(*fixture){
	"events, rules and actions": func(f *fixture) {
		began := f.Now()
		f.exist(call, hangup, rule("r1"), rule("r2"), action("x"), action("y"))
		for _, thing := range []queue.Thing{call, hangup, rule("r1"), rule("r2"), action("x"), action("y")} {
			use := f.use(thing)
			equal(f, "place of "+thing.Name, use.Place, thing.Place)
			equalTime(f, "begin of "+thing.Name, use.Since, began)
			f.wantUses(thing, 0, time.Time{}, time.Time{})
		}
		first := f.Now()
		f.put(f.held(f.entry("x"), "r1"))
		f.Advance(f.Lease() / 3)
		last := f.Now()
		f.putAll(f.held(f.entry("x", "y"), "r1", "r2"), f.held(f.entry()))
		f.Advance(f.Lease() / 3)
		for range 2 {
			f.wantUses(call, 3, first, last)
			f.wantUses(hangup, 0, time.Time{}, time.Time{})
			f.wantUses(rule("r1"), 2, first, last)
			f.wantUses(rule("r2"), 1, last, last)
			f.wantUses(action("x"), 2, first, last)
			f.wantUses(action("y"), 1, last, last)
			f.reopen()
		}
		// The storage goes on counting where it was.
		f.put(f.held(f.entry("y"), "r2"))
		f.wantUses(call, 4, first, f.Now())
		f.wantUses(rule("r2"), 2, last, f.Now())
		f.wantUses(action("y"), 2, last, f.Now())
	},

	"an older event may come later": func(f *fixture) {
		f.exist(call)
		now := f.Now()
		f.put(f.entry())
		older := f.entry()
		older.Event.Received = now.Add(-f.Lease())
		f.put(older)
		f.wantUses(call, 2, now.Add(-f.Lease()), now)
	},

	"tests and duplicates do not count": func(f *fixture) {
		f.exist(call, rule("r"), action("x"))
		test := f.held(f.entry("x"), "r")
		test.Event.Test = true
		f.put(test)
		f.deliver(f.take("x", 1)[0])
		test = f.held(f.entry("x"), "r")
		test.Event.Test = true
		f.put(test)
		f.settle(f.take("x", 1)[0], queue.Settlement{State: queue.Failed, Attempt: f.attempt(400, "no")})
		f.add(test, "x")
		f.amend(queue.Amendment{Event: test.Event.ID, Verdict: &rules.Verdict{Decision: rules.Act, Held: []string{"r"}}})
		f.deliver(f.take("x", 1)[0])
		first := f.held(f.entry("x"), "r")
		first.DedupeKey, first.DedupeWindow = "k", 1000*f.Lease()
		again := f.held(f.entry("x"), "r")
		again.DedupeKey, again.DedupeWindow = "k", 1000*f.Lease()
		f.putAll(first, again)
		f.reopen()
		for _, thing := range []queue.Thing{call, rule("r"), action("x")} {
			f.wantUses(thing, 1, first.Event.Received, first.Event.Received)
		}
		f.wantEnds("x", 0, 0, 0)
	},

	"how deliveries of an action ended": func(f *fixture) {
		f.exist(action("x"), action("y"), action("z"))
		f.putAll(f.entry("x"), f.entry("x"), f.entry("x"), f.entry("x", "y"))
		leases := f.take("x", 4)
		f.deliver(leases[0])
		f.deliver(leases[1])
		f.settle(leases[2], queue.Settlement{State: queue.Failed, Attempt: f.attempt(400, "no")})
		f.settle(leases[3], queue.Settlement{State: queue.Expired})
		f.move("y", "z")
		lease := f.take("z", 1)[0]
		f.again(lease, 0)
		f.deliver(f.take("z", 1)[0])
		f.state(lease.Delivery.ID, queue.Delivered)
		f.reopen()
		f.wantEnds("x", 2, 1, 1)
		f.wantEnds("y", 0, 0, 0)
		f.wantEnds("z", 1, 0, 0)
		f.mended("x", leases[2].Delivery.ID, leases[2].Event.ID)
		f.mended("x", leases[3].Delivery.ID, leases[3].Event.ID)
		f.wantEnds("x", 4, 0, 0)
		equal(f, "deliveries made for x", f.use(action("x")).Count, 6)
		equal(f, "deliveries made for y", f.use(action("y")).Count, 1)
		equal(f, "deliveries made for z", f.use(action("z")).Count, 0)
	},

	"what is added to stored events": func(f *fixture) {
		f.exist(call, rule("before"), rule("both"), rule("after"), action("x"))
		e := f.put(f.held(f.entry("x"), "before", "both"))
		received := f.Now()
		f.Advance(f.Lease())
		decided := f.Now()
		verdict := rules.Verdict{Decision: rules.Act, Held: []string{"both", "after"}}
		f.amend(queue.Amendment{Event: e.Event.ID, Verdict: &verdict, Deliveries: []queue.Delivery{{ID: newID(), Action: "x"}}})
		f.Advance(f.Lease())
		f.amend(queue.Amendment{Event: e.Event.ID, Verdict: &verdict}) // once more, the same
		f.reopen()
		f.wantUses(call, 1, received, received)
		f.wantUses(rule("before"), 1, received, received)
		f.wantUses(rule("both"), 1, received, received)
		f.wantUses(rule("after"), 1, decided, decided)
		f.wantUses(action("x"), 2, received, decided)
	},

	"nothing lowers a count": func(f *fixture) {
		f.exist(call, rule("r"), action("x"), action("y"))
		f.putAll(f.held(f.entry("x"), "r"), f.held(f.entry("x"), "r"))
		f.move("x", "y")
		f.change(queue.Change{CancelAction: "y"})
		f.Advance(f.Lease())
		f.prune(f.Now(), 0)
		equal(f, "events", len(f.all(queue.Filter{}, 10)), 0)
		f.reopen()
		for _, thing := range []queue.Thing{call, rule("r"), action("x")} {
			equal(f, "uses of "+thing.Name, f.use(thing).Count, 2)
		}
	},

	"a configuration after another": func(f *fixture) {
		began := f.Now()
		f.exist(rule("old"), rule("stays"), action("x"))
		f.put(f.held(f.entry("x"), "old", "stays"))
		f.Advance(f.Lease())
		moved := rule("stays")
		moved.Place = "Caddyfile:99"
		f.exist(moved, rule("new"), action("y"))
		changed := f.Now()
		f.Advance(f.Lease())
		// An event that was decided before is stored after.
		f.put(f.held(f.entry("x"), "old", "stays"))
		f.reopen()
		equal(f, "place", f.use(moved).Place, "Caddyfile:99")
		equalTime(f, "begin of what stays", f.use(moved).Since, began)
		equalTime(f, "end of what stays", f.use(moved).Gone, time.Time{})
		equal(f, "uses of what stays", f.use(moved).Count, 2)
		equalTime(f, "begin of what is new", f.use(rule("new")).Since, changed)
		equalTime(f, "begin of what is gone", f.use(rule("old")).Since, began)
		equalTime(f, "end of what is gone", f.use(rule("old")).Gone, changed)
		equal(f, "uses of what is gone", f.use(rule("old")).Count, 2)

		// It comes back as what it was, unless it is gone for too long.
		f.prune(changed, 0)
		f.exist(rule("old"), action("x"))
		back := f.Now()
		equal(f, "uses of what is back", f.use(rule("old")).Count, 2)
		equalTime(f, "end of what is back", f.use(rule("old")).Gone, time.Time{})
		f.Advance(f.Lease())
		f.prune(f.Now(), 0)
		if f.knows(rule("new")) || f.knows(rule("stays")) {
			f.Errorf("rules that are gone since %v are not forgotten", back)
		}
		f.exist(rule("old"), rule("stays"))
		equal(f, "uses of what was forgotten", f.use(rule("stays")).Count, 0)
		equalTime(f, "begin of what was forgotten", f.use(rule("stays")).Since, f.Now())
		equal(f, "uses of what never went", f.use(rule("old")).Count, 2)
	},

	"said again and twice": func(f *fixture) {
		f.exist(rule("r"), action("r"), queue.Thing{Kind: queue.EventThing, Name: "pbx:r"})
		f.put(f.held(f.entry("r"), "r"))
		twice := rule("r")
		twice.Place = "Caddyfile:7"
		f.exist(rule("r"), twice, action("r"))
		f.exist(rule("r"), action("r"))
		equal(f, "uses", f.use(rule("r")).Count, 1)
		equal(f, "place", f.use(rule("r")).Place, rule("r").Place)
		f.exist()
		f.put(f.held(f.entry("r"), "r"))
		equal(f, "uses of what is gone", f.use(rule("r")).Count, 2)
		f.reopen()
		equal(f, "uses of what is gone, later", f.use(rule("r")).Count, 2)
	},

	"names that senders invent": func(f *fixture) {
		f.exist(call)
		for range 30 {
			e := f.entry()
			e.Event.Name = newID()
			f.put(e)
		}
		uses, err := f.Uses(f.patient())
		if err != nil || len(uses) != 1 {
			f.Errorf("%d things are kept, %v", len(uses), err)
		}
	},

	"many at once": func(f *fixture) {
		f.exist(call, rule("r"), action("x"))
		const callers, each = 8, 25
		done := make(chan error, callers)
		for range callers {
			go func() {
				for range each {
					if _, err := f.Put(f.patient(), []queue.Entry{f.held(f.entry("x"), "r")}); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range callers {
			if err := <-done; err != nil {
				f.Error(err)
			}
		}
		f.reopen()
		for _, thing := range []queue.Thing{call, rule("r"), action("x")} {
			equal(f, "uses of "+thing.Name, f.use(thing).Count, callers*each)
		}
	},
}

// The events of the fixture, and one that never comes.
var (
	call   = queue.Thing{Kind: queue.EventThing, Name: "pbx:incoming_call", Place: "Caddyfile:2"}
	hangup = queue.Thing{Kind: queue.EventThing, Name: "pbx:hangup"}
)

func rule(id string) queue.Thing {
	return queue.Thing{Kind: queue.RuleThing, Name: id, Place: "Caddyfile:1"}
}

func action(name string) queue.Thing {
	return queue.Thing{Kind: queue.ActionThing, Name: name, Place: "Caddyfile:3"}
}

// held makes rules hold for an entry.
func (f *fixture) held(e queue.Entry, rules ...string) queue.Entry {
	e.Verdict.Held = rules
	return e
}

func (f *fixture) exist(things ...queue.Thing) {
	f.Helper()
	if err := f.Exist(f.patient(), things); err != nil {
		f.Fatalf("Exist: %v", err)
	}
}

func (f *fixture) usesOf(thing queue.Thing) (found []queue.Use) {
	f.Helper()
	uses, err := f.Uses(f.patient())
	if err != nil {
		f.Fatalf("Uses: %v", err)
	}
	for _, use := range uses {
		if use.Kind == thing.Kind && use.Name == thing.Name {
			found = append(found, use)
		}
	}
	return found
}

func (f *fixture) knows(thing queue.Thing) bool {
	f.Helper()
	return len(f.usesOf(thing)) > 0
}

func (f *fixture) use(thing queue.Thing) queue.Use {
	f.Helper()
	found := f.usesOf(thing)
	if len(found) != 1 {
		f.Fatalf("Uses names %s %s %d times", thing.Kind, thing.Name, len(found))
	}
	return found[0]
}

// wantUses waits until a thing was used so often.
func (f *fixture) wantUses(thing queue.Thing, count int64, first, last time.Time) {
	f.Helper()
	f.eventually(thing.Name+" is counted", func() bool { return f.use(thing).Count >= count })
	use := f.use(thing)
	equal(f, "uses of "+thing.Name, use.Count, count)
	equalTime(f, "first use of "+thing.Name, use.First, first)
	equalTime(f, "last use of "+thing.Name, use.Last, last)
}

// mended sends a delivery again, and it arrives.
func (f *fixture) mended(action, delivery, event string) {
	f.Helper()
	again := queue.Delivery{ID: newID(), Action: action, Of: delivery}
	f.amend(queue.Amendment{Event: event, Deliveries: []queue.Delivery{again}})
	f.deliver(f.one(action, again.ID))
	f.state(again.ID, queue.Delivered)
}

// wantEnds checks how the deliveries of an action ended.
func (f *fixture) wantEnds(name string, delivered, failed, expired int64) {
	f.Helper()
	use := f.use(action(name))
	equal(f, "delivered for "+name, use.Delivered, delivered)
	equal(f, "failed for "+name, use.Failed, failed)
	equal(f, "expired for "+name, use.Expired, expired)
}
