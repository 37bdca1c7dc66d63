package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// opens opens an entry of a list, such as an action.
func (p *tab) opens(hook, name string) {
	p.t.Helper()
	p.click(fmt.Sprintf(`%s[data-name=%q] summary`, test(hook), name), "")
}

// switches fills in the dialog that asks for how long and why.
func (p *tab) switches(during, reason string) {
	p.t.Helper()
	p.sees(test("switch-dialog"), "")
	p.choose(test("switch-for"), during)
	p.write(test("switch-reason"), reason)
	p.click(test("switch-confirm"), "")
	p.gone(test("switch-dialog"), "")
}

func TestBrowserPauseAndResume(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	p := openTab(t, s.console, lightDesk, "#/actions")
	p.opens("action", "create_project_folder")
	p.click(test("action-pause"), "")
	p.switches("4h", "the SAN is being moved")
	p.sees(test("banner"), "create_project_folder")
	p.sees(test("banner"), "the SAN is being moved")
	p.sees(test("action")+`[data-name="create_project_folder"]`, "paused")

	for id := range 3 {
		s.icfm("project_created", project(id, "Saltmarsh", "Approved"))
	}
	// What another action was asked for later is carried out.
	s.pbx("incoming_call", phoneCall("1773398517.9", "+44 1632 960009", "Greenroom", "202"))
	s.crm.awaits(t, "/pop", 1)
	p.click("#tabs a", "Activity")
	p.rows(4)
	p.sees(row, "delivered")
	p.until("three pending deliveries", visible(row, "pending")+`.length === 3`)
	p.sees(test("banner"), "the SAN is being moved")
	p.sees(row+" "+test("paused"), "paused: the SAN is being moved")
	if n := len(s.folders.requests("/folders")); n != 0 {
		t.Errorf("%d deliveries were sent while the action was paused", n)
	}

	p.click(test("banner-on"), "")
	s.folders.awaits(t, "/folders", 3)
	p.gone(test("banner"), "")
	p.gone(row, "pending")
	p.until("four delivered", visible(row, "delivered")+`.length === 4`)
}

func TestBrowserSwitchOffAnEvent(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	p := openTab(t, s.console, lightDesk, "#/events")
	p.write(test("search"), "project_created")
	p.opens("catalogue-event", "icfm:project_created")
	p.sees(test("catalogue-event"), "project_status in")
	p.click(test("event-off"), "")
	p.switches("24h", "projects are being imported")
	p.sees(test("banner"), "projects are being imported")
	p.sees(test("catalogue-event"), "switched off")

	s.icfm("project_created", project(4711, "Harbour Lights", "Approved"))
	s.icfm("project_status_change", project(4711, "Harbour Lights", "Confirmed"))
	s.folders.awaits(t, "/folders", 1)
	p.click("#tabs a", "Activity")
	p.rows(2)
	p.choose(test("filter-verdict"), "disabled")
	p.rows(1)
	p.sees(row, "projects are being imported")

	p.click("#tabs a", "Settings")
	p.sees(test("switches"), "Not everything is on")
	p.click(test("banner-on"), "")
	p.sees(test("meanwhile"), "1 event came while it was off")
	p.sees(test("meanwhile-command"), "caddy event-relay decide --since ")
	p.click(test("meanwhile-decide"), "")
	p.click(test("again-confirm"), "")
	p.sees(test("again-result"), "1 event decided again")
	p.click(test("again-close"), "")
	s.folders.awaits(t, "/folders", 2)
	p.sees(test("switches"), "Everything is on.")
	p.gone(test("banner"), "")
	s.icfm("project_created", project(4712, "Paper Boats", "Approved"))
	s.folders.awaits(t, "/folders", 3)
}

// TestBrowserSendsATestEvent: it takes the way of a real one and is marked to
// the end.
func TestBrowserSendsATestEvent(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	p := openTab(t, s.console, lightDesk, "#/events")
	p.click(test("open-send"), "")
	p.choose(test("send-source"), "pbx")
	p.choose(test("send-event"), "incoming_call")
	p.click(test("add-value"), "")
	p.write(test("value-name"), "caller_id")
	p.write(test("value-value"), "+44 1632 960555")
	p.click(test("send-submit"), "")
	p.sees(test("send-result"), "screen_pop")
	pops := s.crm.awaits(t, "/pop", 1)
	if pops[0].header.Get("X-Event-Test") != "1" || !strings.Contains(pops[0].path, "960555") {
		t.Errorf("the target got %v", pops[0])
	}
	p.click(test("show-sent"), "")
	p.sees(test("event-title"), "incoming_call")
	p.sees(".tagmark", "test")
	p.sees(test("delivery")+`[data-state="delivered"]`, "screen_pop")

	// A real one like it can be tried again from here.
	p.click(test("send-like"), "")
	p.until("the values of the event", `[...document.querySelectorAll('[data-test="value-value"]')].some((n) => n.value === "+44 1632 960555")`)
	p.click(test("send-submit"), "")
	s.crm.awaits(t, "/pop", 2)
	p.sees(test("send-result"), "delivered")
}

// TestBrowserImportsFromPostman: what comes out is a Caddyfile.
func TestBrowserImportsFromPostman(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	examples, err := filepath.Abs("../../examples/postman-import")
	if err != nil {
		t.Fatal(err)
	}
	p := openTab(t, s.console, lightDesk, "#/actions")
	p.click(test("open-import"), "")
	p.upload(test("import-environment"), filepath.Join(examples, "studio.postman_environment.json"))
	p.upload(test("import-collection"), filepath.Join(examples, "calls.postman_collection.json"))
	p.until("the list of requests", visible(test("import-request"), "")+`.length === 2`)
	p.click(test("import-make"), "2 requests")
	p.sees(test("import-caddyfile"), "action screen_pop")
	text := p.text(test("import-caddyfile") + " pre")

	path := filepath.Join(t.TempDir(), "Caddyfile")
	caddyfile := "{\n\tevent_relay {\n\t\tsource pbx pbxware {\n\t\t\tauth bearer a-token\n\t\t}\n" + text +
		"\n\t\ton incoming_call {\n\t\t\tdo screen_pop\n\t\t}\n\t}\n}\n"
	if err := os.WriteFile(path, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := s.machine.run("adapt", "--config", path); err != nil || !strings.Contains(output, `"missed_call"`) {
		t.Errorf("adapting what was imported: %v\n%s\n%s", err, output, caddyfile)
	}
}

// TestBrowserSwitchesEverythingOff: from Settings, seen everywhere.
func TestBrowserSwitchesEverythingOff(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	p := openTab(t, s.console, darkPhone, "#/settings")
	p.click(test("all-off"), "")
	p.switches("1h", "power works in the machine room")
	p.sees(test("banner"), "Everything is switched off")
	s.icfm("project_created", project(4711, "Harbour Lights", "Approved"))
	p.visit("#/activity")
	p.sees(row, "disabled")
	p.sees(test("banner"), "power works in the machine room")
	p.visit("#/settings")
	p.click(test("all-on"), "")
	p.gone(test("banner"), "")
	s.icfm("project_created", project(4712, "Paper Boats", "Approved"))
	if got := s.folders.awaits(t, "/folders", 1); !strings.Contains(got[0].body, "4712") {
		t.Errorf("the service got %v", got)
	}
}

// TestBrowserSendsManyAgain: those that are selected, and all that a filter
// matches, with a count first.
func TestBrowserSendsManyAgain(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	s.folders.answers(func(int, received) (int, string) { return http.StatusConflict, "{}" })
	for id := range 4 {
		s.icfm("project_created", project(id, "Saltmarsh", "Approved"))
	}
	s.pbx("incoming_call", phoneCall("1773398517.7", "+44 1632 960007", "Greenroom", "201"))
	s.folders.awaits(t, "/folders", 4)
	p := openTab(t, s.console, lightPhone, "#/activity?state=failed&action=create_project_folder")
	p.rows(4)
	s.folders.answers(nil)

	p.click(test("select-event"), "")
	p.sees(test("selection"), "1 event selected")
	p.click(test("resend-selected"), "")
	p.click(test("again-confirm"), "Send 1 delivery again")
	p.click(test("again-close"), "")
	s.folders.awaits(t, "/folders", 5)

	p.sees(row, "sent again")

	// What was sent again and arrived need not go a third time.
	p.click(test("resend-all"), "")
	p.sees(test("again-dialog"), "3 deliveries of 3 events")
	p.click(test("again-confirm"), "")
	p.sees(test("again-result"), "3 deliveries of 3 events")
	p.click(test("again-close"), "")
	s.folders.awaits(t, "/folders", 8)
	p.until("four that arrived", visible(row, "delivered")+`.length === 4`)

	// One delivery needs no counting.
	p.click(test("event-link"), "")
	p.click(test("resend-delivery"), "")
	p.sees(test("again-dialog"), "1 delivery of 1 event")
	p.sees(test("again-dialog"), "create_project_folder")
	p.sees(test("again-arrived"), "a second time")
	const requests = `performance.getEntriesByType("resource").filter((one) => one.name.endsWith("/resend")).length`
	before := read[int](p, requests)
	p.click(test("again-confirm"), "Send 1 delivery again")
	p.sees(test("again-result"), "1 delivery")
	s.folders.awaits(t, "/folders", 9)
	if asked := read[int](p, requests) - before; before != 4 || asked != 1 {
		t.Errorf("%d requests were made for the selections and %d for the delivery, want 4 and 1", before, asked)
	}
	if n := len(s.crm.requests("/pop")); n != 1 {
		t.Errorf("what the filter does not match was sent %d times", n)
	}
}

// TestBrowserRelayGone: a page that is looked at while Caddy is away says so, and
// goes on when it is back.
func TestBrowserRelayGone(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	p := s.goLive(darkDesk)
	s.icfm("project_created", project(1, "Kestrel", "Pitched"))
	p.rows(1)
	p.expect(`net::ERR_`)
	s.caddy.Stop()
	p.sees(test("banner"), "cannot be reached")
	s.open()
	p.gone(test("banner"), "cannot be reached")
	p.isLive()
	s.icfm("project_created", project(2, "Kestrel", "Pitched"))
	p.rows(2)
}
