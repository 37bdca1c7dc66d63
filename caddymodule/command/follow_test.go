package command

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// lockedOutput collects output while a test reads it.
type lockedOutput struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
	// done is called with all that was written so far.
	done func(string)
}

func (l *lockedOutput) Write(p []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	n, err := l.buffer.Write(p)
	l.done(l.buffer.String())
	return n, err
}

// TestFollow follows a relay that is reloaded: what came before, what comes, and
// what came meanwhile, each once.
func TestFollow(t *testing.T) {
	event := func(n int, state string) string {
		return fmt.Sprintf(`{"id":"0199f3c2-0000-7000-8000-00000000000%d","source":"icfm","event":"e%d","received":"2026-03-13T10:41:5%dZ",
			"verdict":{"decision":"action"},"deliveries":[{"action":"a","state":"%s"}]}`, n, n, n, state)
	}
	joined := func(events ...string) string {
		return `{"events":[` + strings.ReplaceAll(strings.Join(events, ","), "\n", "") + `]}`
	}
	pages := []string{
		joined(event(2, "delivered"), event(1, "delivered")),
		joined(event(4, "delivered"), event(3, "delivered"), event(2, "delivered"), event(1, "delivered")),
	}
	streams := []string{
		"retry: 2000\n\n: still here\n\nevent: batch\ndata: " + joined(event(2, "delivered")) + "\n\nevent: batch\ndata: " + joined(event(3, "pending")) + "\n\n",
		"event: batch\ndata: " + `{"missed":true,` + joined(event(5, "failed"))[1:] + "\n\n",
	}
	connections, listed := 0, 0
	var mutex sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		if strings.HasSuffix(r.URL.Path, "/activity") {
			fmt.Fprint(w, pages[min(listed, len(pages)-1)])
			listed++
			return
		}
		if r.URL.Query().Get("source") != "icfm" || r.URL.Query().Has("since") {
			http.Error(w, `{"error":"wrong filter"}`, http.StatusBadRequest)
			return
		}
		if connections < len(streams) {
			fmt.Fprint(w, streams[connections])
		}
		connections++
	}))
	defer server.Close()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	out := &lockedOutput{done: func(text string) {
		if strings.Contains(text, "e5") {
			stop()
		}
	}}
	var report bytes.Buffer
	command := &cobra.Command{}
	addFilter(command)
	command.Flags().Bool("json", false, "")
	command.Flags().String("address", strings.TrimPrefix(server.URL, "http://"), "")
	command.Flags().String("config", "", "")
	command.Flags().String("adapter", "", "")
	i := &invocation{Flags: caddycmd.Flags{FlagSet: command.Flags()}, context: ctx, out: out, report: &report}
	client, err := newAdminClient(i.Flags)
	if err != nil {
		t.Fatal(err)
	}
	if err := follow(i, client, map[string][]string{"source": {"icfm"}, "since": {"2026-03-13T00:00:00Z"}}, 20); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSpace(out.buffer.String()), "\n")[1:] {
		fields := strings.Fields(line)
		got = append(got, fields[3]+" "+fields[7])
	}
	want := "e1 delivered, e2 delivered, e3 pending, e3 delivered, e4 delivered, e5 failed"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s\n%s", strings.Join(got, ", "), want, out.buffer.String())
	}
	for _, want := range []string{"The connection to the relay ended", "Connected again", "More happened than can be followed"} {
		if strings.Count(report.String(), want) != 1 {
			t.Errorf("%q is not told once:\n%s", want, report.String())
		}
	}
}

func TestFollowRefuses(t *testing.T) {
	relay := NewFakeRelay(t, map[string]string{"GET live": `{"error":"reading filter verdict: no"}`})
	if _, report, status := relay.Run("activity", "--follow", "--verdict", "x"); status != 1 || !strings.Contains(report, "reading filter verdict: no") {
		t.Errorf("status %d: %s", status, report)
	}
	if _, report, status := relay.Run("activity", "--follow", "--until", "2h"); status != 1 || !strings.Contains(report, "--until has no meaning") {
		t.Errorf("status %d: %s", status, report)
	}
}

// TestFollowPrintsHostileText: an undeclared event has the name that its sender
// gave it, which must not reach the terminal as it is.
func TestFollowPrintsHostileText(t *testing.T) {
	var out bytes.Buffer
	command := &cobra.Command{}
	command.Flags().Bool("json", false, "")
	f := newFollower(&invocation{Flags: caddycmd.Flags{FlagSet: command.Flags()}, out: &out, report: &out})
	ignored := queue.Summary{ID: "0199f3c2-0000-7000-8000-000000000001", Source: "icfm", Event: "a\x1b[2J\u202eb\nc"}
	ignored.Verdict.Decision = rules.Ignored
	if err := f.print([]queue.Summary{ignored}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.ContainsAny(text, "\x1b\u202e") || strings.Count(text, "\n") != 2 {
		t.Errorf("control characters are printed: %q", text)
	}
	if !strings.Contains(out.String(), "ignored  -") {
		t.Errorf("an event without deliveries shows none: %q", out.String())
	}
}
