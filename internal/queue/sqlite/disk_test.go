package sqlite

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30s", what)
		}
	}
}

// nothingToTake checks that nothing of an action is handed out for a moment.
func nothingToTake(t *testing.T, db *DB, action string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if leases, err := db.Take(ctx, action, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Take(%s) gave %d leases and %v, want none", action, len(leases), err)
	}
}

func takeN(t *testing.T, db *DB, action string, n int) (leases []queue.Lease) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for len(leases) < n {
		more, err := db.Take(ctx, action, n-len(leases))
		if err != nil {
			t.Fatalf("Take(%s) after %d of %d: %v", action, len(leases), n, err)
		}
		leases = append(leases, more...)
	}
	return leases
}

func mustPut(t *testing.T, db *DB, entries ...queue.Entry) {
	t.Helper()
	if _, err := db.Put(context.Background(), entries); err != nil {
		t.Fatal(err)
	}
}

func TestTooLittleFreeSpace(t *testing.T) {
	var free atomic.Int64
	free.Store(1000)
	db := benchOpen(t, Options{MinFree: 500, limits: limits{free: func(string) (int64, error) { return free.Load(), nil }, freeEvery: time.Nanosecond}})
	mustPut(t, db, benchEntry("x"), benchEntry("x"))
	free.Store(499)
	if _, err := db.Put(context.Background(), []queue.Entry{benchEntry("x")}); !errors.Is(err, queue.ErrFull) || !strings.Contains(err.Error(), "min_free") {
		t.Errorf("Put gave %v, want ErrFull that names min_free", err)
	}
	// What makes room goes on.
	leases := takeN(t, db, "x", 2)
	for _, l := range leases {
		if err := db.Settle(l.Token, queue.Settlement{State: queue.Delivered}); err != nil {
			t.Error(err)
		}
	}
	if n, err := db.Change(context.Background(), queue.Change{CancelAction: "x"}); err != nil || n.Deliveries != 0 {
		t.Errorf("Change gave %v and %v", n, err)
	}
	if n, err := db.Prune(context.Background(), time.Now().Add(time.Hour), 0); err != nil || n != 2 {
		t.Errorf("Prune gave %d and %v, want 2", n, err)
	}
	free.Store(500)
	mustPut(t, db, benchEntry("x"))
}

func TestUnknownFreeSpaceRefusesNothing(t *testing.T) {
	db := benchOpen(t, Options{limits: limits{free: func(string) (int64, error) { return 0, errors.New("no idea") }}})
	mustPut(t, db, benchEntry("x"))
}

// A bound on the pages of the database does what a full disk does: SQLite gives
// SQLITE_FULL and rolls back.
func TestFullDisk(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{maxPages: 200, settleDelay: time.Microsecond}})
	ctx := context.Background()
	full := func() int {
		t.Helper()
		for n := 0; ; n++ {
			e := benchEntry("x")
			e.Event.RawBody = []byte(`"` + strings.Repeat("y", 3000) + `"`)
			if n%2 == 1 {
				e.Deliveries = nil
			}
			if _, err := db.Put(ctx, []queue.Entry{e}); errors.Is(err, queue.ErrFull) {
				return n
			} else if err != nil {
				t.Fatalf("Put into a full database gave %v, want ErrFull", err)
			}
		}
	}
	stored := full()
	if stored < 50 {
		t.Fatalf("only %d events fitted", stored)
	}
	// Settlements that do not fit stay in memory. Their action waits, so that
	// there is an end to them; nothing else does. Each is larger than an event, or the
	// first might find room where no event did, and be pruned with the others.
	leases := takeN(t, db, "x", 10)
	request := strings.Repeat("z", 16_000)
	for _, l := range leases {
		if err := db.Settle(l.Token, queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{Began: time.Now(), Status: 200, Request: request}}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the writer notices that the settlements do not fit", func() bool {
		db.mu.Lock()
		defer db.mu.Unlock()
		return db.scheduler.Unwritable()
	})
	nothingToTake(t, db, "x")
	// Pruning makes room, although what cannot be written is in its way.
	n, err := db.Prune(ctx, time.Now().Add(time.Hour), 0)
	if err != nil || n < stored/3 {
		t.Fatalf("Prune removed %d of %d and gave %v", n, stored, err)
	}
	eventually(t, "the settlements are written", func() bool {
		db.mu.Lock()
		defer db.mu.Unlock()
		_, unwritten, _ := db.actions["x"].Memory()
		return !db.scheduler.Unwritable() && unwritten == 0
	})
	for _, l := range leases {
		h, err := db.Find(ctx, l.Delivery.ID)
		if err != nil || h.Summary.Deliveries[0].State != queue.Delivered {
			t.Errorf("a settlement of the time without room: %+v and %v", h.Summary.Deliveries, err)
		}
	}
	takeN(t, db, "x", 1)
	if more := full(); more == 0 {
		t.Error("nothing can be stored although there is room again")
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	checkConsistency(t, db.options.Dir)
}

// A settlement that could not be written says of a delivery that it is over. It
// must not be handed to another action before that is known.
func TestMoveOnAFullDiskMovesNothingThatIsOver(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{settleDelay: time.Hour}})
	ctx := context.Background()
	mustPut(t, db, benchEntry("x"))
	lease := takeN(t, db, "x", 1)[0]
	if err := db.Settle(lease.Token, queue.Settlement{State: queue.Delivered}); err != nil {
		t.Fatal(err)
	}
	db.mu.Lock()
	m := &move{from: db.action("x"), to: db.action("y")}
	db.mu.Unlock()
	batch(db, &failing{code: sqlite.ResultFull, times: 1}, m)
	eventually(t, "the settlement is written", func() bool {
		db.mu.Lock()
		defer db.mu.Unlock()
		_, unwritten, _ := db.actions["x"].Memory()
		return unwritten == 0
	})
	nothingToTake(t, db, "y")
	if h, err := db.Find(ctx, lease.Delivery.ID); err != nil || h.Summary.Deliveries[0].State != queue.Delivered {
		t.Errorf("the delivery is %+v and %v, want it delivered", h.Summary.Deliveries, err)
	}
}

func TestMaxPending(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, MaxPending: 3})
	ctx := context.Background()
	mustPut(t, db, benchEntry("x"), benchEntry("y"))
	if _, err := db.Put(ctx, []queue.Entry{benchEntry("x"), benchEntry("x")}); !errors.Is(err, queue.ErrFull) || !strings.Contains(err.Error(), "max_pending") {
		t.Errorf("Put gave %v, want ErrFull that names max_pending", err)
	}
	mustPut(t, db, benchEntry("x"))
	mustPut(t, db, benchEntry("")) // what leads to nothing can wait for nothing
	if _, err := db.Put(ctx, []queue.Entry{benchEntry("x")}); !errors.Is(err, queue.ErrFull) {
		t.Errorf("Put gave %v, want ErrFull", err)
	}
	if err := db.Settle(takeN(t, db, "y", 1)[0].Token, queue.Settlement{State: queue.Failed}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a delivery has ended and makes place for another", func() bool {
		_, err := db.Put(ctx, []queue.Entry{benchEntry("x")})
		return err == nil
	})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = benchOpen(t, Options{MinFree: -1, MaxPending: 3, Dir: db.options.Dir})
	if _, err := db.Put(ctx, []queue.Entry{benchEntry("x")}); !errors.Is(err, queue.ErrFull) {
		t.Errorf("Put after reopening gave %v, want ErrFull", err)
	}
}

// When the table cannot be read, what memory has is handed out, and the rest
// once it can.
func TestUnreadableTable(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1, limits: limits{fresh: 2}})
	for range 6 {
		mustPut(t, db, benchEntry("x"))
	}
	if err := os.Rename(db.file, db.file+".away"); err != nil {
		t.Fatal(err)
	}
	takeN(t, db, "x", 2)
	nothingToTake(t, db, "x")
	if _, err := db.Page(context.Background(), queue.Filter{}, queue.NewestFirst, "", 1); err == nil {
		t.Error("the file could be read: this shows nothing")
	}
	if err := os.Rename(db.file+".away", db.file); err != nil {
		t.Fatal(err)
	}
	takeN(t, db, "x", 4)
}

// failing is a command that meets an error of the database.
type failing struct {
	waiter
	code  sqlite.ResultCode
	times int // 0: always
	met   int
}

func (*failing) needsRoom() bool { return false }
func (f *failing) prepare(*DB)   {}
func (f *failing) apply(*DB)     {}
func (f *failing) write(*transaction) error {
	f.met++
	if f.times > 0 && f.met > f.times {
		return nil
	}
	return f.code.ToError()
}

// batch has the writer meet commands in one transaction, and returns what each
// was answered.
func batch(db *DB, commands ...awaited) []error {
	db.mu.Lock()
	for _, c := range commands {
		c.start()
		c.prepare(db)
		db.inbox = append(db.inbox, c)
	}
	db.mu.Unlock()
	db.wakeWriter()
	var errs []error
	for _, c := range commands {
		errs = append(errs, c.wait(context.Background()))
	}
	return errs
}

// awaitedPut is a put of one entry for batch.
type awaitedPut struct{ *put }

func newPut(t *testing.T, e queue.Entry) awaitedPut {
	t.Helper()
	p := &put{entries: make([]entry, 1), receipts: make([]queue.Receipt, 1), done: make(chan error, 1)}
	if err := p.encode(0, &e); err != nil {
		t.Fatal(err)
	}
	return awaitedPut{p}
}

func (p awaitedPut) start()                         {}
func (p awaitedPut) wait(ctx context.Context) error { return <-p.done }

func TestOneBadCommandDoesNotHarmOthers(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	a, b := benchEntry("x"), benchEntry("x")
	errs := batch(db, newPut(t, a), &failing{code: sqlite.ResultConstraint}, newPut(t, b))
	if errs[0] != nil || errs[1] == nil || errs[2] != nil {
		t.Errorf("the answers are %v, want an error for the second only", errs)
	}
	leases := takeN(t, db, "x", 2)
	if leases[0].Delivery.ID != a.Deliveries[0].ID || leases[1].Delivery.ID != b.Deliveries[0].ID {
		t.Error("the others were not stored once and in order")
	}
	nothingToTake(t, db, "x")
	db.Close()
	checkConsistency(t, db.options.Dir)
}

func TestErrorOfTheDisk(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	ctx := context.Background()
	for range 5 {
		mustPut(t, db, benchEntry("x"))
	}
	leases := takeN(t, db, "x", 2)
	before := db.conn
	errs := batch(db, newPut(t, benchEntry("x")), &failing{code: sqlite.ResultIOErrFsync})
	for _, err := range errs {
		if err == nil || errors.Is(err, queue.ErrFull) || errors.Is(err, queue.ErrClosed) {
			t.Errorf("the answer is %v, want an error that does not say \"not stored\"", err)
		}
	}
	// The settlements wait for the new connection, and are written by it.
	for _, l := range leases {
		if err := db.Settle(l.Token, queue.Settlement{State: queue.Delivered}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the queue can be written again", func() bool {
		_, err := db.Put(ctx, []queue.Entry{benchEntry("x")})
		return err == nil
	})
	for _, l := range leases {
		eventually(t, "the settlement is written", func() bool {
			h, err := db.Find(ctx, l.Delivery.ID)
			return err == nil && h.Summary.Deliveries[0].State == queue.Delivered
		})
	}
	takeN(t, db, "x", 4) // three of before, one of after
	nothingToTake(t, db, "x")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if db.conn == before {
		t.Error("the connection was not opened again")
	}
	checkConsistency(t, db.options.Dir)
}

// An error in the commit itself leaves open whether it was made. If it was, the
// queue knows after it has opened the file again.
func TestCommitThatWasMadeInSpiteOfAnError(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	mustPut(t, db, benchEntry("x"))
	// Stored behind the writer's back, as a commit would be whose success never
	// reached it.
	e := newPut(t, benchEntry("x"))
	done := make(chan struct{})
	if errs := batch(db, &interlude{do: func(tx *transaction) error {
		defer close(done)
		e.prepare(db)
		shadow := transaction{db: db, conn: tx.conn, statements: tx.statements, now: tx.now, lastEvent: tx.lastEvent, block: tx.block}
		if err := e.write(&shadow); err != nil {
			return err
		}
		if err := shadow.writeTotals(); err != nil {
			return err
		}
		for _, a := range shadow.touched {
			a.delta, a.touched = 0, false
		}
		if err := database.Step(tx.statements.commit); err != nil {
			return err
		}
		return sqlite.ResultIOErrFsync.ToError()
	}}); errs[0] == nil {
		t.Fatal("the transaction gave no error")
	}
	<-done
	eventually(t, "the queue can be written again", func() bool {
		_, err := db.Put(context.Background(), []queue.Entry{benchEntry("x")})
		return err == nil
	})
	seen := make(map[string]bool)
	for _, l := range takeN(t, db, "x", 3) {
		seen[l.Delivery.ID] = true
	}
	if !seen[e.entries[0].deliveries[0].ID] || len(seen) != 3 {
		t.Error("what was stored is not handed out")
	}
	nothingToTake(t, db, "x")
	db.Close()
	checkConsistency(t, db.options.Dir)
}

// interlude does something once inside the writer.
type interlude struct {
	waiter
	do func(tx *transaction) error
}

func (*interlude) needsRoom() bool { return false }
func (i *interlude) prepare(*DB)   {}
func (i *interlude) apply(*DB)     {}
func (i *interlude) write(tx *transaction) error {
	return i.do(tx)
}
