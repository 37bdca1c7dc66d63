package sqlite

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/history"
)

// Archive is the queue of a relay that is not running, or a file that Backup wrote. It
// is only read. It implements queue.Archive.
//
// The parts are in this order: switches, so that nothing is sent of an action that is
// paused; dedupe keys, so that a sender's repetition is known as one; the events that
// have unfinished deliveries; all other events, of which there are many and which
// nothing waits for; and what is known beside the events.
type Archive struct {
	conn   *sqlite.Conn
	lock   *os.File // of a directory
	origin queue.Origin
	now    int64
	// columns are the columns of events that its version of the schema may not have.
	columns [2]string
}

var _ queue.Archive = (*Archive)(nil)

// OpenArchive opens the queue in a directory, or a file that Backup wrote, to read it.
// No relay can use the directory until Close. It checks that the database is whole,
// which takes long if it is large.
func OpenArchive(ctx context.Context, path string) (*Archive, error) {
	a := &Archive{now: layout.Micros(time.Now())}
	if err := a.open(ctx, path); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err() // SQLite only says that it was interrupted
		}
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), a.Close())
	}
	return a, nil
}

// Close implements queue.Archive.
func (a *Archive) Close() error {
	var errs []error
	if a.conn != nil {
		errs = append(errs, a.conn.Close())
	}
	if a.lock != nil {
		errs = append(errs, a.lock.Close())
	}
	return errors.Join(errs...)
}

// Origin implements queue.Archive.
func (a *Archive) Origin() queue.Origin { return a.origin }

func (a *Archive) open(ctx context.Context, path string) error {
	file, err := a.find(path)
	if err != nil {
		return err
	}
	if err := a.connect(file); err != nil {
		return err
	}
	a.conn.SetInterrupt(ctx.Done())
	if err := database.CheckWhole(a.conn); err != nil {
		if database.IsDamaged(err) {
			err = fmt.Errorf("it is no database, or damaged: %w", err)
		}
		return err
	}
	if have, err := database.QueryInt(a.conn, "PRAGMA user_version"); err != nil {
		return err
	} else if have < 2 {
		return errors.New("an early version of Event Relay wrote it: start a relay with it once, which brings it up to date, and stop that again")
	}
	if a.columns, err = laterColumns(a.conn); err != nil {
		return err
	}
	return a.readOrigin()
}

// find returns the file of the database, and locks its directory.
func (a *Archive) find(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		if filepath.Base(path) != database.FileName {
			return path, database.CheckSingle(path)
		}
		path = filepath.Dir(path) // whose relay may be running
	}
	file := filepath.Join(path, database.FileName)
	if info, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return "", fmt.Errorf("there is no queue in it: name the directory that holds %s", database.FileName)
	} else if err != nil {
		return "", err
	}
	a.lock, err = database.LockDirectory(path)
	if inUse := new(database.InUseError); errors.As(err, &inUse) {
		return "", fmt.Errorf("it is in use by %s: stop the relay first", inUse.By)
	} else if err != nil {
		return "", err
	}
	return file, checkLog(file + "-wal")
}

// checkLog refuses a write-ahead log of which SQLite would not read all that was
// committed.
func checkLog(file string) error {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	state, err := database.ScanLog(bufio.NewReaderSize(f, 1<<20))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("reading the write-ahead log: %w", err)
	}
	if state.Damaged() {
		return errors.New("its write-ahead log is damaged: start the relay with it once, which restores what it can and says what is missing, and stop it again")
	}
	return nil
}

// connect opens the file. Without a log nothing is to be coordinated, and SQLite is
// told so: else it would make files beside the database.
func (a *Archive) connect(file string) (err error) {
	flags, name := sqlite.OpenReadOnly, file
	if log, err := os.Stat(file + "-wal"); errors.Is(err, fs.ErrNotExist) || err == nil && log.Size() == 0 {
		where := url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(file), RawQuery: "immutable=1"}
		flags, name = flags|sqlite.OpenURI, where.String()
	}
	if a.conn, err = sqlite.OpenConn(name, flags); err != nil {
		return err
	}
	for _, pragma := range []string{"PRAGMA query_only = ON", "PRAGMA trusted_schema = OFF", "BEGIN"} {
		if err := database.Execute(a.conn, pragma); err != nil {
			return err
		}
	}
	return nil
}

func (a *Archive) readOrigin() error {
	var err error
	if a.origin.Identity, err = database.QueryText(a.conn, "SELECT text FROM facts WHERE name = 'identity'"); err != nil {
		return err
	}
	if err := database.Query(a.conn, "SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM events", func(row *sqlite.Stmt) error {
		a.origin.First, a.origin.Last = row.ColumnInt64(0), row.ColumnInt64(1)
		return nil
	}); err != nil {
		return err
	}
	if a.origin.Last >= layout.MaxEvent || a.origin.First < 0 {
		return fmt.Errorf("it has events with the numbers %d and %d", a.origin.First, a.origin.Last)
	}
	// Each start and stop makes a note, and what happens is counted.
	columns, err := database.CountColumnsOf(a.conn)
	if err != nil {
		return err
	}
	var present []layout.Counts
	if err := database.Query(a.conn, "SELECT "+columns+" FROM counts WHERE minutes = 0", func(row *sqlite.Stmt) error {
		present = append(present, database.ReadCounts(row))
		return nil
	}); err != nil {
		return err
	}
	notes, err := database.QueryInt(a.conn, "SELECT max(id) FROM notes")
	if err != nil {
		return err
	}
	waiting, err := database.QueryInt(a.conn, "SELECT sum(waiting) FROM actions")
	if err != nil {
		return err
	}
	state, err := json.Marshal([]any{a.origin.Last, notes, waiting, present})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(state)
	a.origin.State = fmt.Sprintf("%x", sum[:16])
	return nil
}

// Contents implements queue.Archive.
func (a *Archive) Contents(ctx context.Context) (c queue.Contents, err error) {
	a.conn.SetInterrupt(ctx.Done())
	for _, count := range []struct {
		into *int64
		sql  string
		args []any
	}{
		{&c.Events, "SELECT count(*) FROM events", nil},
		{&c.Attempts, "SELECT count(*) FROM attempts WHERE began IS NOT NULL", nil},
		{&c.Marks, "SELECT count(*) FROM dedupe WHERE expires > ?", []any{a.now}},
		{&c.Minutes, "SELECT count(*) FROM counts WHERE minutes IN (0, 1)", nil},
		{&c.Notes, "SELECT count(*) FROM notes", nil},
	} {
		if *count.into, err = database.QueryInt(a.conn, count.sql, count.args...); err != nil {
			return c, a.failed(ctx, err)
		}
	}
	if err := database.Query(a.conn, "SELECT min(received), max(received) FROM events HAVING count(*) > 0", func(row *sqlite.Stmt) error {
		c.Oldest, c.Newest = layout.FromMicros(row.ColumnInt64(0)), layout.FromMicros(row.ColumnInt64(1))
		return nil
	}); err != nil {
		return c, a.failed(ctx, err)
	}
	if c.Unfinished, err = history.ReadBacklog(a.conn); err != nil {
		return c, a.failed(ctx, err)
	}
	if c.Switches, err = history.ReadSwitches(a.conn); err != nil {
		return c, a.failed(ctx, err)
	}
	uses, err := a.uses()
	c.Uses = int64(len(uses))
	return c, a.failed(ctx, err)
}

// failed says what an error is of, if it is one.
func (a *Archive) failed(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // SQLite only says that it was interrupted
	}
	if err != nil {
		err = fmt.Errorf("reading the database: %w", err)
	}
	return err
}
