package cluster

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// A node tells the others of what it changed only while one of them watches, and
// then at most 200 events five times a second; it says so if there were more. That
// deliveries are left for others it tells at most each 50 ms. No transaction that
// stores events notifies: that would take a lock of the whole database server.
const (
	eventsAtOnce = 200
	eventsEach   = 200 * time.Millisecond
	dueEach      = 50 * time.Millisecond
	// longestMessage is what a notification can carry. A longer list of actions
	// means all.
	longestMessage = 7900
)

// feed is what other nodes are to be told.
type feed struct {
	// watching says that this node has a watcher, watched that another has.
	watching, watched atomic.Bool

	mu      sync.Mutex
	events  []string
	known   map[string]struct{}
	missed  bool
	actions map[string]struct{}

	eventsWake, dueWake chan struct{}
}

func (f *feed) start() {
	f.known, f.actions = make(map[string]struct{}), make(map[string]struct{})
	f.eventsWake, f.dueWake = make(chan struct{}, 1), make(chan struct{}, 1)
}

// Watched reports whether another node wants to be told of changes.
func (n *Node) Watched() bool { return n.feed.watched.Load() }

// Tell tells the other nodes what a commit changed. changed calls add with the id of
// each event.
func (n *Node) Tell(changed func(add func(event string))) {
	if !n.Watched() {
		return
	}
	f := &n.feed
	f.mu.Lock()
	changed(func(event string) {
		if _, ok := f.known[event]; ok || event == "" {
			return
		}
		if len(f.events) == eventsAtOnce {
			f.missed = true
			return
		}
		f.known[event] = struct{}{}
		f.events = append(f.events, event)
	})
	f.mu.Unlock()
	signal(f.eventsWake)
}

// Left tells the other nodes that deliveries of an action are left for them to take.
func (n *Node) Left(action string) {
	if !n.Others() {
		return
	}
	n.feed.mu.Lock()
	n.feed.actions[action] = struct{}{}
	n.feed.mu.Unlock()
	signal(n.feed.dueWake)
}

// Watch says whether this node has a watcher. Once the other nodes know it,
// those who watch are told that they missed what was changed until then.
func (n *Node) Watch(watching bool) {
	if n.feed.watching.Swap(watching) == watching || !watching || !n.joined.Load() {
		return
	}
	n.run(func() {
		if n.tellWatching(n.stopped) == nil && n.Others() {
			n.options.Told(queue.Changes{Missed: true})
		}
	})
}

func (n *Node) tellWatching(ctx context.Context) error {
	if _, err := n.options.Pool.Exec(ctx, "UPDATE sessions SET watching = true WHERE id = $1", n.session); err != nil {
		return err // the next sign of life says it
	}
	epoch, err := n.Raise(ctx, n.options.Pool, false)
	if err != nil {
		return err
	}
	return n.Obeyed(ctx, epoch)
}

func (n *Node) sendEvents() {
	n.send(n.feed.eventsWake, eventsEach, func() string {
		f := &n.feed
		f.mu.Lock()
		defer f.mu.Unlock()
		kind, events := eventsMessage, f.events
		if f.missed {
			kind = missedMessage
		}
		f.events, f.missed = nil, false
		clear(f.known)
		if len(events) == 0 && kind == eventsMessage {
			return ""
		}
		return n.message(kind, events...)
	}, func() {
		n.feed.mu.Lock()
		defer n.feed.mu.Unlock()
		n.feed.missed = true
	})
}

func (n *Node) sendDue() {
	n.send(n.feed.dueWake, dueEach, func() string {
		f := &n.feed
		f.mu.Lock()
		defer f.mu.Unlock()
		var actions []string
		length := 0
		for action := range f.actions {
			action = n.options.Encode(action)
			actions = append(actions, action)
			length += len(action) + 1
		}
		clear(f.actions)
		switch {
		case len(actions) == 0:
			return ""
		case length > longestMessage-100:
			actions = nil
		}
		return n.message(dueMessage, actions...)
	}, func() {})
}

// send notifies the other nodes of what was gathered, not more often than each time.
func (n *Node) send(wake <-chan struct{}, each time.Duration, gather func() string, lost func()) {
	for {
		select {
		case <-wake:
		case <-n.stopped.Done():
			return
		}
		if message := gather(); message != "" {
			ctx, cancel := context.WithTimeout(n.stopped, n.patience())
			if _, err := n.options.Pool.Exec(ctx, "SELECT pg_notify($1, $2)", n.channel, message); err != nil {
				lost()
			}
			cancel()
		}
		if n.pause(n.stopped, each) != nil {
			return
		}
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
