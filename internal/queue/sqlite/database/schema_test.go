package database

import (
	"fmt"
	"path/filepath"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// What was mended before the schema had a mark for it is marked by the step that
// brings the mark.
func TestMigrationMarksWhatIsMended(t *testing.T) {
	file := filepath.Join(t.TempDir(), FileName)
	if err := MakeFile(file); err != nil {
		t.Fatal(err)
	}
	conn, err := ConnectWriter(file, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := MigrateTo(conn, file, 3); err != nil {
		t.Fatal(err)
	}
	do := func(sql string, args ...any) {
		t.Helper()
		if err := Query(conn, sql, func(*sqlite.Stmt) error { return nil }, args...); err != nil {
			t.Fatal(err)
		}
	}
	plans := `[{"id":"a","action":"x"},{"id":"b","action":"x"},{"id":"c","action":"x","of":"a"},{"id":"d","action":"x","of":"c"},{"id":"e","action":"x","of":"b"}]`
	do("INSERT INTO actions (name) VALUES ('x')")
	do("INSERT INTO kinds (source, event, decision, actions) VALUES ('s', 'e', 'action', '[\"x\"]')")
	for event := range int64(3) {
		event += layout.FirstEvent
		do("INSERT INTO events (id, kind, received, uuid, deliveries) VALUES (?, 1, 1, ?, ?)", event, fmt.Sprint(event), []string{plans, plans, "no list"}[event-layout.FirstEvent])
		// a failed twice, c expired, b was cancelled, e failed, and d was delivered in the
		// first event only.
		ends := [][2]int64{{0, 0}, {0, 2}, {1, 4}, {2, 3}, {3, 1}, {4, 2}}
		if event > layout.FirstEvent {
			ends[4][1] = 2
		}
		for i, end := range ends {
			do("INSERT INTO attempts (id, action, state, at) VALUES (?, 1, ?, 7)", layout.AttemptID(layout.DeliveryID(event, int(end[0])), i), end[1])
		}
		for _, id := range []string{"c", "d", "e"} {
			do("INSERT INTO additions (uuid, event) VALUES (?, ?)", fmt.Sprintf("%s%d", id, event), event)
		}
	}
	if err := Migrate(conn, file); err != nil {
		t.Fatal(err)
	}
	for event, want := range []string{"0 5 4 6 1 2", "0 2 4 3 2 2", "0 2 4 3 2 2"} {
		from, to := layout.AttemptRange(layout.FirstEvent + int64(event))
		got := ""
		if err := Query(conn, "SELECT group_concat(state, ' ') FROM (SELECT state FROM attempts WHERE id >= ? AND id < ? ORDER BY id)", func(row *sqlite.Stmt) error {
			got = row.ColumnText(0)
			return nil
		}, from, to); err != nil || got != want {
			t.Errorf("event %d has the states %s and %v, want %s", event, got, err, want)
		}
	}
}
