package sqlite

import (
	"strings"

	"go.uber.org/zap"
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// transaction is what the writer knows while it writes. Nothing of it is in
// force before the commit.
type transaction struct {
	db         *DB
	conn       *sqlite.Conn
	statements *statements
	now        int64
	lastEvent  int64
	block      database.Block
	blockDirty bool
	fullBlocks []database.Block // that were filled before it
	pending    int              // unfinished deliveries of all actions
	touched    []*action        // whose number of them changed
	stored     []*action        // that got their row
	kinds      []layout.Kind    // that got their row
	released   []*action        // with a delivery that is no longer behind another
	bytes      int64            // roughly what was written
	counts     layout.Counts    // of the present minute
	counted    bool             // whether they changed
	used       []*thing         // whose uses changed
	undo       []func()         // what undoes the changes of things
	writesUses bool             // whether uses must be written with it
	text       []byte           // to write in
}

// commit writes a batch as one transaction. When it returns nil the batch is on
// stable storage, and in force in memory.
func (db *DB) commit(batch []command) (err error) {
	if db.conn == nil {
		if err := db.reconnect(); err != nil {
			return err
		}
	}
	tx := &db.tx
	*tx = transaction{
		db: db, conn: db.conn, statements: db.statements, now: layout.Micros(db.now()),
		lastEvent: db.lastEvent, block: db.block, pending: db.pending,
		counts: db.counts, text: tx.text, touched: tx.touched[:0], stored: tx.stored[:0], kinds: tx.kinds[:0], released: tx.released[:0],
		used: tx.used[:0], undo: tx.undo[:0],
	}
	defer func() {
		if err != nil {
			tx.rollback()
		}
	}()
	if err := database.Step(tx.statements.begin); err != nil {
		return err
	}
	for _, c := range batch {
		if err := c.write(tx); err != nil {
			return err
		}
	}
	if err := tx.writeTotals(); err != nil {
		return err
	}
	if err := database.Step(tx.statements.commit); err != nil {
		return err
	}
	db.lastEvent, db.block, db.pending, db.counts = tx.lastEvent, tx.block, tx.pending, tx.counts
	db.walBytes += tx.bytes + pagesPerCommit*database.PageSize

	db.mu.Lock()
	defer db.mu.Unlock()
	for _, a := range tx.touched {
		a.waiting += a.delta
		a.delta, a.uses, a.touched = 0, a.next, false
	}
	for _, a := range tx.stored {
		a.id = a.row
	}
	tx.usesCommitted()
	for _, c := range batch {
		c.apply(db)
	}
	if _, ok := batch[0].(*settlement); ok {
		db.scheduler.SetUnwritable(false) // what could not be written before comes first
	}
	for _, a := range tx.released {
		db.scheduler.Due(&a.Action, tx.now)
	}
	db.tellWatchers(batch)
	return nil
}

// rollback undoes what a failed transaction did.
func (tx *transaction) rollback() {
	for _, a := range tx.touched {
		a.delta, a.touched = 0, false
	}
	tx.usesUndone()
	for _, a := range tx.stored {
		a.row = 0
	}
	for _, k := range tx.kinds {
		delete(tx.db.kinds, k)
	}
	// After some errors SQLite has rolled back by itself.
	if !tx.conn.AutocommitEnabled() {
		if err := database.Step(tx.statements.rollback); err != nil {
			tx.db.logger.Error("rolling back", zap.Error(err))
		}
	}
}

// count changes the number of unfinished deliveries of an action.
func (tx *transaction) count(a *action, n int) {
	tx.pending += n
	tx.touch(a)
	a.delta += n
}

// touch says that the row of an action changes: its delta, or next.
func (tx *transaction) touch(a *action) {
	if !a.touched {
		a.next, a.touched = a.uses, true
		tx.touched = append(tx.touched, a)
	}
}

// writeTotals brings those rows up to date that stand for many events.
func (tx *transaction) writeTotals() error {
	if err := tx.writeBlocks(); err != nil {
		return err
	}
	if tx.counted {
		if err := tx.putCounts(0, &tx.counts); err != nil {
			return err
		}
	}
	for _, a := range tx.touched {
		if a.delta == 0 && a.next == a.uses {
			continue
		}
		s := tx.statements.putTotals
		s.BindInt64(1, int64(a.waiting+a.delta))
		a.next.bind(s, 2)
		s.BindInt64(2+actionUsesCount, a.row)
		if err := database.Step(s); err != nil {
			return err
		}
	}
	return tx.writeUses()
}

// storeAction gives an action its row.
func (tx *transaction) storeAction(a *action) error {
	if a.row != 0 {
		return nil
	}
	s := tx.statements.putAction
	s.BindText(1, a.Name)
	if err := database.Step(s); err != nil {
		return err
	}
	a.row = tx.conn.LastInsertRowID()
	tx.stored = append(tx.stored, a)
	return nil
}

// kindsInMemory bounds the writer's dictionary: senders may invent names.
const kindsInMemory = 8192

// kind returns the id of a kind, and stores it when it is new.
func (tx *transaction) kind(k layout.Kind) (int64, error) {
	if id, ok := tx.db.kinds[k]; ok {
		return id, nil
	}
	find := tx.statements.findKind
	bindKind(find, k)
	found, err := find.Step()
	if err != nil {
		return 0, err
	}
	id := find.ColumnInt64(0)
	if err := find.Reset(); err != nil {
		return 0, err
	}
	if !found {
		put := tx.statements.putKind
		bindKind(put, k)
		if err := database.Step(put); err != nil {
			return 0, err
		}
		id = tx.conn.LastInsertRowID()
		tx.kinds = append(tx.kinds, k)
	}
	if len(tx.db.kinds) >= kindsInMemory {
		clear(tx.db.kinds)
	}
	tx.db.kinds[k] = id
	return id, nil
}

func bindKind(s *sqlite.Stmt, k layout.Kind) {
	s.BindText(1, k.Source)
	s.BindText(2, k.Event)
	s.BindText(3, k.Decision)
	s.BindText(4, k.Actions)
}

// statements are those that the writer uses all the time.
type statements struct {
	begin, commit, rollback         *sqlite.Stmt
	putAction, putTotals, pause     *sqlite.Stmt
	findKind, putKind               *sqlite.Stmt
	putEvent                        *sqlite.Stmt
	wait, waitTimed                 *sqlite.Stmt
	again, end, putAttempt          *sqlite.Stmt
	firstOfKey, nextOfKey, release  *sqlite.Stmt
	getDedupe, putDedupe, oldDedupe *sqlite.Stmt
	putBlock, putCounts, putUses    *sqlite.Stmt
	getWaiting, listWaiting         *sqlite.Stmt
	deleteEvent, deleteAttempts     *sqlite.Stmt
	addedWaits, deleteAdditions     *sqlite.Stmt
}

func prepareStatements(conn *sqlite.Conn) (*statements, error) {
	s := &statements{}
	for _, p := range s.list() {
		stmt, err := conn.Prepare(p.sql)
		if err != nil {
			return nil, err
		}
		*p.stmt = stmt
	}
	return s, nil
}

type statement struct {
	stmt **sqlite.Stmt
	sql  string
}

func (s *statements) list() []statement {
	return []statement{
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.commit, "COMMIT"},
		{&s.rollback, "ROLLBACK"},
		{&s.putAction, "INSERT INTO actions (name) VALUES (?)"},
		{&s.putTotals, "UPDATE actions SET waiting = ?, " + strings.ReplaceAll(actionUsesColumns, ",", " = ?,") + " = ? WHERE id = ?"},
		{&s.pause, "UPDATE actions SET paused = ? WHERE id = ?"},
		{&s.findKind, "SELECT id FROM kinds WHERE source = ? AND event = ? AND decision = ? AND actions = ?"},
		{&s.putKind, "INSERT INTO kinds (source, event, decision, actions) VALUES (?, ?, ?, ?)"},
		{&s.putEvent, `INSERT INTO events (id, kind, received, uuid, test, tenant, parse_error, duplicate_of, verdict, deliveries, record, body, checksum, subject)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.wait, "INSERT INTO waiting (action, delivery) VALUES (?, ?)"},
		{&s.waitTimed, "INSERT INTO waiting (action, delivery, due, order_key, since) VALUES (?, ?, ?, ?, ?)"},
		{&s.again, "UPDATE waiting SET due = ?, attempts = ?, first_attempt = ? WHERE action = ? AND delivery = ?"},
		{&s.end, "DELETE FROM waiting WHERE action = ? AND delivery = ?"},
		{&s.putAttempt, `INSERT OR REPLACE INTO attempts (id, action, state, at, began, took, status, error, request, response, empty)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`},
		{&s.firstOfKey, "SELECT 1 FROM waiting INDEXED BY waiting_order WHERE action = ? AND order_key = ? LIMIT 1"},
		{&s.nextOfKey, nextOfKey},
		{&s.release, "UPDATE waiting SET due = ? WHERE action = ? AND delivery = ?"},
		{&s.getDedupe, "SELECT uuid, stored FROM dedupe WHERE key = ?"},
		{&s.putDedupe, "INSERT OR REPLACE INTO dedupe (key, uuid, stored, expires) VALUES (?, ?, ?, ?)"},
		{&s.oldDedupe, "DELETE FROM dedupe WHERE key IN (SELECT key FROM dedupe WHERE expires < ? ORDER BY expires LIMIT 2)"},
		{&s.putBlock, "INSERT OR REPLACE INTO blocks (first, oldest, newest) VALUES (?, ?, ?)"},
		{&s.putCounts, putCounts},
		{&s.putUses, "UPDATE uses SET count = ?, first = ?, last = ? WHERE kind = ? AND name = ?"},
		{&s.getWaiting, "SELECT delivery FROM waiting WHERE action = ? AND delivery = ?"},
		{&s.listWaiting, "SELECT delivery FROM waiting WHERE action = ? AND delivery <= ? ORDER BY delivery LIMIT ?"},
		{&s.addedWaits, `SELECT 1 FROM events WHERE id = ?1 AND CASE WHEN instr(deliveries, '"added":') > 0 AND json_valid(deliveries) THEN json_array_length(deliveries) END >
			(SELECT count(*) FROM attempts WHERE id >= ?1 << 23 AND id < (?1 + 1) << 23 AND state <> 0)`},
		{&s.deleteAdditions, `DELETE FROM additions WHERE uuid IN (SELECT d.value ->> 'id' FROM events e CROSS JOIN json_each(
			CASE WHEN instr(e.deliveries, '"added":') > 0 AND json_valid(e.deliveries) THEN e.deliveries END) d WHERE e.id = ?)`},
		{&s.deleteEvent, "DELETE FROM events WHERE id = ?"},
		{&s.deleteAttempts, "DELETE FROM attempts WHERE id >= ? AND id < ?"},
	}
}
