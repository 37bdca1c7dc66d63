package activity

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// mostWatched is how many events are kept for a watcher that does not read.
const mostWatched = 4096

// Watchers are told after each commit what it changed. While there are none, the
// writer only asks Watched, which reads one number.
type Watchers struct {
	// Watching, if not nil, is told when the first watcher comes, and when the last
	// is gone. It does not wait for anything.
	Watching func(bool)

	closed <-chan struct{}

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

// NewWatchers returns watchers whose channels close when closed does.
func NewWatchers(closed <-chan struct{}) *Watchers {
	return &Watchers{closed: closed, all: make(map[*watcher]struct{})}
}

// Watched reports whether there are watchers.
func (w *Watchers) Watched() bool { return w.count.Load() > 0 }

// Tell tells the watchers what a transaction changed. changed calls add with the id of
// each event that was changed.
func (w *Watchers) Tell(changed func(add func(event string))) {
	w.mu.Lock()
	defer w.mu.Unlock()
	changed(w.add)
	w.wakeAll()
}

// Pass passes on what another process told.
func (w *Watchers) Pass(changes queue.Changes) {
	if !w.Watched() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, event := range changes.Events {
		w.add(event)
	}
	for one := range w.all {
		one.missed = one.missed || changes.Missed
	}
	w.wakeAll()
}

func (w *Watchers) wakeAll() {
	for one := range w.all {
		if one.news() {
			select {
			case one.wake <- struct{}{}:
			default:
			}
		}
	}
}

// news reports whether there is something to tell.
func (w *watcher) news() bool { return len(w.events) > 0 || w.missed }

func (w *Watchers) add(uuid string) {
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

func (w *Watchers) enter(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[one] = struct{}{}
	if w.count.Add(1) == 1 && w.Watching != nil {
		w.Watching(true)
	}
}

func (w *Watchers) leave(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, one)
	if w.count.Add(-1) == 0 && w.Watching != nil {
		w.Watching(false)
	}
}

// gathered takes what a watcher has gathered.
func (w *Watchers) gathered(one *watcher) queue.Changes {
	w.mu.Lock()
	defer w.mu.Unlock()
	changes := queue.Changes{Events: one.events, Missed: one.missed}
	one.events, one.missed, one.known = nil, false, make(map[string]struct{})
	return changes
}

// Watch implements queue.History.
func (w *Watchers) Watch(ctx context.Context) <-chan queue.Changes {
	out := make(chan queue.Changes)
	one := &watcher{wake: make(chan struct{}, 1), known: make(map[string]struct{})}
	w.enter(one)
	go func() {
		defer close(out)
		defer w.leave(one)
		for {
			select {
			case <-one.wake:
			case <-ctx.Done():
				return
			case <-w.closed:
				return
			}
			changes := w.gathered(one)
			if len(changes.Events) == 0 && !changes.Missed {
				continue
			}
			select {
			case out <- changes:
			case <-ctx.Done():
				return
			case <-w.closed:
				return
			}
		}
	}()
	return out
}
