package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

const storeActions = `INSERT INTO actions (name) SELECT name FROM unnest($1::text[]) AS u(name) ORDER BY name ON CONFLICT (name) DO NOTHING`

// storeActionsOf gives lanes their rows, as far as they have none. It is not undone
// with what needs them: an action without deliveries does no harm.
func (db *DB) storeActionsOf(ctx context.Context, q querier, lanes []*lane) error {
	var names []string
	db.mu.Lock()
	for _, l := range lanes {
		if l.id == 0 {
			names = append(names, encodeText(l.name))
		}
	}
	db.mu.Unlock()
	if len(names) == 0 {
		return nil
	}
	if _, err := q.Exec(ctx, storeActions, names); err != nil {
		return err
	}
	rows, err := q.Query(ctx, "SELECT id, name FROM actions WHERE name = ANY($1)", names)
	if err != nil {
		return err
	}
	ids := make(map[string]int32, len(names))
	var id int32
	var name string
	if _, err := pgx.ForEachRow(rows, []any{&id, &name}, func() error {
		ids[decodeText(name)] = id
		return nil
	}); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	for _, l := range lanes {
		if l.id == 0 {
			l.id = ids[l.name]
		}
	}
	return nil
}
