package sqlite

import (
	"encoding/json"
	"fmt"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

// settlement is one call of Settle on its way through the writer.
type settlement struct {
	scheduler.Settlement
	action  *action
	state   int64
	attempt *queue.Attempt
	empty   string
}

// Settle implements queue.Queue.
func (db *DB) Settle(token queue.Token, how queue.Settlement) error {
	state, ok := layout.StateNumber(how.State)
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
	err := queue.ErrClosed
	if !db.closing {
		s.Settlement, err = db.scheduler.Settle(token, &how)
	}
	if err != nil {
		return fmt.Errorf("settling a lease: %w", err)
	}
	s.action = db.action(s.Action.Name)
	db.inbox = append(db.inbox, s)
	switch {
	case s.Over && s.Delivery.OrderKey != "":
		// The next of its key waits for this commit, so that a crash never
		// repeats an older delivery after a newer one.
		db.wakeWriter()
	case !db.settling:
		db.settling = true
		db.settleTimer.Reset(db.options.limits.settleDelay)
	}
	return nil
}

func (*settlement) needsRoom() bool { return false }
func (s *settlement) prepare(*DB)   {}

// write records the attempt and the delivery's new state.
func (s *settlement) write(tx *transaction) error {
	a, delivery := s.action, s.Delivery.Number
	var err error
	if s.state == layout.Pending {
		again := tx.statements.again
		again.BindInt64(1, s.At)
		again.BindInt64(2, int64(s.Attempts))
		database.BindInt(again, 3, s.First)
		again.BindInt64(4, a.row)
		again.BindInt64(5, delivery)
		err = database.Step(again)
	} else {
		end := tx.statements.end
		end.BindInt64(1, a.row)
		end.BindInt64(2, delivery)
		err = database.Step(end)
	}
	if err != nil {
		return err
	}
	if tx.conn.Changes() == 0 {
		return nil // an administrator cancelled it before
	}
	if err := tx.countSettled(s.state, s.attempt != nil, s.Since, s.At); err != nil {
		return err
	}
	if !s.Test {
		tx.endAction(a, s.state)
	}
	if s.state != layout.Pending {
		if err := tx.ended(a, s.Delivery.OrderKey); err != nil {
			return err
		}
	}
	if err := tx.putAttempt(s, delivery); err != nil || s.state == layout.Pending {
		return err
	}
	return tx.mendAfter(delivery, s.state, s.Delivery.Of)
}

// putAttempt writes a row of the table attempts.
func (tx *transaction) putAttempt(s *settlement, delivery int64) error {
	put := tx.statements.putAttempt
	put.BindInt64(1, layout.AttemptID(delivery, s.Number))
	put.BindInt64(2, s.action.row)
	put.BindInt64(3, s.state)
	put.BindInt64(4, s.At)
	if t := s.attempt; t != nil {
		put.BindInt64(5, layout.Micros(t.Began))
		put.BindInt64(6, t.Took.Microseconds())
		database.BindInt(put, 7, int64(t.Status))
		database.BindText(put, 8, t.Error)
		database.BindText(put, 9, t.Request)
		database.BindText(put, 10, t.Response)
		tx.bytes += int64(len(t.Error) + len(t.Request) + len(t.Response))
	} else {
		for param := 5; param <= 10; param++ {
			put.BindNull(param)
		}
	}
	database.BindText(put, 11, s.empty)
	tx.bytes += 64
	return database.Step(put)
}

// ended does what follows from the end of a delivery whose row is deleted.
func (tx *transaction) ended(a *action, orderKey string) error {
	tx.count(a, -1)
	if orderKey == "" {
		return nil
	}
	return tx.releaseNext(a, orderKey)
}

func (s *settlement) apply(db *DB) { db.scheduler.Written(&s.Settlement) }

func (s *settlement) answer(error) {}
