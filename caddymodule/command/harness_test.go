package command

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/api"
)

// FakeRelay answers as the admin API does, and keeps what it was asked.
type FakeRelay struct {
	*httptest.Server
	asking sync.Mutex
	Asked  []string
	// Zone is the time zone that it names. A relay of an earlier version names none.
	Zone string
}

// NewFakeRelay answers requests, by method and path below /event_relay/, with a
// text. What is not known is answered as Caddy does without the module.
func NewFakeRelay(t *testing.T, answers map[string]string) *FakeRelay {
	t.Helper()
	relay := &FakeRelay{}
	relay.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		path := strings.TrimPrefix(r.URL.Path, "/event_relay/")
		if relay.Zone != "" {
			w.Header().Set(api.TimezoneHeader, relay.Zone)
		}
		if path == "timezone" { // each command with times asks for it first
			http.NotFound(w, r)
			return
		}
		relay.asking.Lock() // some commands ask for two things at once
		relay.Asked = append(relay.Asked, strings.TrimSpace(r.Method+" "+path+" "+r.URL.RawQuery+" "+string(body)))
		relay.asking.Unlock()
		answer, known := answers[r.Method+" "+path]
		if !known {
			http.NotFound(w, r)
			return
		}
		if strings.HasPrefix(answer, `{"error"`) {
			w.WriteHeader(http.StatusBadRequest)
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(relay.Close)
	return relay
}

// Run runs a command against the relay, and returns what it prints, what it
// reports, and its exit status. An error counts as reported.
func (f *FakeRelay) Run(arguments ...string) (out, report string, status int) {
	return RunRoot("", append(arguments, "--address", strings.TrimPrefix(f.URL, "http://"))...)
}

// Names returns the names of all commands.
func Names() (names []string) {
	root := &cobra.Command{Use: "event-relay"}
	addCommands(root, "v1.2.3")
	for _, command := range root.Commands() {
		names = append(names, command.Name())
	}
	return names
}

// RunRoot runs a command with standard input.
func RunRoot(in string, arguments ...string) (out, report string, status int) {
	root := &cobra.Command{Use: "event-relay", SilenceUsage: true}
	addCommands(root, "v1.2.3")
	var stdout, stderr bytes.Buffer
	root.SetIn(strings.NewReader(in))
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	root.SetArgs(arguments)
	err := root.Execute()
	switch {
	case err == nil:
	case strings.HasPrefix(err.Error(), "exiting with status "):
		fmt.Sscanf(err.Error(), "exiting with status %d", &status)
	default:
		status = 1
		fmt.Fprintln(&stderr, err)
	}
	return stdout.String(), stderr.String(), status
}

// WriteFile writes a file of that name and returns its path.
func WriteFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
