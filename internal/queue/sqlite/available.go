package sqlite

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// A database that cannot be opened right now (a full disk, a read-only file
// system, a directory that is mounted later, another process that has it) is
// tried again until it can be. Until then nothing is known of what it holds:
// calls that need it get queue.ErrUnavailable, and takers wait.

// longestRetryOpening is how long it takes at most until a database that cannot
// be opened is tried again.
const longestRetryOpening = 5 * time.Second

// Ready returns a channel that is closed once the queue is open.
func (db *DB) Ready() <-chan struct{} { return db.ready }

// notOpen returns why the queue is not open, or nil.
func (db *DB) notOpen() error {
	select {
	case <-db.ready:
		return nil
	default:
	}
	why, _ := db.troubles.Get(queue.TroubleUnavailable)
	return fmt.Errorf("%w: %s", queue.ErrUnavailable, why.Message)
}

// takesEvents returns why nothing new can be stored, as far as that can be told
// beforehand.
func (db *DB) takesEvents() error {
	if err := db.notOpen(); err != nil {
		return err
	}
	if db.space.low() {
		return fmt.Errorf("%w: %s", queue.ErrFull, db.space.why())
	}
	return nil
}

// unavailable notes why the queue cannot be opened. It says so once for each
// reason.
func (db *DB) unavailable(err error) {
	if db.troubles.Begin(queue.TroubleUnavailable, fmt.Sprintf("%v; it is tried again every few seconds", err), true) {
		db.logger.Error("the queue cannot be opened: events are refused with status 503 until it can; it is tried again", zap.String("file", db.file), zap.Error(err))
	}
}

// keepOpening tries to open the database until that succeeds or the queue is
// closed.
func (db *DB) keepOpening() {
	for wait := db.options.limits.retryOpening; ; wait = min(2*wait, longestRetryOpening) {
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-db.closed:
			timer.Stop()
			return
		}
		if err := db.open(); err != nil {
			db.unavailable(err)
			continue
		}
		if !db.begin() {
			_ = db.letGo() // closed meanwhile, and nothing was written
			return
		}
		db.logger.Info("the queue is open: events are taken", zap.String("file", db.file))
		return
	}
}

// begin starts the writer of a database that is open. It returns false if the
// queue is closing.
func (db *DB) begin() bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closing {
		return false
	}
	db.begun = true
	db.troubles.End(queue.TroubleUnavailable)
	close(db.ready)
	go db.runWriter()
	for _, a := range db.actions {
		db.scheduler.Signal(&a.Action) // wakes takers that wait
	}
	return true
}

// letGo closes the file and its lock.
func (db *DB) letGo() error {
	var errs []error
	if db.conn != nil {
		errs = append(errs, db.conn.Close())
		db.conn, db.statements = nil, nil
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
		db.lock = nil
	}
	return errors.Join(errs...)
}
