package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/cluster"
)

// settlement is one call of Settle on its way to the table.
type settlement struct {
	*lease
	state   int16
	again   time.Time // by this machine's clock
	attempt *queue.Attempt
	empty   string
}

// settleAtOnce is how many settlements one transaction writes at most.
const settleAtOnce = 1024

// Settle implements queue.Queue.
func (db *DB) Settle(token queue.Token, how queue.Settlement) error {
	if err := db.settle(token, &how); err != nil {
		return fmt.Errorf("settling a lease: %w", err)
	}
	return nil
}

func (db *DB) settle(token queue.Token, how *queue.Settlement) error {
	state, ok := layout.StateNumber(how.State)
	if !ok {
		return fmt.Errorf("unknown state %q", how.State)
	}
	s := &settlement{state: int16(state), again: how.Again, attempt: how.Attempt}
	if how.Attempt != nil && len(how.Attempt.Empty) > 0 {
		empty, err := json.Marshal(how.Attempt.Empty)
		if err != nil {
			return err
		}
		s.empty = encodeText(string(empty))
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	l, err := db.holds(token)
	if err != nil {
		return err
	}
	s.lease = l
	db.forget(l)
	l.event = nil
	l.lane.unwritten++
	db.settlements = append(db.settlements, s)
	db.settled++
	switch {
	case s.state != layout.Pending && l.keyHash != nil, len(db.settlements) >= settleAtOnce:
		// The next of its key waits for this commit, so that a crash never
		// repeats an older delivery after a newer one.
		db.wakeSettler()
	case !db.settling:
		db.settling = true
		db.settleTimer.Reset(db.options.limits.settleDelay)
	}
	return nil
}

func (db *DB) wakeSettler() { signal(db.settleWake) }

// runSettlements is the goroutine that writes settlements.
func (db *DB) runSettlements() {
	session := &session{db: db, lookups: true}
	defer session.end()
	for {
		select {
		case <-db.settleWake:
		case <-db.closed:
		}
		closing := db.isClosed()
		for {
			batch, back := db.nextSettlements()
			if len(batch)+len(back) == 0 {
				break
			}
			if !db.writeSettlements(session, batch, back) && db.isClosed() {
				return // what is left is done again by others, once its lease has run out
			}
			// What came meanwhile waits for company, or has signalled.
			if len(batch) < settleAtOnce && !closing {
				break
			}
		}
		if closing {
			return
		}
	}
}

// nextSettlements takes what has gathered.
func (db *DB) nextSettlements() (batch []*settlement, back []*lease) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.settling = false
	n := min(len(db.settlements), settleAtOnce)
	batch = db.settlements[:n:n]
	if db.settlements = db.settlements[n:]; len(db.settlements) == 0 {
		db.settlements = nil
	}
	back, db.giveBack = db.giveBack, nil
	db.writing = n > 0
	return batch, back
}

// writeSettlements writes a batch, and keeps it if it cannot. It reports whether it
// could.
func (db *DB) writeSettlements(session *session, batch []*settlement, back []*lease) bool {
	ctx := context.Background() // as for commits of events
	err := db.commitSettlements(ctx, session, batch, back)
	for tries := 0; err != nil && (fateOf(err) == undone || isStale(err)) && tries < 5; tries++ {
		db.pause(10 * time.Millisecond)
		err = db.commitSettlements(ctx, session, batch, back)
	}
	if err == nil {
		db.returned(back)
		return true
	}
	if fateOf(err) == faulty {
		db.returned(back)
		if len(batch) > 1 {
			ok := true
			for i := range batch {
				ok = db.writeSettlements(session, batch[i:i+1:i+1], nil) && ok
			}
			return ok
		}
		// To try again would fail again. Its lease runs out, and it is attempted again.
		db.logger.Error("the database refuses a settlement", zap.Error(err))
		db.mu.Lock()
		defer db.mu.Unlock()
		for _, s := range batch {
			s.lane.unwritten--
		}
		db.writing = false
		db.flushedUpTo(len(batch))
		return true
	}
	db.failing(err)
	db.mu.Lock()
	db.settlements = append(batch, db.settlements...)
	db.giveBack = append(back, db.giveBack...)
	db.writing = false
	db.mu.Unlock()
	if db.isClosed() {
		return false
	}
	db.pause(db.options.limits.retry)
	db.wakeSettler()
	return false
}

// settleLeases writes settlements whose leases are still held, and what is counted of
// them: deletes what has ended, gives the others their next time, and adds attempts.
var settleLeases = settling(false)

// settleFresh is settleLeases for deliveries that have ended at their first attempt, of
// which nothing is noted yet. Most are such, and it costs less. Only one part of it reads
// what it is given, so the server does not store that apart.
var settleFresh = settling(true)

// partOfSettlements is another part each twenty seconds, in turn: while some transaction
// is open for long, such as that of a dump, the server keeps every version of a row, and
// each time goes through all of them to write the next.
const partOfSettlements = `(SELECT (now_us() / 20000000 % 16 * 2 + 1)::smallint)`

func settling(fresh bool) string {
	const (
		head = `WITH s AS (
		SELECT unnest($1::integer[]) AS action, unnest($2::bigint[]) AS delivery, unnest($3::integer[]) AS lease, unnest($4::smallint[]) AS state, unnest($5::bigint[]) AS delay,
			unnest($6::bigint[]) AS began, unnest($7::bigint[]) AS took, unnest($8::integer[]) AS status, unnest($9::text[]) AS error, unnest($10::bytea[]) AS request,
			unnest($11::bytea[]) AS response, unnest($12::text[]) AS empty, unnest($13::boolean[]) AS test, unnest($14::bigint[]) AS since
	), gone AS (
		DELETE FROM waiting w USING s WHERE s.state <> 0 AND w.action = s.action AND w.delivery = s.delivery AND w.lease = s.lease AND w.owner = $15
		RETURNING w.delivery, w.attempts, (SELECT now_us()) AS at, s.action, s.state, s.began, s.took, s.status, s.error, s.request, s.response, s.empty, s.test, s.since
	)`
		all = `, back AS (
		UPDATE waiting w SET place = now_us() + s.delay, leased_until = NULL, owner = NULL,
			attempts = w.attempts + CASE WHEN s.began IS NULL THEN 0 ELSE 1 END, first_attempt = coalesce(w.first_attempt, s.began)
		FROM s WHERE s.state = 0 AND w.action = s.action AND w.delivery = s.delivery AND w.lease = s.lease AND w.owner = $15
		RETURNING w.delivery, w.attempts - CASE WHEN s.began IS NULL THEN 0 ELSE 1 END AS attempts, w.place AS at, s.action, s.state, s.began, s.took, s.status, s.error, s.request, s.response, s.empty, s.test, s.since
	), x AS (
		SELECT * FROM gone UNION ALL SELECT * FROM back
	)`
		attempt = `, a AS (
		INSERT INTO attempts (id, action, state, at, began, took, status, error, request, response, empty)
		SELECT delivery << 12 | least(attempts, 4095), action, state, at, began, took, status, error, request, response, empty FROM /*what*/`
		again = `
		ON CONFLICT (id) DO UPDATE SET action = excluded.action, state = excluded.state, at = excluded.at, began = excluded.began, took = excluded.took, status = excluded.status,
			error = excluded.error, request = excluded.request, response = excluded.response, empty = excluded.empty`
		tail = `
	), c AS (
		INSERT INTO counts (minutes, at, name, node, n) SELECT 1, (SELECT now_us() - now_us() % 60000000), name, $16, count(*) FROM (
			SELECT (ARRAY['delivered', 'failed', 'expired', 'cancelled'])[state] AS name FROM gone
			UNION ALL SELECT 'l:' || least(floor(2 * ln(greatest(at - since, 1)::double precision) / ln(2::double precision))::integer, 95) FROM gone WHERE state = 1 AND since IS NOT NULL
			/*retries*/
		) n GROUP BY name ORDER BY name
		ON CONFLICT (minutes, at, name, node) DO UPDATE SET n = counts.n + excluded.n
	), t AS (
		INSERT INTO action_counts (action, node, part, waiting, delivered, failed, expired)
		SELECT action, $16, ` + partOfSettlements + `, -count(*), count(*) FILTER (WHERE state = 1 AND test IS NOT TRUE), count(*) FILTER (WHERE state = 2 AND test IS NOT TRUE), count(*) FILTER (WHERE state = 3 AND test IS NOT TRUE)
		FROM gone GROUP BY action ORDER BY action
		ON CONFLICT (action, node, part) DO UPDATE SET waiting = action_counts.waiting + excluded.waiting, delivered = action_counts.delivered + excluded.delivered,
			failed = action_counts.failed + excluded.failed, expired = action_counts.expired + excluded.expired
	), z AS (
		INSERT INTO sizes (block, node, part, bytes)
		SELECT delivery >> 23, $16, 1, sum(150 + coalesce(octet_length(error), 0) + coalesce(octet_length(request), 0) + coalesce(octet_length(response), 0)) FROM /*what*/ GROUP BY 1 ORDER BY 1
		ON CONFLICT (block, node, part) DO UPDATE SET bytes = sizes.bytes + excluded.bytes
	)
	SELECT array_agg(delivery) FROM /*what*/`
	)
	if fresh {
		return strings.NewReplacer("/*what*/", "gone", "/*retries*/", "").Replace(head + attempt + tail)
	}
	return strings.NewReplacer("/*what*/", "x", "/*retries*/", "UNION ALL SELECT 'retries' FROM back WHERE began IS NOT NULL").Replace(head + all + attempt + again + tail)
}

// settleColumns are the values of settleLeases. They are used again for the next.
type settleColumns struct {
	actions, deliveries, leases, states, delays, began, took, status, errors, request, response, empty, tests, since array

	fresh bool // all of them are for settleFresh
}

// clear empties the columns for their next use.
func (c *settleColumns) clear() {
	for _, a := range []*array{&c.actions, &c.deliveries, &c.leases, &c.states, &c.delays, &c.began, &c.took, &c.status, &c.errors, &c.request, &c.response, &c.empty, &c.tests, &c.since} {
		a.clear()
	}
	c.fresh = true
}

func (c *settleColumns) add(s *settlement, now time.Time) {
	c.fresh = c.fresh && s.fresh && s.state != layout.Pending
	c.actions.addInt32(s.lane.id)
	c.deliveries.addInt64(s.delivery)
	c.leases.addInt32(s.number)
	c.states.addInt16(s.state)
	switch {
	case s.state != layout.Pending:
		c.delays.addNull()
	case s.again.After(now):
		// In a time and not at one: clocks of machines differ.
		c.delays.addInt64(min((s.again.Sub(now) + time.Microsecond - 1).Microseconds(), layout.Behind/2))
	default:
		c.delays.addInt64(0)
	}
	c.tests.addTrue(s.test)
	if s.since != 0 {
		c.since.addInt64(s.since)
	} else {
		c.since.addNull()
	}
	c.empty.addRaw(s.empty)
	t := s.attempt
	if t == nil {
		for _, a := range []*array{&c.began, &c.took, &c.status, &c.errors, &c.request, &c.response} {
			a.addNull()
		}
		return
	}
	c.began.addInt64(layout.Micros(t.Began))
	c.took.addInt64(t.Took.Microseconds())
	if t.Status != 0 {
		c.status.addInt32(int32(t.Status))
	} else {
		c.status.addNull()
	}
	c.errors.addText(t.Error)
	c.request.addRaw(t.Request)
	c.response.addRaw(t.Response)
}

func (c *settleColumns) queue(db *DB, b *pgx.Batch) {
	sql := settleLeases
	if c.fresh {
		sql = settleFresh
	}
	b.Queue(sql, &c.actions, &c.deliveries, &c.leases, &c.states, &c.delays, &c.began, &c.took, &c.status, &c.errors, &c.request, &c.response, &c.empty, &c.tests, &c.since,
		db.nodes.session, db.nodes.id())
}

// commitSettlements writes a batch in one transaction. Unless one of them ends the head
// of an order key, it does not wait for the disk: a crash only leads to doing an attempt
// again. To write a batch again whose outcome is in doubt changes nothing that it
// changed before.
func (db *DB) commitSettlements(ctx context.Context, session *session, batch []*settlement, back []*lease) error {
	conn, err := session.conn(ctx)
	if err != nil {
		return err
	}
	if err := db.returnLeases(ctx, conn, back); err != nil {
		return session.failed(err)
	}
	if len(batch) == 0 {
		return nil
	}
	now := db.now()
	c := &session.settlements
	c.clear()
	defer c.clear()
	var hashes []int64
	var keyActions []int32
	var ended []int64 // events of which something may be mended
	for _, s := range batch {
		c.add(s, now)
		if s.state == layout.Pending {
			continue
		}
		if s.keyHash != nil {
			hashes, keyActions = append(hashes, *s.keyHash), append(keyActions, s.lane.id)
		}
		if s.state != layout.Delivered || s.content.Of != "" {
			ended = append(ended, s.delivery>>layout.DeliveryBits)
		}
	}
	first := &pgx.Batch{}
	if len(hashes) == 0 {
		first.Queue(cluster.WithoutSync)
	} else {
		queueLocks(first, hashes)
	}
	c.queue(db, first)
	if len(hashes) > 0 {
		first.Queue(releaseKeys, keyActions, hashes)
	}
	done := make(map[int64]bool, len(batch))
	write := func(to sender) error {
		makeRoom(conn, first)
		results := to.SendBatch(ctx, first)
		err := readSettled(results, done, len(hashes) > 0)
		if closeErr := results.Close(); err == nil {
			err = closeErr
		}
		return err
	}
	if len(ended) == 0 {
		err = write(conn)
	} else {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			// Keys first, then events, then what counts: as Amend, cancelling and moving do.
			// In another order two could wait for each other.
			locks := &pgx.Batch{}
			queueLocks(locks, hashes)
			locks.Queue(mayBeMended, ended)
			if err := tx.SendBatch(ctx, locks).Close(); err != nil {
				return err
			}
			if err := write(tx); err != nil {
				return err
			}
			return db.mend(ctx, tx, ended)
		})
	}
	if err != nil {
		return session.failed(err)
	}
	db.written(batch, done, now)
	return nil
}

func readSettled(results pgx.BatchResults, done map[int64]bool, keys bool) error {
	if _, err := results.Exec(); err != nil {
		return err
	}
	var settled []int64
	if err := results.QueryRow().Scan(&settled); err != nil {
		return err
	}
	for _, delivery := range settled {
		done[delivery] = true
	}
	if !keys {
		return nil
	}
	_, err := results.Exec()
	return err
}

// written notes in memory what was committed.
func (db *DB) written(batch []*settlement, done map[int64]bool, now time.Time) {
	ended := int64(0)
	db.mu.Lock()
	db.writing = false
	for _, s := range batch {
		s.lane.unwritten--
		switch {
		case s.state == layout.Pending:
			at := now
			if s.again.After(now) {
				at = s.again
			}
			db.due(s.lane, at)
		case s.keyHash != nil:
			db.due(s.lane, now) // perhaps the next of its key
		}
		if s.lane.takers > 0 && s.lane.unwritten == unwrittenLimit-1 {
			s.lane.signal()
		}
		if s.state != layout.Pending && done[s.delivery] {
			ended++
		}
	}
	db.flushedUpTo(len(batch))
	db.mu.Unlock()
	db.pending.settled(ended)
	db.working()
	if db.watched() {
		db.changed(func(add func(string)) {
			for _, s := range batch {
				if done[s.delivery] {
					add(s.eventID)
				}
			}
		})
	}
}

// settleAll writes all that is left at the end, and gives back what this node has
// leased.
func (db *DB) settleAll(ctx context.Context) error {
	session := &session{db: db, lookups: true}
	defer session.end()
	for {
		batch, back := db.nextSettlements()
		if len(batch) == 0 {
			db.mu.Lock()
			for _, l := range db.leases {
				back = append(back, l)
			}
			clear(db.leases)
			db.mu.Unlock()
		}
		if len(batch)+len(back) == 0 {
			return nil
		}
		if err := db.commitSettlements(ctx, session, batch, back); err != nil {
			if len(batch) == 0 {
				return fmt.Errorf("giving back what was leased: others take it once the leases have run out: %w", err)
			}
			return fmt.Errorf("%d settlements could not be written: these attempts will be made again: %w", len(batch), err)
		}
	}
}

// flushing is a caller of flush: it waits until so many settlements are done with.
type flushing struct {
	upTo int64
	done chan struct{}
}

// flushedUpTo notes that n more settlements are done with. They are written in the
// order in which they were made. DB.mu is held.
func (db *DB) flushedUpTo(n int) {
	db.doneWith += int64(n)
	db.flushed = slices.DeleteFunc(db.flushed, func(f flushing) bool {
		if f.upTo > db.doneWith {
			return false
		}
		close(f.done)
		return true
	})
}

// flush waits until all settlements that were made before it are written. Those that
// come later do not hold it up.
func (db *DB) flush(ctx context.Context) error {
	db.mu.Lock()
	if len(db.settlements) == 0 && !db.writing {
		db.mu.Unlock()
		return nil
	}
	waiter := make(chan struct{})
	db.flushed = append(db.flushed, flushing{db.settled, waiter})
	db.mu.Unlock()
	db.wakeSettler()
	select {
	case <-waiter:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closed:
		return queue.ErrClosed
	}
}
