package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// A transaction takes this much at most, so that the first callers do not wait for the
// last.
const (
	putsAtOnce     = 512
	putBytesAtOnce = 8 << 20
)

// patienceInDoubt is how long the outcome of a commit is looked up, while a caller
// waits for it.
const patienceInDoubt = 30 * time.Second

// patienceBehindDoubt is how long such a commit may hold up others. A database that
// starts again or hands over is often back by then; else their senders are
// told soon that nothing is stored, and repeat.
const patienceBehindDoubt = 2 * time.Second

// committing is the puts that wait for the committer. DB.mu guards it. One committer
// stores more at once than two would, and that is what costs.
type committing struct {
	inbox []*put
	wake  chan struct{}
	// wanted is how many puts in inbox wake the committer.
	wanted int
	// company is how many puts were in the last commit or came meanwhile, and took is
	// how long that was.
	company int
	took    time.Duration
}

// mostGathering bounds how long a put waits for company.
const mostGathering = 2 * time.Millisecond

// gather waits a little for as many puts as there were lately, if some have come but not
// all: those who were answered just now put again, and one commit of all costs much less
// than two of half of them. A caller who is alone does not wait.
func (c *committing) gather(db *DB) {
	db.mu.Lock()
	if len(c.inbox) == 0 || len(c.inbox) >= c.company || db.closing {
		db.mu.Unlock()
		return
	}
	c.wanted = c.company
	select {
	case <-c.wake: // of those who have come
	default:
	}
	db.mu.Unlock()
	timer := time.NewTimer(min(c.took/2, mostGathering))
	select {
	case <-c.wake:
	case <-timer.C:
	case <-db.closed:
	}
	timer.Stop()
	db.mu.Lock()
	c.wanted = 1
	db.mu.Unlock()
}

// enqueue gives a put to the committer.
func (c *committing) enqueue(db *DB, p *put) error {
	db.mu.Lock()
	if db.closing {
		db.mu.Unlock()
		return queue.ErrClosed
	}
	for i := range p.entries {
		for j := range p.entries[i].deliveries {
			d := &p.entries[i].deliveries[j]
			d.lane = db.lane(d.Action)
		}
	}
	c.inbox = append(c.inbox, p)
	enough := len(c.inbox) >= c.wanted
	db.mu.Unlock()
	if enough {
		signal(c.wake)
	}
	return nil
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// next takes what has gathered. Puts whose callers have gone are left out.
func (c *committing) next(db *DB) (batch []*put, closing bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	size, n := int64(0), 0
	for n < len(c.inbox) && len(batch) < putsAtOnce && size < putBytesAtOnce {
		p := c.inbox[n]
		c.inbox[n] = nil
		n++
		if err := p.ctx.Err(); err != nil {
			p.done <- err
			continue
		}
		size += p.size
		batch = append(batch, p)
	}
	if c.inbox = c.inbox[n:]; len(c.inbox) == 0 {
		c.inbox = nil
	}
	return batch, db.closing
}

// drop removes a put whose caller has gone, so that its body does not stay in memory
// for as long as the committer hangs.
func (c *committing) drop(db *DB, gone *put) {
	db.mu.Lock()
	defer db.mu.Unlock()
	c.inbox = slices.DeleteFunc(c.inbox, func(p *put) bool { return p == gone })
}

// refuse answers all puts that wait.
func (c *committing) refuse(db *DB, err error) {
	db.mu.Lock()
	inbox := c.inbox
	c.inbox = nil
	db.mu.Unlock()
	for _, p := range inbox {
		p.done <- err
	}
}

// runCommits is the goroutine that alone stores events.
func (db *DB) runCommits() {
	session := &session{db: db}
	defer session.end()
	for {
		db.commits.gather(db)
		batch, closing := db.commits.next(db)
		if len(batch) == 0 {
			if closing {
				return
			}
			select {
			case <-db.commits.wake:
			case <-db.closed:
			}
			continue
		}
		batch = db.admit(batch)
		if len(batch) > 0 {
			db.commit(session, batch)
		}
	}
}

// admit refuses puts for which there is no room, and returns the others.
func (db *DB) admit(batch []*put) []*put {
	more := int64(0)
	return slices.DeleteFunc(batch, func(p *put) bool {
		if err := db.refusePending(more, int64(p.pending)); err != nil {
			p.done <- err
			return true
		}
		more += int64(p.pending)
		return false
	})
}

// commit stores a batch and answers its callers.
func (db *DB) commit(session *session, batch []*put) {
	began := time.Now()
	err := db.store(session, batch)
	for tries := 0; err != nil && (fateOf(err) == undone || isStale(err)) && tries < 3; tries++ {
		// It lost a deadlock or waited too long for a lock, or the server was started
		// anew since the last commit.
		db.pause(10 * time.Millisecond)
		err = db.store(session, batch)
	}
	if err != nil && fateOf(err) == unknown {
		db.logger.Warn("the outcome of a commit is in doubt: the events are looked up", zap.Int("puts", len(batch)), zap.Error(err))
		err = db.settleDoubt(session, batch, err)
	}
	switch fateOf(err) {
	case faulty:
		if len(batch) > 1 {
			// One of them is at fault; the others are stored.
			for _, p := range batch {
				db.commit(session, []*put{p})
			}
			return
		}
		db.logger.Error("the database refuses an event", zap.String("event", batch[0].entries[0].Event.ID), zap.Error(err))
		err = fmt.Errorf("the database refuses it; it is not stored: %w", err)
	case unreached, undone, overfull:
		if err != nil {
			db.failing(err)
			err = notStored(err)
		}
	case unknown:
		if err != nil {
			db.failing(err)
			err = fmt.Errorf("they may be stored or not: %w", err)
		}
	}
	if err == nil {
		db.tallying.some.Store(true)
		db.working()
	}
	db.mu.Lock()
	db.commits.company, db.commits.took = len(batch)+len(db.commits.inbox), time.Since(began)
	db.mu.Unlock()
	for _, p := range batch {
		p.done <- err
	}
	if err == nil && db.watched() {
		db.changed(func(add func(string)) {
			for _, p := range batch {
				for i := range p.entries {
					add(p.entries[i].Event.ID)
				}
			}
		})
	}
}

// notStored makes an error that means that nothing was stored into what callers
// distinguish.
func notStored(err error) error {
	switch {
	case errors.Is(err, queue.ErrClosed), errors.Is(err, queue.ErrUnavailable):
		return err
	case fateOf(err) == overfull:
		return fmt.Errorf("%w: %w", queue.ErrFull, err)
	}
	return fmt.Errorf("%w: %w", queue.ErrUnavailable, err)
}

// store stores a batch in one transaction. With dedupe keys that takes a round trip
// more. When it returns nil the batch is on stable storage, and in force in memory.
func (db *DB) store(session *session, batch []*put) error {
	if db.cut.Load() {
		return queue.ErrClosed
	}
	ctx := context.Background() // a commit that is cancelled would be in doubt
	conn, err := session.conn(ctx)
	if err != nil {
		return err
	}
	entries, receipts, dedupes := flatten(batch)
	kinds, err := db.prepareEntries(ctx, conn, entries)
	if err != nil {
		return session.failed(fmt.Errorf("preparing to store events: %w", err))
	}
	began := db.now()
	c := &session.columns
	defer c.clear()
	mark := db.mark()
	reserved := db.reserveFor(entries, mark)
	defer func() {
		if err != nil {
			db.mu.Lock()
			defer db.mu.Unlock()
			for _, l := range reserved {
				l.reserved--
			}
		}
	}()
	var done inserted
	clearWarnings(conn)
	if !dedupes {
		done, err = db.insert(ctx, conn, conn, c, entries, kinds, nil)
	} else {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			repeated, err := originals(ctx, tx, entries)
			if err != nil {
				return err
			}
			for i, e := range entries {
				*receipts[i] = queue.Receipt{}
				if original := repeated[e]; original != nil {
					receipts[i].DuplicateOf = uuid.UUID(*original).String()
				}
			}
			done, err = db.insert(ctx, conn, tx, c, entries, kinds, repeated)
			return err
		})
	}
	if err == nil {
		err = warned(conn)
	}
	if err != nil {
		return session.failed(err)
	}
	db.handOver(c, done, began, mark, reserved)
	return nil
}

// sender sends a batch of statements.
type sender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

func (db *DB) insert(ctx context.Context, conn *pgx.Conn, to sender, c *columns, entries []*entry, kinds map[layout.Kind]int32, repeated map[*entry]*[16]byte) (done inserted, err error) {
	c.clear()
	for _, e := range entries {
		c.add(e, kinds[kindOf(e, repeated[e] != nil)], repeated[e])
	}
	c.count(entries, func(i int) bool { return repeated[entries[i]] != nil })
	b := &pgx.Batch{}
	c.queue(db, b)
	makeRoom(conn, b)
	results := to.SendBatch(ctx, b)
	done, err = c.read(results)
	if closeErr := results.Close(); err == nil {
		err = closeErr
	}
	return done, err
}

// kindOf returns the kind of an event: a duplicate has no actions.
func kindOf(e *entry, duplicate bool) layout.Kind {
	k := e.Kind
	if duplicate {
		k.Actions = ""
	}
	return k
}

func flatten(batch []*put) (entries []*entry, receipts []*queue.Receipt, dedupes bool) {
	for _, p := range batch {
		for i := range p.entries {
			e := &p.entries[i]
			entries, receipts = append(entries, e), append(receipts, &p.receipts[i])
			dedupes = dedupes || e.Dedupe
		}
	}
	return entries, receipts, dedupes
}

// prepareEntries stores the actions and kinds that are new, and returns the kinds.
func (db *DB) prepareEntries(ctx context.Context, q querier, entries []*entry) (map[layout.Kind]int32, error) {
	var lanes []*lane
	var wanted []layout.Kind
	for _, e := range entries {
		if len(wanted) == 0 || e.Kind != wanted[len(wanted)-1] { // most come many times
			wanted = append(wanted, e.Kind)
		}
		if e.Dedupe {
			wanted = append(wanted, kindOf(e, true))
		}
		for i := range e.deliveries {
			lanes = append(lanes, e.deliveries[i].lane)
		}
	}
	if err := db.storeActionsOf(ctx, q, lanes); err != nil {
		return nil, err
	}
	return db.kindsOf(ctx, q, wanted)
}

// reserveFor finds out which deliveries go to takers of this node at once.
func (db *DB) reserveFor(entries []*entry, mark mark) (reserved []*lane) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, e := range entries {
		for i := range e.deliveries {
			d := &e.deliveries[i]
			if d.wanted = d.due == nil && db.reserve(d.lane, mark); d.wanted {
				reserved = append(reserved, d.lane)
			}
		}
	}
	return reserved
}

// handOver gives what was stored as leased to takers, and notes what is left to the
// table.
func (db *DB) handOver(c *columns, done inserted, began time.Time, mark mark, reserved []*lane) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.pending.stored(done.pending, int64(len(c.stored)), db.now())
	for _, l := range reserved {
		l.reserved--
	}
	for i := range c.stored {
		d := &c.stored[i]
		id := d.id(done)
		if done.left[id] {
			db.left(d.Action)
			at := db.now()
			if d.due != nil {
				at = at.Add(time.Duration(*d.due-done.now) * time.Microsecond)
			}
			if d.keyHash == nil || d.due == nil {
				db.due(d.lane, at)
			} else {
				db.due(d.lane, db.now()) // it may be the head
			}
			continue
		}
		e := d.of
		l := &lease{
			lane: d.lane, fresh: true, delivery: id, number: 1, place: min(e.Received, done.now), keyHash: d.keyHash, since: e.Received, test: e.Event.Test,
			expires: began.Add(db.options.Lease), mark: mark, content: d.delivery.Delivery, event: e.Event, eventID: e.Event.ID, size: layout.EventSize(len(e.Record), len(e.Event.RawBody)), index: -1,
		}
		if !db.open(d.lane) || !db.lends(d.lane, mark) || db.closing {
			// Something was changed meanwhile.
			l.over = true
			db.back(l)
			continue
		}
		db.keep(l)
		d.lane.signal()
	}
}

const lookUp = `SELECT id, uuid, duplicate_of FROM events WHERE uuid = ANY($1)`

// settleDoubt finds out whether a batch was committed whose commit failed, and stores
// it if it was not: an id is stored once, so that it cannot be stored twice. It gives
// up when no caller waits for it any more.
func (db *DB) settleDoubt(session *session, batch []*put, doubt error) error {
	began := time.Now()
	for db.pause(100*time.Millisecond) && time.Since(began) < patienceInDoubt {
		if time.Since(began) > patienceBehindDoubt {
			db.failing(doubt)
			db.commits.refuse(db, fmt.Errorf("%w: a commit before it is in doubt: %w", queue.ErrUnavailable, doubt))
		}
		if !slices.ContainsFunc(batch, func(p *put) bool { return p.ctx.Err() == nil }) {
			break
		}
		stored, err := db.found(session, batch)
		if err != nil {
			continue
		}
		if stored {
			return nil
		}
		err = db.store(session, batch)
		var refused *pgconn.PgError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &refused) && refused.Code == uniqueViolation:
			continue // the first commit has come to its end meanwhile
		case fateOf(err) == unknown, fateOf(err) == undone, fateOf(err) == unreached:
			doubt = err
		default:
			return err
		}
	}
	// What the last try says does not tell what became of the first.
	return fmt.Errorf("%w: %v", errDoubt, doubt)
}

// errDoubt says that it could not be found out whether something was committed.
var errDoubt = errors.New("the database cannot be asked whether they were committed")

// found reports whether a batch is stored. It is stored as a whole or not at all.
func (db *DB) found(session *session, batch []*put) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	conn, err := session.conn(ctx)
	if err != nil {
		return false, err
	}
	entries, receipts, _ := flatten(batch)
	ids := make([]pgtype.UUID, len(entries))
	for i, e := range entries {
		ids[i] = pgtype.UUID{Bytes: e.uuid, Valid: true}
	}
	rows, err := conn.Query(ctx, lookUp, ids)
	if err != nil {
		return false, session.failed(err)
	}
	stored := make(map[[16]byte]int64)
	repeats := make(map[[16]byte]pgtype.UUID)
	for rows.Next() {
		var number int64
		var id, original pgtype.UUID
		if err := rows.Scan(&number, &id, &original); err != nil {
			rows.Close()
			return false, session.failed(err)
		}
		stored[id.Bytes], repeats[id.Bytes] = number, original
	}
	if err := rows.Err(); err != nil {
		return false, session.failed(err)
	}
	if len(stored) == 0 {
		return false, nil
	}
	var leases []*lease
	for i, e := range entries {
		*receipts[i] = queue.Receipt{}
		if original := repeats[e.uuid]; original.Valid {
			receipts[i].DuplicateOf = uuid.UUID(original.Bytes).String()
			continue
		}
		// Those that were stored as leased are not in memory: others may take them.
		for j := range e.deliveries {
			leases = append(leases, &lease{lane: e.deliveries[j].lane, delivery: layout.DeliveryID(stored[e.uuid], j), number: 1})
		}
	}
	// What is seen here may be on this server alone: a later commit which a synchronous
	// standby has shows that it has this one, too.
	clearWarnings(conn)
	if err := db.probe(ctx, conn); err != nil {
		return false, session.failed(err)
	}
	if err := warned(conn); err != nil {
		return false, session.failed(err)
	}
	return true, db.returnLeases(ctx, conn, leases)
}
