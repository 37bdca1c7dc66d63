package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// patience is how long a server may take on a loaded machine.
const patience = 2 * time.Minute

// Server is a PostgreSQL server on a free port of 127.0.0.1.
type Server struct {
	programs  string // the directory of initdb and postgres
	directory string // of this server: data, log
	port      int
	settings  []string
	process   *syscall.SysProcAttr // of its programs
	lets      sync.Mutex           // guards pg_hba.conf

	// While it runs:
	keeper  *exec.Cmd
	signals io.WriteCloser
	ended   chan struct{} // closed once no process of the server is left
}

// programs returns the directory of the server's programs, or skips the test.
func programs(t testing.TB) string {
	t.Helper()
	if !possible {
		t.Skip("tests start PostgreSQL on Unix only")
	}
	directory := os.Getenv(Variable)
	if directory == "" {
		t.Skipf("%s is not set: install PostgreSQL 15 or later (Debian: apt-get install postgresql) and set it to the directory of initdb and postgres, such as /usr/lib/postgresql/15/bin", Variable)
	}
	for _, program := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(directory, program)); err != nil {
			t.Fatalf("%s names no directory of PostgreSQL: %v", Variable, err)
		}
	}
	return directory
}

// create makes the data directory of a server and starts it.
func create(t testing.TB, programs string, options Options) *Server {
	t.Helper()
	s := newServer(t, programs)
	// A collation as people have it, in which text is not ordered by its bytes. A
	// server for tests need not survive a crash of the machine.
	arguments := []string{"--pgdata", s.data(), "--auth", "trust", "--username", superuser, "--encoding", "UTF8",
		"--locale-provider", "icu", "--icu-locale", "en", "--locale", "C.UTF-8", "--no-sync"}
	if options.WAL != "" {
		directory := filepath.Join(options.WAL, "wal") // that it can own
		arguments = append(arguments, "--wal-segsize", "1", "--waldir", directory)
	}
	s.run(t, "initdb", arguments...)
	if options.Certificate != nil {
		s.settings = append(s.settings, "ssl=on")
		for name, text := range map[string][]byte{"server.crt": options.Certificate, "server.key": options.Key} {
			if err := own(filepath.Join(s.data(), name), text, s.process); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !options.Sync {
		s.settings = append(s.settings, "fsync=off", "full_page_writes=off")
	}
	for name, value := range options.Settings {
		s.settings = append(s.settings, name+"="+value)
	}
	s.Start(t)
	return s
}

func newServer(t testing.TB, programs string) *Server {
	t.Helper()
	s := &Server{programs: programs}
	var err error
	if s.directory, err = os.MkdirTemp("", "event-relay-postgres-"); err != nil {
		t.Fatal(err)
	}
	if s.process, err = unprivileged(s.directory); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Server) data() string { return filepath.Join(s.directory, "data") }
func (s *Server) log() string  { return filepath.Join(s.directory, "log") }

// run carries out a program of PostgreSQL that ends by itself.
func (s *Server) run(t testing.TB, program string, arguments ...string) {
	t.Helper()
	command := exec.Command(filepath.Join(s.programs, program), arguments...)
	command.Dir, command.SysProcAttr = s.directory, s.process
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, output)
	}
}

// keep runs the server as a child of a shell, which signals it once it is told so. If
// nothing tells it, because the test has ended or was killed, it reads the end of its
// input: then it ends the server and removes its directory.
const keep = `
"$@" </dev/null >>log 2>&1 &
server=$!
exec 3>&-
read -r signal || abandoned=yes
kill -s "${signal:-QUIT}" "$server"
wait "$server"
[ -z "$abandoned" ] || rm -rf "$PWD"
`

// Start starts a server that was stopped, and waits until it takes connections. It has
// the same address as before.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	for {
		taken := s.port
		if s.port == 0 {
			// Systems give such ports to no connection, so it stays free while the
			// server is stopped.
			taken = 15000 + rand.IntN(10000)
		}
		err := s.launch(taken)
		if err == nil {
			s.port = taken
			return
		}
		if s.port != 0 || !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func (s *Server) launch(port int) error {
	if listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)); err != nil {
		return fmt.Errorf("looking for a port: %w", err)
	} else {
		listener.Close()
	}
	arguments := []string{"-c", keep, "keep", filepath.Join(s.programs, "postgres"), "-D", s.data(), "-p", strconv.Itoa(port)}
	for _, setting := range append([]string{"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300", "shared_buffers=64MB", "logging_collector=off"}, s.settings...) {
		arguments = append(arguments, "-c", setting)
	}
	keeper := exec.Command("/bin/sh", arguments...)
	keeper.Dir, keeper.SysProcAttr = s.directory, s.process
	signals, err := keeper.StdinPipe()
	if err != nil {
		return err
	}
	// All processes of the server have the pipe open, and nothing else has.
	alive, held, err := os.Pipe()
	if err != nil {
		return err
	}
	keeper.ExtraFiles = []*os.File{held}
	err = keeper.Start()
	held.Close()
	if err != nil {
		alive.Close()
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, alive)
		alive.Close()
		close(ended)
	}()
	s.keeper, s.signals, s.ended = keeper, signals, ended
	return s.ready(port)
}

// ready waits until the server takes connections.
func (s *Server) ready(port int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		connection, err := pgx.Connect(ctx, fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres?sslmode=disable", superuser, port))
		if err == nil {
			return connection.Close(ctx)
		}
		select {
		case <-s.ended:
			s.Signal("QUIT") // the keeper waits for it
			text := s.lastOfLog()
			if strings.Contains(text, "could not bind") {
				return fmt.Errorf("PostgreSQL has ended: %w\n%s", syscall.EADDRINUSE, text)
			}
			return fmt.Errorf("PostgreSQL has ended\n%s", text)
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL takes no connection: %w\n%s", err, s.lastOfLog())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) lastOfLog() string {
	text, err := os.ReadFile(s.log())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// Stop lets the server write everything and end; connections are cut off. It waits
// until the last process of the server is gone.
func (s *Server) Stop() { s.Signal("INT") }

// Crash ends the server at once, as if it were killed: it writes nothing more, and
// recovers when it is started again.
func (s *Server) Crash() { s.Signal("QUIT") }

// Ended is closed once no process of the server is left, however it ended. It is of this
// start of the server.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Signal sends the server a signal of which it ends, and waits until its last process
// is gone.
func (s *Server) Signal(name string) {
	fmt.Fprintln(s.signals, name)
	s.signals.Close()
	<-s.ended
	_ = s.keeper.Wait()
	s.keeper = nil
}

// ProcessorTime is how long the processes of the server have used a processor since it
// was started, as Linux tells it; elsewhere it is 0.
func (s *Server) ProcessorTime() time.Duration {
	first, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0
	}
	parent, _, _ := strings.Cut(string(first), "\n")
	processes, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is right
	ticks := int64(0)
	for _, name := range processes {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 15 {
			continue
		}
		used := fields[11:13]
		switch parent {
		case filepath.Base(filepath.Dir(name)):
			used = fields[11:15] // with what its children had used that have ended
		case fields[1]:
		default:
			continue
		}
		for _, field := range used {
			n, _ := strconv.ParseInt(field, 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond // Linux counts hundredths of a second for programs
}

func (s *Server) remove(t testing.TB) {
	if s.keeper != nil {
		s.Crash()
	}
	if t.Failed() {
		t.Logf("PostgreSQL on %s wrote at last:\n%s", s.Address(), s.lastOfLog())
	}
	if err := os.RemoveAll(s.directory); err != nil {
		t.Error(err)
	}
}

// permit puts lines before those that say which connections need no password: the first
// that fits counts. It waits until the server refuses a DSN with a code.
func (s *Server) permit(t testing.TB, lines, dsn, code string) {
	t.Helper()
	s.lets.Lock()
	defer s.lets.Unlock()
	name := filepath.Join(s.data(), "pg_hba.conf")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var changed bytes.Buffer
	fmt.Fprintf(&changed, "%s\n%s", lines, text)
	if err := os.WriteFile(name, changed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Exec(t, "SELECT pg_reload_conf()")
	for ; ; time.Sleep(10 * time.Millisecond) {
		// The server reads the lines a moment after it was told to.
		err := s.connect(dsn, func(context.Context, *pgx.Conn) error { return nil })
		var refused *pgconn.PgError
		byServer := errors.As(err, &refused)
		if byServer && refused.Code == code {
			return
		}
		if err != nil && !byServer {
			t.Fatalf("connecting as one who is to be refused: %v", err)
		}
	}
}

// Standby makes a standby of the server and starts it. If synchronous is set, every
// commit of the server waits from then on until the standby has it on its disk.
func (s *Server) Standby(t testing.TB, synchronous bool) *Server {
	t.Helper()
	standby := newServer(t, s.programs)
	t.Cleanup(func() { standby.remove(t) })
	name := unique("standby")
	reached := fmt.Sprintf("host=127.0.0.1 port=%d user=%s sslmode=disable", s.port, superuser)
	standby.run(t, "pg_basebackup", "--pgdata", standby.data(), "--dbname", reached, "--checkpoint", "fast", "--wal-method", "stream", "--write-recovery-conf", "--no-sync")
	standby.settings = append(append(standby.settings, s.settings...), "primary_conninfo="+reached+" application_name="+name)
	standby.Start(t)
	if synchronous {
		s.Set(t, "synchronous_standby_names", name)
		s.Holds(t, "SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE application_name = $1 AND sync_state = 'sync')", name)
		return standby
	}
	s.Holds(t, "SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE application_name = $1 AND state = 'streaming')", name)
	return standby
}

// Promote makes a standby take writes.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.Exec(t, "SELECT pg_promote(true, 100)")
	s.Holds(t, "SELECT NOT pg_is_in_recovery()")
}

// DSNs says how to reach whichever of several servers takes writes.
func DSNs(servers ...*Server) string {
	var addresses []string
	for _, server := range servers {
		addresses = append(addresses, server.Address())
	}
	return "postgres://" + superuser + "@" + strings.Join(addresses, ",") + "/postgres?sslmode=disable&connect_timeout=3&target_session_attrs=read-write"
}
