package database

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// ReadersAtOnce is how many read transactions may run at a time.
const ReadersAtOnce = 4

// ErrReadersClosed is the error of reading after Close. It wraps queue.ErrClosed.
var ErrReadersClosed = fmt.Errorf("reading the queue: %w", queue.ErrClosed)

// Readers are the connections that read. Each use is one short transaction. The
// writer can bar new ones and interrupt those that run, because the write-ahead log
// cannot begin anew while readers overlap, and would grow without end.
type Readers struct {
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

// NewReaders returns readers of a file. It opens no connection. While why returns
// an error, Read returns it and does not read.
func NewReaders(file string, why func() error) *Readers {
	open := make(chan struct{})
	close(open)
	return &Readers{file: file, why: why, slots: make(chan struct{}, ReadersAtOnce), active: make(map[*reading]struct{}), gate: open}
}

// Read calls f with a connection on which one transaction is open. When the
// writer interrupts it, f is called again.
func (r *Readers) Read(ctx context.Context, f func(conn *sqlite.Conn) error) error {
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

func (r *Readers) readOnce(ctx context.Context, f func(conn *sqlite.Conn) error) (again bool, err error) {
	this, conn, err := r.begin(ctx)
	if err != nil {
		return false, err
	}
	defer r.end(this)
	if conn == nil {
		if conn, err = ConnectReader(r.file); err != nil {
			return false, fmt.Errorf("opening the database to read: %w", err)
		}
	}
	unregister := context.AfterFunc(ctx, this.interrupt)
	conn.SetInterrupt(this.stop)
	if err = Execute(conn, "BEGIN"); err == nil {
		err = f(conn)
	}
	unregister()
	conn.SetInterrupt(nil)
	code := sqlite.ErrCode(err) // ResultError for those that are not SQLite's
	interrupted := code == sqlite.ResultInterrupt
	select {
	case <-this.stop:
		// SQLite tells it as an error of the statement when it is interrupted while it
		// prepares one that reads a pragma as a table.
		interrupted = interrupted || code == sqlite.ResultError
	default:
	}
	healthy := code == sqlite.ResultOK || code == sqlite.ResultError || interrupted
	if !conn.AutocommitEnabled() && Execute(conn, "ROLLBACK") != nil {
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
		return false, ErrReadersClosed
	}
	return barred, err
}

// begin waits until readers may pass.
func (r *Readers) begin(ctx context.Context) (*reading, *sqlite.Conn, error) {
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
			return nil, nil, ErrReadersClosed
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

func (r *Readers) end(this *reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.active, this)
	if len(r.active) == 0 && r.empty != nil {
		close(r.empty)
		r.empty = nil
	}
}

// InUse returns how many of the ReadersAtOnce places are taken.
func (r *Readers) InUse() int { return len(r.slots) }

// Bar keeps new readers out, interrupts those that are at work, and reports whether
// all of them are gone within a time. Call Unbar afterwards in either case.
func (r *Readers) Bar(wait time.Duration) bool {
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

// Unbar lets readers in again, and those that Bar interrupted begin anew.
func (r *Readers) Unbar() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.gate)
}

// Close ends all reading and closes the connections. It waits no longer than a time
// for readers that are at work. Readers that wait or come later get
// ErrReadersClosed.
func (r *Readers) Close(wait time.Duration) error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.Bar(wait)
	r.Unbar()
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, conn := range r.idle {
		errs = append(errs, conn.Close())
	}
	r.idle = nil
	return errors.Join(errs...)
}
