package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// row is the selector of the rows of the activity.
var row = test("event-row")

// goLive opens the activity and waits until it is told of new events.
func (s *studio) goLive(how look) *tab {
	s.t.Helper()
	p := openTab(s.t, s.console, how, "#/activity")
	p.isLive()
	return p
}

func (p *tab) isLive() {
	p.t.Helper()
	p.until("the live view", `document.querySelector('[data-test="live-state"]')?.dataset.state === "live"`)
}

// rows waits until the activity lists as many events.
func (p *tab) rows(n int) {
	p.t.Helper()
	p.until("the rows of the activity", visible(row, "")+`.length === `+quoted(n))
}

// TestBrowserFolderWasNotMade is what the console is for: the event arrived, this
// was decided and why, this was sent, that was answered; and then again.
func TestBrowserFolderWasNotMade(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	s.folders.answers(func(int, received) (int, string) {
		return http.StatusUnprocessableEntity, `{"error": "no volume has room for project 4711"}`
	})
	p := s.goLive(lightDesk)
	p.sees(test("empty"), "curl")

	s.icfm("project_status_change", project(4711, "Harbour Lights", "Approved"))
	s.icfm("project_status_change", project(4712, "Paper Boats", "Pitched"))
	s.icfm("dmg_work_started", `{"id":"dmg-1"}`)
	s.pbx("incoming_call", phoneCall("1773398517.113", "+44 1632 960113", "Saltmarsh Pictures", "201"))
	// The fifth is the relay's own event about the failure.
	p.rows(5)
	p.gone(test("empty"), "")
	p.sees(row, "422")
	p.sees(row, "media tasks are not automated")

	p.choose(test("filter-verdict"), "action")
	p.rows(2)
	p.sees(test("chip-verdict"), "action")
	p.write(test("filter-text"), "no volume has room")
	p.press(kb.Enter)
	p.rows(1)
	p.until("the filters in the address", `location.hash.includes("verdict=action") && location.hash.includes("no+volume")`)
	p.click(test("chip-text"), "")
	p.rows(2)

	p.click(test("event-link"), "project_status_change")
	p.sees(test("event-title"), "project_status_change")
	p.sees(test("verdict"), "create_project_folder")
	p.sees(test("rule")+`[data-outcome="applied"]`, "project_status in")
	p.sees(test("rule")+`[data-outcome="applied"]`, "Approved")
	p.sees(test("sent-request"), `"project": 4711`)
	p.sees(test("answer"), "no volume has room for project 4711")
	p.sees(test("body"), "Harbour Lights")
	if said := read[string](p, `document.body.innerText`); strings.Contains(said, icfmKey) || strings.Contains(said, crmToken) {
		t.Error("the page shows a secret")
	}

	s.folders.answers(nil)
	p.click(test("resend-event"), "")
	p.sees(test("again-dialog"), "create_project_folder")
	p.click(test("again-confirm"), "")
	p.sees(test("again-result"), "1 delivery")
	p.click(test("again-close"), "")
	twice := s.folders.awaits(t, "/folders", 2)
	if first, second := twice[0], twice[1]; first.body != second.body || first.header.Get("Idempotency-Key") == second.header.Get("Idempotency-Key") {
		t.Errorf("sent again with another body or the same key: %v, then %v", first, second)
	}
	p.sees(test("delivery")+`[data-state="delivered"]`, "repeats the delivery")
	p.sees(test("delivery")+`[data-state="mended"]`, "422")
	p.sees(test("delivery")+`[data-state="mended"] .mark.tone-quiet`, "mended")

	p.click(test("back"), "")
	p.sees(row, "sent again")

	// Names are chosen from lists; one that the configuration does not know can be
	// written. Filters can be folded away.
	p.visit("#/activity")
	p.choose(test("filter-source"), "pbx")
	p.rows(1)
	p.until("the events of the chosen source alone", `[...document.querySelector('[data-test="filter-event"]').options].every((option) => option.value !== "project_created")`)
	p.click(test("chip-source"), "")
	p.choose(test("filter-event"), "\x00another")
	p.write(test("filter-event-other"), "project_status_change")
	p.press(kb.Enter)
	p.rows(2)
	p.click(test("more-filters")+" summary", "")
	p.until("the filters to be folded", `document.querySelector('[data-test="filter-verdict"]').checkVisibility() === false`)
	p.visit("#/settings")
	p.visit("#/activity")
	p.until("the filters to stay folded", `document.querySelector('[data-test="more-filters"]').open === false`)

	// All that there is happened within the last hour.
	p.visit("#/charts")
	p.until("a chart of the time that has data", `document.querySelector('[data-test="chart-range"] input:checked')?.value === "1h"`)
	p.sees(test("chart-events"), "Events per minute")
}

// TestBrowserReloadOfCaddy: a live view goes on when the configuration is loaded
// anew, and shows the relay as it then is.
func TestBrowserReloadOfCaddy(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	p := s.goLive(lightDesk)
	s.icfm("project_created", project(1, "Kestrel", "Pitched"))
	p.rows(1)
	p.sees(row, `did not hold: project_status is "Pitched"`)

	// The stream ends with the configuration; the browser says so.
	p.expect(`^loading failed: net::ERR_(INCOMPLETE_CHUNKED_ENCODING|CONNECTION_\w+|EMPTY_RESPONSE)`)
	p.expect(`^log: Failed to load resource: net::ERR_(INCOMPLETE_CHUNKED_ENCODING|CONNECTION_\w+|EMPTY_RESPONSE)`)
	s.reload("project_status in ['Approved', 'Confirmed']", "project_status in ['Approved', 'Pitched']")
	s.icfm("project_created", project(2, "Low Tide", "Pitched"))
	p.rows(2)
	p.isLive()
	s.folders.awaits(t, "/folders", 1)

	// Why it was ignored, by the rules of then; what those of now would do; and
	// doing it.
	p.click(row+":not(:has(.deliveries)) a.event-link", "")
	p.sees(test("rule")+`[data-outcome="not_held"]`, "Confirmed")
	p.click(test("rules-toggle")+" label", "Today's rules")
	p.sees(test("rule")+`[data-outcome="applied"]`, "Pitched")
	p.click(test("decide-event"), "")
	p.sees(test("again-dialog"), "Newly asked for")
	p.click(test("again-confirm"), "")
	p.sees(test("again-result"), "1 event decided again, 1 changed")
	p.click(test("again-close"), "")
	s.folders.awaits(t, "/folders", 2)
	p.sees(test("delivery")+`[data-state="delivered"]`, "create_project_folder")

	p.click("#tabs a", "Settings")
	p.until("both configurations", visible(test("snapshot"), "")+`.length === 2`)
	p.click(test("snapshot")+" a", "")
	p.sees(test("changes"), "Confirmed")
	p.sees(test("changes")+" tr.is-added", "Pitched")
	p.sees(test("changes")+" tr.is-removed", "Confirmed")
	p.sees(test("configuration"), "when \x60project_status in")
	if said := read[string](p, `document.body.innerText`); strings.Contains(said, icfmKey) || strings.Contains(said, pbxToken) || strings.Contains(said, crmToken) {
		t.Error("a snapshot shows a secret")
	}
}

// TestBrowserKeyboard walks the main path without a mouse.
func TestBrowserKeyboard(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	s.icfm("dmg_work_started", `{"id":"dmg-1"}`)
	s.pbx("incoming_call", phoneCall("1773398517.1", "+44 1632 960001", "Greenroom", "201"))
	s.icfm("project_created", project(4711, "Harbour Lights", "Approved"))
	s.folders.awaits(t, "/folders", 1)
	p := s.goLive(lightDesk)
	p.rows(3)
	focused := func(what, expression string) {
		t.Helper()
		p.until("the focus on "+what, `((at) => at && (`+expression+`))(document.activeElement)`)
	}

	p.press(kb.Tab)
	focused("the link that skips the tabs", `at.id === "skip" && at.matches(":focus-visible")`)
	p.press(kb.Enter)
	focused("the content", `at.id === "main"`)

	p.press("/")
	focused("the search", `at.matches('[data-test="filter-text"]')`)
	p.press("Harbour", kb.Enter)
	p.rows(1)
	p.press(kb.Escape)
	p.press("j")
	focused("the first event", `at.matches('[data-test="event-link"]') && at.textContent.includes("project_created")`)
	p.press(kb.Enter)
	p.sees(test("event-title"), "project_created")
	p.sees(test("delivery")+`[data-state="delivered"]`, "")
	p.press("r")
	p.sees(test("again-confirm"), "")
	focused("the button that confirms", `at.matches('[data-test="again-confirm"]')`)
	p.press(kb.Enter)
	focused("the button that closes", `at.matches('[data-test="again-close"]')`)
	p.press(kb.Enter)
	p.gone(test("again-dialog"), "")
	s.folders.awaits(t, "/folders", 2)
	p.press(kb.Escape)
	p.rows(1)
	focused("the event that was looked at", `at.matches('[data-test="event-link"]')`)

	// Every control is reached by Tab, and shows that it has the focus.
	p.press("3")
	p.sees("h1", "Actions")
	p.until("the actions", visible(test("action"), "")+`.length === 6`)
	reached := false
	for range 60 {
		p.press(kb.Tab)
		if plain := read[string](p, `(() => {
			const at = document.activeElement, style = getComputedStyle(at);
			if (at === document.body || at.id === "main") return "";
			return style.outlineStyle === "none" && style.boxShadow === "none" ? at.outerHTML.slice(0, 200) : "";
		})()`); plain != "" {
			t.Errorf("one cannot see that this has the focus: %s", plain)
		}
		if reached = read[bool](p, `document.activeElement.matches('[data-name="create_project_folder"] summary')`); reached {
			break
		}
	}
	if !reached {
		t.Fatal("the action is not reached by Tab")
	}
	p.press(kb.Enter)
	p.sees(test("action-pause"), "")
	p.press("?")
	p.sees(test("keys-help"), "send again")
	p.press(kb.Escape)
	p.gone(test("keys-help"), "")
}
