package queuetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// modelSeed names the environment variable with the one seed that is to run.
const modelSeed = "QUEUETEST_SEED"

const (
	// modelSteps is the length of a sequence: long enough for a few reopenings.
	modelSteps = 200
	// modelSeeds are the sequences that every run repeats, newSeeds those that each run makes up.
	modelSeeds, newSeeds = 2, 1
	// overtaken is a sequence in which leases that went back to the table were
	// overtaken by deliveries that had waited less long.
	overtaken = 17942486779312394666
)

// RunModel drives engines with random sequences of calls, and holds what they hand out against a model
// that is a list in memory. A failure tells the seed and the calls; with QUEUETEST_SEED in the environment
// only that seed runs.
func RunModel(t *testing.T, harness func(t *testing.T) Harness) {
	var seeds []uint64
	if text := os.Getenv(modelSeed); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s is no number: %v", modelSeed, err)
		}
		seeds = append(seeds, seed)
	} else {
		for seed := range uint64(modelSeeds) {
			seeds = append(seeds, seed+1)
		}
		seeds = append(seeds, overtaken)
		for range newSeeds {
			seeds = append(seeds, rand.Uint64())
		}
	}
	for _, seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, t, harness(t))
			m := &model{fixture: f, random: rand.New(rand.NewPCG(seed, 0)), off: make(map[string]bool), waiters: make(map[string]<-chan taken)}
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("%s=%d made these calls:", modelSeed, seed)
					for _, call := range m.calls {
						t.Log(call)
					}
				}
			})
			for range modelSteps {
				m.step()
				m.checkWaiters()
			}
			m.finish()
		})
	}
}

// model is what an engine should hold.
type model struct {
	*fixture
	random *rand.Rand
	calls  []string

	events     []*event.Event
	deliveries []*modelled // in the order of their place
	off        map[string]bool
	waiters    map[string]<-chan taken // calls of Take that wait, by action
	lost       []queue.Token           // of leases that are over
}

// modelled is one delivery.
type modelled struct {
	queue.Delivery
	event int
	place int // order of receipt: by event, then within the event
	state queue.State

	// head says that no other unfinished delivery of its order key goes first.
	head bool
	// plain deliveries never had a time of their own: they are handed out in the order in which they were stored.
	plain bool

	token   queue.Token // nil: not leased
	expires time.Time
}

var modelActions = []string{"x", "y"}

func (m *model) note(format string, args ...any) {
	m.calls = append(m.calls, fmt.Sprintf("%s  ", m.Now().Format("15:04:05"))+fmt.Sprintf(format, args...))
}

func (m *model) action() string { return modelActions[m.random.IntN(len(modelActions))] }

// step makes one call.
func (m *model) step() {
	switch n := m.random.IntN(100); {
	case n < 13:
		m.store()
	case n < 18:
		m.add()
	case n < 42:
		m.takeSome(m.action())
	case n < 66:
		m.settleOne()
	case n < 74:
		m.extendOne()
	case n < 77:
		m.callTooLate()
	case n < 81:
		m.cancelOne()
	case n < 82:
		m.cancelAll(m.action())
	case n < 83:
		m.tryAll(m.action())
	case n < 84:
		m.moveAll(m.action(), m.action())
	case n < 87:
		m.tryOne()
	case n < 89:
		m.turn(m.action())
	case n < 91:
		m.turnOn()
	case n < 98:
		m.wait(m.Lease() * time.Duration(1+m.random.IntN(1+m.random.IntN(10))) / 10)
		m.checkWaiters()
		m.callTooLate()
	default:
		m.restart()
	}
}

// delivery makes up a delivery.
func (m *model) delivery() queue.Delivery {
	d := queue.Delivery{ID: newID(), Action: m.action(), OrderKey: []string{"", "k", "k"}[m.random.IntN(3)]}
	if m.random.IntN(3) == 0 {
		d.Due = m.Now().Add(m.Lease() * time.Duration(m.random.IntN(15)-5) / 10)
	}
	return d
}

// enter makes a delivery known that was stored with or added to an event.
func (m *model) enter(event int, d queue.Delivery, plain bool) {
	place := 0
	at := len(m.deliveries)
	for i, other := range m.deliveries {
		if other.event == event {
			place = max(place, other.place+1)
		}
		if other.event > event {
			at = min(at, i)
		}
	}
	entered := &modelled{Delivery: d, event: event, place: place, state: queue.Pending, plain: plain && d.Due.IsZero() && d.OrderKey == ""}
	m.deliveries = append(m.deliveries, nil)
	copy(m.deliveries[at+1:], m.deliveries[at:])
	m.deliveries[at] = entered
	m.line(entered)
	m.note("  delivery %s of event %d: action %s key %q due %v", short(d.ID), event, d.Action, d.OrderKey, d.Due)
}

func short(id string) string { return id[24:] }

// line puts a delivery at the end of the line of its order key.
func (m *model) line(d *modelled) {
	d.head = d.OrderKey != "" && m.headOf(d.Action, d.OrderKey) == nil
}

func (m *model) headOf(action, key string) *modelled {
	for _, d := range m.deliveries {
		if d.head && d.Action == action && d.OrderKey == key {
			return d
		}
	}
	return nil
}

// leave takes a delivery out of the line of its order key.
func (m *model) leave(d *modelled) {
	if d.token != nil {
		m.lost = append(m.lost, d.token)
		d.token = nil
	}
	if !d.head {
		return
	}
	d.head = false
	for _, next := range m.deliveries {
		if next != d && next.state == queue.Pending && next.Action == d.Action && next.OrderKey == d.OrderKey {
			next.head = true
			return
		}
	}
}

func (m *model) end(d *modelled, state queue.State) {
	m.leave(d)
	d.state = state
}

// leased reports whether a lease is held. Time ends leases.
func (m *model) leased(d *modelled) bool { return d.token != nil && d.expires.After(m.Now()) }

func (m *model) takeable(d *modelled) bool {
	return d.state == queue.Pending && !m.off[d.Action] && !m.leased(d) && !d.Due.After(m.Now()) && (d.OrderKey == "" || d.head)
}

// some returns the deliveries that fit.
func (m *model) some(fits func(*modelled) bool) (some []*modelled) {
	for _, d := range m.deliveries {
		if fits(d) {
			some = append(some, d)
		}
	}
	return some
}

// any returns one of the deliveries that fit, or nil.
func (m *model) any(fits func(*modelled) bool) *modelled {
	some := m.some(fits)
	if len(some) == 0 {
		return nil
	}
	return some[m.random.IntN(len(some))]
}

func (m *model) store() {
	m.note("Put")
	var entries []queue.Entry
	for range 1 + m.random.IntN(3) {
		e := m.entry()
		for range m.random.IntN(4) {
			e.Deliveries = append(e.Deliveries, m.delivery())
		}
		entries = append(entries, e)
		m.events = append(m.events, e.Event)
		for _, d := range e.Deliveries {
			m.enter(len(m.events)-1, d, true)
		}
	}
	m.putAll(entries...)
}

func (m *model) add() {
	if len(m.events) == 0 {
		return
	}
	event := m.random.IntN(len(m.events))
	m.note("Amend event %d", event)
	amendment := queue.Amendment{Event: m.events[event].ID}
	for range 1 + m.random.IntN(2) {
		d := m.delivery()
		amendment.Deliveries = append(amendment.Deliveries, d)
		m.enter(event, d, false)
	}
	m.amend(amendment)
}

// takeSome takes deliveries of an action. If the model has none, it lets a call of Take wait for the first.
func (m *model) takeSome(action string) {
	if m.waiters[action] != nil {
		return
	}
	if m.any(func(d *modelled) bool { return d.Action == action && m.takeable(d) }) == nil {
		m.note("Take %s, which waits", action)
		m.waiters[action] = m.waiting(action)
		return
	}
	n := 1 + m.random.IntN(4)
	leases, err := m.Take(m.patient(), action, n)
	if err != nil || len(leases) == 0 || len(leases) > n {
		m.Fatalf("Take of %d of %s gave %s and %v", n, action, ids(leases), err)
	}
	m.handedOut(action, leases)
}

// handedOut holds leases against the model.
func (m *model) handedOut(action string, leases []queue.Lease) {
	m.Helper()
	for _, lease := range leases {
		m.note("Take %s gave %s", action, short(lease.Delivery.ID))
		d := m.any(func(d *modelled) bool { return d.ID == lease.Delivery.ID })
		if d == nil || d.Action != action || !m.takeable(d) {
			m.Fatalf("Take(%s) gave %s, which must not be handed out: %+v", action, short(lease.Delivery.ID), d)
		}
		if lease.Event == nil || lease.Event.ID != m.events[d.event].ID {
			m.Fatalf("delivery %s comes with event %v, want %s", short(d.ID), lease.Event, m.events[d.event].ID)
		}
		equal(m.fixture, "number of attempts", lease.Delivery.Attempts, d.Attempts)
		equal(m.fixture, "order key", lease.Delivery.OrderKey, d.OrderKey)
		equalTime(m.fixture, "first attempt", lease.Delivery.FirstAttempt, d.FirstAttempt)
		if d.plain {
			for _, before := range m.deliveries {
				if before == d {
					break
				}
				if before.plain && before.Action == action && m.takeable(before) && before.token == nil {
					m.Fatalf("Take(%s) gave %s before %s, which was stored before it", action, short(d.ID), short(before.ID))
				}
			}
		}
		if d.token != nil {
			m.lost = append(m.lost, d.token)
		}
		d.token, d.expires = lease.Token, m.Now().Add(m.Lease())
	}
}

// checkWaiters lets those calls of Take return that have something to return.
func (m *model) checkWaiters() {
	for _, action := range modelActions {
		done := m.waiters[action]
		if done == nil {
			continue
		}
		if m.any(func(d *modelled) bool { return d.Action == action && m.takeable(d) }) == nil {
			select {
			case got := <-done:
				m.Fatalf("the waiting Take(%s) gave %s and %v, and nothing is due", action, ids(got.leases), got.err)
			default:
			}
			continue
		}
		got := <-done
		if got.err != nil || len(got.leases) != 1 {
			m.Fatalf("the waiting Take(%s) gave %s and %v", action, ids(got.leases), got.err)
		}
		delete(m.waiters, action)
		m.handedOut(action, got.leases)
	}
}

func (m *model) settleOne() {
	d := m.any(m.leased)
	if d == nil {
		return
	}
	s := queue.Settlement{State: []queue.State{queue.Pending, queue.Pending, queue.Delivered, queue.Delivered, queue.Failed, queue.Expired}[m.random.IntN(6)]}
	if m.random.IntN(4) > 0 {
		s.Attempt = m.attempt(200, "")
		if d.Attempts == 0 {
			d.FirstAttempt = s.Attempt.Began
		}
		d.Attempts++
	}
	token := d.token
	if s.State == queue.Pending {
		s.Again = m.Now().Add(m.Lease() * time.Duration(m.random.IntN(15)-3) / 10)
		d.Due, d.plain = s.Again, false
		m.lost = append(m.lost, token)
		d.token = nil
	} else {
		m.end(d, s.State)
	}
	m.note("Settle %s: %s, again %v", short(d.ID), s.State, s.Again)
	m.settle(queue.Lease{Token: token}, s)
}

func (m *model) extendOne() {
	d := m.any(m.leased)
	if d == nil {
		return
	}
	by := m.Lease() * time.Duration(m.random.IntN(25)) / 10
	m.note("Extend %s by %v", short(d.ID), by)
	if err := m.Extend(m.patient(), d.token, by); err != nil {
		m.Fatalf("Extend: %v", err)
	}
	if expires := m.Now().Add(by); expires.After(d.expires) {
		d.expires = expires
	}
}

// callTooLate settles and extends a lease that is over, preferably one that has just expired.
func (m *model) callTooLate() {
	var token queue.Token
	if expired := m.any(func(d *modelled) bool { return d.token != nil && !m.leased(d) }); expired != nil {
		token = expired.token
	} else if len(m.lost) > 0 {
		token = m.lost[m.random.IntN(len(m.lost))]
	} else {
		return
	}
	m.note("Extend and Settle of a lease that is over")
	m.fixture.lost("Extend of a lease that is over", m.Extend(m.patient(), token, m.Lease()))
	m.fixture.lost("Settle of a lease that is over", m.Settle(token, queue.Settlement{State: queue.Delivered}))
}

func (m *model) cancelOne() {
	d := m.any(func(d *modelled) bool { return d.state == queue.Pending || m.random.IntN(20) == 0 })
	if d == nil {
		return
	}
	m.note("Change: cancel %s", short(d.ID))
	n := 0
	if d.state == queue.Pending {
		n = 1
		m.end(d, queue.Cancelled)
	}
	equal(m.fixture, "number of cancelled deliveries", m.change(queue.Change{CancelDelivery: d.ID}).Deliveries, n)
}

// tryOne makes a delivery due, unless it is leased.
func (m *model) tryOne() {
	d := m.any(func(d *modelled) bool { return d.state == queue.Pending || m.random.IntN(20) == 0 })
	if d == nil {
		return
	}
	m.note("Change: try %s", short(d.ID))
	want := queue.Changed{}
	switch {
	case d.state != queue.Pending:
	case m.leased(d):
		want.Leased = 1
	default:
		want.Deliveries = 1
		d.Due, d.plain = time.Time{}, false
	}
	equal(m.fixture, "what trying changed", m.change(queue.Change{TryDelivery: d.ID}), want)
}

func (m *model) tryAll(action string) {
	m.note("Change: try all of %s", action)
	n := 0
	for _, d := range m.unfinished(action) {
		if d.Due.After(m.Now()) {
			d.Due, d.plain = time.Time{}, false
			n++
		}
	}
	equal(m.fixture, "number of tried deliveries", m.change(queue.Change{TryAction: action}).Deliveries, n)
}

func (m *model) unfinished(action string) []*modelled {
	return m.some(func(d *modelled) bool { return d.Action == action && d.state == queue.Pending })
}

func (m *model) cancelAll(action string) {
	m.note("Change: cancel all of %s", action)
	all := m.unfinished(action)
	for _, d := range all {
		m.end(d, queue.Cancelled)
	}
	equal(m.fixture, "number of cancelled deliveries", m.change(queue.Change{CancelAction: action}).Deliveries, len(all))
}

func (m *model) moveAll(from, to string) {
	if from == to {
		return
	}
	m.note("Change: move %s to %s", from, to)
	all := m.unfinished(from)
	for _, d := range all {
		m.leave(d)
		d.Action, d.plain = to, false
		m.line(d)
	}
	equal(m.fixture, "number of moved deliveries", m.change(queue.Change{Move: &queue.Move{From: from, To: to}}).Deliveries, len(all))
}

func (m *model) turn(action string) {
	m.off[action] = !m.off[action]
	m.note("Change: %s is off: %v", action, m.off[action])
	m.change(queue.Change{Switch: &queue.Switch{Kind: queue.SwitchAction, Name: action, Off: m.off[action]}})
}

func (m *model) turnOn() {
	for _, action := range modelActions {
		if m.off[action] {
			m.turn(action)
		}
	}
}

func (m *model) wait(d time.Duration) {
	m.note("%v pass", d)
	m.Advance(d)
}

func (m *model) restart() {
	m.note("Close and Open")
	if err := m.Engine.Close(); err != nil {
		m.Fatalf("closing: %v", err)
	}
	for action, done := range m.waiters {
		if got := <-done; !errors.Is(got.err, queue.ErrClosed) {
			m.Fatalf("the waiting Take(%s) ended with %s and %v, want ErrClosed", action, ids(got.leases), got.err)
		}
	}
	clear(m.waiters)
	m.open()
	for _, d := range m.deliveries {
		d.token = nil
	}
	m.lost = nil
	m.checkBacklog()
}

// checkBacklog compares what is unfinished, once all is written.
func (m *model) checkBacklog() {
	m.Helper()
	waiting := make(map[string]int)
	backlog, err := m.Backlog(m.patient())
	if err != nil {
		m.Fatalf("Backlog: %v", err)
	}
	for _, b := range backlog {
		waiting[b.Action] = b.Count
	}
	for _, action := range modelActions {
		equal(m.fixture, "number of unfinished deliveries of "+action, waiting[action], len(m.unfinished(action)))
	}
}

// finish carries out all that is left, and looks at what the history says about it.
func (m *model) finish() {
	m.note("the end")
	m.turnOn()
	m.checkWaiters()
	m.wait(10 * m.Lease())
	m.checkWaiters()
	for range len(m.deliveries) + 1 {
		for _, d := range m.some(m.leased) {
			token := d.token
			m.end(d, queue.Delivered)
			d.Attempts++
			m.settle(queue.Lease{Token: token}, queue.Settlement{State: queue.Delivered, Attempt: m.attempt(200, "")})
		}
		m.checkWaiters()
		for _, action := range modelActions {
			m.takeSome(action)
		}
		if len(m.waiters) == len(modelActions) && len(m.some(m.leased)) == 0 {
			break
		}
	}
	if left := m.some(func(d *modelled) bool { return d.state == queue.Pending }); len(left) > 0 {
		m.Fatalf("the model never ends %s", short(left[0].ID))
	}
	m.restart()
	for _, d := range m.deliveries {
		found := m.find(d.ID).Summary.Deliveries[d.place]
		if found.ID != d.ID || found.State != d.state || found.Attempts != d.Attempts || found.Action != d.Action {
			m.Errorf("the history has %+v, want delivery %s of %s: %s after %d attempts", found, d.ID, d.Action, d.state, d.Attempts)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.Soon())
	defer cancel()
	if leases, err := m.Take(ctx, "x", 1); len(leases) > 0 || !errors.Is(err, context.DeadlineExceeded) {
		m.Errorf("in the end Take gave %s and %v, want nothing", ids(leases), err)
	}
}
