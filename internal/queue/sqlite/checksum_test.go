package sqlite

import (
	"context"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// What is not what was stored is neither shown as if it were nor sent, and said.
func TestDamagedEventsAreNotHandedOut(t *testing.T) {
	for name, damage := range map[string]string{
		"one bit of the body":   "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), 'Riverside', 'Siverside') AS BLOB)",
		"one bit of the record": "UPDATE events SET record = replace(record, '203.0.113.9', '203.0.113.8')",
		"the body is gone":      "UPDATE events SET body = NULL",
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			db := benchOpen(t, Options{MinFree: -1})
			e := benchEntry("x")
			mustPut(t, db, e)
			if found, err := db.Verify(ctx); err != nil || len(found) > 0 {
				t.Fatalf("before the damage the check found %q and gave %v", found, err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			alter(t, db.file, damage)
			db = benchOpen(t, Options{MinFree: -1, Dir: db.options.Dir})
			if l := takeN(t, db, "x", 1)[0]; l.Event != nil || l.Delivery.ID != e.Deliveries[0].ID {
				t.Errorf("handed out is %+v of %s, want no event", l.Event, l.Delivery.ID)
			}
			if h, err := db.Find(ctx, e.Event.ID); err != nil || h.Event != nil {
				t.Errorf("Find gave %+v and %v, want no event", h.Event, err)
			}
			if found, err := db.Verify(ctx); err != nil || len(found) != 1 || !strings.Contains(found[0], e.Event.ID) {
				t.Errorf("the check found %q and gave %v, want the event", found, err)
			}
			if troubles := db.Troubles(); len(troubles) != 1 || troubles[0].Kind != queue.TroubleDamage || !strings.Contains(troubles[0].Message, e.Event.ID) {
				t.Errorf("the troubles are %+v", troubles)
			}
		})
	}
}

// Events that were stored before there were checksums are taken as they are.
func TestEventsWithoutChecksum(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	mustPut(t, db, benchEntry("x"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	alter(t, db.file, "UPDATE events SET checksum = NULL")
	db = benchOpen(t, Options{MinFree: -1, Dir: db.options.Dir})
	if l := takeN(t, db, "x", 1)[0]; l.Event == nil {
		t.Error("an event of before cannot be read")
	}
	if found, err := db.Verify(context.Background()); err != nil || len(found) > 0 {
		t.Errorf("the check found %q and gave %v", found, err)
	}
}
