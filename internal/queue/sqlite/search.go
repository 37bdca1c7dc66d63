package sqlite

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// search finds the events that a filter may pass, newest first, from whichever
// table or index has fewest that it does not. What it finds is then held
// against the filter exactly.
type search struct {
	conn     *sqlite.Conn
	filter   queue.Filter
	from, to int64 // first id, and the first behind the last
	last     int64 // the event that was looked at last
	yielded  int64 // the event that next returned last
	lists    newestFirst
	shift    int // from the ids of the lists to those of events

	kinds map[int64]kind // those that the filter passes; nil: all
	exact bool           // the lists hold nothing that likely would reject
	text  *text
}

// list is one statement that gives ids in descending order, for an id to be
// below, one to be not below, and a limit. It reads some more at a time the
// more there are.
type list struct {
	sql    string
	args   []any
	before int64
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

// tenantWindow is how many events are gone through for one of a tenant before
// the time is looked at.
const tenantWindow = 4096

// mostLists is how many kinds are read one by one. Senders may invent names:
// beyond, all events are gone through.
const mostLists = 256

// newSearch begins a search below an id, for about n events.
func newSearch(conn *sqlite.Conn, filter queue.Filter, before int64, n int) (*search, error) {
	s := &search{conn: conn, filter: filter, to: before, last: before, exact: filter.Tenant == "" && filter.Text == ""}
	if filter.Text != "" {
		s.text = newText(filter.Text)
	}
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
		s.from, s.to, s.exact = from, min(to, before), false
	}
	if filter.Source != "" || filter.Event != "" || filter.Decision != "" || filter.Action != "" || filter.State != "" || s.text != nil {
		if err := s.readKinds(); err != nil {
			return nil, err
		}
	}
	var err error
	switch state, _ := stateNumber(filter.State); {
	case filter.State != "" && state != delivered:
		s.exact = false
		err = s.byState(state)
	case filter == (queue.Filter{Since: filter.Since, Until: filter.Until, Tenant: filter.Tenant, Text: filter.Text}):
		s.lists = newestFirst{{sql: listAll}}
		if filter.Tenant != "" {
			s.lists = newestFirst{{sql: listTenant, args: []any{filter.Tenant}, window: tenantWindow}}
			err = query(conn, "SELECT (SELECT min(id) FROM events), (SELECT max(id) FROM events)", func(row *sqlite.Stmt) error {
				s.from, s.to = max(s.from, row.ColumnInt64(0)), min(s.to, row.ColumnInt64(1)+1)
				return nil
			})
		}
	case len(s.kinds) > mostLists:
		s.exact = false
		s.lists = newestFirst{{sql: listAll}}
	default:
		for id := range s.kinds {
			s.lists = append(s.lists, &list{sql: listByKind, args: []any{id}})
		}
	}
	if err != nil {
		return nil, err
	}
	lists := s.lists
	s.lists = nil
	for _, l := range lists {
		l.before, l.chunk = s.to<<s.shift, int64(max(2*n/len(lists), 4))
		if len(lists) == 1 {
			l.chunk = int64(n)
		}
		if err := s.read(l); err != nil {
			return nil, err
		}
		if len(l.ids) > 0 || !l.end {
			s.lists = append(s.lists, l)
		}
	}
	heap.Init(&s.lists)
	return s, nil
}

// byState looks where deliveries in a state stand: those that wait in waiting,
// those that ended badly in a partial index.
func (s *search) byState(state int64) error {
	sql := "SELECT id FROM actions"
	var named []any
	if s.filter.Action != "" {
		sql, named = "SELECT id FROM actions WHERE name = ?", []any{s.filter.Action}
	}
	return query(s.conn, sql, func(row *sqlite.Stmt) error {
		action := row.ColumnInt64(0)
		if state == pending {
			s.shift = deliveryBits
			s.lists = append(s.lists, &list{sql: listWaiting, args: []any{action}})
		} else {
			s.shift = deliveryBits + attemptBits
			s.lists = append(s.lists, &list{sql: listByState, args: []any{action, state}})
		}
		return nil
	}, named...)
}

// readKinds looks up the kinds that the filter passes.
func (s *search) readKinds() error {
	f := &s.filter
	s.kinds = make(map[int64]kind)
	return query(s.conn, "SELECT id, source, event, decision, actions FROM kinds", func(row *sqlite.Stmt) error {
		k := kind{source: row.ColumnText(1), event: row.ColumnText(2), decision: row.ColumnText(3), actions: row.ColumnText(4)}
		if f.Source != "" && f.Source != k.source || f.Event != "" && f.Event != k.event || f.Decision != "" && string(f.Decision) != k.decision {
			return nil
		}
		if f.Action != "" || f.State != "" {
			var actions []string
			if k.actions != "" {
				if err := json.Unmarshal([]byte(k.actions), &actions); err != nil {
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
	read, low := int64(0), s.from<<s.shift
	if l.window > 0 {
		low = max(low, l.before-l.window)
	}
	if err := query(s.conn, l.sql, func(row *sqlite.Stmt) error {
		l.before = row.ColumnInt64(0)
		read++
		if id := l.before >> s.shift; len(l.ids) == 0 || l.ids[len(l.ids)-1] != id {
			l.ids = append(l.ids, id)
		}
		return nil
	}, append([]any{l.before, low, l.chunk}, l.args...)...); err != nil {
		return err
	}
	if read < l.chunk {
		l.before, l.end = low, low == s.from<<s.shift
	}
	l.chunk = min(4*l.chunk, 1024)
	return nil
}

// next returns the next candidate, each once, and 0 at the end, which more
// tells from a stretch without any.
func (s *search) next() (event int64, more bool, err error) {
	for len(s.lists) > 0 {
		l := s.lists[0]
		if len(l.ids) == 0 { // a stretch, of the only list
			s.last = l.before
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

// likely holds against the filter what can be told from the event's row.
func (s *search) likely(event int64) (likely bool, err error) {
	if s.exact {
		return true, nil
	}
	f := &s.filter
	var of kind
	err = query(s.conn, "SELECT kind, received, tenant FROM events WHERE id = ?", func(row *sqlite.Stmt) error {
		known := true
		if s.kinds != nil {
			of, known = s.kinds[row.ColumnInt64(0)]
		}
		received := row.ColumnInt64(1)
		likely = known && (f.Since.IsZero() || received >= microsUp(f.Since)) && (f.Until.IsZero() || received < microsUp(f.Until)) &&
			(f.Tenant == "" || f.Tenant == row.ColumnText(2))
		return nil
	}, event)
	if err == nil && likely && s.text != nil {
		return s.text.in(s.conn, event, of)
	}
	return likely, err
}

// newestFirst is a heap of lists that are not at their end.
type newestFirst []*list

func (h newestFirst) Len() int           { return len(h) }
func (h newestFirst) Less(i, j int) bool { return h[i].ids[0] > h[j].ids[0] }
func (h newestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *newestFirst) Push(x any)        { *h = append(*h, x.(*list)) }
func (h *newestFirst) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	*h = (*h)[:last]
	return l
}
