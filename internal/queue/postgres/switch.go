package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

const (
	// One at a time, whether there is a row of it or not.
	lockSwitches = `LOCK TABLE switches IN SHARE ROW EXCLUSIVE MODE`
	findSwitch   = `SELECT since, now_us() FROM (SELECT 1) AS one LEFT JOIN switches ON kind = $1 AND name = $2`
	turnOff      = `INSERT INTO switches (kind, name, since, until, reason) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (kind, name) DO UPDATE SET until = excluded.until, reason = excluded.reason`
	turnOn       = `DELETE FROM switches WHERE kind = $1 AND name = $2`
	pauseAction  = `UPDATE actions SET paused = $2 WHERE name = $1`
	listSwitches = `SELECT kind, name, since, until, coalesce(reason, '') FROM switches ORDER BY kind, name`
)

// turn turns a switch, and notes it in the same transaction. What takes obey is
// actions.paused, so that an action that was never switched costs nothing.
func (db *DB) turn(ctx context.Context, s queue.Switch) error {
	var actions []string
	if s.Kind == queue.SwitchAction {
		actions = []string{s.Name}
	}
	return db.alter(ctx, actions, func(lanes []*lane) error {
		var epoch epoch
		turned := false
		if err := db.write(ctx, func(tx pgx.Tx) (err error) {
			if _, err := tx.Exec(ctx, lockSwitches); err != nil {
				return err
			}
			var since *int64
			var now int64
			if err := tx.QueryRow(ctx, findSwitch, string(s.Kind), encodeText(s.Name)).Scan(&since, &now); err != nil {
				return err
			}
			if turned = s.Off || since != nil; !turned {
				return nil
			}
			if since == nil {
				since = &now
			}
			s.Since = layout.FromMicros(*since)
			if len(actions) > 0 {
				if _, err := tx.Exec(ctx, pauseAction, encodeText(s.Name), s.Off); err != nil {
					return err
				}
			}
			if s.Off {
				var until *int64
				if !s.Until.IsZero() {
					at := layout.DueAt(s.Until)
					until = &at
				}
				_, err = tx.Exec(ctx, turnOff, string(s.Kind), encodeText(s.Name), *since, until, nullText(s.Reason))
			} else {
				_, err = tx.Exec(ctx, turnOn, string(s.Kind), encodeText(s.Name))
			}
			if err != nil {
				return err
			}
			note, err := s.Note()
			if err != nil {
				return err
			}
			if err := db.note(ctx, tx, note); err != nil {
				return err
			}
			epoch, err = db.raise(ctx, tx, true, actions...)
			return err
		}); err != nil || !turned {
			return err
		}
		return db.obeyed(ctx, epoch)
	})
}

// Switches implements queue.History.
func (db *DB) Switches(ctx context.Context) (switches []queue.Switch, err error) {
	err = db.read(ctx, func(q querier) error {
		rows, err := q.Query(ctx, listSwitches)
		if err != nil {
			return err
		}
		switches, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (queue.Switch, error) {
			s := queue.Switch{Off: true}
			var since int64
			var until *int64
			err := row.Scan(&s.Kind, &s.Name, &since, &until, &s.Reason)
			s.Name, s.Reason, s.Since = decodeText(s.Name), decodeText(s.Reason), layout.FromMicros(since)
			if until != nil {
				s.Until = layout.FromMicros(*until)
			}
			return s, err
		})
		return err
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("reading the switches: %w", err)
	}
	return switches, err
}
