package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// backupAtOnce is how many pages the writer copies between two commits.
const backupAtOnce = 128

// Backup writes a consistent copy of the database to a new file that only its
// owner may read. Events are accepted meanwhile. On any error, and when ctx
// ends, it leaves no file.
//
// It is the writer that copies, some pages at a time between its commits, and
// what it writes meanwhile goes into the copy as well. A reader would have to
// keep one transaction open from beginning to end, and the write-ahead log
// could not begin anew for as long.
func (db *DB) Backup(ctx context.Context, file string) (err error) {
	db.backingUp.Lock()
	defer db.backingUp.Unlock()
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing a backup to %s: %w", file, err)
		}
	}()
	if file, err = filepath.Abs(file); err != nil {
		return err
	}
	total, _, err := db.size(ctx)
	if err != nil {
		return err
	}
	if free, err := db.options.limits.free(filepath.Dir(file)); err == nil && free >= 0 && free < total {
		return fmt.Errorf("the copy takes %d bytes, and %d are free there", total, free)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
				if err2 := os.Remove(file + suffix); err2 != nil && !errors.Is(err2, os.ErrNotExist) {
					err = errors.Join(err, err2)
				}
			}
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	if err := db.copyTo(ctx, file); err != nil {
		return err
	}
	// The copy says that it is in WAL mode. As one file it can be moved about,
	// and read from where nothing can be written.
	if err := database.WithFile(file, func(conn *sqlite.Conn) error {
		return database.Execute(conn, "PRAGMA journal_mode = DELETE")
	}); err != nil {
		return err
	}
	return database.SyncFile(file)
}

var errBackupStopped = errors.New("the database had to be opened anew meanwhile: try again")

// copyTo copies the database to a file that is empty.
func (db *DB) copyTo(ctx context.Context, file string) error {
	return database.WithFile(file, func(to *sqlite.Conn) error {
		// It is removed if anything happens, so nothing needs to be undone.
		if err := database.Execute(to, "PRAGMA journal_mode = OFF"); err != nil {
			return err
		}
		err := db.between(func(from *sqlite.Conn) (err error) {
			db.backup, err = sqlite.NewBackup(to, "main", from, "main")
			return err
		})
		if err != nil {
			return err
		}
		for more := true; more; {
			began := time.Now()
			err := db.between(func(*sqlite.Conn) (err error) {
				if db.backup == nil {
					return errBackupStopped
				}
				if err = ctx.Err(); err == nil {
					more, err = db.backup.Step(backupAtOnce)
				}
				if err != nil || !more {
					db.stopBackup()
				}
				return err
			})
			if err != nil {
				return err // by now the backup is stopped, so the connection is free
			}
			if more {
				time.Sleep(min(time.Since(began), 20*time.Millisecond))
			}
		}
		return nil
	})
}

// stopBackup ends a backup. It is the writer's.
func (db *DB) stopBackup() {
	if db.backup != nil {
		_ = db.backup.Close() // what went wrong was told by Step
		db.backup = nil
	}
}

// job is something that the writer does between two transactions.
type job struct {
	f    func(conn *sqlite.Conn) error
	done chan error
}

// between has the writer run f between two transactions, and waits for it.
func (db *DB) between(f func(conn *sqlite.Conn) error) error {
	if err := db.notOpen(); err != nil {
		return err
	}
	j := job{f, make(chan error, 1)}
	db.mu.Lock()
	if db.closing {
		db.mu.Unlock()
		// The writer may still be at work with what f uses.
		<-db.written
		return queue.ErrClosed
	}
	db.jobs = append(db.jobs, j)
	db.mu.Unlock()
	db.wakeWriter()
	return <-j.done
}

// runJob runs one job, and reports whether there was one.
func (db *DB) runJob(closing bool) bool {
	db.mu.Lock()
	if len(db.jobs) == 0 {
		db.mu.Unlock()
		return false
	}
	j := db.jobs[0]
	db.jobs = db.jobs[1:]
	db.mu.Unlock()
	switch {
	case closing:
		db.stopBackup()
		j.done <- queue.ErrClosed
	case db.conn == nil:
		j.done <- errNoConnection
	default:
		j.done <- j.f(db.conn)
	}
	return true
}

// Usage says what the database takes and what is left.
func (db *DB) Usage() queue.Usage {
	usage := queue.Usage{Dir: db.options.Dir, Free: -1}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(db.file + suffix); err == nil {
			usage.Bytes += info.Size()
		}
	}
	if free, err := db.options.limits.free(db.options.Dir); err == nil {
		usage.Free = free
	}
	return usage
}
