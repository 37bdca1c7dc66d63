package postgres

import (
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// insertion stores events, their deliveries and what is counted of them, in one
// statement. What is counted goes to one row, a tally. Ids are drawn in the order of the
// events: the smallest is that of the first. A delivery is behind if another of its action
// and key is unfinished, stored before or with it; the key is locked. One that is wanted is
// stored as leased, unless it is not due. Lease 1 is that of the put, also of one that is
// not leased, so that no taker's lease has its number.
//
// What a statement costs besides its rows is as much as some thirty events cost. So it
// has only the parts that a batch needs, and the time is asked for once. Arrays are
// unnested side by side in a list of columns: in FROM each would be stored apart first.
type insertion struct{ deliveries, keys, additions bool }

var insertions = func() map[insertion]string {
	all := make(map[insertion]string)
	for _, i := range []insertion{{}, {true, false, false}, {true, true, false}, {true, false, true}, {true, true, true}} {
		all[i] = i.sql()
	}
	return all
}()

func (i insertion) sql() string {
	const (
		head = `WITH ids AS MATERIALIZED (
		SELECT array_agg(nextval('event_ids')) AS ids FROM generate_series(1, cardinality($1::integer[]))
	), i AS (
		INSERT INTO events (id, kind, node, received, uuid, test, tenant, parse_error, subject, duplicate_of, verdict, deliveries, record, body, checksum)
		SELECT id, kind, $15, received, uuid, coalesce(test, false), tenant, parse_error, subject, duplicate_of, verdict, deliveries, record, body, checksum FROM (
			SELECT unnest((SELECT ids FROM ids)) AS id, unnest($1::integer[]) AS kind, unnest($2::bigint[]) AS received, unnest($3::uuid[]) AS uuid, unnest($4::boolean[]) AS test, unnest($5::text[]) AS tenant,
				unnest($6::text[]) AS parse_error, unnest($7::text[]) AS subject, unnest($8::uuid[]) AS duplicate_of, unnest($9::text[]) AS verdict, unnest($10::text[]) AS deliveries,
				unnest($11::bytea[]) AS record, unnest($12::bytea[]) AS body, unnest($13::bigint[]) AS checksum
		) u
	), c AS (
		INSERT INTO tallies (node, at, names, numbers, kinds, things, uses, first_uses, last_uses, ids, bytes, oldest, newest, actions, waiting, made, first_made, last_made)
		SELECT $15, now_us(), $16::text[], $17::bigint[], $18::text[], $19::text[], $20::bigint[], $21::bigint[], $22::bigint[],
			CASE WHEN whole THEN ids[1:1] ELSE ids END, CASE WHEN whole THEN ARRAY[$24::bigint] ELSE $14::bigint[] END,
			CASE WHEN whole THEN ARRAY[$25::bigint] ELSE $2::bigint[] END, CASE WHEN whole THEN ARRAY[$26::bigint] ELSE $2::bigint[] END, /*actions*/NULL, NULL, NULL, NULL, NULL
		FROM (SELECT ids, ids[1] >> 12 = ids[cardinality(ids)] >> 12 AS whole FROM ids) AS b
	)`
		deliveries = `, d AS /*once*/ (
		SELECT d.action, (SELECT ids FROM ids)[d.ord] << 11 | coalesce(d.n, 0) AS delivery, coalesce(d.due, least(d.received, (SELECT now_us()))) AS place, d.order_key, d.key_hash, d.wanted
		FROM (SELECT unnest($27::integer[]) AS ord, unnest($28::integer[]) AS n, unnest($29::integer[]) AS action, unnest($30::bigint[]) AS received, unnest($31::bigint[]) AS due,
			unnest($32::bytea[]) AS order_key, unnest($33::bigint[]) AS key_hash, unnest($34::boolean[]) AS wanted) d
	), w AS (
		INSERT INTO waiting (action, delivery, place, order_key, key_hash, lease, leased_until, owner)
		SELECT action, delivery, place + CASE WHEN is_behind THEN 4611686018427387904 ELSE 0 END, order_key, key_hash,
			1, CASE WHEN leased THEN (SELECT now_us()) + $35::bigint END, CASE WHEN leased THEN $36::integer END
		FROM (SELECT *, wanted AND NOT is_behind AND place <= (SELECT now_us()) AS leased FROM (SELECT *, /*behind*/false AS is_behind FROM d) b) l
		RETURNING delivery, owner
	)`
		additions = `, a AS (
		INSERT INTO additions (uuid, event) SELECT a.uuid, (SELECT ids FROM ids)[a.ord] FROM unnest($42::uuid[], $43::integer[]) AS a(uuid, ord) ON CONFLICT DO NOTHING
	)`
		left   = `(SELECT array_agg(delivery) FROM w WHERE owner IS NULL)`
		behind = `(key_hash IS NOT NULL AND (row_number() OVER (PARTITION BY action, key_hash ORDER BY delivery) > 1
	OR EXISTS (SELECT 1 FROM waiting x WHERE x.action = d.action AND x.key_hash = d.key_hash)))`
	)
	sql, result := head, "NULL::bigint[]"
	if i.deliveries {
		sql = strings.Replace(sql, "/*actions*/NULL, NULL, NULL, NULL, NULL", "$37::integer[], $38::bigint[], $39::bigint[], $40::bigint[], $41::bigint[]", 1)
		sql, result = sql+deliveries, left
	}
	if i.keys {
		sql = strings.NewReplacer("/*once*/", "MATERIALIZED", "/*behind*/false", behind).Replace(sql)
	}
	if i.additions {
		sql += additions
	}
	return sql + `
	SELECT ids, now_us(), ` + result + `, CASE WHEN $23::boolean THEN (` + countPending + `) END FROM ids`
}

// columns are the values of an insertion. They are used again for the next.
type columns struct {
	kinds, received, uuids, tests, tenants, parseErrors, subjects, duplicateOf, verdicts, plans, records, bodies, checksums, sizes array
	names, numbers                                                                                                                 array
	thingKinds, thingNames, uses, usedFirst, usedLast                                                                              array
	ords, places, actions, since, dues, orderKeys, keyHashes, wanted                                                               array
	counted, waiting, made, firsts, lasts                                                                                          array
	additions, additionOrds                                                                                                        array

	bytes, oldest, newest int64 // of all events together

	hashes []int64  // of all order keys
	stored []stored // the deliveries
}

// stored is a delivery that is being stored, with its event, whose place among the
// events is ord.
type stored struct {
	*delivery
	of  *entry
	ord int
	n   int // its place in the list of the event
}

// clear empties the columns for their next use.
func (c *columns) clear() {
	for _, a := range []*array{
		&c.kinds, &c.received, &c.uuids, &c.tests, &c.tenants, &c.parseErrors, &c.subjects, &c.duplicateOf, &c.verdicts, &c.plans, &c.records, &c.bodies, &c.checksums, &c.sizes,
		&c.names, &c.numbers, &c.thingKinds, &c.thingNames, &c.uses, &c.usedFirst, &c.usedLast,
		&c.ords, &c.places, &c.actions, &c.since, &c.dues, &c.orderKeys, &c.keyHashes, &c.wanted,
		&c.counted, &c.waiting, &c.made, &c.firsts, &c.lasts, &c.additions, &c.additionOrds,
	} {
		a.clear()
	}
	clear(c.stored)
	c.bytes, c.oldest, c.newest = 0, math.MaxInt64, math.MinInt64
	c.hashes, c.stored = c.hashes[:0], c.stored[:0]
}

// actionCount is what is counted of one action.
type actionCount struct {
	waiting, made int64
	first, last   *int64
}

// add adds an event and its deliveries.
func (c *columns) add(e *entry, kind int32, duplicateOf *[16]byte) {
	c.kinds.addInt32(kind)
	c.received.addInt64(e.Received)
	c.uuids.addUUID(e.uuid)
	c.tests.addTrue(e.Event.Test)
	c.tenants.addText(e.Tenant)
	c.parseErrors.addText(e.Event.ParseError)
	c.subjects.addText(e.Event.Subject)
	c.verdicts.addRaw(e.Verdict)
	c.records.addRaw(e.Record)
	c.bodies.addBytes(e.Event.RawBody)
	c.checksums.addInt64(e.Checksum)
	c.oldest, c.newest = min(c.oldest, e.Received), max(c.newest, e.Received)
	if duplicateOf != nil {
		c.duplicateOf.addUUID(*duplicateOf)
		c.plans.addNull()
		c.addSize(e.size)
		return
	}
	c.duplicateOf.addNull()
	c.plans.addRaw(e.Plans)
	c.addSize(e.size + int64(len(e.Plans)))
	ord := c.kinds.n
	for i := range e.deliveries {
		d := &e.deliveries[i]
		c.stored = append(c.stored, stored{d, e, ord, i})
		c.ords.addInt32(int32(ord))
		if i > 0 {
			c.places.addInt32(int32(i))
		} else {
			c.places.addNull() // most are the only one
		}
		c.actions.addInt32(d.lane.id)
		c.since.addInt64(e.Received)
		c.dues.addInt64OrNull(d.due)
		c.keyHashes.addInt64OrNull(d.keyHash)
		c.wanted.addBool(d.wanted)
		c.orderKeys.addRaw(d.OrderKey)
		if d.keyHash != nil {
			c.hashes = append(c.hashes, *d.keyHash)
		}
		if d.added {
			c.additions.addUUID(d.uuid)
			c.additionOrds.addInt32(int32(ord))
		}
	}
}

func (c *columns) addSize(bytes int64) {
	c.sizes.addInt64(bytes)
	c.bytes += bytes
}

// count adds what is counted of the events: of duplicates only that they are.
func (c *columns) count(entries []*entry, duplicate func(int) bool) {
	counts := make(map[string]int64, 2)
	byAction := make(map[int32]*actionCount, 4)
	used := make(map[queue.Thing]*use, 8)
	for i, e := range entries {
		if duplicate(i) {
			counts[string(queue.DuplicateEvents)]++
			continue
		}
		counts[encodeText(e.Kind.Decision)]++
		if !e.Event.Test {
			count(used, queue.Thing{Kind: queue.EventThing, Name: e.Kind.Source + ":" + e.Kind.Event}, e.Received)
			for _, rule := range e.Held {
				count(used, queue.Thing{Kind: queue.RuleThing, Name: rule}, e.Received)
			}
		}
		for j := range e.deliveries {
			id := e.deliveries[j].lane.id
			t := byAction[id]
			if t == nil {
				t = &actionCount{}
				byAction[id] = t
			}
			t.waiting++
			if !e.Event.Test {
				t.make(e.Received)
			}
		}
	}
	for name, n := range counts {
		c.names.addRaw(name)
		c.numbers.addInt64(n)
	}
	for action, t := range byAction {
		c.counted.addInt32(action)
		c.waiting.addInt64(t.waiting)
		c.made.addInt64(t.made)
		c.firsts.addInt64OrNull(t.first)
		c.lasts.addInt64OrNull(t.last)
	}
	for thing, u := range used {
		c.thingKinds.addRaw(string(thing.Kind))
		c.thingNames.addText(thing.Name)
		c.uses.addInt64(u.count)
		c.usedFirst.addInt64(u.first)
		c.usedLast.addInt64(u.last)
	}
}

// use is how often a thing was used, and when first and last.
type use struct{ count, first, last int64 }

func count(used map[queue.Thing]*use, of queue.Thing, at int64) {
	u := used[of]
	if u == nil {
		u = &use{first: at, last: at}
		used[of] = u
	}
	u.count, u.first, u.last = u.count+1, min(u.first, at), max(u.last, at)
}

// make counts a delivery that is made at a time.
func (t *actionCount) make(at int64) {
	t.made++
	if t.first == nil || at < *t.first {
		t.first = &at
	}
	if t.last == nil || at > *t.last {
		t.last = &at
	}
}

// queue adds the statement to a batch, and the locks that it needs before it.
func (c *columns) queue(db *DB, b *pgx.Batch) {
	queueLocks(b, c.hashes)
	parts := insertion{deliveries: len(c.stored) > 0, keys: len(c.hashes) > 0, additions: c.additions.n > 0}
	values := []any{
		&c.kinds, &c.received, &c.uuids, &c.tests, &c.tenants, &c.parseErrors, &c.subjects, &c.duplicateOf, &c.verdicts, &c.plans, &c.records, &c.bodies, &c.checksums, &c.sizes,
		db.nodes.id(), &c.names, &c.numbers, &c.thingKinds, &c.thingNames, &c.uses, &c.usedFirst, &c.usedLast,
		db.pending.stale(db.now()), c.bytes, c.oldest, c.newest,
	}
	if parts.deliveries {
		values = append(values, &c.ords, &c.places, &c.actions, &c.since, &c.dues, &c.orderKeys, &c.keyHashes, &c.wanted, db.options.Lease.Microseconds(), db.nodes.session,
			&c.counted, &c.waiting, &c.made, &c.firsts, &c.lasts)
	}
	if parts.additions {
		values = append(values, &c.additions, &c.additionOrds)
	}
	b.Queue(insertions[parts], values...)
}

// inserted is what the statement returned.
type inserted struct {
	ids     []int64
	now     int64
	left    map[int64]bool // deliveries that are not leased
	pending *int64         // how many deliveries were unfinished, if it was asked
}

// read reads the results of what queue added.
func (c *columns) read(results pgx.BatchResults) (done inserted, err error) {
	if len(c.hashes) > 0 {
		if _, err := results.Exec(); err != nil {
			return done, err
		}
	}
	var left []int64
	if err := results.QueryRow().Scan(&done.ids, &done.now, &left, &done.pending); err != nil {
		return done, err
	}
	if len(left) > 0 { // seldom, while takers keep up
		done.left = make(map[int64]bool, len(left))
	}
	for _, d := range left {
		done.left[d] = true
	}
	return done, nil
}

// id returns the number of a delivery.
func (s *stored) id(done inserted) int64 { return layout.DeliveryID(done.ids[s.ord-1], s.n) }
