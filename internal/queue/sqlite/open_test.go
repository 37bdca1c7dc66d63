package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// filled makes a queue with some events and closes it.
func filled(t *testing.T, n int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	db := benchOpen(t, Options{Dir: dir, MinFree: -1})
	for range n {
		if _, err := db.Put(context.Background(), []queue.Entry{benchEntry("x")}); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestOpenErrors(t *testing.T) {
	file := func(dir string) string { return filepath.Join(dir, database.FileName) }
	write := func(t *testing.T, path string, content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := func(t *testing.T, path, sql string) {
		t.Helper()
		conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite|sqlite.OpenCreate)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := sqlitex.ExecuteScript(conn, sql, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		prepare func(t *testing.T) (dir string)
		want    []string
	}{
		"no directory": {func(t *testing.T) string { return "" }, []string{"queue sqlite DIR"}},
		"a file instead of the directory": {func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "queue")
			write(t, path, nil)
			return path
		}, []string{"is a file", "move it away"}},
		"a file instead of a parent": {func(t *testing.T) string {
			path := filepath.Join(t.TempDir(), "queue")
			write(t, path, nil)
			return filepath.Join(path, "sub")
		}, []string{"queue directory"}},
		"a directory instead of the file": {func(t *testing.T) string {
			dir := t.TempDir()
			if err := os.Mkdir(file(dir), 0o700); err != nil {
				t.Fatal(err)
			}
			return dir
		}, []string{database.FileName, "is not a file"}},
		"garbage": {func(t *testing.T) string {
			dir := t.TempDir()
			write(t, file(dir), bytes.Repeat([]byte("garbage "), 5000))
			return dir
		}, []string{database.FileName, "damaged or no database", "restore a backup"}},
		"garbage that is short": {func(t *testing.T) string {
			dir := t.TempDir()
			write(t, file(dir), []byte("x"))
			return dir
		}, []string{database.FileName, "damaged or no database"}},
		"a file that was cut off": {func(t *testing.T) string {
			dir := filled(t, 200)
			if err := os.Truncate(file(dir), 20*database.PageSize); err != nil {
				t.Fatal(err)
			}
			return dir
		}, []string{database.FileName, "damaged", "restore a backup"}},
		"a file that was cut off within its last page": {func(t *testing.T) string {
			dir := filled(t, 200)
			info, err := os.Stat(file(dir))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(file(dir), info.Size()-100); err != nil {
				t.Fatal(err)
			}
			return dir
		}, []string{database.FileName, "restore a backup"}},
		"an emptied file beside its log": {func(t *testing.T) string {
			dir := filled(t, 1)
			write(t, file(dir), nil)
			write(t, file(dir)+"-wal", []byte("something"))
			return dir
		}, []string{"-wal", "restore a backup"}},
		"a damaged schema": {func(t *testing.T) string {
			dir := filled(t, 1)
			f, err := os.OpenFile(file(dir), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, database.PageSize-100), 100); err != nil {
				t.Fatal(err)
			}
			return dir
		}, []string{database.FileName, "damaged", "restore a backup"}},
		"a missing table": {func(t *testing.T) string {
			dir := filled(t, 1)
			script(t, file(dir), "DROP TABLE waiting")
			return dir
		}, []string{database.FileName, "no such table: waiting"}},
		"a newer schema": {func(t *testing.T) string {
			dir := filled(t, 1)
			script(t, file(dir), fmt.Sprintf("PRAGMA user_version = %d", database.Version()+1))
			return dir
		}, []string{database.FileName, fmt.Sprintf("schema version %d", database.Version()+1), "newer"}},
		"another program's database": {func(t *testing.T) string {
			dir := t.TempDir()
			script(t, file(dir), "CREATE TABLE theirs (x)")
			return dir
		}, []string{database.FileName, "another program"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := test.prepare(t)
			db, err := Open(Options{Dir: dir, MinFree: -1})
			if err == nil {
				db.Close()
				t.Fatal("it opened")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
			// Nothing is held: with the cause removed it opens.
			if dir != "" {
				if err := os.RemoveAll(dir); err == nil {
					if db, err := Open(Options{Dir: dir, MinFree: -1}); err == nil {
						db.Close()
					} else if name != "a file instead of a parent" {
						t.Errorf("with the cause removed: %v", err)
					}
				}
			}
		})
	}
}

func TestOpenOfUnwritableDirectory(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("for root every directory is writable")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "sub")} {
		if _, err := Open(Options{Dir: d}); err == nil || !strings.Contains(err.Error(), "make "+dir+" writable") {
			t.Errorf("opening %s gave %v", d, err)
		}
	}
}

func TestNewDirectoryAndFileAreForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	db := benchOpen(t, Options{Dir: dir, MinFree: -1})
	if _, err := db.Put(context.Background(), []queue.Entry{benchEntry("x")}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		filepath.Dir(dir): 0o700, dir: 0o700, db.file: 0o600, db.file + "-wal": 0o600, db.file + "-shm": 0o600, filepath.Join(dir, database.LockName): 0o600,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
	}
}

// What durability hangs on, read from a database that the queue made.
func TestPragmas(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := database.ConnectWriter(db.file, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for pragma, want := range map[string]string{
		"journal_mode": "wal", "synchronous": "2", "auto_vacuum": "2", "page_size": "4096", "user_version": fmt.Sprint(database.Version()), "application_id": fmt.Sprint(database.ApplicationID),
	} {
		if have, err := database.QueryText(conn, "PRAGMA "+pragma); err != nil || have != want {
			t.Errorf("%s is %s and %v, want %s", pragma, have, err, want)
		}
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	holder := child(dir, "hold")
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Wait()
	defer holder.Process.Kill()
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("the first process said %q", line)
	}
	_, err = Open(Options{Dir: dir, MinFree: -1})
	if want := fmt.Sprintf("queue directory %s is in use by process %d;", dir, holder.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("the error is %v, want %q", err, want)
	}
	holder.Process.Kill()
	holder.Wait()
	db, err := Open(Options{Dir: dir, MinFree: -1})
	if err != nil {
		t.Fatalf("after the first process had been killed: %v", err)
	}
	defer db.Close()
	said, err := child(dir, "open").Output()
	if want := fmt.Sprintf("in use by process %d;", os.Getpid()); err == nil || !strings.Contains(string(said), want) {
		t.Errorf("the child said %q, want %q", said, want)
	}
	if _, err := Open(Options{Dir: dir, MinFree: -1}); err == nil || !strings.Contains(err.Error(), "in use by this process") {
		t.Errorf("opening it twice gave %v", err)
	}
}

// People look into the file with sqlite3 -readonly.
func TestViews(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	ctx := context.Background()
	e := benchEntry("x")
	if _, err := db.Put(ctx, []queue.Entry{e}); err != nil {
		t.Fatal(err)
	}
	leases, err := db.Take(ctx, "x", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Settle(leases[0].Token, queue.Settlement{State: queue.Failed, Attempt: &queue.Attempt{Status: 404, Error: "not there"}}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := sqlite.OpenConn(db.file, sqlite.OpenReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for sql, want := range map[string]string{
		"SELECT uuid || ' ' || source || ' ' || event || ' ' || decision || ' ' || rule FROM event_list": e.Event.ID + " icfm project_status_change action Caddyfile:12",
		"SELECT subject FROM event_list": e.Event.Subject,
		"SELECT uuid || ' ' || action || ' ' || state || ' ' || status || ' ' || error FROM delivery_list": e.Deliveries[0].ID + " x failed 404 not there",
		"SELECT json_extract(body, '$.project.name') FROM event_list":                                      "Riverside Arts Centre",
	} {
		if have, err := database.QueryText(conn, sql); err != nil || have != want {
			t.Errorf("%s gave %q and %v, want %q", sql, have, err, want)
		}
	}
}
