package postgres

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/cluster"
)

// kindsInMemory bounds the dictionary of a node: senders may invent names.
const kindsInMemory = 8192

// A kind that no event has is removed, because senders may invent names. A node must not
// use its number afterwards: it forgets what it knows of kinds long before a kind is
// removed that was found to be unused, and who reads a kind says that it is used.
const (
	kindsKnownFor = time.Hour
	kindsKeptFor  = 24 * time.Hour
)

// digest stands for a kind, whatever the length of its names.
func digest(k layout.Kind) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", k.Source, k.Event, k.Decision, k.Actions))
	return sum[:16]
}

// kindsOf returns the numbers of kinds, and stores those that are new, outside of any
// transaction: then they can be kept in memory. A kind without events does no harm.
func (db *DB) kindsOf(ctx context.Context, q querier, wanted []layout.Kind) (map[layout.Kind]int32, error) {
	found, unknown := make(map[layout.Kind]int32, len(wanted)), make(map[layout.Kind]bool)
	now := db.now()
	db.kindsMu.Lock()
	if cluster.Elapsed(db.kindsSince, now) > kindsKnownFor {
		clear(db.kinds)
		db.kindsSince = now
	}
	for _, k := range wanted {
		if id, ok := db.kinds[k]; ok {
			found[k] = id
		} else {
			unknown[k] = true
		}
	}
	db.kindsMu.Unlock()
	if len(unknown) == 0 {
		return found, nil
	}
	stored, err := kindsIn(ctx, q, slices.Collect(maps.Keys(unknown)))
	if err != nil {
		return nil, err
	}
	db.kindsMu.Lock()
	defer db.kindsMu.Unlock()
	if len(db.kinds) >= kindsInMemory {
		clear(db.kinds)
	}
	for k, id := range stored {
		found[k], db.kinds[k] = id, id
	}
	return found, nil
}

const (
	readKinds = `SELECT id, digest, unused IS NOT NULL FROM kinds WHERE digest = ANY($1)`
	useKinds  = `UPDATE kinds SET unused = NULL WHERE digest = ANY($1) AND unused IS NOT NULL`

	// Each kind is looked up by itself, because there may be far more events than kinds.
	removeKinds = `DELETE FROM kinds k WHERE unused < now_us() - $1 AND (SELECT id FROM events WHERE kind = k.id ORDER BY id LIMIT 1) IS NULL`
	findUnused  = `UPDATE kinds k SET unused = CASE WHEN unused IS NULL THEN now_us() END WHERE (unused IS NULL) = ((SELECT id FROM events WHERE kind = k.id ORDER BY id LIMIT 1) IS NULL)`
)

const storeKinds = `INSERT INTO kinds (digest, source, event, decision, actions)
	SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[]) AS u(digest, source, event, decision, actions) ORDER BY digest ON CONFLICT (digest) DO NOTHING`

// kindsIn returns the numbers of kinds, and stores those that are new.
func kindsIn(ctx context.Context, q querier, wanted []layout.Kind) (map[layout.Kind]int32, error) {
	var digests [][]byte
	var sources, events, decisions, actions []string
	known := make(map[string]layout.Kind, len(wanted))
	for _, k := range wanted {
		d := digest(k)
		if _, ok := known[string(d)]; ok {
			continue
		}
		known[string(d)] = k
		digests, sources, events = append(digests, d), append(sources, encodeText(k.Source)), append(events, encodeText(k.Event))
		decisions, actions = append(decisions, encodeText(k.Decision)), append(actions, encodeText(k.Actions))
	}
	for {
		if _, err := q.Exec(ctx, storeKinds, digests, sources, events, decisions, actions); err != nil {
			return nil, err
		}
		rows, err := q.Query(ctx, readKinds, digests)
		if err != nil {
			return nil, err
		}
		found := make(map[layout.Kind]int32, len(known))
		again := false
		var id int32
		var d []byte
		var unused bool
		if _, err := pgx.ForEachRow(rows, []any{&id, &d, &unused}, func() error {
			found[known[string(d)]] = id
			again = again || unused
			return nil
		}); err != nil {
			return nil, err
		}
		if !again && len(found) == len(known) {
			return found, nil
		}
		// One may be removed between the two.
		if _, err := q.Exec(ctx, useKinds, digests); err != nil {
			return nil, err
		}
	}
}
