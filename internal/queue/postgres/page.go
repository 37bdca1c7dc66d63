package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// searchTime is a variable for tests.
var searchTime = activity.SearchTime

// Page implements queue.History. When a filter passes few events, a page can
// hold fewer than n, or none, and still have a Next.
func (db *DB) Page(ctx context.Context, filter queue.Filter, order queue.Order, after queue.Cursor, n int) (queue.Page, error) {
	var page queue.Page
	last, err := db.page(ctx, &filter, order, after, n, false, func() { page.Events = nil }, func(e *eventRow) bool {
		page.Events = append(page.Events, e.Summary)
		return true
	})
	if err != nil {
		return queue.Page{}, fmt.Errorf("reading a page of the activity: %w", err)
	}
	page.Next, page.Early, page.Reached = last.next, last.early, last.reached
	return page, nil
}

// Events implements queue.History.
func (db *DB) Events(ctx context.Context, filter queue.Filter, order queue.Order, after queue.Cursor, n int) (queue.Events, error) {
	var events queue.Events
	bytes := 0
	last, err := db.page(ctx, &filter, order, after, n, true, func() { events.Events, bytes = nil, 0 }, func(e *eventRow) bool {
		event := db.event(e)
		events.Events = append(events.Events, queue.Stored{Summary: e.Summary, Event: event})
		if event != nil {
			bytes += len(event.RawBody)
		}
		return bytes <= activity.BytesOfPage
	})
	if err != nil {
		return queue.Events{}, fmt.Errorf("reading stored events: %w", err)
	}
	events.Next = last.next
	return events, nil
}

// pageEnd says where a page ended, and why.
type pageEnd struct {
	next    queue.Cursor
	early   bool
	reached time.Time
}

// page calls found for each event of a page, which ends early when found returns
// false. whole says that the events themselves are asked for. It calls begin before the
// first, and again when it has to begin anew.
func (db *DB) page(ctx context.Context, filter *queue.Filter, order queue.Order, cursor queue.Cursor, n int, whole bool, begin func(), found func(*eventRow) bool) (end pageEnd, err error) {
	after, n, err := activity.PageFrom(order, cursor, n)
	if err != nil {
		return end, err
	}
	err = db.read(ctx, func(conn querier) error {
		begin()
		end = pageEnd{}
		last := after
		deadline := time.Now().Add(searchTime(filter))
		s, err := newSearch(ctx, conn, filter, order, after, n+1)
		if err != nil {
			return err
		}
		r := reading{conn: conn, filter: filter, kinds: s.kinds, whole: whole || filter.Text != "", bodies: whole}
		if filter.Text != "" {
			r.text = activity.NewText(filter.Text)
		}
		for count, searched := 0, 0; !s.end; {
			candidates, err := s.next(ctx)
			if err != nil {
				return err
			}
			searched += s.through
			for first := true; first || len(candidates) > 0; first = false {
				events, looked, err := r.events(ctx, candidates)
				if err != nil {
					return err
				}
				if looked > 0 {
					last, candidates = candidates[looked-1], candidates[looked:]
				}
				for i := range events {
					if !filter.Passes(&events[i].Summary) {
						continue
					}
					count++
					if enough := !found(events[i]); enough || count == n {
						if enough || i < len(events)-1 || len(candidates) > 0 || !s.end {
							end.next = activity.Cursor(events[i].id)
						}
						return nil
					}
				}
				if s.end && len(candidates) == 0 || searched < activity.LeastSearched || time.Now().Before(deadline) {
					continue
				}
				reached := s.reached()
				if len(candidates) > 0 {
					reached = last
				}
				end.next, end.early = activity.Cursor(reached), true
				end.reached, err = receivedNear(ctx, conn, reached, s.oldest)
				return err
			}
		}
		return nil
	})
	return end, err
}

// The event that was looked at last may be gone: then one before it tells the time.
const (
	receivedFrom = `SELECT received FROM events WHERE id >= $1 ORDER BY id LIMIT 1`
	receivedUpTo = `SELECT received FROM events WHERE id <= $1 ORDER BY id DESC LIMIT 1`
)

// receivedNear returns when the event was received that a search has reached.
func receivedNear(ctx context.Context, conn querier, event int64, oldest bool) (time.Time, error) {
	sql := receivedFrom
	if oldest {
		sql = receivedUpTo
	}
	var received int64
	if err := conn.QueryRow(ctx, sql, event).Scan(&received); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return time.Time{}, err
	}
	return layout.FromMicros(received), nil
}
