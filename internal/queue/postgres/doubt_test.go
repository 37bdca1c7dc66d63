package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// A commit whose answer was lost is looked up. Meanwhile another node may have taken
// what was stored: its lease must not be given back.
func TestLookingACommitUpLeavesTheLeasesOfOthers(t *testing.T) {
	a, b := nodesOf(t, nil)
	from := queue.Entry{
		Event:      &event.Event{ID: uuid.Must(uuid.NewV7()).String(), Source: "pbx", Name: "call", Received: time.Now(), Method: "POST", Path: "/", RawBody: []byte("{}")},
		Verdict:    rules.Verdict{Decision: rules.Act, Actions: []rules.ActionCall{{Action: "x"}}},
		Deliveries: []queue.Delivery{{ID: uuid.Must(uuid.NewV7()).String(), Action: "x"}},
	}
	if _, err := a.Put(nodePatience(t), []queue.Entry{from}); err != nil {
		t.Fatal(err)
	}
	lease := takeOn(t, b, "x")

	p := &put{ctx: context.Background(), entries: make([]entry, 1), receipts: make([]queue.Receipt, 1), done: make(chan error, 1)}
	if err := p.entries[0].encode(&from); err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	for i := range p.entries[0].deliveries {
		p.entries[0].deliveries[i].lane = a.lane("x")
	}
	a.mu.Unlock()
	session := &session{db: a}
	defer session.end()
	if stored, err := a.found(session, []*put{p}); err != nil || !stored {
		t.Fatalf("the event is found: %v, %v", stored, err)
	}
	nothingOn(t, a, "x")
	if err := b.Extend(nodePatience(t), lease.Token, 10*time.Second); err != nil {
		t.Errorf("the other node has lost its lease: %v", err)
	}
	deliverOn(t, b, lease)
}

// A change waits for the settlements that were made before it. Were it to wait until
// none is left, it would never return on a busy node.
func TestFlushWaitsForWhatWasSettledBeforeIt(t *testing.T) {
	db := &DB{closed: make(chan struct{})}
	db.commits.wake, db.settleWake = make(chan struct{}, 1), make(chan struct{}, 1)
	db.settlements, db.settled = make([]*settlement, 3), 3
	done := make(chan error, 1)
	go func() { done <- db.flush(t.Context()) }()
	<-db.settleWake
	db.mu.Lock()
	db.settlements, db.settled = make([]*settlement, 5), 8 // three are being written, five came later
	db.flushedUpTo(2)
	waits := len(db.flushed)
	db.flushedUpTo(1)
	db.mu.Unlock()
	if waits != 1 {
		t.Error("it did not wait for the last settlement before it")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestErrorsOfTheServerSayWhatBecameOfTheCommit(t *testing.T) {
	for code, want := range map[string]fate{
		"": unknown, "4": unknown, "53100": overfull, "25006": unreached, "57P01": unreached, "23505": faulty, "40P01": undone, "55P03": undone,
		// A pooler gave another session.
		"26000": unreached, "42P05": unreached,
	} {
		if got := fateOf(&pgconn.PgError{Code: code}); got != want {
			t.Errorf("%q gives %v, want %v", code, got, want)
		}
	}
}

func TestLostConnectionsAreKnownByTheirErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		lost bool
	}{
		"none":            {nil, false},
		"the end":         {fmt.Errorf("receive message failed: %w", io.ErrUnexpectedEOF), true},
		"a reset":         {fmt.Errorf("write failed: %w", &net.OpError{Op: "write", Err: syscall.ECONNRESET}), true},
		"it was cut":      {fmt.Errorf("reading: %w", net.ErrClosed), true},
		"none to be had":  {fmt.Errorf("%w: %w", errNoConnection, context.DeadlineExceeded), true},
		"the server says": {&pgconn.PgError{Code: "57P01", Message: "terminating connection"}, false},
		"a text":          {errors.New("cannot scan the column connected, EOF is expected"), false},
	} {
		if got := isLost(c.err); got != c.lost {
			t.Errorf("%s: isLost is %v", name, got)
		}
	}
}
