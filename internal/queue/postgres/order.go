package postgres

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/jackc/pgx/v5"
)

// Of the unfinished deliveries of one action and order key only the first, the head,
// has a place in the line. The others are behind it: their place lies beyond all times.
// The transaction that ends the head gives the next its place. Transactions that add to
// a key or end its head lock the key first, in a statement of its own: so the next
// statement sees what they waited for.

// hashOf stands for an order key of whatever length. Two keys of one hash would go one
// after another, and nothing else would go wrong.
func hashOf(key string) int64 {
	sum := sha256.Sum256([]byte(key))
	return int64(binary.BigEndian.Uint64(sum[:]))
}

// keySlots is how many advisory locks stand for all keys, so that a transaction never
// needs more than the server has room for.
const keySlots = 256

// slotOf is the advisory lock of a key of any action.
func slotOf(hash int64) int64 { return int64(0x45765271)<<32 | hash&(keySlots-1) }

// lockKeys locks order keys until the end of the transaction. All do so in the same
// order.
const lockKeys = `SELECT count(*) FROM (SELECT pg_advisory_xact_lock(k) FROM (SELECT DISTINCT k FROM unnest($1::bigint[]) k ORDER BY k) s) t`

// queueLocks adds the locks of keys to a batch, if there are any.
func queueLocks(b *pgx.Batch, hashes []int64) {
	if len(hashes) == 0 {
		return
	}
	slots := make([]int64, len(hashes))
	for i, hash := range hashes {
		slots[i] = slotOf(hash)
	}
	b.Queue(lockKeys, slots)
}

// releaseKeys gives the first of each key its place, unless the key has a head.
const releaseKeys = `UPDATE waiting w SET place = greatest(w.place - 4611686018427387904, 1) FROM (
		SELECT k.action, (SELECT x.delivery FROM waiting x WHERE x.action = k.action AND x.key_hash = k.key_hash ORDER BY x.delivery LIMIT 1) AS delivery
		FROM (SELECT DISTINCT action, key_hash FROM unnest($1::integer[], $2::bigint[]) AS u(action, key_hash)) k
		WHERE NOT EXISTS (SELECT 1 FROM waiting h WHERE h.action = k.action AND h.key_hash = k.key_hash AND h.place < 4611686018427387904)
	) n WHERE w.action = n.action AND w.delivery = n.delivery`
