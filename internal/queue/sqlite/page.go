package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// pageTime bounds how long one page may search. What it has found by then is
// the page, and its cursor goes on from there: a filter that hardly anything
// passes costs many short transactions and never a long one.
const pageTime = 50 * time.Millisecond

// longestPage bounds a page.
const longestPage = 1000

// Page implements queue.Activity. When a filter passes few events, a page can
// hold fewer than n, or none, and still have a Next.
func (db *DB) Page(ctx context.Context, filter queue.Filter, after queue.Cursor, n int) (page queue.Page, err error) {
	before := int64(maxEvent)
	if after != "" {
		if before, err = strconv.ParseInt(string(after), 10, 64); err != nil || before < 1 || before > maxEvent {
			return page, fmt.Errorf("reading a page of the activity: %q is not a cursor", after)
		}
	}
	if n < 1 {
		return page, fmt.Errorf("reading a page of the activity: it must have room for at least 1 event, not %d", n)
	}
	n = min(n, longestPage)
	err = db.readers.read(ctx, func(conn *sqlite.Conn) error {
		page = queue.Page{}
		s, err := newSearch(conn, filter, before)
		if err != nil {
			return err
		}
		deadline := time.Now().Add(pageTime)
		for event, err := range s.events(n + 1) {
			if err != nil {
				return err
			}
			if len(page.Events) == n {
				page.Next = cursor(s.last)
				return nil
			}
			summary, found, err := summarize(conn, event)
			if err != nil {
				return err
			}
			if found && s.passes(summary) {
				page.Events = append(page.Events, summary.Summary)
			}
			s.last = event
			if time.Now().After(deadline) {
				page.Next = cursor(s.last)
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return queue.Page{}, fmt.Errorf("reading a page of the activity: %w", err)
	}
	return page, nil
}

func cursor(event int64) queue.Cursor { return queue.Cursor(strconv.FormatInt(event, 10)) }

// search finds the events that a filter may pass, newest first, from whichever
// table or index has fewest that it does not. What it finds is then held
// against the filter exactly.
type search struct {
	conn     *sqlite.Conn
	filter   queue.Filter
	from, to int64 // first id, and the first behind the last
	last     int64 // the event that was looked at last
	lists    []list
	shift    int // from the ids of the lists to those of events
}

// list is one statement that gives ids in descending order, for an id to be
// below, one to be not below, and a limit.
type list struct {
	sql  string
	args []any
}

const (
	listAll     = `SELECT id FROM events WHERE id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3`
	listByKind  = `SELECT id FROM events WHERE kind = ?4 AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3`
	listWaiting = `SELECT delivery FROM waiting WHERE action = ?4 AND delivery < ?1 AND delivery >= ?2 ORDER BY delivery DESC LIMIT ?3`
	listByState = `SELECT id FROM attempts INDEXED BY attempts_ended
		WHERE action = ?4 AND state = ?5 AND state > 1 AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3`
)

func newSearch(conn *sqlite.Conn, filter queue.Filter, before int64) (*search, error) {
	s := &search{conn: conn, filter: filter, to: before, last: before}
	if !filter.Since.IsZero() || !filter.Until.IsZero() {
		times := span{math.MinInt64, math.MaxInt64}
		if !filter.Since.IsZero() {
			times.oldest = micros(filter.Since)
		}
		if !filter.Until.IsZero() {
			times.newest = micros(filter.Until)
		}
		from, to, err := idRange(conn, times)
		if err != nil {
			return nil, err
		}
		s.from, s.to = from, min(to, before)
	}
	var err error
	switch state, _ := stateNumber(filter.State); {
	case filter.State != "" && state != delivered:
		err = s.byState(state)
	case filter.State != "" || filter.Source != "" || filter.Event != "" || filter.Decision != "" || filter.Action != "":
		err = s.byKind()
	default:
		s.lists = []list{{sql: listAll}}
	}
	return s, err
}

// byState looks where deliveries in a state stand: those that wait in waiting,
// those that ended badly in a partial index.
func (s *search) byState(state int64) error {
	args := "SELECT id FROM actions"
	var named []any
	if s.filter.Action != "" {
		args, named = "SELECT id FROM actions WHERE name = ?", []any{s.filter.Action}
	}
	return query(s.conn, args, func(row *sqlite.Stmt) error {
		action := row.ColumnInt64(0)
		if state == pending {
			s.shift = deliveryBits
			s.lists = append(s.lists, list{listWaiting, []any{action}})
		} else {
			s.shift = deliveryBits + attemptBits
			s.lists = append(s.lists, list{listByState, []any{action, state}})
		}
		return nil
	}, named...)
}

// byKind looks up the kinds that the filter passes.
func (s *search) byKind() error {
	f := &s.filter
	return query(s.conn, "SELECT id, source, event, decision, actions FROM kinds", func(row *sqlite.Stmt) error {
		if f.Source != "" && f.Source != row.ColumnText(1) || f.Event != "" && f.Event != row.ColumnText(2) ||
			f.Decision != "" && string(f.Decision) != row.ColumnText(3) {
			return nil
		}
		if f.Action != "" || f.State != "" {
			var actions []string
			if text := columnBytes(row, 4); text != nil {
				if err := json.Unmarshal(text, &actions); err != nil {
					return fmt.Errorf("decoding the actions of a kind: %w", err)
				}
			}
			if len(actions) == 0 || f.Action != "" && !slices.Contains(actions, f.Action) {
				return nil
			}
		}
		s.lists = append(s.lists, list{listByKind, []any{row.ColumnInt64(0)}})
		return nil
	})
}

// events yields the ids of candidates, newest first, each once. It reads some
// more at a time the more there are.
func (s *search) events(n int) func(yield func(int64, error) bool) {
	return func(yield func(int64, error) bool) {
		for before := s.to; before > s.from; n = min(4*n, 4096) {
			var ids []int64
			for _, l := range s.lists {
				args := append([]any{before << s.shift, s.from << s.shift, int64(n)}, l.args...)
				if err := query(s.conn, l.sql, func(row *sqlite.Stmt) error {
					ids = append(ids, row.ColumnInt64(0)>>s.shift)
					return nil
				}, args...); err != nil {
					yield(0, err)
					return
				}
			}
			// The newest n of all lists are among the newest n of each.
			slices.SortFunc(ids, func(a, b int64) int { return cmp.Compare(b, a) })
			complete := len(ids) < n
			ids = ids[:min(len(ids), n)]
			for _, id := range slices.Compact(ids) {
				if !yield(id, nil) {
					return
				}
				before = id
			}
			if complete {
				return
			}
		}
	}
}

// passes holds an event against the filter.
func (s *search) passes(e summary) bool {
	f := &s.filter
	if !f.Since.IsZero() && e.received < microsUp(f.Since) || !f.Until.IsZero() && e.received >= microsUp(f.Until) ||
		f.Source != "" && f.Source != e.Source || f.Event != "" && f.Event != e.Event ||
		f.Decision != "" && f.Decision != e.Verdict.Decision {
		return false
	}
	if f.Action == "" && f.State == "" {
		return true
	}
	return slices.ContainsFunc(e.Deliveries, func(d queue.DeliveryState) bool {
		return (f.Action == "" || f.Action == d.Action) && (f.State == "" || f.State == d.State)
	})
}
