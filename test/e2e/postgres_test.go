package e2e_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// onPostgres returns a Caddyfile whose queue is where a line says.
func onPostgres(machine *installation, line, target string) string {
	return strings.Replace(queueCaddyfile(machine, "DIRECTORY", target), `queue sqlite "DIRECTORY"`, line, 1)
}

// placeOfQueue is where a Caddyfile has its queue.
func placeOfQueue(caddyfile string) string {
	before, _, _ := strings.Cut(caddyfile, "queue postgres")
	return fmt.Sprintf("Caddyfile:%d", strings.Count(before, "\n")+1)
}

// withPassword returns a DSN with another password.
func withPassword(t *testing.T, dsn, password string) string {
	t.Helper()
	parsed, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	parsed.User = url.UserPassword(parsed.User.Username(), password)
	return parsed.String()
}

// roleOf returns the name of the role of a DSN.
func roleOf(t *testing.T, dsn string) string {
	t.Helper()
	parsed, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.User.Username()
}

// TestPostgresIsDownAtStart starts Caddy before its database, and takes the database
// away again later.
func TestPostgresIsDownAtStart(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t, pgtest.Options{})
	machine, service := newInstallation(t), newLANService(t)
	machine.set("RELAY_DB", database.DSN())
	caddyfile := onPostgres(machine, "queue postgres {env.RELAY_DB}", service.URL)
	database.Stop()

	// Those who prefer so get no Caddy without a queue. It tries for a while, and meanwhile
	// the other one goes on: nothing ever listens where this one looks.
	nowhere := newInstallation(t)
	address := freeAddress(t)
	nowhere.set("RELAY_DB", strings.Replace(database.DSN(), database.Address(), address, 1))
	strictCaddyfile := strings.Replace(onPostgres(nowhere, "queue postgres {env.RELAY_DB}", service.URL), "source icfm", "queue_required on\n\t\tsource icfm", 1)
	strict := nowhere.launch(strictCaddyfile)

	caddy := machine.start(caddyfile)
	refused := func() {
		t.Helper()
		response, err := newSender().Post("http://"+machine.site+"/listen.php?key=icfm-key", "application/json", strings.NewReader(`{"event":"project_status_change","id":"9"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
			t.Errorf("without a database, an event is answered %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
		}
	}
	takes := func(id int) {
		t.Helper()
		waitFor(t, "events to be taken without a restart", func() bool { return postEvent(t, machine, id) == http.StatusOK })
		waitFor(t, "the delivery of an event", func() bool { return service.missing([]int{id}) == 0 })
	}
	refused()
	if said, err := machine.run("event-relay", "status", "--address", machine.admin); err == nil || !strings.Contains(said, "REFUSING") || !strings.Contains(said, database.Address()) ||
		!strings.Contains(said, database.Address()+", database postgres, schema event_relay\n") {
		t.Errorf("status says %v:\n%s", err, said)
	}
	database.Start(t)
	takes(1)
	waitFor(t, "status to say where the queue is and what an answer is worth", func() bool {
		said, _ := machine.run("event-relay", "status", "--address", machine.admin)
		return strings.Contains(said, "Queue          "+database.Address()+", database postgres, schema event_relay, PostgreSQL ") &&
			strings.Contains(said, "there is no synchronous standby") && !strings.Contains(said, "REFUSING")
	})
	if metrics := caddy.adminRaw("/metrics"); !bytes.Contains(metrics, []byte("caddy_event_relay_queue_synchronous 0")) ||
		!bytes.Contains(metrics, []byte("caddy_event_relay_queue_oldest_transaction_seconds 0")) || bytes.Contains(metrics, []byte("caddy_event_relay_queue_free_bytes ")) {
		t.Errorf("the metrics are\n%s", metrics)
	}

	// The commit of an event that comes at this moment is in doubt, and its sender waits until
	// that is known. Others are refused meanwhile.
	database.Crash()
	type answer struct {
		id, status int
		err        error
	}
	answers := make(chan answer)
	var accepted []int
	posted, answered := 0, 0
	hear := func(got answer) int {
		answered++
		switch got.status {
		case http.StatusOK:
			accepted = append(accepted, got.id)
		case http.StatusServiceUnavailable:
		default:
			t.Errorf("event %d, posted while the database was gone, is answered %d, %v", got.id, got.status, got.err)
		}
		return got.status
	}
	waitFor(t, "an event to be refused while the database is gone", func() bool {
		id := 100 + posted
		posted++
		go func() {
			status, err := tryEvent(machine, id)
			answers <- answer{id, status, err}
		}()
		select {
		case got := <-answers:
			return hear(got) == http.StatusServiceUnavailable
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	refused()
	waitFor(t, "status to say that the database is gone", func() bool {
		said, err := machine.run("event-relay", "status", "--address", machine.admin)
		// It is told once, in a line that can be read.
		return err != nil && strings.Count(said, "REFUSING") == 1 && strings.Contains(said, database.Address()) && strings.Contains(said, "Waiting        not known") && !strings.Contains(said, "\uFFFD")
	})
	database.Start(t)
	takes(2)
	for answered < posted {
		hear(<-answers)
	}
	waitFor(t, "what was accepted to be delivered", func() bool { return service.missing(accepted) == 0 })
	caddy.Stop()

	<-strict.Exited
	if output := strict.Output.String(); strict.State().ExitCode() == 0 || !strings.Contains(output, address) || !strings.Contains(output, "at "+placeOfQueue(strictCaddyfile)) {
		t.Errorf("with queue_required on, Caddy ended with %s:\n%s", strict.State(), output)
	}
}

// TestPostgresNamesWhatIsWrong: an administrator must be able to act on the message
// alone.
func TestPostgresNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t, pgtest.Options{})
	const right, wrong = "R1ghtPassw0rd", "Wr0ngPassw0rd"
	for _, test := range []struct {
		name string
		// prepare returns the DSN.
		prepare func(t *testing.T, dsn string) string
		says    []string
	}{
		{"a wrong password", func(t *testing.T, dsn string) string { return withPassword(t, dsn, wrong) },
			[]string{"the database refuses the user of the DSN: password authentication failed for user", "check user, password and pg_hba.conf"}},
		{"no such database", func(t *testing.T, dsn string) string { return strings.Replace(dsn, "?", "_none?", 1) },
			[]string{`_none" does not exist`, "createdb -O"}},
		{"a missing right", func(t *testing.T, dsn string) string {
			database.Exec(t, "ALTER DATABASE "+roleOf(t, dsn)+" OWNER TO postgres")
			return dsn
		}, []string{"the user may not make or change the schema event_relay", `ALTER SCHEMA "event_relay" OWNER TO`}},
		{"a newer schema", func(t *testing.T, dsn string) string {
			machine := newInstallation(t)
			machine.set("RELAY_DB", dsn)
			machine.start(onPostgres(machine, "queue postgres {env.RELAY_DB}", "http://127.0.0.1:1")).Stop()
			database.ExecOn(t, dsn, "UPDATE event_relay.facts SET text = '9999' WHERE name = 'version'")
			return dsn
		}, []string{"the schema event_relay has version 9999 and this program knows up to", "schema NAME"}},
		{"no DSN", func(*testing.T, string) string { return "" },
			[]string{"reading the DSN of the queue: {env.RELAY_DB} is empty; set the environment variable"}},
		{"a DSN that cannot be read", func(t *testing.T, dsn string) string {
			return strings.Replace(dsn, "sslmode=disable", "sslmode=sure", 1)
		},
			[]string{"the DSN cannot be read: ", "%XX"}},
		{"a password that is not escaped", func(t *testing.T, dsn string) string {
			return strings.Replace(dsn, ":"+right+"@", ":1@"+wrong+"@", 1)
		},
			[]string{"the DSN cannot be read: ", "%XX"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			machine := newInstallation(t)
			machine.set("RELAY_DB", test.prepare(t, database.Role(t, right)))
			caddyfile := onPostgres(machine, "queue postgres {env.RELAY_DB}", "http://127.0.0.1:1")
			caddy := machine.launch(caddyfile)
			<-caddy.Exited
			// In the log, quotes of a message have a backslash.
			output := strings.ReplaceAll(caddy.Output.String(), `\"`, `"`)
			if caddy.State().ExitCode() == 0 {
				t.Errorf("Caddy ended with %s", caddy.State())
			}
			for _, says := range append(test.says, "at "+placeOfQueue(caddyfile)) {
				if !strings.Contains(output, says) {
					t.Errorf("there is no %q in\n%s", says, output)
				}
			}
			if strings.Contains(output, right) || strings.Contains(output, wrong) {
				t.Errorf("a password is in\n%s", output)
			}
		})
	}
}

// TestPostgresIsReloaded changes the queue of a running Caddy: its password, what
// counts only after a restart, and its place.
func TestPostgresIsReloaded(t *testing.T) {
	t.Parallel()
	database := pgtest.Shared(t)
	machine, service := newInstallation(t), newLANService(t)
	dsn := database.Role(t, "first")
	file := filepath.Join(machine.home, "dsn")
	store := func(dsn string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(dsn+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	store(dsn)
	line := "queue postgres {file." + file + "}"
	caddy := machine.start(onPostgres(machine, line, service.URL))
	if status := postEvent(t, machine, 1); status != http.StatusOK {
		t.Fatalf("an event is answered %d:\n%s", status, caddy.Output)
	}
	waitFor(t, "the delivery of an event", func() bool { return service.missing([]int{1}) == 0 })

	// The new password counts from a reload on, and no event is refused meanwhile for longer
	// than that.
	database.Exec(t, "ALTER ROLE "+roleOf(t, dsn)+" PASSWORD 'second'")
	store(withPassword(t, dsn, "second"))
	if said, _ := machine.run("event-relay", "status", "--address", machine.admin); !strings.Contains(said, "the file of {file."+file+"} has changed since the configuration was loaded") {
		t.Errorf("status does not say that the password has changed:\n%s", said)
	}
	if said, err := machine.run("reload", "--force", "--config", filepath.Join(machine.home, "Caddyfile"), "--adapter", "caddyfile", "--address", machine.admin); err != nil {
		t.Fatalf("reloading: %v\n%s", err, said)
	}
	database.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", roleOf(t, dsn))
	waitFor(t, "an event to be taken with the new password", func() bool { return postEvent(t, machine, 2) == http.StatusOK })
	waitFor(t, "its delivery", func() bool { return service.missing([]int{2}) == 0 })

	// What cannot change while the queue is open is said.
	if status, answer := caddy.load(onPostgres(machine, line+" {\n\t\t\tlease 10s\n\t\t\tconnections 6\n\t\t}", "http://"+freeAddress(t))); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	caddy.Ready(`"settings":["lease","connections"]`)

	// The copies of this queue are made by other means.
	copied := filepath.Join(machine.home, "backup")
	if said, err := machine.run("event-relay", "backup", copied, "--address", machine.admin); err == nil || !strings.Contains(said, "pg_dump --format=custom --schema=event_relay") {
		t.Errorf("backup says %v: %s", err, said)
	}
	if said, err := machine.run("event-relay", "restore", copied, "--config", filepath.Join(machine.home, "Caddyfile"), "--adapter", "caddyfile"); err == nil || !strings.Contains(said, "pg_restore") {
		t.Errorf("restore says %v: %s", err, said)
	}

	// A queue in which deliveries wait is not left behind.
	if status := postEvent(t, machine, 3); status != http.StatusOK {
		t.Fatalf("an event is answered %d", status)
	}
	elsewhere := queueCaddyfile(machine, filepath.Join(machine.home, "queue"), service.URL)
	if status, answer := caddy.load(elsewhere); status == http.StatusOK || !strings.Contains(answer, "changing the queue from postgres "+database.Address()+"/") ||
		!strings.Contains(answer, "unfinished deliveries of record (1)") {
		t.Errorf("leaving the queue is answered %d %s", status, answer)
	}
	if status, answer := caddy.load(onPostgres(machine, line, service.URL)); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	waitFor(t, "the delivery that waited", func() bool { return service.missing([]int{3}) == 0 })
	waitFor(t, "the queue to be empty and the change accepted", func() bool {
		status, _ := caddy.load(elsewhere)
		return status == http.StatusOK
	})
	caddy.Stop()
	if repeated := service.repeated(); len(repeated) > 0 {
		t.Errorf("%v were delivered more than once", repeated)
	}
}

// TestPasswordOfPostgresIsNowhere looks for the password of the database in all that
// the relay keeps, logs and tells, while all goes well and while it does not.
func TestPasswordOfPostgresIsNowhere(t *testing.T) {
	t.Parallel()
	database := pgtest.Shared(t)
	machine, service := newInstallation(t), newLANService(t)
	const first, second = "Hidd3nPassw0rd", "An0therPassw0rd"
	dsn := database.Role(t, first)
	machine.set("RELAY_DB", dsn)
	complete := func(caddyfile string) string {
		// Everything is logged, and the configuration is kept.
		return strings.Replace(caddyfile, "persist_config off", "debug", 1)
	}
	caddyfile := complete(onPostgres(machine, "queue postgres {env.RELAY_DB}", service.URL))
	look := func(where, text string) {
		t.Helper()
		for _, password := range []string{first, second} {
			if at := strings.Index(text, password); at >= 0 {
				t.Errorf("%s holds a password: …%q…", where, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
	lookAtRelay := func(caddy *server) {
		t.Helper()
		for _, path := range []string{"/event_relay/status", "/event_relay/activity?n=100", "/event_relay/check", "/event_relay/snapshots", "/event_relay/nodes", "/event_relay/backup", "/metrics", "/debug/vars"} {
			response, err := http.Get("http://" + caddy.admin + path)
			if err != nil {
				t.Fatal(err)
			}
			var answer bytes.Buffer
			_, _ = answer.ReadFrom(response.Body)
			response.Body.Close()
			look(path, answer.String())
		}
		for _, command := range []string{"status", "status --json", "activity", "check", "backup " + filepath.Join(machine.home, "none"), "actions", "events"} {
			output, _ := machine.run(append(append([]string{"event-relay"}, strings.Fields(command)...), "--address", machine.admin)...)
			look(command, output)
		}
	}
	if output, err := machine.run("adapt", "--config", machine.write(caddyfile), "--adapter", "caddyfile"); err != nil || !strings.Contains(output, `"dsn":"{env.RELAY_DB}"`) {
		t.Errorf("adapt says %v: %s", err, output)
	} else {
		look("adapt", output)
	}
	caddy := machine.start(caddyfile)
	if status := postEvent(t, machine, 1); status != http.StatusOK {
		t.Fatalf("an event is answered %d:\n%s", status, caddy.Output)
	}
	waitFor(t, "the delivery of an event", func() bool { return service.missing([]int{1}) == 0 })
	lookAtRelay(caddy)
	look("/config/", string(caddy.adminRaw("/config/")))

	// In a Caddyfile itself the DSN stands in Caddy's own configuration, but nowhere else.
	if status, answer := caddy.load(complete(onPostgres(machine, "queue postgres "+dsn, service.URL))); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	lookAtRelay(caddy)
	var snapshots []struct{ ID int64 }
	caddy.adminJSON("/event_relay/snapshots", &snapshots)
	if len(snapshots) != 2 {
		t.Fatalf("%d snapshots are kept", len(snapshots))
	}
	masked := withPassword(t, dsn, "***")
	for i, snapshot := range snapshots {
		text := string(caddy.adminRaw(fmt.Sprintf("/event_relay/snapshots/%d", snapshot.ID)))
		look("a snapshot", text)
		if want := strings.ReplaceAll(masked, "%2A", "*"); i == 0 && (strings.Count(text, want) != 3 || !strings.Contains(text, `-\tqueue postgres {env.RELAY_DB}`)) {
			t.Errorf("the snapshot does not have %s in its two forms and in the difference:\n%s", want, text)
		}
	}

	// A password that does not count any more is told of, without what it is.
	database.Exec(t, "ALTER ROLE "+roleOf(t, dsn)+" PASSWORD '"+second+"'")
	database.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", roleOf(t, dsn))
	waitFor(t, "an event to be refused", func() bool { return postEvent(t, machine, 2) == http.StatusServiceUnavailable })
	waitFor(t, "the log to say why", func() bool { return strings.Contains(caddy.Output.String(), "password authentication failed") })
	lookAtRelay(caddy)
	if status, answer := caddy.load(complete(onPostgres(machine, "queue postgres "+withPassword(t, dsn, second), service.URL))); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	waitFor(t, "an event to be taken", func() bool { return postEvent(t, machine, 3) == http.StatusOK })
	// What is wrong with a DSN is said without it.
	if status, answer := caddy.load(complete(onPostgres(machine, "queue postgres "+strings.Replace(dsn, "sslmode=disable", "sslmode=sure", 1), service.URL))); status == http.StatusOK {
		t.Error("a DSN that cannot be read is loaded")
	} else {
		look("a refused reload", answer)
	}
	caddy.Stop()
	look("the log", caddy.Output.String())
	if err := filepath.WalkDir(machine.home, func(path string, entry fs.DirEntry, err error) error {
		// Caddy keeps the whole configuration there, as it was loaded.
		if err != nil || entry.IsDir() || entry.Name() == "autosave.json" {
			return err
		}
		content, err := os.ReadFile(path)
		look(path, string(content))
		return err
	}); err != nil {
		t.Fatal(err)
	}
}
