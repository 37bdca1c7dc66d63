package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// remember stores the key of each event, unless one that counts is there, and returns
// the event that is stored with it. A transaction that stored the same key is waited
// for, so that of many equal events one is the first, on whichever nodes.
//
// A mark from the future was made before a clock was set back: within the window it
// counts, so that setting the clock lets nothing through twice; beyond, it would
// suppress events for as long as the clock was wrong.
const remember = `INSERT INTO dedupe AS d (key, uuid, stored, expires)
	SELECT key, uuid, now_us(), now_us() + pane FROM unnest($1::bytea[], $2::uuid[], $3::bigint[]) AS u(key, uuid, pane) ORDER BY key
	ON CONFLICT (key) DO UPDATE SET
		uuid = CASE WHEN abs(now_us() - d.stored) >= excluded.expires - excluded.stored THEN excluded.uuid ELSE d.uuid END,
		stored = CASE WHEN abs(now_us() - d.stored) >= excluded.expires - excluded.stored THEN excluded.stored ELSE d.stored END,
		expires = CASE WHEN abs(now_us() - d.stored) >= excluded.expires - excluded.stored THEN excluded.expires ELSE d.expires END
	RETURNING key, uuid`

// forgetKeys removes keys that no longer count.
const forgetKeys = `DELETE FROM dedupe WHERE key IN (SELECT key FROM dedupe WHERE expires < now_us() ORDER BY expires LIMIT 10000 FOR UPDATE SKIP LOCKED)`

// originals returns for each entry the event that it repeats, or nil: of equal entries
// all but the first repeat another.
func originals(ctx context.Context, tx pgx.Tx, entries []*entry) (map[*entry]*[16]byte, error) {
	var keys [][]byte
	var ids []pgtype.UUID
	var windows []int64
	seen := make(map[[16]byte]bool)
	for _, e := range entries {
		if e.Dedupe && !seen[e.Key] {
			seen[e.Key] = true
			keys, ids, windows = append(keys, e.Key[:]), append(ids, pgtype.UUID{Bytes: e.uuid, Valid: true}), append(windows, e.Window)
		}
	}
	rows, err := tx.Query(ctx, remember, keys, ids, windows)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	stored := make(map[[16]byte][16]byte, len(keys))
	for rows.Next() {
		var key []byte
		var id pgtype.UUID
		if err := rows.Scan(&key, &id); err != nil {
			return nil, err
		}
		stored[[16]byte(key)] = id.Bytes
	}
	repeated := make(map[*entry]*[16]byte)
	for _, e := range entries {
		if !e.Dedupe {
			continue
		}
		if first, ok := stored[e.Key]; ok && first != e.uuid {
			repeated[e] = &first
		}
	}
	return repeated, rows.Err()
}
