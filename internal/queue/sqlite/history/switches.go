package history

import (
	"context"
	"fmt"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Switches implements queue.History.
func (r *Reader) Switches(ctx context.Context) (switches []queue.Switch, err error) {
	err = r.readers.Read(ctx, func(conn *sqlite.Conn) error {
		switches, err = ReadSwitches(conn)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the switches: %w", err)
	}
	return switches, nil
}

// ReadSwitches returns what is switched off in a database.
func ReadSwitches(conn *sqlite.Conn) (switches []queue.Switch, err error) {
	err = database.Query(conn, "SELECT kind, name, since, until, reason FROM switches ORDER BY kind, name", func(row *sqlite.Stmt) error {
		s := queue.Switch{Kind: queue.SwitchKind(row.ColumnText(0)), Name: row.ColumnText(1), Off: true, Since: layout.FromMicros(row.ColumnInt64(2)), Reason: row.ColumnText(4)}
		if row.ColumnType(3) != sqlite.TypeNull {
			s.Until = layout.FromMicros(row.ColumnInt64(3))
		}
		switches = append(switches, s)
		return nil
	})
	return switches, err
}
