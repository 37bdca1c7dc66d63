package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/cluster"
)

// takeDue leases what is due, the longest waiting first. What other nodes are about to
// lease is passed over. A lease that has run out counts as none. Of an action that one
// node at a time takes, no lease lasts longer than the node holds its lane.
//
// Because of the array the server looks each one up by its key: a limit that it does not
// know it takes for a tenth of the table.
const takeDue = `WITH due AS (
		SELECT delivery FROM waiting WHERE action = $1 AND place <= now_us() AND (leased_until IS NULL OR leased_until <= now_us())
			AND NOT EXISTS (SELECT 1 FROM actions WHERE id = $1 AND (paused OR barred_until > now_us()))
			AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM lanes WHERE action = $5 AND session = $4 AND until > now_us()))
		ORDER BY place, delivery LIMIT $2 FOR UPDATE SKIP LOCKED
	), t AS (
		UPDATE waiting w SET leased_until = least(now_us() + $3::bigint, (SELECT until FROM lanes WHERE action = $5)), owner = $4, lease = w.lease + 1
		WHERE w.action = $1 AND w.delivery = ANY(ARRAY(SELECT delivery FROM due))
		RETURNING w.delivery, w.lease, w.place, w.since, w.attempts, w.first_attempt, w.order_key, w.key_hash
	)
	SELECT t.delivery, t.lease, t.place, t.since, t.attempts, t.first_attempt, t.order_key, t.key_hash,
		e.uuid, e.received, coalesce(k.source, ''), coalesce(k.event, ''), e.test, e.subject, e.deliveries, e.record, e.body, e.checksum
	FROM t LEFT JOIN events e ON e.id = t.delivery >> 11 LEFT JOIN kinds k ON k.id = e.kind ORDER BY t.place, t.delivery`

// nextDue is in how many microseconds the first is due that is not leased now.
const nextDue = `SELECT place - now_us() FROM waiting WHERE action = $1 AND place < 4611686018427387904 AND (leased_until IS NULL OR leased_until <= now_us())
	AND NOT EXISTS (SELECT 1 FROM actions WHERE id = $1 AND (paused OR barred_until > now_us())) ORDER BY place LIMIT 1`

// Take implements queue.Queue.
func (db *DB) Take(ctx context.Context, name string, n int) ([]queue.Lease, error) {
	if n < 1 {
		return nil, fmt.Errorf("taking deliveries of %s: n is %d and must be at least 1", name, n)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	l := db.lane(name)
	l.takers++
	defer func() { l.takers-- }()
	for {
		if db.closing {
			return nil, fmt.Errorf("taking deliveries of %s: %w", name, queue.ErrClosed)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		wait := db.options.limits.poll
		if db.opened && db.open(l) && l.returning == 0 && !db.nodes.self.Paused(name) {
			var leases []queue.Lease
			if db.mustLook(l) {
				leases = db.look(l, n)
			} else {
				leases = db.hand(l, n)
			}
			if len(leases) > 0 {
				if len(l.ready) > 0 || !l.tableFrom.After(db.now()) {
					l.signal()
				}
				return leases, nil
			}
			wait = db.untilLook(l)
		}
		db.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-l.wake:
		case <-timer.C:
		case <-db.closed:
		case <-ctx.Done():
		}
		timer.Stop()
		db.mu.Lock()
	}
}

// mustLook reports whether the table must be looked through: it has something due, or
// what other nodes left has not been looked for lately. A look that took long is not
// soon followed by another. DB.mu is held.
func (db *DB) mustLook(l *lane) bool {
	if l.fetching {
		return false
	}
	now := db.now()
	return !l.tableFrom.After(now) || time.Since(l.looked) >= max(db.options.limits.poll, 20*l.lookedFor)
}

// untilLook is how long it takes until mustLook. DB.mu is held.
func (db *DB) untilLook(l *lane) time.Duration {
	now := db.now()
	wait := max(db.options.limits.poll, 20*l.lookedFor) - time.Since(l.looked)
	return max(min(wait, l.tableFrom.Sub(now)), 5*time.Millisecond)
}

// A look takes up to so many deliveries more than a taker asked for, if looks follow
// each other soon: then takers are fast, and the table has many. It takes fewer if their
// events are large, and never keeps many more bytes than limits.lookBytes.
const mostAhead = 256

// look takes up to n deliveries of an action, from the table and of what is ready, the
// longest waiting first. DB.mu is held, but not while the database is asked.
func (db *DB) look(l *lane, n int) []queue.Lease {
	l.fetching = true
	began := db.now()
	if time.Since(l.looked) > 100*time.Millisecond {
		l.ahead = 0
	}
	mark, limit := db.mark(), n
	lasts, one := db.options.Lease, db.oneNode(l.name)
	if one != nil {
		lasts -= lasts / cluster.LaneAgain
	}
	if db.lends(l, mark) {
		limit += max(min(l.ahead, db.room(l)), 0)
	}
	// What becomes due while the table is looked through is looked for again.
	l.tableFrom = never
	id := l.id
	db.fetches.Add(1)
	defer db.fetches.Done()
	db.mu.Unlock()
	started := time.Now()
	leases, over, next, err := db.fetch(l, id, limit, one)
	took := time.Since(started)
	db.mu.Lock()
	l.fetching = false
	l.looked, l.lookedFor = started, took
	if err != nil {
		l.tableFrom = began.Add(db.options.limits.poll)
		if !errors.Is(err, queue.ErrClosed) && !errors.Is(err, queue.ErrUnavailable) && !db.closing {
			db.logger.Error("taking waiting deliveries", zap.String("action", l.name), zap.Error(err))
		}
		return nil
	}
	l.ahead = 0
	if len(leases)+len(over) == limit {
		l.tableFrom = time.Time{}
		bytes := int64(1)
		for _, taken := range leases {
			bytes += taken.size
		}
		l.ahead = min(2*limit, mostAhead, int(db.options.limits.lookBytes*int64(len(leases))/bytes))
	} else if next != nil {
		if at := began.Add(time.Duration(*next) * time.Microsecond); at.Before(l.tableFrom) {
			l.tableFrom = at
		}
	}
	if l.takers > 1 {
		l.signal()
	}
	var handed []queue.Lease
	for _, taken := range leases {
		taken.expires, taken.mark = began.Add(lasts), mark
		if db.closing || !db.open(l) {
			taken.over = true
			db.back(taken)
			continue
		}
		// What the statement found is what may be taken, whatever is lent: but for
		// what is ready and has waited longer.
		for len(handed) < n && len(l.ready) > 0 && l.ready[0].before(taken) && l.returning == 0 {
			handed = append(handed, db.hand(l, 1)...)
		}
		db.keep(taken)
		if len(handed) < n && l.returning == 0 {
			db.unready(taken)
			handed = append(handed, taken.lease())
		}
	}
	if len(handed) < n && len(over) == 0 {
		handed = append(handed, db.hand(l, n-len(handed))...)
	}
	db.back(over...)
	l.count(db.now(), len(leases))
	return handed
}

// fetch leases deliveries in the table. Those for whose events there is no memory are
// over, and to be given back. If there are fewer than the limit it returns in
// how many microseconds the next is due, nil if there is none. Nothing is used before
// the statement has ended: its rows come while it may still fail.
func (db *DB) fetch(l *lane, id int32, limit int, one *string) (leases, over []*lease, next *int64, err error) {
	// A query that is cut off leaves leases that no taker has.
	ctx := context.Background()
	err = db.withConnection(ctx, func(conn *pgxpool.Conn) error {
		if one != nil {
			if lane, err := db.nodes.self.Hold(ctx, conn, l.name, db.options.Lease); err != nil || lane != cluster.LaneOfThis {
				return err
			}
		}
		if id == 0 {
			if err := db.storeActionsOf(ctx, conn, []*lane{l}); err != nil {
				return err
			}
			db.mu.Lock()
			id = l.id
			db.mu.Unlock()
		}
		rows, err := conn.Query(ctx, takeDue, id, limit, db.options.Lease.Microseconds(), db.nodes.session, one)
		if err != nil {
			return err
		}
		defer rows.Close()
		var taken, tooMuch []*lease
		bytes := int64(0)
		for rows.Next() {
			var r takenRow
			if bytes > db.options.limits.lookBytes {
				// The event stays on the way.
				if err := rows.Scan(&r.delivery, &r.lease, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil, nil); err != nil {
					return err
				}
				tooMuch = append(tooMuch, &lease{lane: l, delivery: r.delivery, number: r.lease, over: true, index: -1})
				continue
			}
			if err := rows.Scan(&r.delivery, &r.lease, &r.place, &r.since, &r.attempts, &r.first, &r.orderKey, &r.keyHash,
				&r.uuid, &r.received, &r.source, &r.name, &r.test, &r.subject, &r.plans, &r.record, &r.body, &r.checksum); err != nil {
				return err
			}
			taken = append(taken, db.decode(l, &r))
			bytes += taken[len(taken)-1].size
		}
		if err := rows.Err(); err != nil {
			return err
		}
		// This may run a second time, on another connection, after the statement was
		// undone.
		if leases, over = taken, tooMuch; len(leases)+len(over) == limit {
			return nil
		}
		soonest, err := conn.Query(ctx, nextDue, id)
		if err != nil {
			return err
		}
		defer soonest.Close()
		for soonest.Next() {
			if err := soonest.Scan(&next); err != nil {
				return err
			}
		}
		return soonest.Err()
	})
	if err != nil {
		// What was leased all the same is due again once that has run out.
		return nil, nil, nil, reached(err)
	}
	return leases, over, next, nil
}

// takenRow is a row of takeDue.
type takenRow struct {
	delivery     int64
	lease        int32
	place        int64
	since        *int64
	attempts     int
	first        *int64
	orderKey     []byte
	keyHash      *int64
	uuid         pgtype.UUID
	received     *int64
	source, name string
	test         *bool
	subject      *string
	plans        *string
	record, body []byte
	checksum     *int64
}

// decode makes a lease of a row. A row that cannot be read gives one without an event,
// which its taker fails.
func (db *DB) decode(l *lane, r *takenRow) *lease {
	taken := &lease{
		lane: l, delivery: r.delivery, number: r.lease, place: r.place, keyHash: r.keyHash, size: layout.EventSize(len(r.record), len(r.body)), index: -1,
		content: queue.Delivery{Action: l.name, OrderKey: string(r.orderKey), Attempts: r.attempts},
	}
	if r.first != nil {
		taken.content.FirstAttempt = layout.FromMicros(*r.first)
	}
	if r.received == nil {
		db.unreadable("", fmt.Errorf("delivery %d of %s waits and has no event", r.delivery, l.name))
		return taken
	}
	taken.since, taken.test, taken.eventID = *r.received, *r.test, uuid.UUID(r.uuid.Bytes).String()
	if r.since != nil {
		taken.since = *r.since
	}
	var list []byte
	if r.plans != nil {
		list = []byte(decodeText(*r.plans))
	}
	plan, err := layout.StoredDelivery(list, layout.PlaceOf(r.delivery))
	if err == nil {
		taken.content.ID, taken.content.Of = plan.ID, plan.Of
		if plan.Due != 0 || r.place > taken.since {
			taken.content.Due = layout.FromMicros(r.place)
		}
		if plan.Expires != 0 {
			taken.content.Expires = layout.FromMicros(plan.Expires)
		}
		subject, sum := "", int64(layout.NoChecksum)
		if r.subject != nil {
			subject = decodeText(*r.subject)
		}
		if r.checksum != nil {
			sum = *r.checksum
		}
		taken.event, err = layout.DecodeEvent(r.record, r.body, sum, taken.eventID, decodeText(r.source), decodeText(r.name), subject, *r.received)
	}
	db.unreadable(taken.eventID, err)
	return taken
}

const extendLease = `UPDATE waiting SET leased_until = greatest(leased_until, now_us() + $4::bigint) WHERE action = $1 AND delivery = $2 AND lease = $3 AND leased_until > now_us()
	AND ($5::text IS NULL OR EXISTS (SELECT 1 FROM lanes WHERE action = $5 AND session = $6 AND until >= now_us() + $4))`

// Extend implements queue.Queue.
func (db *DB) Extend(ctx context.Context, token queue.Token, d time.Duration) error {
	if err := db.extend(ctx, token, d); err != nil {
		return fmt.Errorf("extending a lease: %w", err)
	}
	return nil
}

func (db *DB) extend(ctx context.Context, token queue.Token, d time.Duration) error {
	db.mu.Lock()
	l, err := db.holds(token)
	db.mu.Unlock()
	if err != nil {
		return err
	}
	began := db.now()
	held := false
	if err := db.withConnection(ctx, func(conn *pgxpool.Conn) error {
		one := db.oneNode(l.lane.name)
		if one != nil {
			// Somewhat longer, for the time until the lease is extended.
			lane, err := db.nodes.self.Hold(ctx, conn, l.lane.name, d+db.options.Lease/cluster.LaneAgain)
			switch {
			case err != nil || lane == cluster.LaneOfAnother:
				return err
			case lane == cluster.LaneFree:
				one = nil // it was leased before there was a lane
			}
		}
		done, err := conn.Exec(ctx, extendLease, l.lane.id, l.delivery, l.number, (d + time.Microsecond - 1).Microseconds(), one, db.nodes.session)
		held = done.RowsAffected() > 0
		return err
	}); err != nil {
		return reached(err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if !held {
		db.forget(l)
		return queue.ErrLeaseLost
	}
	if expires := began.Add(d); expires.After(l.expires) {
		l.expires = expires
	}
	return nil
}

// holds returns the lease of a token if it is still held. DB.mu is held.
func (db *DB) holds(token queue.Token) (*lease, error) {
	l, ok := token.(*lease)
	if !ok || l == nil {
		return nil, fmt.Errorf("%w: not a token of this queue", queue.ErrLeaseLost)
	}
	if db.closing {
		return nil, queue.ErrClosed
	}
	// A token may be of another queue, from before a restart.
	if l.over || db.leases[l.delivery] != l {
		return nil, queue.ErrLeaseLost
	}
	if !l.expires.After(db.now()) {
		db.forget(l)
		db.due(l.lane, db.now())
		return nil, queue.ErrLeaseLost
	}
	return l, nil
}
