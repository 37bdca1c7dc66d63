package postgres

import (
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// insertion stores events, their deliveries and what is counted of them, in one
// statement. Ids are drawn in the order of the events. A delivery is behind if another
// of its action and key is unfinished, stored before or with it; the key is locked. One
// that is wanted is stored as leased, unless it is not due. Lease 1 is that of the put, also of
// one that is not leased, so that no taker's lease has its number.
//
// Rows that other transactions may write at the same time are written in the order of
// their keys, so that two of them cannot wait for each other.
const insertion = `WITH u AS MATERIALIZED (
		SELECT nextval('event_ids') AS id, u.* FROM unnest($1::integer[], $2::bigint[], $3::uuid[], $4::boolean[], $5::text[], $6::text[], $7::text[], $8::uuid[], $9::text[], $10::text[], $11::bytea[], $12::bytea[], $13::bigint[], $14::bigint[])
			WITH ORDINALITY AS u(kind, received, uuid, test, tenant, parse_error, subject, duplicate_of, verdict, deliveries, record, body, checksum, size, ord)
	), i AS (
		INSERT INTO events (id, kind, node, received, uuid, test, tenant, parse_error, subject, duplicate_of, verdict, deliveries, record, body, checksum)
		SELECT id, kind, $15, received, uuid, test, tenant, parse_error, subject, duplicate_of, verdict, deliveries, record, body, checksum FROM u ORDER BY ord
	), d AS MATERIALIZED (
		SELECT d.action, u.id << 11 | d.n AS delivery, coalesce(d.due, least(u.received, now_us())) AS place, d.order_key, d.key_hash, d.wanted
		FROM unnest($16::bigint[], $17::integer[], $18::integer[], $19::bigint[], $20::bytea[], $21::bigint[], $22::boolean[]) AS d(ord, n, action, due, order_key, key_hash, wanted)
		JOIN u ON u.ord = d.ord
	), w AS (
		INSERT INTO waiting (action, delivery, place, order_key, key_hash, lease, leased_until, owner)
		SELECT action, delivery, place + CASE WHEN is_behind THEN 4611686018427387904 ELSE 0 END, order_key, key_hash,
			1, CASE WHEN leased THEN now_us() + $23::bigint END, CASE WHEN leased THEN $24::integer END
		FROM (SELECT *, wanted AND NOT is_behind AND place <= now_us() AS leased FROM (SELECT *, /*behind*/false AS is_behind FROM d) b) l
		RETURNING delivery, place, owner
	), a AS (
		INSERT INTO additions (uuid, event) SELECT a.uuid, u.id FROM unnest($25::uuid[], $26::bigint[]) AS a(uuid, ord) JOIN u ON u.ord = a.ord ON CONFLICT DO NOTHING
	), c AS (
		INSERT INTO counts (minutes, at, name, node, n) SELECT 1, now_us() - now_us() % 60000000, c.name, $15, c.n FROM unnest($27::text[], $28::bigint[]) AS c(name, n) ORDER BY c.name
		ON CONFLICT (minutes, at, name, node) DO UPDATE SET n = counts.n + excluded.n
	), t AS (
		INSERT INTO action_counts (action, node, part, waiting, made, first, last)
		SELECT action, $15, 0, waiting, made, first, last FROM unnest($29::integer[], $30::bigint[], $31::bigint[], $32::bigint[], $33::bigint[]) AS t(action, waiting, made, first, last) ORDER BY action
		ON CONFLICT (action, node, part) DO UPDATE SET waiting = action_counts.waiting + excluded.waiting, made = action_counts.made + excluded.made,
			first = least(action_counts.first, excluded.first), last = greatest(action_counts.last, excluded.last)
	), s AS (
		INSERT INTO uses (thing, node, count, first, last)
		SELECT x.id, $15, s.count, s.first, s.last FROM unnest($34::text[], $35::text[], $36::bigint[], $37::bigint[], $38::bigint[]) AS s(kind, name, count, first, last)
		JOIN things x ON x.kind = s.kind AND x.name = s.name ORDER BY x.id
		ON CONFLICT (thing, node) DO UPDATE SET count = uses.count + excluded.count, first = least(uses.first, excluded.first), last = greatest(uses.last, excluded.last)
	), z AS (
		INSERT INTO sizes (block, node, part, bytes, oldest, newest) SELECT id >> 12, $15, 0, sum(size), min(received), max(received) FROM u GROUP BY 1 ORDER BY 1
		ON CONFLICT (block, node, part) DO UPDATE SET bytes = sizes.bytes + excluded.bytes, oldest = least(sizes.oldest, excluded.oldest), newest = greatest(sizes.newest, excluded.newest)
	)
	SELECT u.id, now_us(), CASE WHEN u.ord = 1 THEN (SELECT array_agg(delivery) FROM w WHERE owner IS NOT NULL) END,
		CASE WHEN u.ord = 1 THEN (SELECT coalesce(sum(waiting), 0)::bigint FROM action_counts) END
	FROM u ORDER BY u.ord`

// insertionWithKeys is insertion where a delivery may have an order key.
var insertionWithKeys = strings.Replace(insertion, "/*behind*/false", `(key_hash IS NOT NULL AND (row_number() OVER (PARTITION BY action, key_hash ORDER BY delivery) > 1
	OR EXISTS (SELECT 1 FROM waiting x WHERE x.action = d.action AND x.key_hash = d.key_hash)))`, 1)

// columns are the values of insertion.
type columns struct {
	kinds                          []int32
	received                       []int64
	uuids                          []pgtype.UUID
	tests                          []bool
	tenants, parseErrors, subjects []*string
	duplicateOf                    []pgtype.UUID
	verdicts                       []string
	plans                          []*string
	records, bodies                [][]byte
	checksums                      []int64
	sizes                          []int64
	ords                           []int64
	places, actions                []int32
	dues                           []*int64
	orderKeys                      [][]byte
	keyHashes                      []*int64
	wanted                         []bool
	additions                      []pgtype.UUID
	additionOrds                   []int64
	names                          []string
	numbers                        []int64
	tallied                        []int32
	waiting, made                  []int64
	firsts, lasts                  []*int64
	thingKinds, thingNames         []string
	uses, usedFirst, usedLast      []int64
	hashes                         []int64 // of all order keys
	deliveries                     []*delivery
	owners                         []*entry // of deliveries
}

// tally is what is counted of one action.
type tally struct {
	waiting, made int64
	first, last   *int64
}

// add adds an event and its deliveries.
func (c *columns) add(e *entry, kind int32, duplicateOf *[16]byte) {
	c.kinds, c.received, c.uuids = append(c.kinds, kind), append(c.received, e.Received), append(c.uuids, pgtype.UUID{Bytes: e.uuid, Valid: true})
	c.tests, c.tenants = append(c.tests, e.Event.Test), append(c.tenants, nullText(e.Tenant))
	c.parseErrors, c.subjects = append(c.parseErrors, nullText(e.Event.ParseError)), append(c.subjects, nullText(e.Event.Subject))
	c.verdicts, c.records, c.checksums = append(c.verdicts, e.Verdict), append(c.records, e.Record), append(c.checksums, e.Checksum)
	var body []byte
	if len(e.Event.RawBody) > 0 {
		body = e.Event.RawBody
	}
	c.bodies = append(c.bodies, body)
	if duplicateOf != nil {
		c.duplicateOf, c.plans = append(c.duplicateOf, pgtype.UUID{Bytes: *duplicateOf, Valid: true}), append(c.plans, nil)
		c.sizes = append(c.sizes, e.size)
		return
	}
	c.duplicateOf = append(c.duplicateOf, pgtype.UUID{})
	var plans *string
	if e.Plans != "" {
		plans = &e.Plans
	}
	c.plans, c.sizes = append(c.plans, plans), append(c.sizes, e.size+int64(len(e.Plans)))
	ord := int64(len(c.kinds))
	for i := range e.deliveries {
		d := &e.deliveries[i]
		c.ords, c.places, c.actions = append(c.ords, ord), append(c.places, int32(i)), append(c.actions, d.lane.id)
		c.dues, c.keyHashes, c.wanted = append(c.dues, d.due), append(c.keyHashes, d.keyHash), append(c.wanted, d.wanted)
		var key []byte
		if d.keyHash != nil {
			key = []byte(d.OrderKey)
			c.hashes = append(c.hashes, *d.keyHash)
		}
		c.orderKeys = append(c.orderKeys, key)
		if d.added {
			c.additions, c.additionOrds = append(c.additions, pgtype.UUID{Bytes: d.uuid, Valid: true}), append(c.additionOrds, ord)
		}
		c.deliveries, c.owners = append(c.deliveries, d), append(c.owners, e)
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
		c.names, c.numbers = append(c.names, name), append(c.numbers, n)
	}
	for action, t := range tallies {
		c.tallied, c.waiting, c.made = append(c.tallied, action), append(c.waiting, t.waiting), append(c.made, t.made)
		c.firsts, c.lasts = append(c.firsts, t.first), append(c.lasts, t.last)
	}
	for thing, u := range used {
		c.thingKinds, c.thingNames, c.uses = append(c.thingKinds, string(thing.Kind)), append(c.thingNames, encodeText(thing.Name)), append(c.uses, u.count)
		c.usedFirst, c.usedLast = append(c.usedFirst, u.first), append(c.usedLast, u.last)
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
	sql := insertion
	if len(c.hashes) > 0 {
		sql = insertionWithKeys
		queueLocks(b, c.hashes)
	}
	b.Queue(sql, c.kinds, c.received, c.uuids, c.tests, c.tenants, c.parseErrors, c.subjects, c.duplicateOf, c.verdicts, c.plans, c.records, c.bodies, c.checksums, c.sizes,
		db.nodes.id, c.ords, c.places, c.actions, c.dues, c.orderKeys, c.keyHashes, c.wanted, db.options.Lease.Microseconds(), db.nodes.session,
		c.additions, c.additionOrds, c.names, c.numbers, c.tallied, c.waiting, c.made, c.firsts, c.lasts, c.thingKinds, c.thingNames, c.uses, c.usedFirst, c.usedLast)
}

// inserted is what the statement returned.
type inserted struct {
	ids     []int64
	now     int64
	leased  map[int64]bool
	pending int64
}

// read reads the results of what queue added.
func (c *columns) read(results pgx.BatchResults) (done inserted, err error) {
	if len(c.hashes) > 0 {
		if _, err := results.Exec(); err != nil {
			return done, err
		}
	}
	rows, err := results.Query()
	if err != nil {
		return done, err
	}
	defer rows.Close()
	done.ids = make([]int64, 0, len(c.kinds))
	for rows.Next() {
		var id int64
		var leased []int64
		var pending *int64
		if err := rows.Scan(&id, &done.now, &leased, &pending); err != nil {
			return done, err
		}
		done.ids = append(done.ids, id)
		if pending != nil {
			done.pending = *pending
			done.leased = make(map[int64]bool, len(leased))
			for _, d := range leased {
				done.leased[d] = true
			}
		}
	}
	return done, rows.Err()
}

// deliveryID returns the number of the delivery at a place of what was inserted.
func (c *columns) deliveryID(done inserted, i int) int64 {
	return layout.DeliveryID(done.ids[c.ords[i]-1], int(c.places[i]))
}
