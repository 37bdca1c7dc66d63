package postgres

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// eventRow is what is stored of an event.
type eventRow struct {
	queue.Summary
	id       int64
	received int64
	decision string
	verdict  []byte
	plans    []byte // nil: it has no deliveries

	// Only where the whole event is asked for.
	record, body []byte
	checksum     int64

	passes bool // a search for a text
}

// eventColumns are the columns that scan reads, and wholeColumns those of a whole
// event.
const (
	eventColumns = `e.id, e.uuid::text, k.source, k.event, coalesce(n.name, ''), e.received, e.test, coalesce(e.tenant, ''), coalesce(e.parse_error, ''),
		coalesce(e.subject, ''), coalesce(e.duplicate_of::text, ''), e.verdict, k.decision, e.deliveries`
	wholeColumns = eventColumns + `, e.record, e.body, coalesce(e.checksum, -1)`
	joinedNames  = ` JOIN kinds k ON k.id = e.kind LEFT JOIN nodes n ON n.id = e.node `
)

func (e *eventRow) columns(whole bool) []any {
	columns := []any{&e.id, &e.ID, &e.Source, &e.Event, &e.Node, &e.received, &e.Test, &e.Tenant, &e.ParseError, &e.Subject, &e.DuplicateOf, &e.verdict, &e.decision, &e.plans}
	if whole {
		columns = append(columns, &e.record, &e.body, &e.checksum)
	}
	return columns
}

// decoded decodes what was read of an event, but what became of its deliveries.
func (e *eventRow) decoded() {
	for _, text := range []*string{&e.Source, &e.Event, &e.Tenant, &e.ParseError, &e.Subject} {
		*text = decodeText(*text)
	}
	e.verdict, e.plans = decodeBytes(e.verdict), decodeBytes(e.plans)
	e.Received = layout.FromMicros(e.received)
	e.Verdict = layout.DecodeVerdict(e.verdict, e.decision)
	// What cannot be read hides the deliveries, not the event.
	if plans, _ := layout.DecodePlans(e.plans); len(plans) > 0 {
		e.Deliveries = activity.Deliveries(plans, e.Received)
	}
}

// decodeBytes is decodeText for what is decoded further.
func decodeBytes(written []byte) []byte {
	if bytes.IndexByte(written, privateLead) < 0 {
		return written
	}
	return []byte(decodeText(string(written)))
}

// event returns the event as it was stored, nil when that cannot be read.
func (db *DB) event(e *eventRow) *event.Event {
	event, err := layout.DecodeEvent(e.record, e.body, e.checksum, e.ID, e.Source, e.Event, e.Subject, e.received)
	db.unreadable(e.ID, err)
	return event
}

const (
	// The cheap half of the filter: what the rows of events tell.
	chosenRows = `e.received >= $2 AND e.received < $3 AND ($4 = '' OR e.tenant = $4) AND ($5::int[] IS NULL OR e.kind = ANY($5))`

	listEvents = `SELECT c.number, count(*) OVER (), ` + eventColumns + ` FROM unnest($1::bigint[]) WITH ORDINALITY AS c(id, number)
		JOIN events e ON e.id = c.id` + joinedNames + `WHERE ` + chosenRows + ` ORDER BY c.number`

	// As many whole events as have room, and one at least.
	listWhole = `SELECT e.number, e.of, ` + wholeColumns + ` FROM (
			SELECT c.number, count(*) OVER () AS of, e.*, octet_length(e.record) + coalesce(octet_length(e.body), 0) AS size,
				sum(octet_length(e.record) + coalesce(octet_length(e.body), 0)) OVER (ORDER BY c.number) AS sizes
			FROM unnest($1::bigint[]) WITH ORDINALITY AS c(id, number) JOIN events e ON e.id = c.id WHERE ` + chosenRows + `
		) AS e` + joinedNames + `WHERE e.sizes - e.size < $6 ORDER BY e.number`

	listAttempts = `SELECT a.id, a.state, a.at, a.began IS NOT NULL, coalesce(a.status, 0), coalesce(a.error, '')
		FROM unnest($1::bigint[]) AS e(id) CROSS JOIN LATERAL (
			SELECT * FROM attempts WHERE id >= e.id << 23 AND id < (e.id + 1) << 23 ORDER BY id
		) AS a`

	textOfAttempts = `SELECT a.id >> 23, coalesce(a.error, ''), a.response
		FROM unnest($1::bigint[]) AS e(id) CROSS JOIN LATERAL (
			SELECT id, error, response FROM attempts WHERE id >= e.id << 23 AND id < (e.id + 1) << 23 ORDER BY id
		) AS a`
)

// wholeAtOnce bounds the events that one statement reads whole.
const wholeAtOnce = 4 << 20

// reading reads events by their ids.
type reading struct {
	conn   querier
	filter *queue.Filter
	kinds  []int32        // nil: all
	whole  bool           // whole events are read
	bodies bool           // and asked for
	text   *activity.Text // nil: any
}

// events returns those of some candidates that the filter may pass, in their order, and
// how many of the candidates it looked at.
func (r *reading) events(ctx context.Context, candidates []int64) (events []*eventRow, looked int, err error) {
	if len(candidates) == 0 {
		return nil, 0, nil
	}
	since, until := timesOf(r.filter)
	sql, args := listEvents, []any{candidates, since, until, encodeText(r.filter.Tenant), r.kinds}
	if r.whole {
		sql, args = listWhole, append(args, wholeAtOnce)
	}
	rows, err := r.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, 0, err
	}
	var doubtful map[int64]*eventRow // those that may have the text in an attempt
	read, number, all := 0, 0, 0
	for rows.Next() {
		e := new(eventRow)
		if err := rows.Scan(append([]any{&number, &all}, e.columns(r.whole)...)...); err != nil {
			rows.Close()
			return nil, 0, err
		}
		read++
		e.decoded()
		switch {
		case r.text == nil || e.has(r.text):
			e.passes = true
		case len(e.Deliveries) == 0:
			continue
		default:
			if doubtful == nil {
				doubtful = make(map[int64]*eventRow)
			}
			doubtful[e.id] = e
		}
		if r.text != nil && !r.bodies {
			e.record, e.body = nil, nil
		}
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	if looked = len(candidates); read < all {
		looked = number
	}
	if len(doubtful) > 0 {
		if err := r.inAttempts(ctx, doubtful); err != nil {
			return nil, 0, err
		}
		events = slices.DeleteFunc(events, func(e *eventRow) bool { return !e.passes })
	}
	return events, looked, readStates(ctx, r.conn, events)
}

// has reports whether a text stands in an event: where queue.Filter says, and in what
// the list shows of it.
func (e *eventRow) has(text *activity.Text) bool {
	for _, part := range []string{e.Source, e.Event, e.ID, e.Tenant, e.DuplicateOf, e.ParseError, e.Subject} {
		if text.In([]byte(part)) {
			return true
		}
	}
	return text.In(e.record) || text.In(e.body) || text.InVerdict(e.verdict, e.decision) || text.InPlans(e.plans)
}

// inAttempts marks the events that have the text in an error or an answer of one of
// their attempts.
func (r *reading) inAttempts(ctx context.Context, events map[int64]*eventRow) error {
	rows, err := r.conn.Query(ctx, textOfAttempts, slices.Collect(maps.Keys(events)))
	if err != nil {
		return err
	}
	var id int64
	var problem string
	var response []byte
	_, err = pgx.ForEachRow(rows, []any{&id, &problem, &response}, func() error {
		if e := events[id]; !e.passes {
			e.passes = r.text.In([]byte(decodeText(problem))) || r.text.In(response)
		}
		return nil
	})
	return err
}

// readStates reads what became of the deliveries of events.
func readStates(ctx context.Context, conn querier, events []*eventRow) error {
	known := make(map[int64]*eventRow)
	for _, e := range events {
		if len(e.Deliveries) > 0 {
			known[e.id] = e
		}
	}
	if len(known) == 0 {
		return nil
	}
	rows, err := conn.Query(ctx, listAttempts, slices.Collect(maps.Keys(known)))
	if err != nil {
		return err
	}
	var id, at int64
	var state int16
	var attempted bool
	var status int
	var problem string
	if _, err := pgx.ForEachRow(rows, []any{&id, &state, &at, &attempted, &status, &problem}, func() error {
		activity.Tried(known[id>>(layout.DeliveryBits+layout.AttemptBits)].Deliveries, id, int64(state), at, attempted, status, decodeText(problem))
		return nil
	}); err != nil {
		return err
	}
	for _, e := range known {
		queue.Mend(e.Deliveries)
	}
	return nil
}

// timesOf returns the times that a filter chooses, the second not included.
func timesOf(filter *queue.Filter) (since, until int64) {
	since, until = math.MinInt64, math.MaxInt64
	if !filter.Since.IsZero() {
		since = layout.MicrosUp(filter.Since)
	}
	if !filter.Until.IsZero() {
		until = layout.MicrosUp(filter.Until)
	}
	return since, until
}

const listByUUID = `SELECT ` + eventColumns + ` FROM unnest($1::uuid[]) AS u(id) JOIN events e ON e.uuid = u.id` + joinedNames

// Summaries implements queue.History.
func (db *DB) Summaries(ctx context.Context, ids []string) (summaries []queue.Summary, err error) {
	if err := activity.LookedFor(ids); err != nil {
		return nil, err
	}
	var looked [][16]byte
	for _, id := range ids {
		if u, err := uuid.Parse(id); err == nil && len(id) == 36 {
			looked = append(looked, u)
		}
	}
	err = db.read(ctx, func(conn querier) error {
		summaries = nil
		rows, err := conn.Query(ctx, listByUUID, looked)
		if err != nil {
			return err
		}
		events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (*eventRow, error) {
			e := new(eventRow)
			err := row.Scan(e.columns(false)...)
			return e, err
		})
		if err != nil {
			return err
		}
		for _, e := range events {
			e.decoded()
		}
		if err := readStates(ctx, conn, events); err != nil {
			return err
		}
		for _, e := range events {
			summaries = append(summaries, e.Summary)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading events of the activity: %w", err)
	}
	return summaries, nil
}
