package history

import (
	"context"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// searchTime is a variable for tests.
var searchTime = activity.SearchTime

// Page implements queue.History. When a filter passes few events, a page can
// hold fewer than n, or none, and still have a Next.
func (r *Reader) Page(ctx context.Context, filter queue.Filter, order queue.Order, after queue.Cursor, n int) (queue.Page, error) {
	var page queue.Page
	last, err := r.page(ctx, filter, order, after, n, func() { page.Events = nil }, func(_ *sqlite.Conn, _ int64, s *summary) error {
		page.Events = append(page.Events, s.Summary)
		return nil
	})
	if err != nil {
		return queue.Page{}, fmt.Errorf("reading a page of the activity: %w", err)
	}
	page.Next, page.Early, page.Reached = last.next, last.early, last.reached
	return page, nil
}

// Events implements queue.History.
func (r *Reader) Events(ctx context.Context, filter queue.Filter, order queue.Order, after queue.Cursor, n int) (queue.Events, error) {
	var events queue.Events
	bytes := 0
	last, err := r.page(ctx, filter, order, after, n, func() { events.Events, bytes = nil, 0 }, func(conn *sqlite.Conn, id int64, s *summary) error {
		event, err := r.event(conn, id, s)
		if err != nil {
			return err
		}
		events.Events = append(events.Events, queue.Stored{Summary: s.Summary, Event: event})
		if event != nil {
			bytes += len(event.RawBody)
		}
		if bytes > activity.BytesOfPage {
			return database.ErrEnough
		}
		return nil
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
// errEnough. It calls begin before the first, and again when it has to begin
// anew.
func (r *Reader) page(ctx context.Context, filter queue.Filter, order queue.Order, after queue.Cursor, n int, begin func(), found func(conn *sqlite.Conn, id int64, s *summary) error) (end pageEnd, err error) {
	last, n, err := activity.PageFrom(order, after, n)
	if err != nil {
		return end, err
	}
	err = r.readers.Read(ctx, func(conn *sqlite.Conn) error {
		begin()
		end = pageEnd{}
		deadline := time.Now().Add(searchTime(&filter))
		s, err := newSearch(conn, filter, order, last, n+1)
		if err != nil {
			return err
		}
		for count, searched := 0, 0; ; searched++ {
			event, more, err := s.next()
			if err != nil || !more {
				return err
			}
			if count == n && event != 0 {
				end.next = activity.Cursor(s.last)
				return nil
			}
			likely := false
			if event != 0 {
				if likely, err = s.likely(event); err != nil {
					return err
				}
				s.last = event
			}
			if likely {
				summary, stored, err := summarize(conn, event)
				if err != nil {
					return err
				}
				if stored && filter.Passes(&summary.Summary) {
					err := found(conn, event, &summary)
					if errors.Is(err, database.ErrEnough) {
						end.next = activity.Cursor(event)
						return nil
					}
					if err != nil {
						return err
					}
					count++
				}
			}
			if searched >= activity.LeastSearched && time.Now().After(deadline) {
				end.next, end.early = activity.Cursor(s.last), count < n
				nearest := "SELECT received FROM events WHERE id >= ? ORDER BY id LIMIT 1"
				if s.oldest {
					nearest = "SELECT received FROM events WHERE id <= ? ORDER BY id DESC LIMIT 1"
				}
				received, err := database.QueryInt(conn, nearest, s.last)
				end.reached = layout.FromMicros(received)
				return err
			}
		}
	})
	return end, err
}
