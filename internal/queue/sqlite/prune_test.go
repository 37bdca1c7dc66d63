package sqlite

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// Names that senders invent do not stay for ever, and can come again.
func TestPruneForgetsKindsAndBlocks(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{blockEvents: 10}})
	count := func(table string) (n int64) {
		t.Helper()
		if err := db.readers.Read(context.Background(), func(conn *sqlite.Conn) (err error) {
			n, err = database.QueryInt(conn, "SELECT count(*) FROM "+table)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	put := func(action string) (last queue.Entry) {
		for i := range 100 {
			last = benchEntry(action)
			last.Event.Name = fmt.Sprint("invented_", i)
			mustPut(t, db, last)
		}
		return last
	}
	put("x") // stays in the way
	last := put("")
	if kinds, blocks := count("kinds"), count("blocks"); kinds != 200 || blocks != 20 {
		t.Fatalf("%d kinds and %d blocks", kinds, blocks)
	}
	if n, err := db.Prune(context.Background(), time.Now().Add(time.Hour), 0); err != nil || n != 100 {
		t.Fatalf("Prune removed %d and gave %v", n, err)
	}
	if kinds, blocks := count("kinds"), count("blocks"); kinds != 100 || blocks != 11 {
		t.Errorf("%d kinds and %d blocks are left, want 100 and 11", kinds, blocks)
	}
	last.Event = benchEntry("").Event
	last.Event.Name = "invented_99"
	mustPut(t, db, last)
	page, err := db.Page(context.Background(), queue.Filter{Event: "invented_99"}, queue.NewestFirst, "", 10)
	if err != nil || len(page.Events) != 2 {
		t.Errorf("%d events of that name and %v, want 2", len(page.Events), err)
	}
	if _, err := db.Find(context.Background(), last.Event.ID); err != nil {
		t.Error(err)
	}
	db.Close()
	checkConsistency(t, db.options.Dir)
}

// What Put refuses is not stored, nor is anything that came with it.
func TestPutRefusesWhatItCannotStore(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	for name, spoil := range map[string]func(e *queue.Entry){
		"no event":               func(e *queue.Entry) { e.Event = nil },
		"no UUID":                func(e *queue.Entry) { e.Event.ID = "7" },
		"a delivery's id":        func(e *queue.Entry) { e.Deliveries[0].ID = "" },
		"a delivery's action":    func(e *queue.Entry) { e.Deliveries[0].Action = "" },
		"too many deliveries":    func(e *queue.Entry) { e.Deliveries = make([]queue.Delivery, layout.MaxDeliveries+1) },
		"a UUID in another form": func(e *queue.Entry) { e.Event.ID = "{" + e.Event.ID + "}" },
	} {
		e := benchEntry("x")
		spoil(&e)
		if _, err := db.Put(context.Background(), []queue.Entry{benchEntry("x"), e}); err == nil {
			t.Errorf("%s: it was stored", name)
		}
	}
	if page, err := db.Page(context.Background(), queue.Filter{}, queue.NewestFirst, "", 10); err != nil || len(page.Events) != 0 {
		t.Errorf("%d events are stored, and %v", len(page.Events), err)
	}
	nothingToTake(t, db, "x")
}

// An event may have as many deliveries as ids allow, and a delivery more
// attempts than have rows of their own.
func TestManyDeliveriesAndAttempts(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{settleDelay: time.Microsecond}})
	e := benchEntry("x")
	for range layout.MaxDeliveries - 1 {
		e.Deliveries = append(e.Deliveries, queue.Delivery{ID: newUUID(), Action: "y"})
	}
	mustPut(t, db, e)
	for i, l := range takeN(t, db, "y", layout.MaxDeliveries-1) {
		if l.Delivery.ID != e.Deliveries[i+1].ID {
			t.Fatalf("delivery %d is %s, want %s", i, l.Delivery.ID, e.Deliveries[i+1].ID)
		}
	}
	const attempts = layout.LastAttempt + 20
	for i := range attempts {
		l := takeN(t, db, "x", 1)[0]
		if l.Delivery.Attempts != i {
			t.Fatalf("attempt %d comes as %d", i, l.Delivery.Attempts)
		}
		s := queue.Settlement{State: queue.Pending, Attempt: &queue.Attempt{Began: time.Now(), Status: 500 + i%100}}
		if i == attempts-1 {
			s.State = queue.Failed
		}
		if err := db.Settle(l.Token, s); err != nil {
			t.Fatal(err)
		}
	}
	dir := db.options.Dir
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = benchOpen(t, Options{Dir: dir, MinFree: -1})
	h, err := db.Find(context.Background(), e.Deliveries[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	kept := h.Attempts[e.Deliveries[0].ID]
	if len(kept) != layout.LastAttempt+1 || kept[layout.LastAttempt].Status != 500+(attempts-1)%100 {
		t.Errorf("%d attempts are kept, the last with status %d", len(kept), kept[len(kept)-1].Status)
	}
	if d := h.Summary.Deliveries[0]; d.State != queue.Failed || d.Status != 500+(attempts-1)%100 {
		t.Errorf("the delivery is %+v", d)
	}
	db.Close()
	checkConsistency(t, dir)
}

// What is added to an event after it was found to be finished must not be
// removed with it.
func TestPruneLeavesWhatWasAddedMeanwhile(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	ctx := context.Background()
	old, other := benchEntry(""), benchEntry("")
	mustPut(t, db, old, other)
	found, _, err := db.finished(ctx, 0, math.MaxInt64)
	if err != nil || len(found) != 2 {
		t.Fatalf("%d events are found and %v, want 2", len(found), err)
	}
	added := queue.Delivery{ID: newUUID(), Action: "x"}
	if err := db.Amend(ctx, []queue.Amendment{{Event: old.Event.ID, Deliveries: []queue.Delivery{added}}}); err != nil {
		t.Fatal(err)
	}
	if err := db.do(ctx, &prune{events: found}); err != nil {
		t.Fatal(err)
	}
	if lease := takeN(t, db, "x", 1)[0]; lease.Delivery.ID != added.ID || lease.Event == nil {
		t.Errorf("the lease is %+v", lease)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	checkConsistency(t, db.options.Dir)
}
