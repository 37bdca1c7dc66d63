package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// search finds the events that a filter may pass, in order, some at a time. It reads
// the table or the index that has the fewest other events, and no statement of it goes
// through more than a bounded number of rows. The caller then applies the filter
// exactly.
type search struct {
	conn     querier
	filter   *queue.Filter
	oldest   bool  // oldest first
	from, to int64 // first id that is left, and the first behind the last
	end      bool
	kinds    []int32 // those that the filter passes; nil: all

	sql  string
	args []any // behind the bounds and the limit
	rows int   // how many the next statement goes through

	through int // how many the last one did
}

const (
	// mostRows is how many rows one statement goes through.
	mostRows = 4096
	// mostKinds is how many kinds are looked up one by one. With more of them, because
	// senders invent names, all events are gone through.
	mostKinds = 256
)

// The statements give the ids of events, the newest first. Their parameters are an
// upper bound, which is not part of the range, a lower one, which is, and how many rows
// to go through at most. Their columns are the id of an event, whether it is a candidate,
// and how many rows were gone through, either for this one or, if more, for all.
const (
	listAll = `SELECT id, true, 1 FROM events WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT $3`

	// Of the rows that are gone through only the candidates and the last are returned.
	listChosen = `SELECT id, chosen, number_of_all FROM (
			SELECT id, ($4::text = '' OR coalesce(tenant = $4, false)) AND received >= $5 AND received < $6 AND ($7::int[] IS NULL OR kind = ANY($7)) AS chosen,
				row_number() OVER (ORDER BY id DESC) AS number, count(*) OVER () AS number_of_all
			FROM (SELECT id, tenant, received, kind FROM events WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT $3) AS stretch
		) AS all_of_it WHERE chosen OR number = number_of_all ORDER BY id DESC`

	listByKind = `SELECT e.id, true, 1 FROM unnest($4::int[]) AS k(kind) CROSS JOIN LATERAL (
			SELECT id FROM events WHERE kind = k.kind AND id < $1 AND id >= $2 ORDER BY id DESC LIMIT $3
		) AS e ORDER BY e.id DESC LIMIT $3`

	listByState = `SELECT id, true, 1 FROM (
			SELECT a.id >> 23 AS id FROM unnest($4::int[], $5::smallint[]) AS s(action, state) CROSS JOIN LATERAL (
				SELECT id FROM attempts WHERE action = s.action AND state = s.state AND state > 1 AND id < $1::bigint << 23 AND id >= $2::bigint << 23 ORDER BY id DESC LIMIT $3
			) AS a
			UNION ALL
			SELECT w.delivery >> 11 FROM unnest($6::int[]) AS s(action) CROSS JOIN LATERAL (
				SELECT delivery FROM waiting WHERE action = s.action AND delivery < $1::bigint << 11 AND delivery >= $2::bigint << 11 ORDER BY delivery DESC LIMIT $3
			) AS w
		) AS all_of_them ORDER BY id DESC LIMIT $3`
)

// ascending is one of these statements for the oldest first.
func ascending(sql string) string { return strings.ReplaceAll(sql, " DESC", "") }

// newSearch begins a search behind an event, for about n events. The event is
// layout.MaxEvent or 0 where the search begins at the end.
func newSearch(ctx context.Context, conn querier, filter *queue.Filter, order queue.Order, after int64, n int) (*search, error) {
	s := &search{conn: conn, filter: filter, oldest: order == queue.OldestFirst, to: after, sql: listAll, rows: n}
	if s.oldest {
		s.from, s.to = after+1, layout.MaxEvent
	}
	since, until := timesOf(filter)
	if !filter.Since.IsZero() || !filter.Until.IsZero() {
		from, to, err := idRange(ctx, conn, since, until)
		if err != nil {
			return nil, err
		}
		s.from, s.to = max(s.from, from), min(s.to, to)
	}
	if filter.Source != "" || filter.Event != "" || filter.Decision != "" || filter.Action != "" || len(filter.States) > 0 {
		if err := s.readKinds(ctx); err != nil {
			return nil, err
		}
		s.end = len(s.kinds) == 0
	}
	switch {
	case s.end:
	case len(filter.States) > 0 && !slices.Contains(filter.States, queue.Delivered):
		if err := s.byState(ctx); err != nil {
			return nil, err
		}
	case filter.Tenant != "" || len(s.kinds) > mostKinds:
		s.sql, s.args, s.rows = listChosen, []any{encodeText(filter.Tenant), since, until, s.kinds}, mostRows
	case s.kinds != nil:
		s.sql, s.args = listByKind, []any{s.kinds}
	}
	if s.oldest {
		s.sql = ascending(s.sql)
	}
	return s, nil
}

// readKinds looks up the kinds that the filter passes.
func (s *search) readKinds(ctx context.Context) error {
	f := s.filter
	s.kinds = []int32{}
	rows, err := s.conn.Query(ctx, "SELECT id, actions FROM kinds WHERE ($1 = '' OR source = $1) AND ($2 = '' OR event = $2) AND ($3 = '' OR decision = $3)",
		encodeText(f.Source), encodeText(f.Event), encodeText(string(f.Decision)))
	if err != nil {
		return err
	}
	var id int32
	var list string
	_, err = pgx.ForEachRow(rows, []any{&id, &list}, func() error {
		if f.Action != "" || len(f.States) > 0 {
			var actions []string
			if list != "" {
				if err := json.Unmarshal([]byte(decodeText(list)), &actions); err != nil {
					return fmt.Errorf("decoding the actions of a kind: %w", err)
				}
			}
			if len(actions) == 0 || f.Action != "" && !slices.Contains(actions, f.Action) {
				return nil
			}
		}
		s.kinds = append(s.kinds, id)
		return nil
	})
	return err
}

// byState looks where deliveries in the states stand: those that wait in
// waiting, those that ended badly in a partial index.
func (s *search) byState(ctx context.Context) error {
	actions, err := numbers[int32](ctx, s.conn, "SELECT id FROM actions WHERE $1 = '' OR name = $1", encodeText(s.filter.Action))
	if err != nil {
		return err
	}
	waiting, ended, states := []int32{}, []int32{}, []int16{}
	for _, action := range actions {
		for _, name := range s.filter.States {
			state, known := layout.StateNumber(name)
			switch {
			case name == queue.Mended:
				for state := layout.Failed; state <= layout.Cancelled; state++ {
					ended, states = append(ended, action), append(states, int16(state+layout.Mended))
				}
			case !known:
			case state == layout.Pending:
				waiting = append(waiting, action)
			default:
				ended, states = append(ended, action), append(states, int16(state))
			}
		}
	}
	s.sql, s.args = listByState, []any{ended, states, waiting}
	return nil
}

// next returns the next candidates, each once. There may be none although the search
// is not at its end: then it has come further all the same.
func (s *search) next(ctx context.Context) (events []int64, err error) {
	if s.end || s.from >= s.to {
		s.end = true
		return nil, nil
	}
	rows, err := s.conn.Query(ctx, s.sql, append([]any{s.to, s.from, s.rows}, s.args...)...)
	if err != nil {
		return nil, err
	}
	var id, last int64
	var candidate bool
	var through int
	s.through = 0
	if _, err := pgx.ForEachRow(rows, []any{&id, &candidate, &through}, func() error {
		if candidate && (s.through == 0 || id != last) {
			events = append(events, id)
		}
		s.through, last = max(s.through+1, through), id
		return nil
	}); err != nil {
		return nil, err
	}
	switch {
	case s.through < s.rows:
		s.end = true
	case s.oldest:
		s.from = last + 1
	default:
		s.to = last
	}
	s.rows = max(s.rows, min(4*s.rows, mostRows/4))
	return events, nil
}

// reached returns the event up to which all were candidates of next or passed over.
func (s *search) reached() int64 {
	if s.oldest {
		return s.from - 1
	}
	return s.to
}
