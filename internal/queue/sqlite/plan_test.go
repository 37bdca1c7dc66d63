package sqlite

import (
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Statements that meet a large table must find their rows by a key.
func TestStatementsFindByKey(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	conn, err := database.ConnectReader(db.file)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, s := range (&statements{}).list() {
		if plan := strings.ReplaceAll(queryPlan(t, conn, s.sql), "SCAN d VIRTUAL TABLE", "list"); strings.Contains(plan, "SCAN") {
			t.Errorf("%s: %s", s.sql, plan)
		}
	}
	// Where two keys would do, only one of them is good.
	for sql, want := range map[string]string{
		loadFresh:           "SEARCH w USING PRIMARY KEY (action=? AND delivery>?)",
		loadTimed:           "SEARCH w USING PRIMARY KEY (action=? AND delivery=?)",
		scanTimed:           "SEARCH waiting USING COVERING INDEX waiting_due (action=? AND due>?)",
		findAdded:           "SEARCH a USING PRIMARY KEY (uuid>? AND uuid<?) | SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
		textOfEvent:         "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)",
		textOfAttempts:      "SEARCH attempts USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		listMoving:          "SEARCH w USING PRIMARY KEY (action=? AND delivery<?) | SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
		database.ListCounts: "SEARCH counts USING PRIMARY KEY (minutes=? AND at>? AND at<?)",
		listTenant:          "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		listUUIDs:           "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		listNotes:           "SEARCH notes USING INDEX notes_at (at>? AND at<?)",
		listNotesOfKind:     "SEARCH notes USING INDEX notes_kind (kind=? AND at>? AND at<?)",
		nextOfKey:           "SEARCH w USING INDEX waiting_order (action=? AND order_key=?)",
		listByState:         "SEARCH attempts USING COVERING INDEX attempts_ended (action=? AND state=? AND rowid>? AND rowid<?)",
		listByKind:          "SEARCH events USING COVERING INDEX events_kind (kind=? AND rowid>? AND rowid<?)",
		listWaiting:         "SEARCH waiting USING PRIMARY KEY (action=? AND delivery>? AND delivery<?)",
		listAll:             "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		findInBlock:         "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		findPrunable:        "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?) | CORRELATED SCALAR SUBQUERY 1 | SEARCH a USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
	} {
		if plan := queryPlan(t, conn, sql); !strings.HasPrefix(plan, want) || strings.Contains(strings.ReplaceAll(strings.ReplaceAll(plan, "SCAN a ", ""), "SCAN json_each ", ""), "SCAN ") {
			t.Errorf("%s:\n%s\nwant\n%s", sql, plan, want)
		}
	}
}

func queryPlan(t *testing.T, conn *sqlite.Conn, sql string) string {
	t.Helper()
	stmt, _, err := conn.PrepareTransient("EXPLAIN QUERY PLAN " + sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer stmt.Finalize()
	var steps []string
	for {
		row, err := stmt.Step()
		if err != nil {
			t.Fatal(err)
		}
		if !row {
			return strings.Join(steps, " | ")
		}
		steps = append(steps, stmt.ColumnText(3))
	}
}
