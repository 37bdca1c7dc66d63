package sqlite

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// readersAtOnce is how many read transactions may run at a time.
const readersAtOnce = 4

var errReadersClosed = fmt.Errorf("reading the queue: %w", queue.ErrClosed)

// readers are the connections that read. Every use is one short transaction,
// and the writer can bar new ones and interrupt the old, because a WAL whose
// readers overlap can never begin anew.
type readers struct {
	file  string
	why   func() error // returns why there is nothing to read yet
	slots chan struct{}

	mu     sync.Mutex
	idle   []*sqlite.Conn
	active map[*reading]struct{}
	empty  chan struct{} // closed when the last of active is gone; nil if nothing waits for it
	gate   chan struct{} // closed while readers may pass
	closed bool
}

// reading is one read transaction.
type reading struct {
	once   sync.Once
	stop   chan struct{}
	barred bool // stopped by the writer: to be tried again
}

func (r *reading) interrupt() { r.once.Do(func() { close(r.stop) }) }

func newReaders(file string, why func() error) *readers {
	open := make(chan struct{})
	close(open)
	return &readers{file: file, why: why, slots: make(chan struct{}, readersAtOnce), active: make(map[*reading]struct{}), gate: open}
}

// read calls f with a connection on which one transaction is open. When the
// writer interrupts it, f is called again.
func (r *readers) read(ctx context.Context, f func(conn *sqlite.Conn) error) error {
	if err := r.why(); err != nil {
		return err
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		again, err := r.readOnce(ctx, f)
		if !again {
			return err
		}
	}
}

func (r *readers) readOnce(ctx context.Context, f func(conn *sqlite.Conn) error) (again bool, err error) {
	this, conn, err := r.begin(ctx)
	if err != nil {
		return false, err
	}
	defer r.end(this)
	if conn == nil {
		if conn, err = connectReader(r.file); err != nil {
			return false, fmt.Errorf("opening the database to read: %w", err)
		}
	}
	unregister := context.AfterFunc(ctx, this.interrupt)
	conn.SetInterrupt(this.stop)
	if err = execute(conn, "BEGIN"); err == nil {
		err = f(conn)
	}
	unregister()
	conn.SetInterrupt(nil)
	code := sqlite.ErrCode(err) // ResultError for those that are not SQLite's
	interrupted := code == sqlite.ResultInterrupt
	healthy := code == sqlite.ResultOK || code == sqlite.ResultError || interrupted
	if !conn.AutocommitEnabled() && execute(conn, "ROLLBACK") != nil {
		healthy = false
	}
	r.mu.Lock()
	if healthy && !r.closed {
		r.idle = append(r.idle, conn)
		conn = nil
	}
	barred, closed := this.barred, r.closed
	r.mu.Unlock()
	if conn != nil {
		err = errors.Join(err, conn.Close())
	}
	switch {
	case !interrupted:
		return false, err
	case ctx.Err() != nil:
		return false, ctx.Err()
	case closed:
		return false, errReadersClosed
	}
	return barred, err
}

// begin waits until readers may pass.
func (r *readers) begin(ctx context.Context) (*reading, *sqlite.Conn, error) {
	for {
		r.mu.Lock()
		gate := r.gate
		r.mu.Unlock()
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return nil, nil, errReadersClosed
		}
		if r.gate != gate {
			r.mu.Unlock()
			continue
		}
		this := &reading{stop: make(chan struct{})}
		r.active[this] = struct{}{}
		var conn *sqlite.Conn
		if last := len(r.idle) - 1; last >= 0 {
			conn, r.idle = r.idle[last], r.idle[:last]
		}
		r.mu.Unlock()
		return this, conn, nil
	}
}

func (r *readers) end(this *reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, this)
	if len(r.active) == 0 && r.empty != nil {
		close(r.empty)
		r.empty = nil
	}
}

// bar keeps new readers out, interrupts those that are at work, and reports
// whether all are gone.
func (r *readers) bar(wait time.Duration) bool {
	r.mu.Lock()
	r.gate = make(chan struct{})
	if len(r.active) == 0 {
		r.mu.Unlock()
		return true
	}
	for this := range r.active {
		this.barred = true
		this.interrupt()
	}
	empty := make(chan struct{})
	r.empty = empty
	r.mu.Unlock()
	select {
	case <-empty:
		return true
	case <-time.After(wait):
		return false
	}
}

func (r *readers) unbar() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.gate)
}

// close ends all reading. Readers that wait or come later get ErrClosed.
func (r *readers) close(wait time.Duration) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.bar(wait)
	r.unbar()
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, conn := range r.idle {
		errs = append(errs, conn.Close())
	}
	r.idle = nil
	return errors.Join(errs...)
}

func connectReader(file string) (*sqlite.Conn, error) {
	conn, err := connect(file)
	if err != nil {
		return nil, err
	}
	for _, pragma := range []string{"PRAGMA query_only = ON", "PRAGMA cache_size = -4096"} {
		if err := execute(conn, pragma); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}
