package environment_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/caddymodule/environment"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres"
)

func TestLookUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EVENT_RELAY_SECRET", "from outside")
	t.Setenv("EVENT_RELAY_EMPTY", "")
	for text, want := range map[string]string{
		"{env.EVENT_RELAY_SECRET}":          "from outside",
		"/etc/{env.EVENT_RELAY_SECRET}.pem": "/etc/from outside.pem",
		"{file." + file + "}":               "from a file",
		"plain":                             "plain",
		"":                                  "",
	} {
		if got, err := environment.LookUp(text); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"{env.EVENT_RELAY_EMPTY}", "{env.EVENT_RELAY_MISSING}", "{file." + file + ".gone}", "{http.request.host}"} {
		if got, err := environment.LookUp(text); err == nil || got != "" {
			t.Errorf("%s is %q without an error", text, got)
		}
	}
}

func TestQueueDirectory(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	directory := t.TempDir()
	t.Setenv("EVENT_RELAY_DIR", directory)
	t.Setenv("EVENT_RELAY_EMPTY", "")
	standard := filepath.Join(caddy.AppDataDir(), "event_relay")
	for _, test := range []struct {
		queue         *config.Queue
		want, problem string
	}{
		{nil, standard, ""},
		{&config.Queue{Engine: "sqlite"}, standard, ""},
		{&config.Queue{Directory: "queue"}, filepath.Join(here, "queue"), ""},
		{&config.Queue{Directory: "{env.EVENT_RELAY_DIR}/queue"}, filepath.Join(directory, "queue"), ""},
		{&config.Queue{Directory: "{env.EVENT_RELAY_EMPTY}/queue"}, "", `reading the queue's directory "{env.EVENT_RELAY_EMPTY}/queue": `},
	} {
		got, err := environment.QueueDirectory(&config.Relay{Queue: test.queue})
		if got != test.want || (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("%+v is in %q, %v; want %q, %s", test.queue, got, err, test.want, test.problem)
		}
	}
}

func TestQueueInPostgres(t *testing.T) {
	directory := t.TempDir()
	file := filepath.Join(directory, "dsn")
	if err := os.WriteFile(file, []byte("host=db user=relay password=secretword dbname=events\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EVENT_RELAY_DSN", "postgres://relay:secretword@db/events")
	t.Setenv("EVENT_RELAY_NODE", "one")
	t.Setenv("EVENT_RELAY_BAD_DSN", "postgres://relay:secretword@db:x/events")
	t.Setenv("EVENT_RELAY_EMPTY", "")
	here, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	postgresQueue := func(dsn string) config.Queue {
		return config.Queue{Engine: "postgres", DSN: dsn, Place: "Caddyfile:3"}
	}
	everything := postgresQueue("{env.EVENT_RELAY_DSN}")
	everything.Schema, everything.Node, everything.Lease, everything.Connections, everything.ReceiveOnly = "studio", "{env.EVENT_RELAY_NODE}-1", 10e9, 12, true
	emptyNode := postgresQueue("host=db")
	emptyNode.Node = "{env.EVENT_RELAY_EMPTY}"
	few := postgresQueue("host=db user=relay")
	few.Connections = 1
	for _, test := range []struct {
		queue config.Queue
		want  postgres.Store
		wrong string
	}{
		{queue: postgresQueue("{env.EVENT_RELAY_DSN}"), want: postgres.Store{DSN: "postgres://relay:secretword@db/events", Node: here}},
		{queue: postgresQueue("{file." + file + "}"), want: postgres.Store{DSN: "host=db user=relay password=secretword dbname=events", Node: here}},
		{queue: everything, want: postgres.Store{DSN: "postgres://relay:secretword@db/events", Schema: "studio",
			Node: "one-1", Lease: 10 * time.Second, Connections: 12, ReceiveOnly: true}},
		{queue: postgresQueue("{env.EVENT_RELAY_EMPTY}"), wrong: "reading the DSN of the queue: {env.EVENT_RELAY_EMPTY} is empty; set the environment variable or the file that it names; " +
			"a running process keeps its environment: restart Caddy, or write {file./path} in its place, at Caddyfile:3"},
		{queue: postgresQueue("{file." + directory + "/none}"), wrong: "none} is empty; set the environment variable or the file that it names, at Caddyfile:3"},
		{queue: postgresQueue("{env.EVENT_RELAY_BAD_DSN}"), wrong: "reading the settings of the queue: the DSN cannot be read: "},
		{queue: postgresQueue(""), wrong: "queue postgres needs a DSN"},
		{queue: emptyNode, wrong: `reading the node of the queue, "{env.EVENT_RELAY_EMPTY}": `},
		{queue: few, wrong: "1 connections are too few"},
	} {
		got, err := environment.Queue(&config.Relay{Queue: &test.queue})
		if test.wrong == "" && (err != nil || got != queue.Store(test.want)) {
			t.Errorf("%+v is in %+v, %v; want %+v", test.queue, got, err, test.want)
		}
		if test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong) || !strings.HasSuffix(err.Error(), ", at Caddyfile:3") || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%+v gives the error %v, want %s", test.queue, err, test.wrong)
		}
	}
}
