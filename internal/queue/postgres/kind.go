package postgres

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// kindsInMemory bounds the dictionary of a node: senders may invent names.
const kindsInMemory = 8192

// digest stands for a kind, whatever the length of its names.
func digest(k layout.Kind) []byte {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", k.Source, k.Event, k.Decision, k.Actions))
	return sum[:16]
}

// kindsOf returns the numbers of kinds, and stores those that are new, outside of any
// transaction: then they can be kept in memory. A kind without events does no harm, and
// none is ever removed.
func (db *DB) kindsOf(ctx context.Context, q querier, wanted []layout.Kind) (map[layout.Kind]int32, error) {
	found, unknown := make(map[layout.Kind]int32, len(wanted)), make(map[layout.Kind]bool)
	db.kindsMu.Lock()
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
	if _, err := q.Exec(ctx, storeKinds, digests, sources, events, decisions, actions); err != nil {
		return nil, err
	}
	rows, err := q.Query(ctx, "SELECT id, digest FROM kinds WHERE digest = ANY($1)", digests)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := make(map[layout.Kind]int32, len(known))
	for rows.Next() {
		var id int32
		var d []byte
		if err := rows.Scan(&id, &d); err != nil {
			return nil, err
		}
		found[known[string(d)]] = id
	}
	return found, rows.Err()
}
