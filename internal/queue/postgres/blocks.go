package postgres

import (
	"context"

	"github.com/google/uuid"
)

// The table sizes says of each block of 4096 ids how much its events take, and which
// times of receipt they have. Events are stored nearly in the order of their times, so
// that what a time chooses is in few blocks. Where that is not so (a clock was set, an
// event was imported) the times of a block are far apart and a search takes longer, but
// finds the same.

// sizeOfEvent and sizeOfAttempt are about how many bytes an event e and an attempt a
// take, with their places in indexes. They are added to the table sizes where rows are
// written, for those of a put once its tally is added, and taken from it where they are
// removed.
const (
	sizeOfEvent   = `(300 + coalesce(octet_length(e.record), 0) + coalesce(octet_length(e.body), 0) + coalesce(octet_length(e.verdict), 0) + coalesce(octet_length(e.deliveries), 0))`
	sizeOfAttempt = `(150 + coalesce(octet_length(a.error), 0) + coalesce(octet_length(a.request), 0) + coalesce(octet_length(a.response), 0))`
)

const sumSizes = `SELECT coalesce(sum(bytes), 0)::bigint FROM ` + allSizes + ` AS s`

// blocksWithin are the blocks that may have events which were received in $1 ≤ received < $2.
const blocksWithin = `SELECT DISTINCT block FROM ` + allSizes + ` AS s WHERE part = 0 AND (newest IS NULL OR newest >= $1) AND (oldest IS NULL OR oldest < $2)`

const findBlocks = `SELECT coalesce(min(block) << 12, 0), coalesce((max(block) + 1) << 12, 0) FROM (` + blocksWithin + `) AS b`

// idRange returns the first id that an event can have which was received in since ≤
// received < until, and the first behind the last. Both are 0 if there is none.
func idRange(ctx context.Context, conn querier, since, until int64) (from, to int64, err error) {
	err = conn.QueryRow(ctx, findBlocks, since, until).Scan(&from, &to)
	return from, to, err
}

// idSlack is how far the time in a delivery's id may be from the receipt of its event,
// in microseconds, if it is to be found by that. Others stand in the table additions.
const idSlack = 10_000_000

// timeOfID returns the time in a UUID of version 7, in microseconds. In another UUID
// the same bits give some number, which serves as well.
func timeOfID(id uuid.UUID) int64 {
	ms := int64(0)
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return ms * 1000
}
