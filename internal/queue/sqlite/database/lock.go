package database

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// LockName is the name of the lock file in the directory of a queue.
const LockName = "events.lock"

// errLocked is what tryLock returns when another process has the lock.
var errLocked = errors.New("locked")

// InUseError says that another process has a queue directory locked.
type InUseError struct {
	Dir string
	// By names the process.
	By string
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("queue directory %s is in use by %s; stop it, or give this one its own directory with: queue sqlite DIR", e.Dir, e.By)
}

// LockDirectory makes this process the only one that uses a queue directory,
// until the file is closed or the process ends. It is a file of its own,
// because closing any handle of the database file would drop SQLite's locks.
// It holds the process id, so that a second process can name the first.
func LockDirectory(dir string) (*os.File, error) {
	path := filepath.Join(dir, LockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the queue directory: %w", notWritable(err, dir))
	}
	if err := tryLock(f); err != nil {
		defer f.Close()
		if !errors.Is(err, errLocked) {
			return nil, fmt.Errorf("locking the queue directory with %s: %w", path, err)
		}
		return nil, &InUseError{dir, holder(f)}
	}
	// The number only serves a message, and is left out where it cannot be written:
	// a full disk must not prevent the start.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

// holder names the process whose id a lock file holds.
func holder(f *os.File) string {
	text, _ := io.ReadAll(io.LimitReader(f, 32))
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	switch {
	case err != nil:
		return "another process"
	case pid == os.Getpid():
		return fmt.Sprintf("this process (%d)", pid)
	}
	return fmt.Sprintf("process %d", pid)
}
