// Package pgtest starts a real PostgreSQL for tests.
//
// The programs of the server come from the directory that EVENT_RELAY_POSTGRES
// names. Without that variable, and on systems other than Unix, tests that need a
// server are skipped.
//
// Most tests use a part of the server that all tests of a program share: Schema or
// Database. A test that stops the server, or changes its settings, has one of its
// own: Start.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Variable is the environment variable that names the directory of initdb and
// postgres.
const Variable = "EVENT_RELAY_POSTGRES"

// shared is the server that the tests of a program share. It ends with the program.
var shared struct {
	sync.Mutex
	server *Server
}

// Shared returns the server that all tests of this program share, and starts it if
// need be. It does not sync: what it stored is gone if the machine crashes, not if a
// process does. A test must not stop it.
func Shared(t testing.TB) *Server {
	t.Helper()
	directory := programs(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		shared.server = create(t, directory, Options{})
	}
	return shared.server
}

// Schema returns how to reach a database, and the name of a schema in it that does not
// exist. The schema is removed when the test ends.
func Schema(t testing.TB) (dsn, schema string) {
	t.Helper()
	server := Shared(t)
	schema = unique("schema")
	t.Cleanup(func() { server.Exec(t, "DROP SCHEMA IF EXISTS "+schema+" CASCADE") })
	return server.DSN(), schema
}

// Database returns how to reach an empty database. It is removed when the test ends,
// also while there are connections to it.
func Database(t testing.TB) (dsn string) {
	t.Helper()
	server := Shared(t)
	name := unique("database")
	server.Exec(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return server.dsn(url.User(superuser), name)
}

// Options are how a server differs.
type Options struct {
	// Sync makes a commit wait until it is on the disk, as a server does that is not
	// for tests. Crash tests of the machine would need it; those of a process do not,
	// as the page cache outlives it.
	Sync bool
	// Settings are settings of the server, such as max_connections.
	Settings map[string]string
	// WAL is where its write-ahead log is, instead of among its data: an empty
	// directory that all may write.
	WAL string
	// Certificate and Key, in PEM, are what the server has TLS with, for connections that
	// ask for it.
	Certificate, Key []byte
}

// Start starts a server for one test. It ends with the test.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	server := create(t, programs(t), options)
	t.Cleanup(func() { server.remove(t) })
	return server
}

const superuser = "postgres"

// DSN says how to reach the database postgres of the server as its superuser.
func (s *Server) DSN() string { return s.dsn(url.User(superuser), superuser) }

// Address is the host and port that the server listens on, also while it is stopped.
func (s *Server) Address() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

func (s *Server) dsn(user *url.Userinfo, database string) string {
	dsn := url.URL{Scheme: "postgres", User: user, Host: s.Address(), Path: database, RawQuery: "sslmode=disable"}
	return dsn.String()
}

// Exec carries out a statement as superuser, in the database postgres.
func (s *Server) Exec(t testing.TB, statement string, values ...any) {
	t.Helper()
	if err := s.do(func(ctx context.Context, connection *pgx.Conn) error {
		_, err := connection.Exec(ctx, statement, values...)
		return err
	}); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// ExecOn carries out a statement on a database of the server, as the role of its DSN.
func (s *Server) ExecOn(t testing.TB, dsn, statement string, values ...any) {
	t.Helper()
	if err := s.connect(dsn, func(ctx context.Context, connection *pgx.Conn) error {
		_, err := connection.Exec(ctx, statement, values...)
		return err
	}); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Set gives a setting of the whole server another value, which needs no restart. It
// returns once all of the server goes by it. Not all of its processes read settings at
// once, and it is the checkpointer that makes commits wait for a synchronous standby:
// what is committed before it has read of one waits for none.
func (s *Server) Set(t testing.TB, name, value string) {
	t.Helper()
	s.Exec(t, "ALTER SYSTEM SET "+name+" = '"+value+"'")
	s.Exec(t, "SELECT pg_reload_conf()")
	s.Holds(t, "SELECT current_setting($1) = $2", name, value)
	// The checkpointer reads settings before it does what it is asked for.
	s.Exec(t, "CHECKPOINT")
}

// Holds waits until a query of one truth gives true.
func (s *Server) Holds(t testing.TB, query string, values ...any) {
	t.Helper()
	if err := s.do(func(ctx context.Context, connection *pgx.Conn) error {
		for {
			var holds bool
			if err := connection.QueryRow(ctx, query, values...).Scan(&holds); err != nil || holds {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
	}); err != nil {
		t.Fatalf("waiting for %s: %v", query, err)
	}
}

func (s *Server) do(f func(context.Context, *pgx.Conn) error) error { return s.connect(s.DSN(), f) }

func (s *Server) connect(dsn string, f func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	connection, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	return f(ctx, connection)
}

// Role makes a role that needs a password, and a database of its own. It returns how
// to reach that database with the password.
func (s *Server) Role(t testing.TB, password string) (dsn string) {
	t.Helper()
	name := unique("role")
	s.Exec(t, "CREATE ROLE "+name+" LOGIN PASSWORD '"+strings.ReplaceAll(password, "'", "''")+"'")
	s.Exec(t, "CREATE DATABASE "+name+" OWNER "+name)
	s.permit(t, "host all "+name+" 127.0.0.1/32 scram-sha-256", s.dsn(url.User(name), name), "28P01")
	t.Cleanup(func() {
		s.Exec(t, "DROP DATABASE "+name+" WITH (FORCE)")
		s.Exec(t, "DROP ROLE "+name)
	})
	return s.dsn(url.UserPassword(name, password), name)
}

// LetIn lets the role of a DSN in over TLS alone, or not at all.
func (s *Server) LetIn(t testing.TB, dsn string, overTLS bool) {
	t.Helper()
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	lines := "host all " + config.User + " 127.0.0.1/32 reject"
	if overTLS {
		lines = "hostssl all " + config.User + " 127.0.0.1/32 scram-sha-256\n" + lines
	}
	s.permit(t, lines, s.dsn(url.User(config.User), config.Database), "28000")
}

func unique(kind string) string {
	random := make([]byte, 6)
	_, _ = rand.Read(random) // never fails
	return fmt.Sprintf("%s_%s", kind, hex.EncodeToString(random))
}
