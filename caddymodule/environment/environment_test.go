package environment_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/caddymodule/environment"
	"github.com/caddy-event-relay/event-relay/internal/config"
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
