package command_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/caddymodule/command"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/rules"
)

func TestImportNeedsPostgres(t *testing.T) {
	for name, file := range map[string]string{
		"by default": "{\n\tevent_relay {\n\t}\n}\n",
		"as written": "{\n\tevent_relay {\n\t\tqueue sqlite /srv/relay\n\t}\n}\n",
	} {
		t.Run(name, func(t *testing.T) {
			_, report, status := command.RunRoot("", "import", t.TempDir(), "--config", command.WriteFile(t, "Caddyfile", file))
			if status != 1 || !strings.Contains(report, "write `queue postgres DSN` into the configuration") {
				t.Errorf("status %d: %s", status, report)
			}
		})
	}
	if _, report, status := command.RunRoot("", "import"); status != 1 || !strings.Contains(report, "write: caddy event-relay import <dir>") {
		t.Errorf("without a directory: status %d: %s", status, report)
	}
}

// A queue is imported into a real PostgreSQL, and told what would be and what was.
func TestImport(t *testing.T) {
	dsn, schema := pgtest.Schema(t)
	t.Setenv("EVENT_RELAY_TEST_DSN", dsn)
	config := command.WriteFile(t, "Caddyfile", `{
	event_relay {
		queue postgres {env.EVENT_RELAY_TEST_DSN} {
			schema `+schema+`
		}
		action known {
			get http://192.168.1.20/
		}
	}
}
`)
	dir := t.TempDir()
	db, err := sqlite.Open(sqlite.Options{Dir: dir, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"", "known", "unknown", "unknown"} {
		e := queue.Entry{
			Event:   &event.Event{ID: uuid.Must(uuid.NewV7()).String(), Source: "icfm", Name: "job_saved", Received: time.Now(), Method: "POST", Path: "/"},
			Verdict: rules.Verdict{Decision: rules.Ignored},
		}
		if action != "" {
			e.Verdict.Decision = rules.Act
			e.Deliveries = []queue.Delivery{{ID: uuid.Must(uuid.NewV7()).String(), Action: action}}
		}
		if _, err := db.Put(t.Context(), []queue.Entry{e}); err != nil {
			t.Fatal(err)
		}
	}
	run := func(wantStatus int, arguments ...string) string {
		t.Helper()
		out, report, status := command.RunRoot("", append([]string{"import", dir, "--config", config}, arguments...)...)
		if status != wantStatus || strings.Contains(out+report, "postgres://") {
			t.Errorf("%q: status %d: %s%s", arguments, status, out, report)
		}
		return out + report
	}
	wants := func(got string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("it does not say %q:\n%s", part, got)
			}
		}
	}
	wants(run(1), "it is in use by this process", "stop the relay first")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wants(run(0, "--dry-run"), "has 4 events, received from ", "unknown: 2 unfinished deliveries", "It would be imported into ", "Nothing was changed.", `has no action "unknown"`)
	wants(run(0, "--json", "--dry-run"), `"begun": false`, `"events": 4`)
	wants(run(0), "Imported 4 events from "+dir, "known: 1 unfinished delivery", "Start Caddy with this configuration now", "Never start a relay with "+dir+" again", `has no action "unknown"`)
	wants(run(0), "is in ", " already")
	wants(run(0, "--json"), `"complete": true`)

	// A relay uses it again.
	if db, err = sqlite.Open(sqlite.Options{Dir: dir, MinFree: -1}); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	wants(run(1), "it was used since its import began", "import it into an empty schema")
}
