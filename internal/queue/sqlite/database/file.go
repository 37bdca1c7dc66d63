package database

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"zombiezen.com/go/sqlite"
)

// WithFile runs f with a connection to a database that has no other user.
func WithFile(file string, f func(conn *sqlite.Conn) error) error {
	conn, err := sqlite.OpenConn(file, sqlite.OpenReadWrite)
	if err != nil {
		return err
	}
	for _, pragma := range []string{"PRAGMA locking_mode = EXCLUSIVE", "PRAGMA trusted_schema = OFF", "PRAGMA synchronous = OFF"} {
		if err := Execute(conn, pragma); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	return errors.Join(f(conn), conn.Close())
}

// SyncFile makes a new file durable. No connection may have it open.
func SyncFile(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	return SyncDirectory(filepath.Dir(file))
}

// CopyFile copies a file to one that does not exist yet and that only its owner may
// read. It does not make the copy durable: see SyncFile.
func CopyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
