// Package postgres is the queue for several machines: one PostgreSQL that all of them
// use. Each process that has it open is a node.
//
// The way of an event: Put encodes it and queues it for the committer, which stores
// all that has gathered while its last commit was on the way, in one statement and one
// round trip. New deliveries are stored as leased by the node itself, as far as its
// takers have room, and go to them from memory. What memory has no room for, retries,
// and what other nodes left is taken from the table, many at once. Settlements go in
// batches as well.
//
// The tables know all that must survive, and all that another node must know: leases
// too. Memory only holds what this node has leased. All times that count are the
// database's: clocks of machines differ.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// DB is an open queue. It implements queue.Engine, and is a queue.Cluster, a
// queue.Adjuster and a queue.Verifier.
type DB struct {
	options  Options
	logger   *zap.Logger
	pool     *pgxpool.Pool
	lines    lines
	troubles queue.Troubles
	watchers *activity.Watchers
	nodes    nodes
	usage    usage

	// connectBy is by what connections are made since Adjust changed that, nil before.
	connectBy atomic.Pointer[pgx.ConnConfig]
	adjusting sync.Mutex

	// maxPending is Options.MaxPending, or what Limit made of it; receiveOnly is
	// Options.ReceiveOnly, or what Adjust made of it.
	maxPending  atomic.Int64
	receiveOnly atomic.Bool

	ready      chan struct{} // closed once the database is open
	closed     chan struct{} // closed when Close begins
	cut        atomic.Bool   // Close has waited long enough for what was under way
	background sync.WaitGroup
	close      func() error

	pending pending

	tallying tallying

	kindsMu    sync.Mutex
	kinds      map[layout.Kind]int32 // their numbers, as far as they are known
	kindsSince time.Time             // since when

	kindsPruned atomic.Int64 // when pruneKinds went through them last, in microseconds

	mu      sync.Mutex
	why     error // why it is not open yet
	opened  bool
	closing bool

	// What memory knows of deliveries.
	lanes      map[string]*lane
	leases     map[int64]*lease // all that this node holds, by delivery
	readyBytes int64
	fetches    sync.WaitGroup // of looks into the table
	failed     bool           // the database could not be written the last time
	unwritable bool           // settlements cannot be written
	full       bool           // its disk had no room, and has not been found to have some since

	commits committing

	// What waits for the settler.
	settlements []*settlement
	giveBack    []*lease
	writing     bool // the settler writes some that are in none of these
	settling    bool // settleTimer runs
	settleTimer *time.Timer
	settleWake  chan struct{}
	flushed     []flushing
	settled     int64 // how many settlements were made
	doneWith    int64 // how many of them are written, or were refused for good
}

var (
	_ queue.Engine   = (*DB)(nil)
	_ queue.Cluster  = (*DB)(nil)
	_ queue.Adjuster = (*DB)(nil)
	_ queue.Verifier = (*DB)(nil)
)

// Open opens the queue in a schema and creates what is missing. It takes no longer
// with a million waiting deliveries than with none.
func Open(options Options) (*DB, error) {
	options = options.withDefaults()
	if options.Node == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("opening the queue: finding the name of this machine: %w; name the node with: node NAME", err)
		}
		options.Node = name
	}
	config, err := options.poolConfig()
	if err != nil {
		return nil, fmt.Errorf("opening the queue: %w", err)
	}
	db := &DB{
		options: options, logger: options.Logger,
		ready: make(chan struct{}), closed: make(chan struct{}), settleWake: make(chan struct{}, 1),
		kinds: make(map[layout.Kind]int32), lanes: make(map[string]*lane), leases: make(map[int64]*lease),
	}
	db.commits.wake = make(chan struct{}, 1)
	// The timer is made stopped: it is set when there is something for it.
	db.settleTimer = time.AfterFunc(time.Hour, db.wakeSettler)
	db.settleTimer.Stop()
	db.maxPending.Store(int64(options.MaxPending))
	db.receiveOnly.Store(options.ReceiveOnly)
	db.watchers = activity.NewWatchers(db.closed)
	db.watchers.Watching = func(watching bool) { db.nodes.self.Watch(watching) }
	db.close = sync.OnceValue(db.shut)
	config.BeforeConnect = db.connectAnew
	config.ConnConfig.DialFunc = db.lines.through(config.ConnConfig.DialFunc)
	// It connects when it is used.
	if db.pool, err = pgxpool.NewWithConfig(context.Background(), config); err != nil {
		return nil, fmt.Errorf("opening the queue: %w", queue.Mistaken("the settings of the connections are wrong; see the DSN"))
	}
	db.newNode()
	if err := db.tryOpening(); err != nil {
		if !options.KeepTrying || errors.Is(err, queue.ErrMisconfigured) {
			db.nodes.self.Stop()
			db.pool.Close()
			return nil, fmt.Errorf("opening the queue: %w", err)
		}
		db.unavailable(err)
		db.background.Go(db.keepOpening)
	}
	return db, nil
}

// tryOpening opens the database, and tries again for a while: it may be starting, or
// another server may be taking over.
func (db *DB) tryOpening() error {
	patience := db.options.limits.patience
	if db.options.KeepTrying {
		patience = db.options.limits.startPatience
	}
	deadline := time.Now().Add(patience)
	for {
		err := db.openOnce()
		if err == nil || errors.Is(err, queue.ErrMisconfigured) || time.Now().After(deadline) {
			return err
		}
		db.pause(db.options.limits.retry)
	}
}

// keepOpening tries until the database is open, or the queue is closed.
func (db *DB) keepOpening() {
	wait := db.options.limits.retry
	for db.pause(wait) {
		err := db.openOnce()
		if err == nil {
			return
		}
		db.unavailable(err)
		wait = min(2*wait, 5*time.Second)
	}
}

// pause waits about so long, and reports whether the queue is still to be used. Nodes
// do not wait the same time, or all would come at once to a server that is back.
func (db *DB) pause(d time.Duration) bool {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-db.closed:
		return false
	}
}

// openOnce opens the database: it makes or migrates the schema, enters the node, and
// starts what runs in the background.
func (db *DB) openOnce() error {
	ctx, cancel := context.WithTimeout(context.Background(), db.options.limits.patience)
	defer cancel()
	go func() {
		select {
		case <-db.closed:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := db.connected(ctx, func(conn *pgxpool.Conn) error {
		if err := db.refusePooling(ctx, conn.Conn()); err != nil {
			return err
		}
		if err := migrate(ctx, conn.Conn(), db.options.Schema); err != nil {
			return err
		}
		if err := writable(ctx, conn); err != nil {
			return err
		}
		return db.enter(ctx, conn)
	})
	if err != nil {
		return db.explain(err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closing {
		return queue.ErrClosed
	}
	db.opened, db.why = true, nil
	db.startUp()
	if db.troubles.End(queue.TroubleUnavailable) {
		db.logger.Info("the queue is open now", zap.String("schema", db.options.Schema))
	}
	close(db.ready)
	return nil
}

// writable refuses a server that takes no writes.
func writable(ctx context.Context, conn *pgxpool.Conn) error {
	readOnly := ""
	if err := conn.QueryRow(ctx, "SHOW transaction_read_only").Scan(&readOnly); err != nil {
		return err
	}
	if readOnly == "on" {
		return errors.New("the server takes no writes: it is a standby, or was made read-only; name all servers in the DSN and add target_session_attrs=read-write")
	}
	return nil
}

// enter does what must be done before the queue is used: it enters the node and notes
// the start.
func (db *DB) enter(ctx context.Context, conn *pgxpool.Conn) error {
	if err := db.register(ctx); err != nil {
		return err
	}
	return db.note(ctx, conn, queue.Note{Kind: queue.NoteStart})
}

// startUp starts what runs in the background. DB.mu is held.
func (db *DB) startUp() {
	db.background.Go(db.runCommits)
	db.background.Go(db.runSettlements)
	db.background.Go(db.keepUp)
}

// explain makes an error of opening into one that an administrator can act on. A
// certificate may be renewed, or put in place, while this node tries again.
func (db *DB) explain(err error) error {
	var refused *pgconn.PgError
	what, remedy := refusal(err)
	switch byServer := errors.As(err, &refused); {
	case errors.Is(err, queue.ErrMisconfigured):
		return err
	case what != "" && byServer:
		return queue.Mistaken("%s; %s", what, remedy)
	case what != "":
		return fmt.Errorf("%s; %s: %w", what, remedy, err)
	case !byServer:
		return err
	}
	switch refused.Code {
	case "08P01":
		if strings.Contains(refused.Message, "pooling") {
			return mistakenPooling
		}
	case "3D000":
		return queue.Mistaken("%s: make it with: createdb -O USER NAME, or name another in the DSN", refused.Message)
	case insufficientPrivilege:
		return queue.Mistaken("the user of the DSN lacks a right (%s): let it own the schema %s and all that is in it", refused.Message, pgx.Identifier{db.options.Schema}.Sanitize())
	}
	return err
}

// unavailable notes why the database is not open yet.
func (db *DB) unavailable(err error) {
	db.mu.Lock()
	db.why = err
	db.mu.Unlock()
	message := fmt.Sprintf("the database cannot be opened and is tried again: %v", err)
	if db.troubles.Begin(queue.TroubleUnavailable, message, true) {
		db.logger.Error("the queue is not open yet: events are refused with status 503", zap.Error(err))
	}
}

// usable returns why the queue cannot be used, or nil.
func (db *DB) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	switch {
	case db.closing:
		return queue.ErrClosed
	case !db.opened:
		return fmt.Errorf("%w: the database is not open yet: %w", queue.ErrUnavailable, db.why)
	}
	return nil
}

// isClosed reports whether Close has begun.
func (db *DB) isClosed() bool {
	select {
	case <-db.closed:
		return true
	default:
		return false
	}
}

// Ready implements queue.Engine.
func (db *DB) Ready() <-chan struct{} { return db.ready }

// now is this machine's time. It is only compared with itself.
func (db *DB) now() time.Time { return db.options.limits.clock() }

// Close implements queue.Queue.
func (db *DB) Close() error { return db.close() }

// shut takes no longer than limits.closing a few times, whatever the server does: it
// would hold up the end of the program, or a reload.
func (db *DB) shut() error {
	db.mu.Lock()
	db.closing = true
	opened := db.opened
	db.mu.Unlock()
	close(db.closed)
	db.settleTimer.Stop()
	within := db.options.limits.closing
	patience := time.AfterFunc(within, func() {
		db.logger.Warn("the database does not answer while the queue is closed; the connections to it are cut", zap.Duration("after", within))
		db.cut.Store(true)
		db.lines.cut()
	})
	db.background.Wait()
	db.fetches.Wait()
	patience.Stop()
	var errs []error
	if opened {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		errs = append(errs, db.settleAll(ctx), db.leave(ctx))
		db.addUp(false)
	}
	db.nodes.self.Stop()
	// Others may still be reading, and pgx takes its time for a connection that it gives up.
	db.lines.cut()
	pool := make(chan struct{})
	go func() {
		db.pool.Close()
		close(pool)
	}()
	select {
	case <-pool:
	case <-time.After(within):
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the queue: %w", err)
	}
	return nil
}

// leave notes the stop, and that the node is gone. It does not wait for the disk, nor for
// a standby: a server that crashes at this moment only takes the node for one that
// vanished.
func (db *DB) leave(ctx context.Context) error {
	return db.connected(ctx, func(conn *pgxpool.Conn) error {
		if _, err := conn.Exec(ctx, "SET synchronous_commit = off"); err != nil {
			return err
		}
		return errors.Join(db.note(ctx, conn, queue.Note{Kind: queue.NoteStop}), db.unregister(ctx))
	})
}
