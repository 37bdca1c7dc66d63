package sqlite

import (
	"context"
	"sync"
	"sync/atomic"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// mostWatched is how many events are kept for a watcher that does not read.
const mostWatched = 4096

// watchers are told after each commit what it changed. While there are none,
// that costs one look at a number.
type watchers struct {
	count atomic.Int32
	mu    sync.Mutex
	all   map[*watcher]struct{}
}

// watcher gathers what one caller of Watch has not read yet.
type watcher struct {
	wake   chan struct{}
	known  map[string]struct{}
	events []string
	missed bool
}

// changing is a command that changes events or their deliveries.
type changing interface {
	// changed calls f with the UUID of each event that it changed, once it is
	// committed.
	changed(f func(uuid string))
}

func (w *watchers) watched() bool { return w.count.Load() > 0 }

// tell tells what a batch changed.
func (w *watchers) tell(batch []command) {
	if !w.watched() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range batch {
		if c, ok := c.(changing); ok {
			c.changed(w.add)
		}
	}
	for one := range w.all {
		if len(one.events) > 0 {
			select {
			case one.wake <- struct{}{}:
			default:
			}
		}
	}
}

func (w *watchers) add(uuid string) {
	for one := range w.all {
		if _, ok := one.known[uuid]; ok || uuid == "" {
			continue
		}
		if len(one.events) >= mostWatched {
			one.missed = true
			continue
		}
		one.known[uuid] = struct{}{}
		one.events = append(one.events, uuid)
	}
}

func (w *watchers) enter(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[*watcher]struct{})
	}
	w.all[one] = struct{}{}
	w.count.Add(1)
}

func (w *watchers) leave(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, one)
	w.count.Add(-1)
}

// gathered takes what a watcher has gathered.
func (w *watchers) gathered(one *watcher) queue.Changes {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes := queue.Changes{Events: one.events, Missed: one.missed}
	one.events, one.missed, one.known = nil, false, make(map[string]struct{})
	return changes
}

// Watch implements queue.History.
func (db *DB) Watch(ctx context.Context) <-chan queue.Changes {
	out := make(chan queue.Changes)
	one := &watcher{wake: make(chan struct{}, 1), known: make(map[string]struct{})}
	db.watchers.enter(one)
	go func() {
		defer close(out)
		defer db.watchers.leave(one)
		for {
			select {
			case <-one.wake:
			case <-ctx.Done():
				return
			case <-db.closed:
				return
			}
			changes := db.watchers.gathered(one)
			if len(changes.Events) == 0 {
				continue
			}
			select {
			case out <- changes:
			case <-ctx.Done():
				return
			case <-db.closed:
				return
			}
		}
	}()
	return out
}

func (p *put) changed(f func(string)) {
	if p.refused != nil {
		return
	}
	for i := range p.entries {
		f(p.entries[i].event.ID)
	}
}

func (s *settlement) changed(f func(string)) { f(s.Event) }

func (c *amend) changed(f func(string)) {
	if c.refused != nil {
		return
	}
	for i := range c.amendments {
		f(c.amendments[i].uuid)
	}
}

func (c *cancel) changed(f func(string)) {
	for _, uuid := range c.uuids {
		f(uuid)
	}
}

// uuidsOf returns the UUIDs of the events of deliveries, for those who watch.
func (tx *transaction) uuidsOf(deliveries []int64) (uuids []string, err error) {
	if !tx.db.watchers.watched() {
		return nil, nil
	}
	for _, id := range deliveries {
		if err := database.Query(tx.conn, "SELECT uuid FROM events WHERE id = ?", func(row *sqlite.Stmt) error {
			uuids = append(uuids, row.ColumnText(0))
			return nil
		}, id>>database.DeliveryBits); err != nil {
			return nil, err
		}
	}
	return uuids, nil
}
