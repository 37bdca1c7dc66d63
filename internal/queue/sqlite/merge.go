package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/history"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// One transaction merges this much at most, so that events which arrive
// meanwhile hardly notice.
const (
	mergeAtOnce      = 256
	mergeBytesAtOnce = 4 << 20
	countsAtOnce     = 64
)

// Merge adds the events of another database, given as a file that Backup
// wrote, to the history, in their own order and older than all events that are
// here; unfinished deliveries count as cancelled. What is here already is left
// out. What was counted there, and its notes on configurations, are added too.
// It returns how many events it added.
//
// It begins with the newest, so that the oldest event here is always the one
// that the next comes before: broken off and begun again, it goes on where it
// was.
func (db *DB) Merge(ctx context.Context, file string, progress func(done, total int64)) (added int, err error) {
	db.merging.Lock()
	defer db.merging.Unlock()
	if progress == nil {
		progress = func(int64, int64) {}
	}
	if err = database.CheckSingle(file); err != nil {
		err = fmt.Errorf("%w: %w", queue.ErrNoBackup, err)
	} else {
		added, err = db.merge(ctx, file, progress)
	}
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // SQLite only says that it was interrupted
	}
	if err != nil {
		return added, fmt.Errorf("adding the history: %w", err)
	}
	return added, nil
}

func (db *DB) merge(ctx context.Context, file string, progress func(done, total int64)) (added int, err error) {
	from, err := sqlite.OpenConn(file, sqlite.OpenReadOnly)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	from.SetInterrupt(ctx.Done())
	for _, pragma := range []string{"PRAGMA query_only = ON", "PRAGMA trusted_schema = OFF"} {
		if err := database.Execute(from, pragma); err != nil {
			return 0, err
		}
	}
	if err := database.CheckWhole(from); err != nil {
		return 0, fmt.Errorf("%w: %w", queue.ErrNoBackup, err)
	}
	total, err := database.QueryInt(from, "SELECT count(*) FROM events")
	if err != nil {
		return 0, err
	}
	done := int64(0)
	for before := int64(layout.MaxEvent); ; {
		events, err := db.readMerging(from, before)
		if err != nil || len(events) == 0 {
			if err == nil {
				err = db.mergeRest(ctx, from)
			}
			return added, err
		}
		before = events[len(events)-1].id
		done += int64(len(events))
		c := &merge{}
		if c.events, err = db.unknown(ctx, events); err != nil {
			return added, err
		}
		if len(c.events) > 0 {
			if err := db.takesEvents(); err != nil {
				return added, err
			}
			if err := db.rest(ctx, c); err != nil {
				return added, err
			}
			if c.refused != nil {
				return added, c.refused
			}
			added += len(c.events)
		}
		progress(done, total)
	}
}

// merging is one event of another database.
type merging struct {
	id, received                          int64
	kind                                  layout.Kind
	uuid, tenant, parseError, duplicateOf string
	subject                               string
	verdict, deliveries, record           string
	body                                  []byte
	test                                  bool
	checksum                              int64
	plans                                 []layout.Plan
	attempts                              []mergingAttempt
}

// mergingAttempt is a row of attempts, with its action by name.
type mergingAttempt struct {
	place  int
	action string
	settlement
}

const (
	listMerging = `SELECT e.id, e.received, k.source, k.event, k.decision, k.actions, e.uuid, e.tenant, e.parse_error, e.duplicate_of,
		e.verdict, e.deliveries, e.record, e.body, e.test, %s, %s
	FROM events e CROSS JOIN kinds k ON k.id = e.kind WHERE e.id < ? ORDER BY e.id DESC LIMIT ?`
	listMergingAttempts = `SELECT t.id, a.name, t.state, t.at, t.began, t.took, t.status, t.error, t.request, t.response, t.empty
	FROM attempts t LEFT JOIN actions a ON a.id = t.action WHERE t.id >= ? AND t.id < ? ORDER BY t.id`
	getMergingWaiting = `SELECT w.attempts FROM actions a CROSS JOIN waiting w ON w.action = a.id AND w.delivery = ?`
)

// readMerging reads some of the events of another database from before one of
// them, newest first.
func (db *DB) readMerging(from *sqlite.Conn, before int64) (events []merging, err error) {
	later, err := laterColumns(from)
	if err != nil {
		return nil, err
	}
	bytes := 0
	err = database.Query(from, fmt.Sprintf(listMerging, later[0], later[1]), func(row *sqlite.Stmt) error {
		e := merging{
			id: row.ColumnInt64(0), received: row.ColumnInt64(1), kind: layout.Kind{Source: row.ColumnText(2), Event: row.ColumnText(3), Decision: row.ColumnText(4), Actions: row.ColumnText(5)},
			uuid: row.ColumnText(6), tenant: row.ColumnText(7), parseError: row.ColumnText(8), duplicateOf: row.ColumnText(9),
			verdict: row.ColumnText(10), deliveries: row.ColumnText(11), record: row.ColumnText(12), body: database.ColumnBytes(row, 13), test: row.ColumnBool(14), checksum: database.ColumnChecksum(row, 15), subject: row.ColumnText(16),
		}
		if e.id < 1 || e.id >= layout.MaxEvent {
			return fmt.Errorf("it has an event with the number %d", e.id)
		}
		events = append(events, e)
		if bytes += len(e.record) + len(e.body) + len(e.verdict) + len(e.deliveries); bytes > mergeBytesAtOnce {
			return database.ErrEnough
		}
		return nil
	}, before, int64(mergeAtOnce))
	if err != nil && !errors.Is(err, database.ErrEnough) {
		return nil, err
	}
	for i := range events {
		if err := events[i].readDeliveries(from, layout.Micros(db.now())); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// readDeliveries reads what became of the deliveries of an event. Those that
// are unfinished end as cancelled.
func (e *merging) readDeliveries(from *sqlite.Conn, now int64) error {
	var err error
	if e.plans, err = layout.DecodePlans([]byte(e.deliveries)); e.deliveries == "" || err != nil || len(e.plans) > layout.MaxDeliveries {
		// What they were cannot be told any more.
		e.plans, e.deliveries, e.kind.Actions = nil, "", ""
		return nil
	}
	e.kind.Actions = layout.ActionsOf(e.plans)
	ended := make([]bool, len(e.plans))
	first, end := layout.AttemptRange(e.id)
	if err := database.Query(from, listMergingAttempts, func(row *sqlite.Stmt) error {
		id := row.ColumnInt64(0)
		a := mergingAttempt{place: layout.PlaceOf(id >> layout.AttemptBits), action: row.ColumnText(1), settlement: settlement{
			Settlement: scheduler.Settlement{Number: int(id & layout.LastAttempt), At: row.ColumnInt64(3)}, state: row.ColumnInt64(2), empty: row.ColumnText(10),
		}}
		state, known := layout.StateOf(a.state)
		if a.place >= len(e.plans) || !known {
			return nil
		}
		// What is mended is found anew.
		a.state, _ = layout.StateNumber(state)
		if a.action == "" {
			a.action = e.plans[a.place].Action
		}
		if row.ColumnType(4) != sqlite.TypeNull {
			a.attempt = &queue.Attempt{
				Began: layout.FromMicros(row.ColumnInt64(4)), Took: time.Duration(row.ColumnInt64(5)) * time.Microsecond, Status: row.ColumnInt(6),
				Error: row.ColumnText(7), Request: row.ColumnText(8), Response: row.ColumnText(9),
			}
		}
		ended[a.place] = ended[a.place] || a.state != layout.Pending
		e.attempts = append(e.attempts, a)
		return nil
	}, first, end); err != nil {
		return err
	}
	for place, p := range e.plans {
		if ended[place] {
			continue
		}
		a := mergingAttempt{place: place, action: p.Action, settlement: settlement{Settlement: scheduler.Settlement{At: now}, state: layout.Cancelled}}
		for _, other := range e.attempts {
			if other.place == place {
				a.Number = max(a.Number, other.Number+1)
			}
		}
		if err := database.Query(from, getMergingWaiting, func(row *sqlite.Stmt) error {
			a.Number = max(a.Number, row.ColumnInt(0))
			return nil
		}, layout.DeliveryID(e.id, place)); err != nil {
			return err
		}
		e.attempts = append(e.attempts, a)
	}
	return nil
}

// unknown returns those events that are not here.
func (db *DB) unknown(ctx context.Context, events []merging) (unknown []merging, err error) {
	ids := make([]string, len(events))
	for i := range events {
		ids[i] = events[i].uuid
	}
	err = db.readers.Read(ctx, func(conn *sqlite.Conn) error {
		known, err := history.EventsOf(conn, ids)
		if err != nil {
			return err
		}
		unknown = nil
		for _, e := range events {
			// Without a UUID it could not be found, nor recognised when this is done again.
			if _, ok := known[e.uuid]; !ok && uuid.Validate(e.uuid) == nil && len(e.uuid) == 36 {
				unknown = append(unknown, e)
			}
		}
		return nil
	})
	return unknown, err
}

// merge stores events before all that are there, given newest first.
type merge struct {
	waiter
	events  []merging
	actions map[string]*action
	refused error
}

func (*merge) needsRoom() bool { return true }
func (m *merge) prepare(db *DB) {
	m.actions = make(map[string]*action)
	for i := range m.events {
		for _, a := range m.events[i].attempts {
			m.actions[a.action] = db.action(a.action)
		}
	}
}

func (m *merge) apply(*DB) {}

func (m *merge) write(tx *transaction) error {
	m.refused = nil
	// Never a number that an event had before: blocks remember them.
	next := tx.lastEvent + 1
	if err := database.Query(tx.conn, "SELECT min(first) FROM blocks HAVING count(*) > 0", func(row *sqlite.Stmt) error {
		next = row.ColumnInt64(0)
		return nil
	}); err != nil {
		return err
	}
	if tx.block.First != 0 {
		next = min(next, tx.block.First) // not written yet
	}
	b := database.Block{First: next - int64(len(m.events))}
	if b.First < 1 {
		m.refused = errors.New("this database has no room for older events, because it was made by an earlier version: " +
			"start the relay with an empty directory, and add this history to it and then the other, newest first")
		return nil
	}
	for i := range m.events {
		e := &m.events[i]
		next--
		times := e.times()
		if i == 0 {
			b.Span = times
		}
		b.Include(times.Oldest)
		b.Include(times.Newest)
		if err := e.write(tx, next, m.actions); err != nil {
			return err
		}
	}
	b.Round()
	tx.writesUses = true // or these events would be counted again after a crash
	return tx.putBlock(b)
}

// times returns the times that may be used to look for an event.
func (e *merging) times() database.Span {
	times := database.Span{Oldest: e.received, Newest: e.received}
	times.Include(database.TimeOfUUID(e.uuid))
	for _, p := range e.plans {
		if p.Added == 0 {
			times.Include(database.TimeOfUUID(p.ID))
		}
	}
	return times
}

func (e *merging) write(tx *transaction, id int64, actions map[string]*action) error {
	entry := entry{Entry: layout.Entry{
		Event: &event.Event{ID: e.uuid, Subject: e.subject, Test: e.test, ParseError: e.parseError, RawBody: e.body}, Kind: e.kind,
		Received: e.received, Tenant: e.tenant, Verdict: e.verdict, Record: e.record, Plans: e.deliveries, Checksum: e.checksum,
	}}
	if err := entry.writeRow(tx, id, e.duplicateOf); err != nil {
		return err
	}
	for _, p := range e.plans {
		if p.Added != 0 {
			if err := tx.rememberAddition(p.ID, id); err != nil {
				return err
			}
		}
	}
	for i := range e.attempts {
		a := &e.attempts[i]
		a.settlement.action = actions[a.action]
		if err := tx.storeAction(a.settlement.action); err != nil {
			return err
		}
		if err := tx.putAttempt(&a.settlement, layout.DeliveryID(id, a.place)); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(e.plans, func(p layout.Plan) bool { return p.Of != "" }) {
		return nil
	}
	// How often they ended is counted in what is added of the counts.
	return tx.mend(id, false)
}

// mergeRest adds what was counted in another database, and its notes on
// configurations: older versions of the schema have neither.
func (db *DB) mergeRest(ctx context.Context, from *sqlite.Conn) error {
	if have, err := database.QueryInt(from, "PRAGMA user_version"); err != nil || have < 2 {
		return err
	}
	if err := db.mergeNotes(ctx, from); err != nil {
		return err
	}
	theirs, err := database.QueryText(from, "SELECT text FROM facts WHERE name = 'identity'")
	if err != nil {
		return err
	}
	var ours string
	counted := int64(-1)
	if err := db.readers.Read(ctx, func(conn *sqlite.Conn) error {
		if err := database.Query(conn, "SELECT text FROM facts WHERE name = 'identity'", func(row *sqlite.Stmt) error {
			ours = row.ColumnText(0)
			return nil
		}); err != nil {
			return err
		}
		return database.Query(conn, "SELECT counted FROM merged WHERE identity = ?", func(row *sqlite.Stmt) error {
			counted = row.ColumnInt64(0)
			return nil
		}, theirs)
	}); err != nil || theirs == "" || theirs == ours {
		return err // a copy of this database has counted the same
	}
	if err := db.mergeUses(ctx, from, theirs); err != nil {
		return err
	}
	columns, err := database.CountColumnsOf(from)
	if err != nil {
		return err
	}
	for {
		c := &mergeCounts{identity: theirs}
		if err := database.Query(from, "SELECT "+columns+" FROM counts WHERE minutes IN (0, 1) AND at > ? ORDER BY at LIMIT ?", func(row *sqlite.Stmt) error {
			c.counts = append(c.counts, database.ReadCounts(row))
			return nil
		}, counted, int64(countsAtOnce)); err != nil || len(c.counts) == 0 {
			return err
		}
		counted = c.counts[len(c.counts)-1].At
		if err := db.rest(ctx, c); err != nil {
			return err
		}
	}
}

// mergeCounts adds what was counted elsewhere, and remembers up to when.
type mergeCounts struct {
	waiter
	identity string
	counts   []layout.Counts
}

func (*mergeCounts) needsRoom() bool { return true }
func (m *mergeCounts) prepare(*DB)   {}
func (m *mergeCounts) apply(*DB)     {}

func (m *mergeCounts) write(tx *transaction) error {
	for i := range m.counts {
		if err := tx.addCounts(&m.counts[i]); err != nil {
			return err
		}
	}
	return database.Query(tx.conn, "INSERT INTO merged (identity, counted) VALUES (?, ?) ON CONFLICT DO UPDATE SET counted = excluded.counted", func(*sqlite.Stmt) error { return nil },
		m.identity, m.counts[len(m.counts)-1].At)
}

// mergeNotes adds the notes on configurations that are not here, so that it can
// still be told by which rules the events were decided.
func (db *DB) mergeNotes(ctx context.Context, from *sqlite.Conn) error {
	var notes []queue.Note
	if err := database.Query(from, "SELECT at, name, text FROM notes WHERE kind = ? ORDER BY at", func(row *sqlite.Stmt) error {
		notes = append(notes, queue.Note{At: layout.FromMicros(row.ColumnInt64(0)), Kind: queue.NoteConfiguration, Name: row.ColumnText(1), Text: row.ColumnText(2)})
		return nil
	}, string(queue.NoteConfiguration)); err != nil {
		return err
	}
	for _, n := range notes {
		known := false
		if err := db.readers.Read(ctx, func(conn *sqlite.Conn) error {
			return database.Query(conn, "SELECT 1 FROM notes WHERE kind = ? AND at = ? AND coalesce(name, '') = ?", func(*sqlite.Stmt) error {
				known = true
				return nil
			}, string(n.Kind), layout.Micros(n.At), n.Name)
		}); err != nil {
			return err
		}
		if !known {
			if err := db.rest(ctx, &note{Note: n}); err != nil {
				return err
			}
		}
	}
	return nil
}
