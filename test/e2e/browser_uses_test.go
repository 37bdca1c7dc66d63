package e2e_test

import (
	"path/filepath"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// TestBrowserUses: how often and when last is shown, also after the relay was killed;
// rules that have never held for long are marked, in the console and by commands.
func TestBrowserUses(t *testing.T) {
	t.Parallel()
	browserContext(t)
	script := axe(t)
	s := openStudio(t)
	s.icfm("project_created", project(1, "Kestrel", "Approved"))
	s.icfm("project_status_change", project(1, "Kestrel", "Confirmed"))
	s.icfm("project_status_change", project(2, "Low Tide", "Pitched"))
	s.icfm("job_completed", `{"id":"j-1","job":{"id":7,"hours":3}}`)
	s.folders.awaits(t, "/folders", 2)
	p := openTab(t, s.console, lightDesk, "#/events/icfm/job_completed")
	p.sees(test("rule-uses"), "Never held since")
	p.gone(test("idle"), "")
	p.expect(`net::ERR_`) // of the relay that is killed
	p.expect(`status of 5`)
	s.caddy.Kill()
	// Ten days go by.
	conn, err := sqlite.OpenConn(filepath.Join(s.queueDirectory(), "events.db"), sqlite.OpenReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	if err := sqlitex.ExecuteTransient(conn, "UPDATE uses SET since = since - 10 * 86400 * 1000000", nil); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	s.open()
	s.folders.awaits(t, "/folders", 2)

	for _, how := range []look{lightDesk, darkPhone} {
		p := openTab(t, s.console, how, "#/events/icfm/project_status_change")
		p.sees(test("event-uses"), "Came 2 times since")
		p.sees(test("rule-uses"), "Held 2 times since")
		p.opens("catalogue-event", "icfm:job_completed")
		p.sees(test("idle"), "never held")
		p.sees(test("rule-uses"), "look which condition does not hold")
		p.accessible("events, "+how.name, script)
		p.fits("events, " + how.name)
		p.visit("#/actions/create_project_folder")
		p.sees(test("action-uses"), "Made 2 times since")
		p.sees(test("action-uses"), "delivered.")
		p.accessible("actions, "+how.name, script)
		p.fits("actions, " + how.name)
	}

	s.machine.expect(0, "rules --idle", "job_completed", "never held since", "no event of its since", "incoming_call")
	s.machine.expect(0, "check", "Note ", "it never held since it was loaded on", "to see which condition does not hold: caddy event-relay explain ")
	if text := s.machine.expect(0, "rules", "create_project_folder"); strings.Count(text, "never held since") != 1 {
		t.Errorf("other rules are marked too:\n%s", text)
	}
}
