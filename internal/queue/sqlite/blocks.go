package sqlite

import (
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// newEvent returns the id of a new event and notes its times.
func (tx *transaction) newEvent(s database.Span) int64 {
	tx.lastEvent++
	id := tx.lastEvent
	b := &tx.block
	if b.First == 0 || id-b.First >= tx.db.options.limits.blockEvents {
		if tx.blockDirty {
			tx.fullBlocks = append(tx.fullBlocks, *b)
		}
		*b, tx.blockDirty = database.Block{First: id, Span: s}, true
		b.Round()
	}
	if s.Oldest < b.Oldest || s.Newest > b.Newest {
		b.Include(s.Oldest)
		b.Include(s.Newest)
		b.Round()
		tx.blockDirty = true
	}
	return id
}

// writeBlocks stores the blocks that changed.
func (tx *transaction) writeBlocks() error {
	if !tx.blockDirty {
		return nil
	}
	for _, b := range append(tx.fullBlocks, tx.block) {
		if err := tx.putBlock(b); err != nil {
			return err
		}
	}
	return nil
}

func (tx *transaction) putBlock(b database.Block) error {
	s := tx.statements.putBlock
	s.BindInt64(1, b.First)
	s.BindInt64(2, b.Oldest)
	s.BindInt64(3, b.Newest)
	return database.Step(s)
}
