package sqlite

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"go.uber.org/zap"
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// command is something that changes the database. The writer carries commands
// out in the order in which they were queued, many in one transaction.
type command interface {
	// prepare runs when the command is queued, with DB.mu held.
	prepare(db *DB)
	// write does the work inside the transaction. It may be called again after a
	// rollback. An error is the database's and undoes the whole transaction; why
	// the command itself may not be carried out is kept for answer.
	write(tx *transaction) error
	// needsRoom reports whether the command is refused while the disk is full.
	// Others make room, or must be carried out all the same.
	needsRoom() bool
	// apply makes known in memory what was committed, with DB.mu held.
	apply(db *DB)
	// answer tells the caller that all is committed, or why it is not.
	answer(err error)
}

// A transaction takes this much at most, so that the first callers do not wait
// for the last.
const (
	commandsAtOnce = 4096
	bytesAtOnce    = 8 << 20
)

// retryWriting is how long the writer waits before it tries again to open the
// database, or to write settlements that it could not write.
const retryWriting = time.Second

// enqueue gives a command to the writer.
func (db *DB) enqueue(c command) error {
	db.mu.Lock()
	if db.closing {
		db.mu.Unlock()
		return queue.ErrClosed
	}
	if !db.begun {
		err := db.notOpen()
		db.mu.Unlock()
		return err
	}
	c.prepare(db)
	db.inbox = append(db.inbox, c)
	db.mu.Unlock()
	db.wakeWriter()
	return nil
}

func (db *DB) wakeWriter() {
	select {
	case db.kick <- struct{}{}:
	default:
	}
}

// runWriter is the goroutine that alone writes and checkpoints.
func (db *DB) runWriter() {
	defer close(db.written)
	defer db.stopBackup()
	for range db.kick {
		for {
			// Requests that are about to store something do so first: a commit costs
			// as much for one of them as for twenty.
			runtime.Gosched()
			batch, closing := db.nextBatch()
			if len(batch) == 0 && !closing && db.failed && !time.Now().Before(db.probeAt) {
				batch = append(batch, probe{})
			}
			if len(batch) > 0 {
				before := db.failures
				db.run(batch)
				clear(batch)
				if db.failures == before {
					db.working()
				} else {
					db.probeAt = time.Now().Add(retryWriting)
					db.retryTimer.Reset(retryWriting)
				}
				if db.crowded.Load() > 0 {
					db.checkPending()
				}
			}
			another := db.runJob(closing)
			if closing {
				for another {
					another = db.runJob(closing)
				}
				return
			}
			if len(batch) == 0 && !another {
				break
			}
			db.checkpointIfLarge()
		}
		db.checkpointIfIdle()
	}
}

// nextBatch takes what has gathered. At the end it takes all.
func (db *DB) nextBatch() (batch []command, closing bool) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.settling = false
	n, bytes := 0, int64(0)
	for n < len(db.inbox) && (n < commandsAtOnce && bytes < bytesAtOnce || db.closing) {
		if p, ok := db.inbox[n].(*put); ok {
			bytes += p.size
		}
		n++
	}
	if n == len(db.inbox) {
		// Two slices take turns.
		batch, db.inbox, db.spare = db.inbox, db.spare[:0], db.inbox
	} else {
		batch = append(batch, db.inbox[:n]...)
		rest := copy(db.inbox, db.inbox[n:])
		clear(db.inbox[rest:])
		db.inbox = db.inbox[:rest]
	}
	if len(db.unsettled) > 0 {
		// First, because later settlements of the same deliveries may follow.
		batch = append(db.unsettled, batch...)
		db.unsettled = nil
	}
	return batch, db.closing
}

// run commits a batch and answers its callers.
func (db *DB) run(batch []command) {
	err := db.commit(batch)
	switch {
	case err == nil:
		for _, c := range batch {
			c.answer(nil)
		}
	case database.IsFull(err):
		db.failing("the disk is full: events are refused until there is room again", err)
		db.space.recheck()
		err = fmt.Errorf("%w: %w", queue.ErrFull, err)
		puts, settlements, others := split(batch)
		db.fail(puts, err)
		// Pruning makes room, and must not suffer from what needs room.
		if len(others) > 0 && len(others) < len(batch) {
			db.run(others)
		} else {
			db.fail(others, err)
		}
		if len(settlements) > 0 && len(settlements) < len(batch) {
			db.run(settlements)
		} else {
			db.fail(settlements, err)
		}
	case isOne(err) && len(batch) > 1:
		// One of them is at fault; the others shall not suffer.
		for i := range batch {
			db.run(batch[i : i+1])
		}
	case isOne(err):
		db.logger.Error("the database refuses what the queue writes", zap.Error(err))
		if s, ok := batch[0].(*settlement); ok {
			db.mu.Lock()
			s.apply(db) // to try again would fail again
			db.mu.Unlock()
		}
		batch[0].answer(err)
	default:
		if errors.Is(err, errNoConnection) {
			err = fmt.Errorf("%w: %w", queue.ErrUnavailable, err)
		}
		db.failing("the queue cannot be written", err)
		if !database.IsBusy(err) {
			db.disconnect(err)
		}
		db.fail(batch, err)
	}
}

// fail answers commands that could not be written, and keeps settlements for
// the next transaction.
func (db *DB) fail(batch []command, err error) {
	kept := len(db.unsettled)
	for _, c := range batch {
		if _, ok := c.(*settlement); ok {
			db.unsettled = append(db.unsettled, c)
		} else {
			c.answer(err)
		}
	}
	if len(db.unsettled) > kept {
		db.mu.Lock()
		db.scheduler.SetUnwritable(true)
		db.mu.Unlock()
		db.retryTimer.Reset(retryWriting)
	}
}

// failing says once that writing fails, and working that it does no longer.
func (db *DB) failing(message string, err error) {
	db.failures++
	db.troubles.Begin(queue.TroubleUnwritable, fmt.Sprintf("%s (%s): %v; it is tried again every second", message, db.file, err), true)
	if !db.failed {
		db.failed = true
		db.logger.Error(message, zap.String("file", db.file), zap.Error(err))
	}
}

func (db *DB) working() {
	if db.failed {
		db.failed = false
		db.troubles.End(queue.TroubleUnwritable)
		db.logger.Info("the queue can be written again", zap.String("file", db.file))
	}
}

// probe writes next to nothing, to find out whether writing works again: when it
// does not, senders may stay away, and no other command comes to show it.
type probe struct{}

func (probe) prepare(*DB)     {}
func (probe) needsRoom() bool { return false }
func (probe) apply(*DB)       {}
func (probe) answer(error)    {}
func (probe) write(tx *transaction) error {
	return database.Execute(tx.conn, "UPDATE facts SET text = text WHERE name = 'identity'")
}

// split separates a batch by what a full disk means for it.
func split(batch []command) (puts, settlements, others []command) {
	for _, c := range batch {
		if _, ok := c.(*settlement); ok {
			settlements = append(settlements, c)
		} else if c.needsRoom() {
			puts = append(puts, c)
		} else {
			others = append(others, c)
		}
	}
	return puts, settlements, others
}

var errNoConnection = errors.New("the database is not open")

// isOne reports whether an error can be the fault of one command.
func isOne(err error) bool {
	if errors.Is(err, errNoConnection) {
		return false
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultConstraint, sqlite.ResultTooBig, sqlite.ResultMismatch, sqlite.ResultRange, sqlite.ResultError:
		return true
	}
	return false
}

// disconnect closes the writer's connection after an error that leaves its
// state in doubt. The next transaction opens another.
func (db *DB) disconnect(err error) {
	if database.IsDamaged(err) {
		db.logger.Error("the database is damaged: "+remedy, zap.String("file", db.file), zap.Error(err))
	}
	db.stopBackup()
	if db.conn == nil {
		return
	}
	if err := db.conn.Close(); err != nil {
		db.logger.Error("closing the database", zap.String("file", db.file), zap.Error(err))
	}
	db.conn, db.statements = nil, nil
	db.reconnectAt = time.Now()
}

// reconnect opens the writer's connection again. Whether the transaction that
// failed was committed all the same shows only now, so what memory knows of
// the tables is read again.
func (db *DB) reconnect() error {
	if now := time.Now(); now.Before(db.reconnectAt) {
		return errNoConnection
	} else {
		db.reconnectAt = now.Add(retryWriting)
	}
	conn, err := database.ConnectWriter(db.file, db.options.limits.maxPages)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoConnection, err)
	}
	db.conn = conn
	err = db.loadState()
	if err == nil {
		err = db.releaseGone()
	}
	if err != nil {
		db.disconnect(err)
		return fmt.Errorf("%w: %w", errNoConnection, err)
	}
	return nil
}

// releaseGone lets go in memory of deliveries that the table does not have any
// more under their action: the transaction that failed may have cancelled or
// moved them. Without that they would be sent once more. Those whose settlement
// is still to be written are left to it.
func (db *DB) releaseGone() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, a := range db.actions {
		for _, id := range db.scheduler.Doubt(&a.Action) {
			waits := false
			if err := database.Query(db.conn, "SELECT 1 FROM waiting WHERE action = ? AND delivery = ?", func(*sqlite.Stmt) error {
				waits = true
				return nil
			}, a.id, id); err != nil {
				return err
			}
			if !waits {
				db.scheduler.Release(&a.Action, id)
			}
		}
	}
	return nil
}
