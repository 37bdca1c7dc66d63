package e2e_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// fullDatabase is a relay whose database gets full.
type fullDatabase struct {
	*unavailableQueue
	database *pgtest.Server
	accepted []int
}

func newFullDatabase(t *testing.T, options pgtest.Options) *fullDatabase {
	t.Helper()
	f := &fullDatabase{newUnavailableQueue(t, "DIRECTORY"), pgtest.Start(t, options), nil}
	f.set("RELAY_DB", f.database.DSN())
	return f
}

func (f *fullDatabase) caddyfile(target string) string {
	text := strings.Replace(f.unavailableQueue.caddyfile(target), `queue sqlite "DIRECTORY"`, "queue postgres {env.RELAY_DB}", 1)
	return strings.Replace(text, "min_free off", "", 1)
}

// mountForAll mounts a file system in which all users may write.
func mountForAll(t *testing.T, options string) (directory string, err error) {
	t.Helper()
	// Directories of tests are closed to other users.
	if directory, err = os.MkdirTemp("", "event-relay-full-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(directory); err != nil {
			t.Error(err)
		}
	})
	return directory, mount(t, directory, options+",mode=777")
}

// leftOut has the gate list at its end what of a test this machine does not allow, with
// the tests that were skipped: in its step none may be.
func leftOut(t *testing.T, what, why string) {
	t.Helper()
	t.Logf("not tried %s: %s", what, why)
	file := os.Getenv("EVENT_RELAY_TESTS")
	if file == "" {
		return
	}
	line, err := json.Marshal(map[string]string{"Action": "skip", "Package": "test/e2e", "Test": t.Name() + " " + what, "Output": why})
	if err != nil {
		t.Fatal(err)
	}
	results, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer results.Close()
	if _, err := results.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
}

// accepts posts one event, and returns the answer.
func (f *fullDatabase) accepts() int {
	f.t.Helper()
	id := len(f.accepted) + 1
	random := make([]byte, 50_000) // what is random takes the room that it seems to
	_, _ = rand.Read(random)       // never fails
	status := f.post(id, hex.EncodeToString(random))
	if status == http.StatusOK {
		f.accepted = append(f.accepted, id)
	}
	return status
}

// untilFull posts events until one is refused, or end is closed.
func (f *fullDatabase) untilFull(end <-chan struct{}) {
	f.t.Helper()
	waitFor(f.t, "an event to be refused", func() bool {
		select {
		case <-end:
			return true
		default:
		}
		status := f.accepts()
		if status != http.StatusOK && status != http.StatusServiceUnavailable {
			f.t.Fatalf("event %d is answered with %d", len(f.accepted)+1, status)
		}
		return status != http.StatusOK
	})
}

// delivered checks that all that was accepted is, and once.
func (f *fullDatabase) delivered(caddy *server) {
	f.t.Helper()
	if len(f.accepted) < 10 {
		f.t.Errorf("only %d events were accepted: this shows nothing", len(f.accepted))
	}
	waitFor(f.t, "all that was accepted to be delivered", func() bool { return f.service.missing(f.accepted) == 0 })
	caddy.Stop()
	if repeated := f.service.repeated(); len(repeated) > 0 {
		f.t.Errorf("%v were delivered more than once", repeated)
	}
}

// TestPostgresHasNoRoomForData: its tables cannot grow. Where no file system may be
// mounted, a trigger says what PostgreSQL says then.
func TestPostgresHasNoRoomForData(t *testing.T) {
	t.Parallel()
	f := newFullDatabase(t, pgtest.Options{})
	tables, err := mountForAll(t, "size=32m")
	if err == nil {
		// The server wants a directory that is its own.
		space := filepath.Join(tables, "space")
		f.database.Exec(t, "COPY (SELECT 1) TO PROGRAM 'mkdir "+space+"'")
		f.database.Exec(t, "CREATE TABLESPACE small LOCATION '"+space+"'")
		f.database.Exec(t, "ALTER DATABASE postgres SET default_tablespace = small")
	}
	caddy := f.start(f.caddyfile("http://" + freeAddress(t)))
	for len(f.accepted) < 10 {
		if status := f.accepts(); status != http.StatusOK {
			t.Fatalf("an event is answered with %d", status)
		}
	}
	var free func()
	if err == nil {
		free = fill(t, tables)
	} else {
		t.Logf("a trigger stands in for a full file system, as none may be mounted: %v", err)
		f.database.Exec(t, `CREATE FUNCTION full() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$`)
		f.database.Exec(t, "CREATE TRIGGER full BEFORE INSERT ON event_relay.events EXECUTE FUNCTION full()")
		free = func() { f.database.Exec(t, "DROP TRIGGER full ON event_relay.events") }
	}
	f.untilFull(nil)
	// What is small may fit in still.
	f.says(caddy, "No space left on device")
	if said, _ := f.run("event-relay", "status", "--address", f.admin); !strings.Contains(said, "its disk is full: make room there") {
		t.Errorf("status does not say what to do:\n%s", said)
	}
	// Deliveries go on, as far as their end can be noted.
	if status, answer := caddy.load(f.caddyfile(f.service.URL)); status != http.StatusOK {
		t.Errorf("a reload is answered with %d %s", status, answer)
	}
	free()
	f.recovers(1000)
	f.delivered(caddy)
}

// TestPostgresHasNoRoomForItsLog: without room for its write-ahead log, PostgreSQL ends
// all connections, and mostly itself. Then it has to be started again, and the relay has
// not.
func TestPostgresHasNoRoomForItsLog(t *testing.T) {
	t.Parallel()
	log, err := mountForAll(t, "size=12m")
	if err != nil {
		// A database that ends so is one that crashes, which other tests have.
		leftOut(t, "on a full disk", fmt.Sprintf("no file system may be mounted: %v", err))
		return
	}
	f := newFullDatabase(t, pgtest.Options{WAL: log, Settings: map[string]string{"min_wal_size": "2MB", "max_wal_size": "4MB", "wal_keep_size": "100MB"}})
	caddy := f.start(f.caddyfile("http://" + freeAddress(t)))
	for len(f.accepted) < 10 {
		if status := f.accepts(); status != http.StatusOK {
			t.Fatalf("an event is answered with %d", status)
		}
	}
	free := fill(t, log)
	// The event that is on its way when the database ends is not answered until it is
	// known what became of it. Those behind it are refused.
	sent, again := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		f.untilFull(again)
	}()
	select {
	case <-f.database.Ended():
	case <-sent:
	}
	f.refusing(caddy, f.database.Address())
	if status, answer := caddy.load(f.caddyfile(f.service.URL)); status != http.StatusOK {
		t.Errorf("a reload is answered with %d %s", status, answer)
	}
	free()
	waitFor(t, "the database to be there again", func() bool {
		select {
		case <-f.database.Ended():
			f.database.Crash() // what is left of it
			f.database.Start(t)
		default:
		}
		return f.post(1000, "") == http.StatusOK
	})
	close(again)
	f.recovers(1001)
	<-sent
	f.delivered(caddy)
}
