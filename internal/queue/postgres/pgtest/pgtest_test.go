package pgtest

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// child makes the test binary start a server, say where it is, and wait.
const child = "EVENT_RELAY_PGTEST_CHILD"

func TestChild(t *testing.T) {
	if os.Getenv(child) == "" {
		return // of the other tests
	}
	server := Shared(t)
	fmt.Printf("server %s %s\n", server.DSN(), server.directory)
	select {} // until killed
}

func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	connection, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close(context.Background()) })
	return connection
}

func TestServerEndsWithAProcessThatIsKilled(t *testing.T) {
	programs(t)
	command := exec.Command(os.Args[0], "-test.run", "^TestChild$")
	command.Env = append(os.Environ(), child+"=1")
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var dsn, directory string
	for lines := bufio.NewScanner(output); directory == "" && lines.Scan(); {
		if at, found := strings.CutPrefix(lines.Text(), "server "); found {
			dsn, directory, _ = strings.Cut(at, " ")
		}
	}
	connect(t, dsn)
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = command.Wait()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(directory); os.IsNotExist(err) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is still there", directory)
		}
	}
	if _, err := pgx.Connect(context.Background(), dsn); err == nil {
		t.Error("the server still takes connections")
	}
}

func TestSchemasAndDatabasesOfTests(t *testing.T) {
	programs(t)
	var dsn, schema string
	t.Run("a test", func(t *testing.T) {
		dsn, schema = Schema(t)
		connection := connect(t, dsn)
		if _, err := connection.Exec(context.Background(), "CREATE SCHEMA "+schema+" CREATE TABLE x (y int)"); err != nil {
			t.Fatal(err)
		}
		connect(t, Database(t))
		if other, schemaToo := Schema(t); other != dsn || schemaToo == schema {
			t.Errorf("another schema is %s in %s", schemaToo, other)
		}
	})
	left := 0
	if err := connect(t, dsn).QueryRow(context.Background(), "SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE 'database%') + (SELECT count(*) FROM pg_namespace WHERE nspname = $1)", schema).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d are left, %v", left, err)
	}
}

func TestStopAndStartAgain(t *testing.T) {
	server := Start(t, Options{Sync: true, Settings: map[string]string{"max_connections": "17"}})
	server.Exec(t, "CREATE TABLE kept (x int)")
	for name, end := range map[string]func(){"stop": server.Stop, "crash": server.Crash} {
		open := connect(t, server.DSN())
		end()
		if err := open.Ping(context.Background()); err == nil {
			t.Errorf("%s left a connection", name)
		}
		if _, err := pgx.Connect(context.Background(), server.DSN()); err == nil {
			t.Errorf("after %s it takes a connection", name)
		}
		dsn := server.DSN()
		server.Start(t)
		if server.DSN() != dsn {
			t.Errorf("after %s it is at %s, not %s", name, server.DSN(), dsn)
		}
		server.Exec(t, "INSERT INTO kept VALUES (1)")
	}
	server.Holds(t, "SELECT count(*) = 2 FROM kept")
	server.Holds(t, "SELECT current_setting('max_connections') = '17' AND current_setting('fsync') = 'on'")
}

func TestSynchronousStandbyIsPromoted(t *testing.T) {
	primary := Start(t, Options{})
	standby := primary.Standby(t, true)
	primary.Exec(t, "CREATE TABLE kept (x int)")
	both := DSNs(primary, standby)
	if _, err := connect(t, both).Exec(context.Background(), "INSERT INTO kept VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, standby.DSN()).Exec(context.Background(), "INSERT INTO kept VALUES (2)"); err == nil {
		t.Error("a standby took a write")
	}
	primary.Signal("KILL")
	standby.Promote(t)
	if _, err := connect(t, both).Exec(context.Background(), "INSERT INTO kept VALUES (3)"); err != nil {
		t.Fatal(err)
	}
	standby.Holds(t, "SELECT array_agg(x ORDER BY x) = '{1,3}' FROM kept")
}

func TestRoleNeedsItsPassword(t *testing.T) {
	dsn := Shared(t).Role(t, "sec'ret")
	connection := connect(t, dsn)
	if _, err := connection.Exec(context.Background(), "CREATE SCHEMA x"); err != nil {
		t.Error(err)
	}
	wrong, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	wrong.User = url.UserPassword(wrong.User.Username(), "wrong")
	if _, err := pgx.Connect(context.Background(), wrong.String()); err == nil {
		t.Error("it needs no password")
	}
}

func TestServersHaveTheirDirectoriesRemoved(t *testing.T) {
	programs(t)
	var directory string
	t.Run("a test", func(t *testing.T) { directory = Start(t, Options{}).directory })
	if _, err := os.Stat(directory); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", directory, err)
	}
}
