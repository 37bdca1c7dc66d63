package queuetest

import (
	"context"
	"fmt"
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

var watchTests = map[string]func(*fixture){
	"what is stored and what changes is told once it can be read": func(f *fixture) {
		unseen := f.put(f.entry("x"))
		watch := f.Watch(f.patient())
		e := f.put(f.entry("x", "y"))
		f.told(watch, e.Event.ID)
		f.deliver(f.one("x", unseen.Deliveries[0].ID))
		f.told(watch, unseen.Event.ID)
		f.state(unseen.Deliveries[0].ID, queue.Delivered)
		f.again(f.one("x", e.Deliveries[0].ID), f.Lease())
		f.told(watch, e.Event.ID)
		equal(f, "attempts", f.find(e.Event.ID).Summary.Deliveries[0].Attempts, 1)
		f.change(queue.Change{CancelDelivery: e.Deliveries[0].ID})
		f.told(watch, e.Event.ID)
		f.change(queue.Change{CancelAction: "y"})
		f.told(watch, e.Event.ID)
		f.add(unseen, "x")
		f.told(watch, unseen.Event.ID)
		f.change(queue.Change{Move: &queue.Move{From: "x", To: "z"}})
		f.told(watch, unseen.Event.ID)
	},

	"every watcher is told": func(f *fixture) {
		first, second := f.Watch(f.patient()), f.Watch(f.patient())
		e := f.put(f.entry())
		f.told(first, e.Event.ID)
		f.told(second, e.Event.ID)
	},

	"a watcher that is slow loses changes and is told": func(f *fixture) {
		watch := f.Watch(f.patient())
		stored := make(map[string]bool)
		for range 120 {
			var entries []queue.Entry
			for range 100 {
				e := f.entry()
				stored[e.Event.ID] = true
				entries = append(entries, e)
			}
			f.putAll(entries...)
		}
		got, missed := 0, false
		seen := make(map[string]bool)
		for !missed {
			changes := <-watch
			got += len(changes.Events)
			missed = changes.Missed
			for _, id := range changes.Events {
				if !stored[id] || seen[id] {
					f.Fatalf("event %s was never stored, or is told twice", id)
				}
				seen[id] = true
			}
		}
		if got >= len(stored) {
			f.Errorf("all %d events were kept for it", got)
		}
		// From then on it is told again.
		e := f.put(f.entry())
		f.told(watch, e.Event.ID)
	},

	"until its context ends": func(f *fixture) {
		ctx, cancel := context.WithCancel(context.Background())
		watch := f.Watch(ctx)
		cancel()
		f.ended(watch)
		f.put(f.entry())
	},

	"until the queue closes": func(f *fixture) {
		watch, unread := f.Watch(f.patient()), f.Watch(f.patient())
		f.told(watch, f.put(f.entry()).Event.ID)
		if err := f.Engine.Close(); err != nil {
			f.Fatal(err)
		}
		f.ended(watch)
		f.ended(unread)
		f.ended(f.Watch(f.patient()))
	},
}

// told waits until a watcher is told of an event, or that it has missed some, as it may
// have on a machine that is busy.
func (f *fixture) told(watch <-chan queue.Changes, id string) {
	f.Helper()
	ctx := f.patient()
	var others []string
	for {
		select {
		case changes, ok := <-watch:
			if !ok {
				f.Fatal("the channel is closed")
			}
			if changes.Missed || slices.Contains(changes.Events, id) {
				return
			}
			others = append(others, changes.Events...)
		case <-ctx.Done():
			f.Fatalf("%s was not told, but %v was", id, others)
		}
	}
}

// ended waits until a channel is closed.
func (f *fixture) ended(watch <-chan queue.Changes) {
	f.Helper()
	ctx := f.patient()
	for {
		select {
		case changes, ok := <-watch:
			if !ok {
				return
			}
			f.Log(fmt.Sprint("still told: ", changes))
		case <-ctx.Done():
			f.Fatal("the channel stays open")
		}
	}
}
