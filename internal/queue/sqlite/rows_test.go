package sqlite

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Whatever stands in a row, reading it neither panics nor gives half an event.
func FuzzRow(f *testing.F) {
	e := benchEntry("x")
	list, _ := json.Marshal([]layout.Plan{{ID: e.Deliveries[0].ID, Action: "x"}})
	f.Add(e.Event.Record(), e.Event.RawBody, list, 0, int64(0), int64(0))
	f.Add([]byte(`{"body_is_raw":true}`), []byte(`{`), []byte(`[{}]`), 0, int64(1), int64(-1))
	f.Add([]byte(`[]`), []byte(nil), []byte(`[]`), 2047, int64(1)<<62, int64(1)<<62)
	f.Add([]byte("\xff\x00{"), []byte("x"), []byte(`{"id":1}`), 1, int64(-1)<<63, int64(1)<<62)
	f.Add([]byte(`null`), []byte(`null`), []byte(`null`), 0, int64(5), int64(5))
	db := &DB{logger: zap.NewNop()}
	f.Fuzz(func(t *testing.T, record, body, list []byte, place int, due, first int64) {
		r := rawDelivery{id: layout.DeliveryID(1, place&(layout.MaxDeliveries-1)), due: due, first: first, uuid: e.Event.ID, source: "s", name: "n", deliveries: list, record: record, body: body}
		d := db.decode("x", r)
		if d.Event != nil && (d.Event.ID != e.Event.ID || d.Event.Source != "s" || d.Event.Name != "n") {
			t.Errorf("the event is %+v", d.Event)
		}
		if d.Event != nil && d.ID == "" && json.Valid(list) && string(list) == `[{"id":"x"}]` {
			t.Error("an event without its delivery's id")
		}
	})
}

// Rows that were damaged in the file: their deliveries come without an event
// and can be failed, and everything else is as it was.
func TestUnreadableRows(t *testing.T) {
	dir := t.TempDir()
	db := benchOpen(t, Options{Dir: dir, MinFree: -1})
	ctx := context.Background()
	var entries []queue.Entry
	for range 5 {
		entries = append(entries, benchEntry("x"))
	}
	mustPut(t, db, entries...)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := database.Connect(db.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{
		"UPDATE events SET record = 'nonsense' WHERE id = 68719476736",
		"UPDATE events SET deliveries = '[{' WHERE id = 68719476737",
		"UPDATE events SET verdict = NULL WHERE id = 68719476738",
		"UPDATE events SET record = NULL, verdict = '{', tenant = CAST(x'ff00fe' AS TEXT) WHERE id = 68719476739",
	} {
		if err := database.Execute(conn, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}

	db = benchOpen(t, Options{Dir: dir, MinFree: -1})
	// All of them are still waiting: none may be pruned.
	if n, err := db.Prune(ctx, time.Now().Add(time.Hour), 0); n > 0 || err != nil {
		t.Errorf("Prune removed %d and gave %v", n, err)
	}
	page, err := db.Page(ctx, queue.Filter{}, queue.NewestFirst, "", 10)
	if err != nil || len(page.Events) != 5 {
		t.Errorf("the page has %d events and %v", len(page.Events), err)
	}
	readable := 0
	for _, l := range takeN(t, db, "x", 5) {
		s := queue.Settlement{State: queue.Delivered}
		if l.Event == nil {
			s = queue.Settlement{State: queue.Failed, Attempt: &queue.Attempt{Error: "the stored event cannot be read"}}
		} else {
			readable++
		}
		if l.Delivery.Action != "x" {
			t.Errorf("a delivery of action %q", l.Delivery.Action)
		}
		if err := db.Settle(l.Token, s); err != nil {
			t.Error(err)
		}
	}
	if readable != 2 { // the third and the fifth
		t.Errorf("%d events could be read, want 2", readable)
	}
	for _, id := range []string{entries[0].Event.ID, entries[2].Event.ID, entries[4].Event.ID} {
		h, err := db.Find(ctx, id)
		if err != nil {
			t.Errorf("Find: %v", err)
		} else if broken := h.Event == nil; broken != (id == entries[0].Event.ID) {
			t.Errorf("Find of %s gives event %v", id, h.Event)
		}
	}
	if h, err := db.Find(ctx, entries[2].Event.ID); err != nil || h.Summary.Verdict.Decision != "action" || h.Summary.Verdict.Reason == "" {
		t.Errorf("an unreadable verdict is %+v and %v", h.Summary.Verdict, err)
	}
	if !slices.ContainsFunc(page.Events, func(s queue.Summary) bool { return s.ID == entries[4].Event.ID }) {
		t.Error("a good event is hidden by bad ones")
	}
}
