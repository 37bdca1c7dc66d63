package history

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Statements that meet a large table must find their rows by a key. Where two keys
// would do, only one of them is good.
func TestStatementsFindByKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), database.FileName)
	if err := database.MakeFile(file); err != nil {
		t.Fatal(err)
	}
	conn, err := database.ConnectWriter(file, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := database.Migrate(conn, file); err != nil {
		t.Fatal(err)
	}
	for sql, want := range map[string]string{
		findAdded:           "SEARCH a USING PRIMARY KEY (uuid>? AND uuid<?) | SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
		textOfEvent:         "SEARCH events USING INTEGER PRIMARY KEY (rowid=?)",
		textOfAttempts:      "SEARCH attempts USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		database.ListCounts: "SEARCH counts USING PRIMARY KEY (minutes=? AND at>? AND at<?)",
		listTenant:          "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		listUUIDs:           "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		listNotes:           "SEARCH notes USING INDEX notes_at (at>? AND at<?)",
		listNotesOfKind:     "SEARCH notes USING INDEX notes_kind (kind=? AND at>? AND at<?)",
		listByState:         "SEARCH attempts USING COVERING INDEX attempts_ended (action=? AND state=? AND rowid>? AND rowid<?)",
		listByKind:          "SEARCH events USING COVERING INDEX events_kind (kind=? AND rowid>? AND rowid<?)",
		listWaiting:         "SEARCH waiting USING PRIMARY KEY (action=? AND delivery>? AND delivery<?)",
		listAll:             "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		findInBlock:         "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
		findHead:            "SCAN a USING COVERING INDEX sqlite_autoindex_actions_1 | SEARCH w USING PRIMARY KEY (action=? AND delivery=?) | SEARCH h USING INDEX waiting_order (action=? AND order_key=?) | SEARCH e USING INTEGER PRIMARY KEY (rowid=?)",
		findFinished:        "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?) | CORRELATED SCALAR SUBQUERY 1 | SEARCH a USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
	} {
		plan, err := database.QueryPlan(conn, sql)
		scans := strings.NewReplacer("SCAN a ", "", "SCAN json_each ", "").Replace(plan)
		if err != nil || !strings.HasPrefix(plan, want) || strings.Contains(scans, "SCAN ") {
			t.Errorf("%s:\n%s, %v\nwant\n%s", sql, plan, err, want)
		}
	}
}
