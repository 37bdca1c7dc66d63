package sqlite

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// settlement is one call of Settle on its way through the writer.
type settlement struct {
	action   *action
	delivery *delivery
	orderKey string
	number   int // of the attempt, from 0
	attempts int // made until now
	first    int64
	since    int64 // when the delivery began to wait
	state    int64
	at       int64 // when due again, or when it ended
	attempt  *queue.Attempt
	empty    string
	uuid     string // of the event, empty if it cannot be read
}

// Settle implements queue.Queue.
func (db *DB) Settle(token queue.Token, how queue.Settlement) error {
	state, ok := stateNumber(how.State)
	if !ok {
		return fmt.Errorf("settling a lease: unknown state %q", how.State)
	}
	s := &settlement{state: state, attempt: how.Attempt}
	if how.Attempt != nil && len(how.Attempt.Empty) > 0 {
		empty, err := json.Marshal(how.Attempt.Empty)
		if err != nil {
			return fmt.Errorf("settling a lease: %w", err)
		}
		s.empty = string(empty)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	l, err := db.leased(token)
	if err != nil {
		return fmt.Errorf("settling a lease: %w", err)
	}
	db.drop(l)
	s.action, s.delivery, s.orderKey = l.action, l.delivery, l.delivery.OrderKey
	db.settle(s, how.Again)
	db.inbox = append(db.inbox, s)
	switch {
	case s.orderKey != "" && state != pending:
		// The next of its key waits for this commit, so that a crash never
		// repeats an older delivery after a newer one.
		db.wakeWriter()
	case !db.settling:
		db.settling = true
		db.settleTimer.Reset(db.options.limits.settleDelay)
	}
	return nil
}

// settle makes a settlement known in memory.
func (db *DB) settle(s *settlement, again time.Time) {
	a, d := s.action, s.delivery
	s.number = d.Attempts
	if s.attempt != nil {
		d.Attempts++
		if d.FirstAttempt.IsZero() {
			d.FirstAttempt = s.attempt.Began
		}
	}
	s.attempts = d.Attempts
	if !d.FirstAttempt.IsZero() {
		s.first = micros(d.FirstAttempt)
	}
	if d.event != nil {
		s.uuid, s.since = d.event.ID, micros(d.event.Received)
	}
	if d.added != 0 {
		s.since = d.added
	}
	a.unwritten++
	d.unwritten++
	now := db.now()
	if s.state != pending {
		// It is held until that is written, and in no list.
		s.at = micros(now)
		db.dropEvent(a, d)
		return
	}
	if again.Before(now) {
		again = now
	}
	s.at = dueAt(again)
	d.Due, d.due, d.since = again, s.at, s.at
	switch {
	case s.at > micros(now) && db.roomLater(a, 0):
		heap.Push(&a.later, d)
		db.arm(s.at)
	case s.at <= micros(now) && db.roomDue(a, 0):
		heap.Push(&a.due, d)
		a.signal()
	default:
		d.evict = true
		db.dropEvent(a, d)
	}
}

func (s *settlement) prepare(*DB) {}

// write records the attempt and the delivery's new state.
func (s *settlement) write(tx *transaction) error {
	a, d := s.action, s.delivery
	var err error
	if s.state == pending {
		again := tx.statements.again
		again.BindInt64(1, s.at)
		again.BindInt64(2, int64(s.attempts))
		bindInt(again, 3, s.first)
		again.BindInt64(4, a.row)
		again.BindInt64(5, d.id)
		err = step(again)
	} else {
		end := tx.statements.end
		end.BindInt64(1, a.row)
		end.BindInt64(2, d.id)
		err = step(end)
	}
	if err != nil {
		return err
	}
	if tx.conn.Changes() == 0 {
		return nil // an administrator cancelled it before
	}
	if err := tx.countSettled(s.state, s.attempt != nil, s.since, s.at); err != nil {
		return err
	}
	if s.state != pending {
		if err := tx.ended(a, s.orderKey); err != nil {
			return err
		}
	}
	return tx.putAttempt(s, d.id)
}

// putAttempt writes a row of the table attempts.
func (tx *transaction) putAttempt(s *settlement, delivery int64) error {
	put := tx.statements.putAttempt
	put.BindInt64(1, attemptID(delivery, s.number))
	put.BindInt64(2, s.action.row)
	put.BindInt64(3, s.state)
	put.BindInt64(4, s.at)
	if t := s.attempt; t != nil {
		put.BindInt64(5, micros(t.Began))
		put.BindInt64(6, t.Took.Microseconds())
		bindInt(put, 7, int64(t.Status))
		bindText(put, 8, t.Error)
		bindText(put, 9, t.Request)
		bindText(put, 10, t.Response)
		tx.bytes += int64(len(t.Error) + len(t.Request) + len(t.Response))
	} else {
		for param := 5; param <= 10; param++ {
			put.BindNull(param)
		}
	}
	bindText(put, 11, s.empty)
	tx.bytes += 64
	return step(put)
}

// ended does what follows from the end of a delivery whose row is deleted.
func (tx *transaction) ended(a *action, orderKey string) error {
	tx.count(a, -1)
	if orderKey == "" {
		return nil
	}
	return tx.releaseNext(a, orderKey)
}

func (s *settlement) apply(db *DB) {
	a, d := s.action, s.delivery
	a.unwritten--
	d.unwritten--
	if db.unwritable || a.unwritten == unwrittenLimit-1 {
		a.signal()
	}
	switch {
	case s.state != pending:
		db.forget(a, d)
	case d.evict && d.unwritten == 0:
		db.forget(a, d)
		db.loadAt(a, d.due)
	}
}

func (s *settlement) answer(error) {}
