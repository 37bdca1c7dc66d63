package postgres

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

func TestPlaces(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGPORT", "PGDATABASE", "PGUSER"} {
		t.Setenv(name, "")
	}
	for _, test := range []struct {
		store             Store
		text, key, backup string
	}{
		{
			Store{DSN: "postgres://relay:secretword@db1,db2:5433/events?target_session_attrs=read-write&sslpassword=secretword"},
			"postgres db1:5432,db2:5433/events, schema event_relay", "postgres:db1:5432,db2:5433/events/event_relay",
			"pg_dump --format=custom --schema=event_relay --file=event-relay.dump --dbname='host=db1,db2 port=5432,5433 user=relay dbname=events target_session_attrs=read-write'",
		},
		{ // The same place, written another way.
			Store{DSN: "host=db2,db1 port=5433,5432 user=other password=secretword dbname=events sslmode=require", Schema: "event_relay"},
			"postgres db2:5433,db1:5432/events, schema event_relay", "postgres:db1:5432,db2:5433/events/event_relay",
			"pg_dump --format=custom --schema=event_relay --file=event-relay.dump --dbname='host=db2,db1 port=5433,5432 user=other dbname=events target_session_attrs=read-write'",
		},
		{ // The database is called like the user.
			Store{DSN: "host=/run/postgresql user=relay password=secretword", Schema: "studio"},
			"postgres /run/postgresql/relay, schema studio", "postgres:/run/postgresql:5432/relay/studio",
			"pg_dump --format=custom --schema=studio --file=event-relay.dump --dbname='host=/run/postgresql port=5432 user=relay dbname=relay'",
		},
		{
			Store{DSN: "host=::1 user=relay dbname='a b' password='secret word'"},
			"postgres [::1]:5432/a b, schema event_relay", "postgres:::1:5432/a b/event_relay",
			"pg_dump --format=custom --schema=SCHEMA --file=event-relay.dump DATABASE",
		},
	} {
		config, err := parseDSN(test.store.DSN)
		if err != nil {
			t.Fatal(err)
		}
		backup, restore := placeOf(&config.ConnConfig.Config, test.store.Schema).commands()
		if text, key := test.store.String(), test.store.Key(); text != test.text || key != test.key || backup != test.backup {
			t.Errorf("got\n%s\n%s\n%s\nwant\n%s\n%s\n%s", text, key, backup, test.text, test.key, test.backup)
		}
		if strings.Contains(test.store.String()+test.store.Key()+backup+restore, "secret") {
			t.Errorf("a password is shown of %s", test.text)
		}
	}
	// Of a password that is not escaped, no part becomes a host, a database or a setting.
	for _, password := range []string{"1@secret", "secret@", "1/secret", "1/2@secret", "1?a=b@secret", "1#2@secret", "@/secret", "1/2?secret"} {
		store := Store{DSN: "postgres://relay:" + password + "@db1/relay?sslmode=require"}
		if config, err := parseDSN(store.DSN); err == nil {
			t.Errorf("the password %s makes the host %q, the database %q", password, config.ConnConfig.Host, config.ConnConfig.Database)
		} else if text := err.Error() + store.String() + store.Key(); strings.Contains(text, "secret") || !strings.Contains(text, "%XX") {
			t.Errorf("of the password %s is said %s", password, text)
		}
	}
	for _, dsn := range []string{"postgres://db1/relay?user=a@b&password=a@b", "postgres://relay:a%40b@h1,h2/relay?sslpassword=a@b", "postgres://relay:a?b#c@h1/relay", "host=db1 user=relay password=postgres://a@b@c#d", "postgres:///relay?host=/run/postgresql"} {
		if _, err := parseDSN(dsn); err != nil {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	// What cannot be read shows nothing of what it is.
	if bad := (Store{DSN: "secretword"}); strings.Contains(bad.String()+bad.Key(), "secret") {
		t.Error(bad.String(), bad.Key())
	}
}

// What an administrator is told to type to copy the schema, and to put the copy back, works:
// over one that is there, and into a database that has none.
func TestCommandsForACopyWork(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Database(t)
	store := Store{DSN: dsn, Schema: "events", Node: "a"}
	open := func() *DB {
		t.Helper()
		engine, err := store.Open(true, zaptest.NewLogger(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { engine.Close() })
		return engine.(*DB)
	}
	run := func(directory, command string) {
		t.Helper()
		shell := exec.Command("/bin/sh", "-c", command)
		shell.Dir = directory
		shell.Env = append(os.Environ(), "PATH="+os.Getenv(pgtest.Variable)+":"+os.Getenv("PATH"))
		if output, err := shell.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, output)
		}
	}
	db := open()
	server := db.Usage().Server
	ids := putOn(t, db, "x", "", 1)
	directory := t.TempDir()
	run(directory, server.Backup)
	putOn(t, db, "x", "", 3)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, prepare := range []string{"SELECT 1", "DROP SCHEMA events CASCADE"} {
		pgtest.Shared(t).ExecOn(t, dsn, prepare)
		run(directory, server.Restore)
		again := open()
		if lease := takeOn(t, again, "x"); lease.Delivery.ID != ids[0] {
			t.Errorf("delivery %s waits, want %s", lease.Delivery.ID, ids[0])
		}
		nothingOn(t, again, "x")
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCheckConnectsToNothing(t *testing.T) {
	fine := Store{DSN: "host=192.0.2.1 user=relay password=secretword"}
	if err := fine.Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Store){
		"the DSN is empty":                         func(s *Store) { s.DSN = " " },
		"the DSN cannot be read":                   func(s *Store) { s.DSN = "postgres://relay:secretword@host:port/x" },
		"3 connections are too few":                func(s *Store) { s.Connections = 3 },
		"a lease of 1s is too short":               func(s *Store) { s.Lease = 1e9 },
		`"Relay" cannot be the name of the schema`: func(s *Store) { s.Schema = "Relay" },
		`"pg_relay" cannot be the name of the`:     func(s *Store) { s.Schema = "pg_relay" },
		`a x" cannot be the name of the schema`:    func(s *Store) { s.Schema = "a x" },
		`and has at most 63`:                       func(s *Store) { s.Schema = strings.Repeat("a", 64) },
	} {
		store := fine
		change(&store)
		if err := store.Check(); !errors.Is(err, queue.ErrMisconfigured) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
