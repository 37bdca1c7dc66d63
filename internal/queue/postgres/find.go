package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

const (
	findEvents = `SELECT id FROM events WHERE uuid BETWEEN $1 AND $2 LIMIT $3`
	findAdded  = `SELECT event FROM additions WHERE uuid BETWEEN $1 AND $2 LIMIT $3`
	// Deliveries that stand in no other table have ids of the time of their event.
	findByDelivery = `SELECT e.id FROM (` + blocksWithin + `) AS b JOIN events e ON e.id >= b.block << 12 AND e.id < (b.block + 1) << 12
		WHERE e.received >= $1 AND e.received < $2 AND strpos(e.deliveries, $3) > 0 LIMIT $4`

	listTries = `SELECT id, began, took, coalesce(status, 0), coalesce(error, ''), request, response, empty FROM attempts
		WHERE id >= $1 AND id < $2 AND began IS NOT NULL ORDER BY id`

	// From the number that the schema names on, a place says that a delivery is behind
	// another.
	findHeads = `SELECT w.delivery, h.delivery, e.deliveries
		FROM unnest($1::bigint[]) AS d(delivery) CROSS JOIN actions AS a JOIN waiting AS w ON w.action = a.id AND w.delivery = d.delivery
		CROSS JOIN LATERAL (
			SELECT delivery FROM waiting WHERE action = w.action AND key_hash = w.key_hash AND order_key = w.order_key AND place < 4611686018427387904
			ORDER BY delivery LIMIT 1
		) AS h JOIN events AS e ON e.id = h.delivery >> 11
		WHERE w.place >= 4611686018427387904`
)

// mostMatches is how many events are looked for that an id may mean: more than one are
// too many.
const mostMatches = 10

// uuidRange returns the first and the last UUID with a beginning, which is in lower
// case. It reports false if the text cannot be the beginning of a UUID.
func uuidRange(beginning string) (first, last uuid.UUID, ok bool) {
	const zero = "00000000-0000-0000-0000-000000000000"
	if len(beginning) > len(zero) {
		return first, last, false
	}
	for i := range len(beginning) {
		c := beginning[i]
		if (zero[i] == '-') != (c == '-') || c != '-' && !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return first, last, false
		}
	}
	rest := zero[len(beginning):]
	first, err := uuid.Parse(beginning + rest)
	if err != nil {
		return first, last, false
	}
	last, err = uuid.Parse(beginning + strings.ReplaceAll(rest, "0", "f"))
	return first, last, err == nil
}

// matches returns the events that an id, or the beginning of one, may mean.
func matches(ctx context.Context, conn querier, id string) (events []int64, err error) {
	first, last, ok := uuidRange(id)
	if !ok || len(id) < activity.ShortestID {
		return nil, nil
	}
	oldest, newest := timeOfID(first), timeOfID(last)+1000
	found := make(map[int64]struct{})
	for _, s := range []struct {
		sql  string
		args []any
	}{
		{findEvents, []any{first, last, mostMatches}},
		{findAdded, []any{first, last, mostMatches}},
		{findByDelivery, []any{oldest - idSlack, newest + idSlack, `"id":"` + id, mostMatches}},
	} {
		rows, err := conn.Query(ctx, s.sql, s.args...)
		if err != nil {
			return nil, err
		}
		var event int64
		if _, err := pgx.ForEachRow(rows, []any{&event}, func() error {
			if _, known := found[event]; !known {
				found[event] = struct{}{}
				events = append(events, event)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// Find implements queue.History.
func (db *DB) Find(ctx context.Context, id string) (detail queue.Detail, err error) {
	id = strings.ToLower(id)
	err = db.read(ctx, func(conn querier) error {
		events, err := matches(ctx, conn, id)
		if err != nil {
			return err
		}
		if len(events) != 1 {
			return activity.NotFound(len(events))
		}
		detail, err = db.detail(ctx, conn, events[0])
		return err
	})
	if err != nil {
		return queue.Detail{}, fmt.Errorf("finding %s: %w", id, err)
	}
	return detail, nil
}

// detail returns all that is known of an event.
func (db *DB) detail(ctx context.Context, conn querier, event int64) (d queue.Detail, err error) {
	r := reading{conn: conn, filter: &queue.Filter{}, whole: true, bodies: true}
	events, _, err := r.events(ctx, []int64{event})
	if err != nil {
		return d, err
	}
	if len(events) == 0 { // it was removed meanwhile
		return d, queue.ErrNotFound
	}
	e := events[0]
	d = queue.Detail{Summary: e.Summary, Event: db.event(e), Attempts: make(map[string][]queue.Attempt)}
	from, to := layout.AttemptRange(event)
	rows, err := conn.Query(ctx, listTries, from, to)
	if err != nil {
		return d, err
	}
	var id, began, took int64
	var status int
	var problem string
	var request, response []byte
	var empty *string
	if _, err := pgx.ForEachRow(rows, []any{&id, &began, &took, &status, &problem, &request, &response, &empty}, func() error {
		attempt := queue.Attempt{
			Began: layout.FromMicros(began), Took: time.Duration(took) * time.Microsecond, Status: status,
			Error: decodeText(problem), Request: string(request), Response: string(response),
		}
		if empty != nil {
			db.unreadable(e.ID, json.Unmarshal([]byte(decodeText(*empty)), &attempt.Empty))
		}
		if place := layout.PlaceOf(id >> layout.AttemptBits); place < len(e.Deliveries) {
			of := e.Deliveries[place].ID
			d.Attempts[of] = append(d.Attempts[of], attempt)
		}
		return nil
	}); err != nil {
		return d, err
	}
	d.Behind, err = behind(ctx, conn, e)
	return d, err
}

// behind returns the delivery for which each of an event's waits, by their ids.
func behind(ctx context.Context, conn querier, e *eventRow) (heads map[string]string, err error) {
	var pending []int64
	for place := range e.Deliveries {
		if e.Deliveries[place].State == queue.Pending {
			pending = append(pending, layout.DeliveryID(e.id, place))
		}
	}
	if len(pending) == 0 {
		return nil, nil
	}
	rows, err := conn.Query(ctx, findHeads, pending)
	if err != nil {
		return nil, err
	}
	var delivery, head int64
	var list []byte
	_, err = pgx.ForEachRow(rows, []any{&delivery, &head, &list}, func() error {
		plans, _ := layout.DecodePlans(decodeBytes(list))
		if place := layout.PlaceOf(head); place < len(plans) {
			if heads == nil {
				heads = make(map[string]string)
			}
			heads[e.Deliveries[layout.PlaceOf(delivery)].ID] = plans[place].ID
		}
		return nil
	})
	return heads, err
}
