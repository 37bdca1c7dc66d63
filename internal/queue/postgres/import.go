package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// An import adds what a queue of one machine held to a schema that nodes may be using.
// The number of each of its events is that of the archive and a shift, which is chosen
// once, so that all stand before the first event of a node, in their order, whatever
// is imported first. What is counted stands in rows of the node 0, which is none.

// importConnections is how many connections an import has.
const importConnections = MinConnections

// importNode is nodes.id of what no node did.
const importNode = 0

// importer implements queue.Importer. It is no node.
type importer struct {
	db      *DB
	actions map[string]int32 // actions.id by name
}

var _ queue.ImportStore = Store{}

// OpenImporter implements queue.ImportStore.
func (s Store) OpenImporter(ctx context.Context) (queue.Importer, error) {
	options := Options{DSN: s.DSN, Schema: s.Schema, Node: "import", Connections: importConnections}.withDefaults()
	config, err := options.poolConfig()
	if err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", err)
	}
	db := &DB{options: options, logger: options.Logger, closed: make(chan struct{}), opened: true, kinds: make(map[layout.Kind]int32)}
	if db.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, fmt.Errorf("connecting to the database: %w", queue.Mistaken("the settings of the connections are wrong; see the DSN"))
	}
	db.newNode() // which joins no others: it only wakes them
	if err := db.connected(ctx, func(conn *pgxpool.Conn) error { return writable(ctx, conn) }); err != nil {
		db.pool.Close()
		return nil, fmt.Errorf("connecting to the database: %w", db.explain(err))
	}
	return &importer{db: db, actions: make(map[string]int32)}, nil
}

// Close implements queue.Importer.
func (im *importer) Close() error {
	im.db.pool.Close()
	return nil
}

const getImport = `SELECT state, shift, reached FROM imports WHERE identity = $1`

// imported is a row of the table imports.
type imported struct {
	state   string
	shift   int64
	reached string
}

func readImport(ctx context.Context, q querier, origin queue.Origin, lock string) (row imported, found bool, err error) {
	err = q.QueryRow(ctx, getImport+lock, origin.Identity).Scan(&row.state, &row.shift, &row.reached)
	if errors.Is(err, pgx.ErrNoRows) {
		return row, false, nil
	}
	if err == nil && row.state != origin.State {
		err = queue.ErrUsedSince
	}
	return row, err == nil, err
}

// Imported implements queue.Importer.
func (im *importer) Imported(ctx context.Context, origin queue.Origin) (place queue.Place, err error) {
	err = im.db.connected(ctx, func(conn *pgxpool.Conn) error {
		version, err := versionOf(ctx, conn, im.db.options.Schema)
		there := false
		if err == nil && version > 0 {
			err = conn.QueryRow(ctx, "SELECT to_regclass('imports') IS NOT NULL").Scan(&there)
		}
		if err != nil || !there {
			return err
		}
		row, _, err := readImport(ctx, conn, origin, "")
		place = queue.Place(row.reached)
		return err
	})
	return place, im.told("finding out what was imported", err)
}

// beginImport notes an import. Its events come before those of all others: below them
// nothing is stored but by imports.
const beginImport = `INSERT INTO imports (identity, state, first, shift, reached)
	SELECT $1, $2, f.first - 1 - $4 + $3, f.first - 1 - $4, ''
	FROM (SELECT least($5, min(first)) AS first FROM imports) AS f RETURNING first`

// BeginImport implements queue.Importer.
func (im *importer) BeginImport(ctx context.Context, origin queue.Origin) (place queue.Place, err error) {
	err = im.db.connected(ctx, func(conn *pgxpool.Conn) error { return migrate(ctx, conn.Conn(), im.db.options.Schema) })
	if err == nil {
		err = im.db.write(ctx, func(tx pgx.Tx) error {
			// Two imports that begin at once get rooms of their own.
			if _, err := tx.Exec(ctx, "LOCK TABLE imports IN SHARE ROW EXCLUSIVE MODE"); err != nil {
				return err
			}
			row, found, err := readImport(ctx, tx, origin, "")
			if err != nil || found {
				place = queue.Place(row.reached)
				return err
			}
			first := int64(0)
			if err := tx.QueryRow(ctx, beginImport, origin.Identity, origin.State, origin.First, origin.Last, int64(layout.FirstEvent)).Scan(&first); err != nil {
				return err
			}
			if first < 1 {
				return fmt.Errorf("there is no room for %d events before those that are there", origin.Last-origin.First+1)
			}
			return nil
		})
	}
	return place, im.told("making room", err)
}

// Import implements queue.Importer.
func (im *importer) Import(ctx context.Context, origin queue.Origin, after queue.Place, part queue.Part) (stored queue.Imported, err error) {
	err = im.db.write(ctx, func(tx pgx.Tx) error {
		row, found, err := readImport(ctx, tx, origin, " FOR UPDATE")
		if err != nil {
			return err
		}
		if !found || row.reached != string(after) {
			return errors.New("another import of it is at work: wait until that has ended")
		}
		turned, paused, err := im.putSwitches(ctx, tx, part.Switches)
		if err != nil {
			return err
		}
		if err := im.putMarks(ctx, tx, part.Marks); err != nil {
			return err
		}
		if stored, err = im.putEvents(ctx, tx, row.shift, part.Events); err != nil {
			return err
		}
		if part.WaitingIn {
			if err := im.releaseHeadless(ctx, tx); err != nil {
				return err
			}
		}
		if err := im.putNotes(ctx, tx, part.Notes); err != nil {
			return err
		}
		if err := im.putMinutes(ctx, tx, part.Minutes); err != nil {
			return err
		}
		if err := im.putUses(ctx, tx, part.Uses); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE imports SET reached = $2 WHERE identity = $1", origin.Identity, string(part.Reached)); err != nil || !turned {
			return err
		}
		// What is in the tables is not taken while its action is paused. What nodes
		// receive in the moment until they learn of it is not waited for.
		_, err = im.db.raise(ctx, tx, true, paused...)
		return err
	})
	return stored, im.told("storing a part of it", err)
}

func (im *importer) told(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, im.db.explain(err))
}
