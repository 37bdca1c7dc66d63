package database

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"
)

// A reader that the writer interrupts begins anew, also when SQLite tells the
// interruption as an error of the statement. One that was not interrupted gets its error.
func TestReadersThatAreInterruptedBeginAnew(t *testing.T) {
	const wrong, endless = "SELECT nothing", "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
	for name, c := range map[string]struct {
		interrupted bool
		sql         string
		calls       int
		fails       bool
	}{
		"while it reads":    {true, endless, 2, false},
		"while it prepares": {true, wrong, 2, false},
		"not at all":        {false, wrong, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), FileName)
			conn, err := sqlite.OpenConn(file, sqlite.OpenReadWrite, sqlite.OpenCreate)
			if err != nil {
				t.Fatal(err)
			}
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			readers := NewReaders(file, func() error { return nil })
			defer readers.Close(time.Minute) //nolint:errcheck // only read
			var barring sync.WaitGroup
			calls := 0
			err = readers.Read(context.Background(), func(conn *sqlite.Conn) error {
				if calls++; calls > 1 {
					return nil
				}
				if c.interrupted {
					barring.Go(func() {
						readers.Bar(time.Minute)
						readers.Unbar()
					})
					if c.sql != endless {
						// It ends when the writer has interrupted it.
						_ = Execute(conn, endless)
						conn.SetInterrupt(nil)
					}
				}
				return Execute(conn, c.sql)
			})
			barring.Wait()
			if calls != c.calls || (err != nil) != c.fails {
				t.Errorf("called %d times: %v", calls, err)
			}
		})
	}
}
