package history

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// search finds the events that a filter may pass, in order. It reads the table or the
// index that has the fewest other events. The caller then applies the filter exactly.
type search struct {
	conn     *sqlite.Conn
	filter   queue.Filter
	oldest   bool  // oldest first
	from, to int64 // first id, and the first behind the last
	last     int64 // the event that was looked at last
	yielded  int64 // the event that next returned last
	lists    inOrder

	kinds map[int64]layout.Kind // those that the filter passes; nil: all
	exact bool                  // the lists hold nothing that likely would reject
	text  *activity.Text
}

// list is one statement that gives ids in order. Its parameters are an upper bound,
// which is not part of the range, a lower one, which is, and a limit. The limit grows
// with each reading.
type list struct {
	sql    string
	args   []any
	shift  int   // from its ids to those of events
	at     int64 // where to read on: below this id, or from it if the oldest are first
	chunk  int64
	window int64   // how many ids are gone through at a time, 0: all
	ids    []int64 // of events, that were read and not used yet
	end    bool
}

const (
	listAll     = `SELECT id FROM events WHERE id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3`
	listTenant  = `SELECT id FROM events WHERE tenant = ?4 AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3`
	listByKind  = `SELECT id FROM events WHERE kind = ?4 AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3`
	listWaiting = `SELECT delivery FROM waiting WHERE action = ?4 AND delivery < ?1 AND delivery >= ?2 ORDER BY delivery DESC LIMIT ?3`
	listByState = `SELECT id FROM attempts INDEXED BY attempts_ended
		WHERE action = ?4 AND state = ?5 AND state > 1 AND id < ?1 AND id >= ?2 ORDER BY id DESC LIMIT ?3`
)

// ascending is one of these statements for the oldest first.
func ascending(sql string) string { return strings.Replace(sql, " DESC LIMIT", " LIMIT", 1) }

// tenantWindow is how many events are gone through for one of a tenant before
// the time is looked at.
const tenantWindow = 4096

// mostLists is how many kinds are read one by one. With more of them, because senders
// invent names, all events are gone through.
const mostLists = 256

// newSearch begins a search behind an event, for about n events. The event is
// layout.MaxEvent or 0 where the search begins at the end.
func newSearch(conn *sqlite.Conn, filter queue.Filter, order queue.Order, after int64, n int) (*search, error) {
	s := &search{conn: conn, filter: filter, oldest: order == queue.OldestFirst, to: after, last: after, exact: filter.Tenant == "" && filter.Text == ""}
	if s.oldest {
		s.from, s.to = after+1, layout.MaxEvent
	}
	if filter.Text != "" {
		s.text = activity.NewText(filter.Text)
	}
	if !filter.Since.IsZero() || !filter.Until.IsZero() {
		times := database.Span{Oldest: math.MinInt64, Newest: math.MaxInt64}
		if !filter.Since.IsZero() {
			times.Oldest = layout.Micros(filter.Since)
		}
		if !filter.Until.IsZero() {
			times.Newest = layout.Micros(filter.Until)
		}
		from, to, err := database.IDRange(conn, times)
		if err != nil {
			return nil, err
		}
		s.from, s.to, s.exact = max(s.from, from), min(s.to, to), false
	}
	if filter.Source != "" || filter.Event != "" || filter.Decision != "" || filter.Action != "" || len(filter.States) > 0 || s.text != nil {
		if err := s.readKinds(); err != nil {
			return nil, err
		}
	}
	var err error
	switch {
	case len(filter.States) > 0 && !slices.Contains(filter.States, queue.Delivered):
		s.exact = false
		err = s.byState()
	case filter.Source == "" && filter.Event == "" && filter.Decision == "" && filter.Action == "" && len(filter.States) == 0:
		s.lists.lists = []*list{{sql: listAll}}
		if filter.Tenant != "" {
			s.lists.lists = []*list{{sql: listTenant, args: []any{filter.Tenant}, window: tenantWindow}}
			err = database.Query(conn, "SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events)", func(row *sqlite.Stmt) error {
				s.from, s.to = max(s.from, row.ColumnInt64(0)), min(s.to, row.ColumnInt64(1)+1)
				return nil
			})
		}
	case len(s.kinds) > mostLists:
		s.exact = false
		s.lists.lists = []*list{{sql: listAll}}
	default:
		for id := range s.kinds {
			s.lists.lists = append(s.lists.lists, &list{sql: listByKind, args: []any{id}})
		}
	}
	if err != nil {
		return nil, err
	}
	lists := s.lists.lists
	s.lists = inOrder{oldest: s.oldest}
	for _, l := range lists {
		l.at, l.chunk = s.to<<l.shift, int64(max(2*n/len(lists), 4))
		if s.oldest {
			l.at, l.sql = s.from<<l.shift, ascending(l.sql)
		}
		if len(lists) == 1 {
			l.chunk = int64(n)
		}
		if err := s.read(l); err != nil {
			return nil, err
		}
		if len(l.ids) > 0 || !l.end {
			s.lists.lists = append(s.lists.lists, l)
		}
	}
	heap.Init(&s.lists)
	return s, nil
}

// byState looks where deliveries in the states stand: those that wait in
// waiting, those that ended badly in a partial index.
func (s *search) byState() error {
	sql := "SELECT id FROM actions"
	var named []any
	if s.filter.Action != "" {
		sql, named = "SELECT id FROM actions WHERE name = ?", []any{s.filter.Action}
	}
	return database.Query(s.conn, sql, func(row *sqlite.Stmt) error {
		action := row.ColumnInt64(0)
		for _, name := range s.filter.States {
			ended := func(state int64) {
				s.lists.lists = append(s.lists.lists, &list{sql: listByState, args: []any{action, state}, shift: layout.DeliveryBits + layout.AttemptBits})
			}
			state, known := layout.StateNumber(name)
			switch {
			case name == queue.Mended:
				for state := int64(layout.Failed); state <= layout.Cancelled; state++ {
					ended(state + layout.Mended)
				}
			case !known:
			case state == layout.Pending:
				s.lists.lists = append(s.lists.lists, &list{sql: listWaiting, args: []any{action}, shift: layout.DeliveryBits})
			default:
				ended(state)
			}
		}
		return nil
	}, named...)
}

// readKinds looks up the kinds that the filter passes.
func (s *search) readKinds() error {
	f := &s.filter
	s.kinds = make(map[int64]layout.Kind)
	return database.Query(s.conn, "SELECT id, source, event, decision, actions FROM kinds", func(row *sqlite.Stmt) error {
		k := layout.Kind{Source: row.ColumnText(1), Event: row.ColumnText(2), Decision: row.ColumnText(3), Actions: row.ColumnText(4)}
		if f.Source != "" && f.Source != k.Source || f.Event != "" && f.Event != k.Event || f.Decision != "" && string(f.Decision) != k.Decision {
			return nil
		}
		if f.Action != "" || len(f.States) > 0 {
			var actions []string
			if k.Actions != "" {
				if err := json.Unmarshal([]byte(k.Actions), &actions); err != nil {
					return fmt.Errorf("decoding the actions of a kind: %w", err)
				}
			}
			if len(actions) == 0 || f.Action != "" && !slices.Contains(actions, f.Action) {
				return nil
			}
		}
		s.kinds[row.ColumnInt64(0)] = k
		return nil
	})
}

// read reads on in a list.
func (s *search) read(l *list) error {
	l.ids = l.ids[:0]
	if l.end {
		return nil
	}
	// What is left lies from low to high.
	low, high := s.from<<l.shift, l.at
	if s.oldest {
		low, high = l.at, s.to<<l.shift
	}
	stretch := l.window > 0 && high-low > l.window
	switch {
	case stretch && s.oldest:
		high = low + l.window
	case stretch:
		low = high - l.window
	}
	read := int64(0)
	if err := database.Query(s.conn, l.sql, func(row *sqlite.Stmt) error {
		l.at = row.ColumnInt64(0)
		read++
		if id := l.at >> l.shift; len(l.ids) == 0 || l.ids[len(l.ids)-1] != id {
			l.ids = append(l.ids, id)
		}
		if s.oldest {
			l.at++
		}
		return nil
	}, append([]any{high, low, l.chunk}, l.args...)...); err != nil {
		return err
	}
	if read < l.chunk {
		l.end = !stretch
		if l.at = low; s.oldest {
			l.at = high
		}
	}
	l.chunk = min(4*l.chunk, 1024)
	return nil
}

// next returns the next candidate, each once. It returns 0 after a stretch without
// any, and 0 without more at the end.
func (s *search) next() (event int64, more bool, err error) {
	for len(s.lists.lists) > 0 {
		l := s.lists.lists[0]
		if len(l.ids) == 0 { // a stretch, of the only list
			if s.last = l.at; s.oldest {
				s.last--
			}
			if err := s.read(l); err != nil || len(l.ids) == 0 {
				return 0, !l.end, err
			}
		}
		id := l.ids[0]
		if l.ids = l.ids[1:]; len(l.ids) == 0 {
			if err := s.read(l); err != nil {
				return 0, false, err
			}
		}
		if len(l.ids) == 0 && l.end {
			heap.Pop(&s.lists)
		} else {
			heap.Fix(&s.lists, 0)
		}
		if id != s.yielded {
			s.yielded = id
			return id, true, nil
		}
	}
	return 0, false, nil
}

// likely applies the filter as far as the event's row tells.
func (s *search) likely(event int64) (likely bool, err error) {
	if s.exact {
		return true, nil
	}
	f := &s.filter
	var of layout.Kind
	err = database.Query(s.conn, "SELECT kind, received, tenant FROM events WHERE id = ?", func(row *sqlite.Stmt) error {
		known := true
		if s.kinds != nil {
			of, known = s.kinds[row.ColumnInt64(0)]
		}
		received := row.ColumnInt64(1)
		likely = known && (f.Since.IsZero() || received >= layout.MicrosUp(f.Since)) && (f.Until.IsZero() || received < layout.MicrosUp(f.Until)) &&
			(f.Tenant == "" || f.Tenant == row.ColumnText(2))
		return nil
	}, event)
	if err == nil && likely && s.text != nil {
		return textIn(s.text, s.conn, event, of)
	}
	return likely, err
}

// inOrder is a heap of lists that are not at their end.
type inOrder struct {
	lists  []*list
	oldest bool
}

func (h inOrder) Len() int { return len(h.lists) }
func (h inOrder) Less(i, j int) bool {
	if h.oldest {
		i, j = j, i
	}
	return h.lists[i].ids[0] > h.lists[j].ids[0]
}
func (h inOrder) Swap(i, j int) { h.lists[i], h.lists[j] = h.lists[j], h.lists[i] }
func (h *inOrder) Push(x any)   { h.lists = append(h.lists, x.(*list)) }
func (h *inOrder) Pop() any {
	last := len(h.lists) - 1
	l := h.lists[last]
	h.lists = h.lists[:last]
	return l
}
