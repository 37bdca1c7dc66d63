package postgres

import (
	"container/heap"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/cluster"
)

// lane is what this node knows of one action. DB.mu guards it.
type lane struct {
	name string
	id   int32 // actions.id, 0 until stored

	barred int           // changes of this node that are under way
	wake   chan struct{} // has room for one wake-up
	takers int           // calls of Take that wait

	// ready are the deliveries that this node has leased and no taker has yet.
	ready    ready
	reserved int   // deliveries that a put is about to add
	bytes    int64 // estimated memory of the events of ready

	// tableFrom is when the table may have something due, as far as this node knows;
	// zero: right now.
	tableFrom time.Time
	// looked is when the table was last looked through, by the real clock also in tests.
	looked time.Time
	// lookedFor is how long that took.
	lookedFor time.Duration
	fetching  bool
	ahead     int // how many deliveries the next look may take ahead

	unwritten int // settlements that are not committed
	returning int // leases that are on the way back to the table

	second      int64 // which second taken counts
	taken       int
	takenBefore int
}

// never is a time that does not come.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// unwrittenLimit is how many settlements of one action may wait for a commit
// before its takers have to wait as well.
const unwrittenLimit = 16384

// lane returns what is known of an action. DB.mu is held.
func (db *DB) lane(name string) *lane {
	l := db.lanes[name]
	if l == nil {
		l = &lane{name: name, wake: make(chan struct{}, 1)}
		db.lanes[name] = l
	}
	return l
}

// signal wakes one taker, which signals the next if it leaves something.
func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// open reports whether this node may hand out deliveries of an action, whatever others
// changed. DB.mu is held.
func (db *DB) open(l *lane) bool {
	return !db.receiveOnly.Load() && l.barred == 0 && l.unwritten < unwrittenLimit && (l.unwritten == 0 || !db.unwritable)
}

// count counts what takers took, to know how many deliveries they can use soon.
func (l *lane) count(now time.Time, n int) {
	if second := now.Unix(); second != l.second {
		l.takenBefore = l.taken
		if second != l.second+1 {
			l.takenBefore = 0
		}
		l.second, l.taken = second, 0
	}
	l.taken += n
}

// leastReady is how many deliveries may be ready for takers, however slow those are.
const leastReady = 64

// room returns how many more deliveries takers can use soon: about what they took in
// the last second. What other nodes could do meanwhile is not kept from them: a node
// that is alone takes what it has memory for. DB.mu is held.
func (db *DB) room(l *lane) int {
	l.count(db.now(), 0)
	most := db.options.limits.ready
	if db.nodes.self.Others() {
		most = min(max(leastReady, 2*max(l.taken, l.takenBefore)), most)
	}
	if l.bytes > db.options.limits.readyBytes || db.readyBytes > db.options.limits.totalBytes {
		return 0
	}
	return most - len(l.ready) - l.reserved
}

// reserve reports whether a delivery that is about to be stored goes to a taker of this
// node at once. While the table has something due, it goes behind that. DB.mu is held.
func (db *DB) reserve(l *lane, mark mark) bool {
	if l.takers == 0 && l.taken+l.takenBefore == 0 || !l.tableFrom.After(db.now()) || !db.open(l) || l.returning > 0 || !db.lends(l, mark) || db.room(l) < 1 {
		return false
	}
	l.reserved++
	return true
}

// lease is a delivery that this node has leased. It is the content of a token. DB.mu
// guards what changes.
type lease struct {
	lane     *lane
	delivery int64
	number   int32 // waiting.lease
	place    int64 // waiting.place
	keyHash  *int64
	since    int64 // when it began to wait, for latencies
	test     bool
	fresh    bool      // since it was stored no other had it, so that nothing is noted of it
	expires  time.Time // by this machine's clock
	mark     mark      // from before it was leased
	content  queue.Delivery
	event    *event.Event
	size     int64
	eventID  string

	over  bool // settled, lost, or given back
	index int  // place in lane.ready, -1 when not there
}

// lease is the lease for its taker.
func (l *lease) lease() queue.Lease {
	return queue.Lease{Token: l, Delivery: l.content, Event: l.event, Expires: l.expires}
}

// before reports whether a delivery goes before another.
func (l *lease) before(other *lease) bool {
	if l.place != other.place {
		return l.place < other.place
	}
	return l.delivery < other.delivery
}

// ready is a heap of leases, the longest waiting first.
type ready []*lease

func (r ready) Len() int           { return len(r) }
func (r ready) Less(i, j int) bool { return r[i].before(r[j]) }
func (r ready) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].index, r[j].index = i, j
}
func (r *ready) Push(x any) {
	x.(*lease).index = len(*r)
	*r = append(*r, x.(*lease))
}
func (r *ready) Pop() any {
	last := len(*r) - 1
	l := (*r)[last]
	(*r)[last] = nil
	*r = (*r)[:last]
	l.index = -1
	return l
}

// keep takes a lease into memory, for the next taker. DB.mu is held.
func (db *DB) keep(l *lease) {
	db.leases[l.delivery] = l
	l.lane.bytes += l.size
	db.readyBytes += l.size
	heap.Push(&l.lane.ready, l)
}

// unready takes a lease out of what is ready. DB.mu is held.
func (db *DB) unready(l *lease) {
	if l.index >= 0 {
		heap.Remove(&l.lane.ready, l.index)
		l.lane.bytes -= l.size
		db.readyBytes -= l.size
	}
}

// forget ends a lease in memory. DB.mu is held.
func (db *DB) forget(l *lease) {
	db.unready(l)
	l.over = true
	if db.leases[l.delivery] == l {
		delete(db.leases, l.delivery)
	}
}

// lose ends the lease of a delivery that was cancelled or moved. DB.mu is held.
func (db *DB) lose(delivery int64) {
	if l := db.leases[delivery]; l != nil {
		db.forget(l)
	}
}

// hand takes up to n deliveries that are ready. Those whose lease has been used up by
// waiting, and those that a change may forbid, go back to the table. DB.mu is held.
func (db *DB) hand(l *lane, n int) (leases []queue.Lease) {
	now := db.now()
	if most := min(n, len(l.ready)); most > 0 {
		leases = make([]queue.Lease, 0, most)
	}
	for len(leases) < n && len(l.ready) > 0 {
		first := l.ready[0]
		if first.expires.Sub(now) < db.options.Lease*2/3 || !db.lends(l, first.mark) {
			db.forget(first)
			db.back(first)
			continue
		}
		if l.returning > 0 {
			break
		}
		db.unready(first)
		leases = append(leases, first.lease())
	}
	l.count(now, len(leases))
	return leases
}

// recall takes back from memory what no taker of an action has yet. DB.mu is held.
func (db *DB) recall(l *lane) (leases []*lease) {
	for len(l.ready) > 0 {
		first := l.ready[0]
		db.forget(first)
		leases = append(leases, first)
	}
	return leases
}

// back has the settler give leases back to the table. Until it has, nothing of their
// actions is handed out here: they go first. DB.mu is held.
func (db *DB) back(leases ...*lease) {
	for _, l := range leases {
		l.lane.returning++
	}
	db.giveBack = append(db.giveBack, leases...)
	if len(leases) > 0 {
		db.wakeSettler()
	}
}

// returned notes that leases are in the table again, or will be once they have run out.
func (db *DB) returned(leases []*lease) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, l := range leases {
		if l.lane.returning--; l.lane.returning == 0 {
			l.lane.signal()
		}
	}
}

const giveBackLeases = `UPDATE waiting w SET leased_until = NULL, owner = NULL FROM unnest($1::integer[], $2::bigint[], $3::integer[]) AS u(action, delivery, lease)
	WHERE w.action = u.action AND w.delivery = u.delivery AND w.lease = u.lease AND w.owner = $4`

// returnLeases ends leases in the table, as if they had never been. It does not wait for
// the disk: after a crash they only run out by themselves.
func (db *DB) returnLeases(ctx context.Context, to sender, leases []*lease) error {
	if len(leases) == 0 {
		return nil
	}
	actions, deliveries, numbers := make([]int32, len(leases)), make([]int64, len(leases)), make([]int32, len(leases))
	for i, l := range leases {
		actions[i], deliveries[i], numbers[i] = l.lane.id, l.delivery, l.number
	}
	b := &pgx.Batch{}
	b.Queue(cluster.WithoutSync)
	b.Queue(giveBackLeases, actions, deliveries, numbers, db.nodes.session)
	if err := to.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, l := range leases {
		db.due(l.lane, db.now())
	}
	return nil
}

// due notes that the table has something of an action that is due at a time. DB.mu is
// held.
func (db *DB) due(l *lane, at time.Time) {
	if at.Before(l.tableFrom) {
		l.tableFrom = at
	}
	if l.takers > 0 {
		l.signal()
	}
}
