package sqlite

import (
	"strings"
	"testing"

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
		plan, err := database.QueryPlan(conn, s.sql)
		if err != nil || strings.Contains(strings.ReplaceAll(plan, "SCAN d VIRTUAL TABLE", "list"), "SCAN") {
			t.Errorf("%s: %s, %v", s.sql, plan, err)
		}
	}
	// Where two keys would do, only one of them is good.
	for sql, want := range map[string]string{
		loadFresh:  "SEARCH w USING PRIMARY KEY (action=? AND delivery>?)",
		loadTimed:  "SEARCH w USING PRIMARY KEY (action=? AND delivery=?)",
		scanTimed:  "SEARCH waiting USING COVERING INDEX waiting_due (action=? AND due>?)",
		listMoving: "SEARCH w USING PRIMARY KEY (action=? AND delivery<?) | SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
		listLater:  "SEARCH waiting USING COVERING INDEX waiting_due (action=? AND due>? AND due<?)",
		nextOfKey:  "SEARCH w USING INDEX waiting_order (action=? AND order_key=?)",
	} {
		if plan, err := database.QueryPlan(conn, sql); err != nil || !strings.HasPrefix(plan, want) || strings.Contains(plan, "SCAN ") {
			t.Errorf("%s:\n%s, %v\nwant\n%s", sql, plan, err, want)
		}
	}
}
