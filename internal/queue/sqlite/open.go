// Package sqlite is the embedded queue: one SQLite file in WAL mode, and one
// goroutine that alone writes to it.
//
// The way of an event: Put encodes it and queues it for the writer. The writer
// takes all that has gathered while it was syncing the last commit, writes it
// as one transaction, and commits, which syncs the write-ahead log. Then it
// answers the callers and hands the new deliveries to their takers from
// memory. The table is read again only for what memory had no room for, for
// retries whose time has come, and after a start.
//
// Everything that must survive is in the file; leases are not.
//
// This package holds the engine and its writer. What the file looks like stands in
// package database, what is handed out next is decided in package scheduler, and the
// activity is read in package history.
package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/history"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/scheduler"
)

const remedy = "stop the relay, move the file and its -wal and -shm away, and restore a backup, or start with an empty queue"

// DB is an open queue. It implements queue.Engine, and is a
// queue.Backuper, queue.Merger and queue.Verifier.
type DB struct {
	*history.Reader // those methods of queue.History that read
	watchers        *activity.Watchers

	options Options
	logger  *zap.Logger
	file    string
	lock    *os.File
	space   *space
	readers *database.Readers
	// maxPending is Options.MaxPending, or what Limit made of it.
	maxPending atomic.Int64
	// crowded is how many deliveries the last event had that max_pending kept out,
	// 0 once there is room for them.
	crowded  atomic.Int64
	troubles queue.Troubles

	kick       chan struct{} // wakes the writer
	written    chan struct{} // closed when the writer has ended
	closed     chan struct{} // closed when Close begins
	ready      chan struct{} // closed once the database is open
	background sync.WaitGroup
	close      func() error
	exclusive  sync.Map // name: chan struct{}
	pruning    sync.Mutex
	backingUp  sync.Mutex
	merging    sync.Mutex
	verifying  sync.Mutex
	// puts holds puts that were answered, for the next. It is this database's own,
	// because a channel of a synctest bubble may not leave it.
	puts sync.Pool

	// What memory knows of deliveries, and what waits for the writer.
	mu          sync.Mutex
	actions     map[string]*action
	scheduler   *scheduler.Scheduler
	inbox       []command
	jobs        []job
	settling    bool // settleTimer runs
	settleTimer *time.Timer
	timer       *time.Timer
	closing     bool
	begun       bool // the writer was started

	// The writer's own.
	conn        *sqlite.Conn
	statements  *statements
	backup      *sqlite.Backup // that is under way
	spare       []command
	unsettled   []command // settlements that could not be written
	tx          transaction
	kinds       map[layout.Kind]int64
	lastEvent   int64
	block       database.Block
	pending     int
	counts      layout.Counts // of the present minute
	things      things        // whose uses are counted; changed with DB.mu held
	unwritten   []*thing      // whose uses the table does not have yet
	counted     int64         // the events up to this one are in the table uses
	walBytes    int64         // roughly what was written since the last checkpoint
	walExcess   int64         // how far above its limit the WAL must be to be emptied
	failed      bool          // the last transaction could not be written
	failures    int           // how many could not
	probeAt     time.Time     // when to find out whether writing works again
	lagging     bool          // the last checkpoint could not be made
	retryTimer  *time.Timer
	reconnectAt time.Time
}

var (
	_ queue.Engine   = (*DB)(nil)
	_ queue.Backuper = (*DB)(nil)
	_ queue.Merger   = (*DB)(nil)
	_ queue.Verifier = (*DB)(nil)
)

// Open opens the queue in a directory and creates what is missing. It takes no
// longer with a million waiting deliveries than with none. No other process,
// and no second DB in this one, can have the same directory.
func Open(options Options) (_ *DB, err error) {
	options = options.withDefaults()
	if options.Dir == "" {
		return nil, fmt.Errorf("opening the queue: %w", queue.Mistaken("no directory is given; name one with: queue sqlite DIR"))
	}
	if options.Dir, err = filepath.Abs(options.Dir); err != nil {
		return nil, fmt.Errorf("opening the queue: %w", err)
	}
	db := &DB{
		options: options, logger: options.Logger, file: filepath.Join(options.Dir, database.FileName),
		kick: make(chan struct{}, 1), written: make(chan struct{}), closed: make(chan struct{}), ready: make(chan struct{}),
		actions: make(map[string]*action),
	}
	db.scheduler = db.newScheduler()
	db.space = newSpace(options, &db.troubles)
	db.maxPending.Store(int64(options.MaxPending))
	db.close = sync.OnceValue(db.shut)
	db.readers = database.NewReaders(db.file, db.notOpen)
	db.watchers = activity.NewWatchers(db.closed)
	db.Reader = history.NewReader(db.readers, db.watchers, db.unreadable)
	// The timers are made stopped: they are set when there is something for them.
	db.timer = time.AfterFunc(time.Hour, db.tick)
	db.timer.Stop()
	db.settleTimer = time.AfterFunc(time.Hour, db.wakeWriter)
	db.settleTimer.Stop()
	db.retryTimer = time.AfterFunc(time.Hour, db.wakeWriter)
	db.retryTimer.Stop()
	switch err := db.open(); {
	case err == nil:
		db.begin()
	case !options.KeepTrying || errors.Is(err, queue.ErrMisconfigured):
		return nil, err
	default:
		db.unavailable(err)
		db.background.Go(db.keepOpening)
	}
	return db, nil
}

// open locks the directory and opens the database. On an error nothing is held.
func (db *DB) open() error {
	err := database.MakeDirectory(db.options.Dir)
	if err == nil {
		db.lock, err = database.LockDirectory(db.options.Dir)
	}
	if err == nil {
		err = db.openFile()
	}
	if err == nil {
		return nil
	}
	if database.IsDamaged(err) {
		err = fmt.Errorf("database %s is damaged or no database (%w): %s", db.file, err, remedy)
	}
	return errors.Join(fmt.Errorf("opening the queue: %w", err), db.letGo())
}

// openFile opens the database, checks it and brings it up to date.
func (db *DB) openFile() error {
	if err := database.MakeFile(db.file); err != nil {
		return err
	}
	info, err := os.Stat(db.file)
	if err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	if size := info.Size(); size > 0 && size < 512 {
		// SQLite would take it for an empty database, and overwrite it.
		return fmt.Errorf("database %s is damaged or no database: it has %d bytes; %s", db.file, size, remedy)
	}
	if info.Size() == 0 {
		// A database that lost its content must not look like a new one.
		if wal, err := os.Stat(db.file + "-wal"); err == nil && wal.Size() > 0 {
			return fmt.Errorf("database %s is empty, but its -wal file is not: %s", db.file, remedy)
		}
	}
	if err := db.keepDamagedLog(); err != nil {
		return err
	}
	if db.conn, err = database.ConnectWriter(db.file, db.options.limits.maxPages); err != nil {
		return fmt.Errorf("opening %s: %w", db.file, err)
	}
	if err := db.checkFile(); err != nil {
		return err
	}
	if err := database.Migrate(db.conn, db.file); err != nil {
		return err
	}
	if err := db.emptyLog(); err != nil {
		return err
	}
	if err := database.SyncDirectory(db.options.Dir); err != nil {
		return err
	}
	if err := db.loadState(); err != nil {
		return fmt.Errorf("reading database %s: %w; if it is damaged: %s", db.file, err, remedy)
	}
	db.tellOfKeptLogs()
	db.noteRun(queue.NoteStart)
	return nil
}

// emptyLog copies into the database what a crash left in the write-ahead log.
// This also shows whether the file has all its pages. On a full disk the log
// stays as it is: all in it can be read from there, and delivered.
func (db *DB) emptyLog() error {
	if _, err := runCheckpoint(db.conn, "TRUNCATE"); database.IsFull(err) {
		db.lagging = true
		db.logger.Error("the write-ahead log cannot be copied into the database: the disk is full; what was accepted is delivered all the same",
			zap.String("file", db.file), zap.Error(err))
		return nil
	} else if err != nil {
		return fmt.Errorf("copying the write-ahead log into %s: %w", db.file, err)
	}
	size, err := database.QueryInt(db.conn, "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
	if err != nil {
		return err
	}
	info, err := os.Stat(db.file)
	if err != nil {
		return fmt.Errorf("reading the database: %w", err)
	}
	if info.Size() < size {
		return fmt.Errorf("database %s has %d bytes and should have %d: it was cut off; %s", db.file, info.Size(), size, remedy)
	}
	return nil
}

// checkFile refuses the database of another program, and warns of one that cannot
// shrink.
func (db *DB) checkFile() error {
	tables, err := database.QueryInt(db.conn, "SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return err
	}
	id, err := database.QueryInt(db.conn, "PRAGMA application_id")
	if err != nil {
		return err
	}
	if tables > 0 && id != database.ApplicationID {
		return queue.Mistaken("database %s belongs to another program: move it away, or give the relay its own directory with: queue sqlite DIR", db.file)
	}
	vacuum, err := database.QueryInt(db.conn, "PRAGMA auto_vacuum")
	if err != nil {
		return err
	}
	if vacuum != 2 {
		db.logger.Warn("the database cannot shrink: its auto_vacuum was changed", zap.String("file", db.file))
	}
	return nil
}

// loadState reads what the writer and the takers must know before they begin,
// none of which takes longer when more deliveries wait.
func (db *DB) loadState() (err error) {
	if db.statements, err = prepareStatements(db.conn); err != nil {
		return err
	}
	db.kinds = make(map[layout.Kind]int64)
	db.lastEvent, err = database.QueryInt(db.conn, "SELECT max(coalesce((SELECT max(id) FROM events), 0), coalesce((SELECT max(first) FROM blocks), 0))")
	if err != nil {
		return err
	}
	if db.lastEvent == 0 {
		db.lastEvent = layout.FirstEvent - 1
	}
	db.block = database.Block{}
	err = database.Query(db.conn, "SELECT first, oldest, newest FROM blocks ORDER BY first DESC LIMIT 1", func(row *sqlite.Stmt) error {
		db.block = database.Block{First: row.ColumnInt64(0), Span: database.Span{Oldest: row.ColumnInt64(1), Newest: row.ColumnInt64(2)}}
		return nil
	})
	if err != nil {
		return err
	}
	if err := db.loadCounts(); err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	if err := db.loadUses(); err != nil {
		return err
	}
	db.pending = 0
	return database.Query(db.conn, "SELECT id, name, paused, waiting, "+actionUsesColumns+" FROM actions", func(row *sqlite.Stmt) error {
		a := db.action(row.ColumnText(1))
		a.id = row.ColumnInt64(0)
		a.row = a.id
		a.waiting = int(row.ColumnInt64(3))
		a.uses = readActionUses(row, 4)
		db.scheduler.Pause(&a.Action, row.ColumnBool(2))
		db.pending += a.waiting
		if a.waiting > 0 {
			// All of them may be in the table only.
			db.scheduler.Stored(&a.Action, layout.DeliveryID(db.lastEvent+1, 0)-1)
		}
		return nil
	})
}

func (db *DB) now() time.Time { return db.options.Clock() }

// Close implements queue.Queue.
func (db *DB) Close() error { return db.close() }

func (db *DB) shut() error {
	db.mu.Lock()
	db.closing = true
	begun := db.begun
	db.timer.Stop()
	db.settleTimer.Stop()
	db.mu.Unlock()
	close(db.closed)
	if begun {
		db.wakeWriter()
		<-db.written
	}
	db.retryTimer.Stop()

	var errs []error
	if n := len(db.unsettled); n > 0 {
		errs = append(errs, fmt.Errorf("%d settlements could not be written: these attempts will be made again", n))
	}
	errs = append(errs, db.readers.Close(5*time.Second))
	db.background.Wait()
	if db.conn != nil {
		db.writeLastUses()
		db.noteRun(queue.NoteStop)
		if _, err := runCheckpoint(db.conn, "TRUNCATE"); err != nil && !database.IsFull(err) && !database.IsBusy(err) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, db.letGo())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing the queue: %w", err)
	}
	return nil
}
