package command

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

func TestTableFitsATerminal(t *testing.T) {
	table := newTable("NAME", "WORDS", "ID").cutting("NAME", "WORDS")
	table.add("folder", "a text that is much too long for a terminal of few columns", "0199f3c2")
	table.add("", "日本語のとても長い文章はここで切られます", "0199f3c3")
	table.add("evil\x1b[2J\u202e\ttab", "short", "0199f3c4")
	var out strings.Builder
	if err := table.write(&out, 50); err != nil {
		t.Fatal(err)
	}
	want := `NAME           WORDS                      ID
folder         a text that is much too …  0199f3c2
-              日本語のとても長い文章は…  0199f3c3
evil�[2J� tab  short                      0199f3c4
`
	for _, line := range strings.Split(out.String(), "\n") {
		if columnsOf(line) > 50 {
			t.Errorf("too wide: %q", line)
		}
	}
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}

	out.Reset()
	if err := table.write(&out, 0); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "a text that is much too long for a terminal of few columns  0199f3c2") {
		t.Errorf("a file has lines without an end:\n%s", out.String())
	}
	out.Reset()
	if err := table.write(&out, 5); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "0199f3c2") {
		t.Errorf("an id is never cut:\n%s", out.String())
	}
}

// On a narrow terminal subject and reason stand below the other columns, and fit.
func TestActivityFitsATerminal(t *testing.T) {
	events := []queue.Summary{
		{
			ID: "0199f3c2-7d11-7cc3-8000-000000000001", Source: "icfm", Event: "project_status_change", Subject: "Project 48213 Nordlicht – Trailer 2", Received: time.Now(),
			Verdict:    rules.Verdict{Decision: rules.Act, Reason: "Approved projects get a folder", Rule: "Caddyfile:12"},
			Deliveries: []queue.DeliveryState{{Action: "create_project_folder", State: queue.Delivered}},
		},
		{ID: "0199f3c2-7d11-7cc3-8000-000000000002", Source: "pbx", Event: "ringing", Received: time.Now(), Verdict: rules.Verdict{Decision: rules.Ignored, Reason: "no rule names this event"}},
		{ID: "0199f3c2-7d11-7cc3-8000-000000000003", Source: "pbx", Event: "hangup", Received: time.Now()},
	}
	for width, want := range map[int][]string{
		80:  {"\n  Project 48213 Nordlicht – Trailer 2 – Approved projects get a folder (Caddyfi…\n", "\n  no rule names this event\n", "0199f3c2-7d11-7cc3\n"},
		100: {"\n  Project 48213 Nordlicht – Trailer 2 – Approved projects get a folder (Caddyfile:12)\n"},
		120: {"SUBJECT", "REASON", "  Project 4", "  Approved"},
		0:   {"  project_status_change  Project 48213 Nordlicht – Trailer 2  action   ", "  Approved projects get a folder (Caddyfile:12)\n", "  ringing                -           "},
	} {
		var b strings.Builder
		if err := activityTable(events, width).write(&b, width); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if width > 0 && columnsOf(line) > width {
				t.Errorf("wider than %d: %q", width, line)
			}
		}
		for _, text := range want {
			if !strings.Contains(b.String(), text) {
				t.Errorf("%d columns have no %q:\n%s", width, text, b.String())
			}
		}
	}
}
