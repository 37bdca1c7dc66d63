package sqlite

import (
	"fmt"
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// checkConsistency opens the database of a closed queue and holds its tables
// against each other.
func checkConsistency(t testing.TB, dir string) {
	t.Helper()
	conn, err := database.ConnectReader(filepath.Join(dir, database.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for what, sql := range map[string]string{
		"integrity": `SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'`,
		"actions whose number of waiting deliveries is wrong": `SELECT name || ': ' || waiting || ' instead of ' || (SELECT count(*) FROM waiting WHERE action = a.id)
			FROM actions a WHERE waiting <> (SELECT count(*) FROM waiting WHERE action = a.id)`,
		"waiting deliveries without an event": `SELECT delivery FROM waiting WHERE delivery >> 11 NOT IN (SELECT id FROM events)`,
		"attempts without an event":           `SELECT id FROM attempts WHERE id >> 23 NOT IN (SELECT id FROM events)`,
		"deliveries that neither wait nor have ended, or both": `SELECT e.id || '/' || d.key FROM events e JOIN json_each(e.deliveries) d
			WHERE (SELECT count(*) FROM waiting WHERE delivery = e.id * 2048 + d.key)
				+ (SELECT count(*) FROM attempts WHERE id >= (e.id * 2048 + d.key) * 4096 AND id < (e.id * 2048 + d.key + 1) * 4096 AND state <> 0) <> 1`,
		"order keys without one head": `SELECT action || '/' || order_key FROM waiting WHERE order_key IS NOT NULL
			GROUP BY action, order_key HAVING sum(coalesce(due, 0) < 4611686018427387904) <> 1`,
		"actions that are paused without a switch, or the reverse": `SELECT name FROM actions WHERE paused <> (name IN (SELECT name FROM switches WHERE kind = 'action'))`,
		"additions without an event":                               `SELECT uuid FROM additions WHERE event NOT IN (SELECT id FROM events)`,
		"events outside their block": `SELECT e.id FROM events e, blocks b WHERE b.first = (SELECT max(first) FROM blocks WHERE first <= e.id)
			AND (e.received < b.oldest OR e.received > b.newest)`,
		"events without a block or kind": `SELECT id FROM events e WHERE NOT EXISTS (SELECT 1 FROM blocks WHERE first <= e.id) OR kind NOT IN (SELECT id FROM kinds)`,
	} {
		var found []string
		if err := database.Query(conn, sql, func(row *sqlite.Stmt) error {
			found = append(found, row.ColumnText(0))
			return nil
		}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(found) > 0 {
			t.Errorf("%s: %s", what, fmt.Sprint(found[:min(len(found), 10)]))
		}
	}
}

// checkCounts holds what was counted against the tables of a closed queue from
// which nothing was ever removed.
func checkCounts(t testing.TB, dir string) {
	t.Helper()
	conn, err := database.ConnectReader(filepath.Join(dir, database.FileName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sum := func(columns, minutes string) int64 {
		n, err := database.QueryInt(conn, "SELECT coalesce(sum("+columns+"), 0) FROM counts WHERE minutes IN ("+minutes+")")
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for columns, sql := range map[string]string{
		"action + ignored + rule_error + disabled + duplicate": "SELECT count(*) FROM events",
		"delivered": "SELECT count(*) FROM attempts WHERE state = 1", "failed": "SELECT count(*) FROM attempts WHERE state = 2",
		"expired": "SELECT count(*) FROM attempts WHERE state = 3", "cancelled": "SELECT count(*) FROM attempts WHERE state = 4",
		"mended":  "SELECT count(*) FROM attempts WHERE state > 4",
		"retries": "SELECT count(*) FROM attempts WHERE state = 0",
	} {
		want, err := database.QueryInt(conn, sql)
		if err != nil {
			t.Fatal(err)
		}
		for _, minutes := range []string{"0, 1", "0, 10", "0, 60"} {
			if got := sum(columns, minutes); got != want {
				t.Errorf("%s is counted as %d in the rows of %s minutes, want %d", columns, got, minutes, want)
			}
		}
	}
}
