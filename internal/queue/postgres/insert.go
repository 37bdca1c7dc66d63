package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// insertion stores events, their deliveries and what is counted of them, in one
// statement. Ids are drawn in the order of the events: the smallest is that of the first. A
// delivery is behind if another of its action and key is unfinished, stored before or with it;
// the key is locked. One that is wanted is stored as leased, unless it is not due. Lease 1 is
// that of the put, also of one that is not leased, so that no taker's lease has its number.
//
// Rows that other transactions may write at the same time are written in the order of
// their keys, so that two of them cannot wait for each other.
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
		head = `WITH i AS (
		INSERT INTO events (id, kind, node, received, uuid, test, tenant, parse_error, subject, duplicate_of, verdict, deliveries, record, body, checksum)
		SELECT nextval('event_ids'), kind, $15, received, uuid, coalesce(test, false), tenant, parse_error, subject, duplicate_of, verdict, deliveries, record, body, checksum FROM (
			SELECT unnest($1::integer[]) AS kind, unnest($2::bigint[]) AS received, unnest($3::uuid[]) AS uuid, unnest($4::boolean[]) AS test, unnest($5::text[]) AS tenant,
				unnest($6::text[]) AS parse_error, unnest($7::text[]) AS subject, unnest($8::uuid[]) AS duplicate_of, unnest($9::text[]) AS verdict, unnest($10::text[]) AS deliveries,
				unnest($11::bytea[]) AS record, unnest($12::bytea[]) AS body, unnest($13::bigint[]) AS checksum
		) u RETURNING id
	), ids AS MATERIALIZED (
		SELECT array_agg(id ORDER BY id) AS ids FROM i
	), c AS (
		INSERT INTO counts (minutes, at, name, node, n) SELECT 1, (SELECT now_us() - now_us() % 60000000), c.name, $15, c.n FROM unnest($16::text[], $17::bigint[]) AS c(name, n) ORDER BY c.name
		ON CONFLICT (minutes, at, name, node) DO UPDATE SET n = counts.n + excluded.n
	), s AS (
		INSERT INTO uses (thing, node, part, count, first, last)
		SELECT x.id, $15, ` + partOfPuts + `, s.count, s.first, s.last FROM unnest($18::text[], $19::text[], $20::bigint[], $21::bigint[], $22::bigint[]) AS s(kind, name, count, first, last)
		JOIN things x ON x.kind = s.kind AND x.name = s.name ORDER BY x.id
		ON CONFLICT (thing, node, part) DO UPDATE SET count = uses.count + excluded.count, first = least(uses.first, excluded.first), last = greatest(uses.last, excluded.last)
	), z AS (
		INSERT INTO sizes (block, node, part, bytes, oldest, newest)
		SELECT id >> 12, $15, 0, sum(size), min(received), max(received) FROM (SELECT unnest((SELECT ids FROM ids)) AS id, unnest($14::bigint[]) AS size, unnest($2::bigint[]) AS received) u GROUP BY 1 ORDER BY 1
		ON CONFLICT (block, node, part) DO UPDATE SET bytes = sizes.bytes + excluded.bytes, oldest = least(sizes.oldest, excluded.oldest), newest = greatest(sizes.newest, excluded.newest)
	)`
		deliveries = `, d AS /*once*/ (
		SELECT d.action, (SELECT ids FROM ids)[d.ord] << 11 | coalesce(d.n, 0) AS delivery, coalesce(d.due, least(d.received, (SELECT now_us()))) AS place, d.order_key, d.key_hash, d.wanted
		FROM (SELECT unnest($24::integer[]) AS ord, unnest($25::integer[]) AS n, unnest($26::integer[]) AS action, unnest($27::bigint[]) AS received, unnest($28::bigint[]) AS due,
			unnest($29::bytea[]) AS order_key, unnest($30::bigint[]) AS key_hash, unnest($31::boolean[]) AS wanted) d
	), w AS (
		INSERT INTO waiting (action, delivery, place, order_key, key_hash, lease, leased_until, owner)
		SELECT action, delivery, place + CASE WHEN is_behind THEN 4611686018427387904 ELSE 0 END, order_key, key_hash,
			1, CASE WHEN leased THEN (SELECT now_us()) + $32::bigint END, CASE WHEN leased THEN $33::integer END
		FROM (SELECT *, wanted AND NOT is_behind AND place <= (SELECT now_us()) AS leased FROM (SELECT *, /*behind*/false AS is_behind FROM d) b) l
		RETURNING delivery, owner
	), t AS (
		INSERT INTO action_counts (action, node, part, waiting, made, first, last)
		SELECT action, $15, ` + partOfPuts + `, waiting, made, first, last FROM unnest($34::integer[], $35::bigint[], $36::bigint[], $37::bigint[], $38::bigint[]) AS t(action, waiting, made, first, last) ORDER BY action
		ON CONFLICT (action, node, part) DO UPDATE SET waiting = action_counts.waiting + excluded.waiting, made = action_counts.made + excluded.made,
			first = least(action_counts.first, excluded.first), last = greatest(action_counts.last, excluded.last)
	)`
		additions = `, a AS (
		INSERT INTO additions (uuid, event) SELECT a.uuid, (SELECT ids FROM ids)[a.ord] FROM unnest($39::uuid[], $40::integer[]) AS a(uuid, ord) ON CONFLICT DO NOTHING
	)`
		left   = `(SELECT array_agg(delivery) FROM w WHERE owner IS NULL)`
		behind = `(key_hash IS NOT NULL AND (row_number() OVER (PARTITION BY action, key_hash ORDER BY delivery) > 1
	OR EXISTS (SELECT 1 FROM waiting x WHERE x.action = d.action AND x.key_hash = d.key_hash)))`
	)
	sql, result := head, "NULL::bigint[]"
	if i.deliveries {
		sql, result = sql+deliveries, left
	}
	if i.keys {
		sql = strings.NewReplacer("/*once*/", "MATERIALIZED", "/*behind*/false", behind).Replace(sql)
	}
	if i.additions {
		sql += additions
	}
	return sql + `
	SELECT ids, now_us(), ` + result + `, CASE WHEN $23::boolean THEN (SELECT coalesce(sum(waiting), 0)::bigint FROM action_counts) END FROM ids`
}

// What is counted all the time goes to another row each twenty seconds, in turn: while
// some transaction is open for long, such as that of a dump, the server keeps every
// version of a row, and each time goes through all of them to write the next.
const (
	partOfPuts        = `(SELECT (now_us() / 20000000 % 16 * 2)::smallint)`
	partOfSettlements = `(SELECT (now_us() / 20000000 % 16 * 2 + 1)::smallint)`
)

// columns are the values of an insertion. They are used again for the next.
type columns struct {
	kinds, received, uuids, tests, tenants, parseErrors, subjects, duplicateOf, verdicts, plans, records, bodies, checksums, sizes array
	names, numbers                                                                                                                 array
	thingKinds, thingNames, uses, usedFirst, usedLast                                                                              array
	ords, places, actions, since, dues, orderKeys, keyHashes, wanted                                                               array
	tallied, waiting, made, firsts, lasts                                                                                          array
	additions, additionOrds                                                                                                        array

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
		&c.tallied, &c.waiting, &c.made, &c.firsts, &c.lasts, &c.additions, &c.additionOrds,
	} {
		a.clear()
	}
	clear(c.stored)
	c.hashes, c.stored = c.hashes[:0], c.stored[:0]
}

// tally is what is counted of one action.
type tally struct {
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
	if duplicateOf != nil {
		c.duplicateOf.addUUID(*duplicateOf)
		c.plans.addNull()
		c.sizes.addInt64(e.size)
		return
	}
	c.duplicateOf.addNull()
	c.plans.addRaw(e.Plans)
	c.sizes.addInt64(e.size + int64(len(e.Plans)))
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

// count adds what is counted of the events: of duplicates only that they are.
func (c *columns) count(entries []*entry, duplicate func(int) bool) {
	counts := make(map[string]int64, 2)
	tallies := make(map[int32]*tally, 4)
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
			t := tallies[id]
			if t == nil {
				t = &tally{}
				tallies[id] = t
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
	for action, t := range tallies {
		c.tallied.addInt32(action)
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
func (t *tally) make(at int64) {
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
		db.pending.stale(db.now()),
	}
	if parts.deliveries {
		values = append(values, &c.ords, &c.places, &c.actions, &c.since, &c.dues, &c.orderKeys, &c.keyHashes, &c.wanted, db.options.Lease.Microseconds(), db.nodes.session,
			&c.tallied, &c.waiting, &c.made, &c.firsts, &c.lasts)
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
