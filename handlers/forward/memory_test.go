package forward

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// memory is a queue that keeps everything in memory and tells tests what it
// saw. Leases last as long as a test wants.
type memory struct {
	now   func() time.Time
	lease time.Duration
	// loseLeases makes Extend say that the lease is lost.
	loseLeases bool
	// failTakes makes as many calls of Take fail.
	failTakes int
	// settled is told of settlements, if set.
	settled func(queue.Delivery, queue.Settlement)
	// taken is called once, between taking and returning.
	taken func()

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when something changes
	waiting  []*remembered
	byID     map[string]*remembered
	takers   map[string]int
	takes    int
	mostAsk  int
	extended []time.Duration
	closed   bool
}

type remembered struct {
	delivery queue.Delivery
	event    *event.Event
	state    queue.State
	token    int
	leased   bool
	attempts []queue.Attempt
	// given counts how often it was given back without an attempt.
	given int
}

func newMemory(now func() time.Time) *memory {
	return &memory{now: now, lease: time.Hour, changed: make(chan struct{}), byID: map[string]*remembered{}, takers: map[string]int{}}
}

func (m *memory) wake() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// add puts deliveries of an action and returns their ids.
func (m *memory) add(action string, event *event.Event, n int) []string {
	return m.addExpiring(action, event, time.Time{}, n)
}

// addExpiring is add for deliveries that expire at a time.
func (m *memory) addExpiring(action string, event *event.Event, expires time.Time, n int) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for range n {
		id := uuid.Must(uuid.NewV7()).String()
		r := &remembered{delivery: queue.Delivery{ID: id, Action: action, Expires: expires}, event: event, state: queue.Pending}
		m.byID[id] = r
		m.waiting = append(m.waiting, r)
		ids = append(ids, id)
	}
	m.sort()
	m.wake()
	return ids
}

// get returns what became of a delivery.
func (m *memory) get(id string) remembered {
	m.mu.Lock()
	defer m.mu.Unlock()
	return *m.byID[id]
}

// poke makes takers look at the clock again.
func (m *memory) poke() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wake()
}

// leased returns how many deliveries are leased.
func (m *memory) leased() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, r := range m.byID {
		if r.leased {
			n++
		}
	}
	return n
}

// givenBack returns how often deliveries were given back without an attempt.
func (m *memory) givenBack() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, r := range m.byID {
		if r.state == queue.Pending {
			n += r.given
		}
	}
	return n
}

// idle returns how many goroutines wait in Take for an action.
func (m *memory) idle(action string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.takers[action]
}

func (m *memory) Put(context.Context, []queue.Entry) ([]queue.Receipt, error) {
	return nil, queue.ErrFull
}

func (m *memory) Take(ctx context.Context, action string, n int) ([]queue.Lease, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.takers[action]++
	m.takes++
	m.mostAsk = max(m.mostAsk, n)
	defer func() { m.takers[action]-- }()
	if m.failTakes > 0 {
		m.failTakes--
		return nil, fmt.Errorf("taking: disk on fire")
	}
	for {
		if m.closed {
			return nil, queue.ErrClosed
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var leases []queue.Lease
		kept := m.waiting[:0]
		for _, r := range m.waiting {
			if r.delivery.Action != action || len(leases) == n || m.now().Before(r.delivery.Due) {
				kept = append(kept, r)
				continue
			}
			r.leased = true
			r.token++
			leases = append(leases, queue.Lease{Token: [2]any{r.delivery.ID, r.token}, Delivery: r.delivery, Event: r.event, Expires: m.now().Add(m.lease)})
		}
		m.waiting = kept
		if len(leases) > 0 {
			if taken := m.taken; taken != nil {
				m.taken = nil
				m.mu.Unlock()
				taken()
				m.mu.Lock()
			}
			return leases, nil
		}
		changed := m.changed
		m.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		m.mu.Lock()
	}
}

func (m *memory) held(token queue.Token) *remembered {
	parts := token.([2]any)
	r := m.byID[parts[0].(string)]
	if !r.leased || r.token != parts[1] {
		return nil
	}
	return r
}

func (m *memory) Extend(_ context.Context, token queue.Token, d time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.extended = append(m.extended, d)
	if m.loseLeases || m.held(token) == nil {
		return queue.ErrLeaseLost
	}
	return nil
}

func (m *memory) Settle(token queue.Token, s queue.Settlement) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer m.wake()
	r := m.held(token)
	if r == nil {
		return queue.ErrLeaseLost
	}
	if m.settled != nil {
		m.settled(r.delivery, s)
	}
	r.leased, r.state, r.delivery.Due = false, s.State, s.Again
	if s.Attempt != nil {
		r.attempts = append(r.attempts, *s.Attempt)
		r.delivery.Attempts++
		if r.delivery.FirstAttempt.IsZero() {
			r.delivery.FirstAttempt = s.Attempt.Began
		}
	} else {
		r.given++
	}
	if s.State == queue.Pending {
		m.waiting = append(m.waiting, r)
		m.sort()
	}
	return nil
}

// sort lets those that have been due longest go first, as the queue promises:
// what is added goes before what was attempted already.
func (m *memory) sort() {
	slices.SortStableFunc(m.waiting, func(a, b *remembered) int { return a.delivery.Due.Compare(b.delivery.Due) })
}

func (m *memory) Change(context.Context, queue.Change) (queue.Changed, error) {
	return queue.Changed{}, nil
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.wake()
	return nil
}

func (m *memory) Amend(context.Context, []queue.Amendment) error {
	return errors.New("amending is not part of what these tests need")
}

var _ queue.Queue = (*memory)(nil)
