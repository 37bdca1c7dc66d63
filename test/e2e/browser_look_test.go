package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// axe returns the script of axe-core, which finds faults that keep people from
// using a page. EVENT_RELAY_AXE names its file; .ci/browser installs it.
func axe(t *testing.T) string {
	t.Helper()
	path := os.Getenv("EVENT_RELAY_AXE")
	if path == "" {
		t.Run("accessibility", func(t *testing.T) { t.Skip("EVENT_RELAY_AXE does not name axe.min.js of axe-core") })
		return ""
	}
	script, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("reading axe-core: %v", err)
	}
	return string(script)
}

// accessible checks what is shown with axe-core. Its script is none of the page:
// it is gone with the next one.
func (p *tab) accessible(where, script string) {
	p.t.Helper()
	if script == "" {
		return
	}
	if !read[bool](p, `"axe" in window`) {
		p.do(chromedp.Evaluate[chromedp.Void](script))
	}
	for _, found := range p.findings() {
		p.t.Errorf("%s: %s (%s, %s): %s", where, found.Help, found.ID, found.Impact, strings.Join(found.Nodes, "\n\t"))
	}
}

// finding is something that keeps people from using the page.
type finding struct {
	ID, Impact, Help string
	Nodes            []string
}

// findings returns what axe-core calls serious or critical.
func (p *tab) findings() []finding {
	p.t.Helper()
	return read[[]finding](p, `axe.run(document, {resultTypes: ["violations"]}).then((result) => result.violations
		.filter((one) => one.impact === "serious" || one.impact === "critical")
		.map((one) => ({ID: one.id, Impact: one.impact, Help: one.help, Nodes: one.nodes.slice(0, 3).map((node) =>
			node.html.slice(0, 160) + " " + node.any.concat(node.all, node.none).map((check) => check.message).join("; ").slice(0, 200))})))`)
}

// consoleView is a view of the console: where it is, and when it is drawn.
type consoleView struct {
	name, where, drawn string
}

// pictured are the views of which the README has pictures, by look.
var pictured = map[look][]string{
	lightDesk:  {"activity", "event", "events", "actions", "charts", "settings"},
	darkDesk:   {"activity"},
	lightPhone: {"event"},
}

// consoleViews are all views of the console, for a studio that has a past. failed is
// the address of an event whose delivery failed.
func consoleViews(failed string) []consoleView {
	return []consoleView{
		{"activity", "#/activity", visible(row, "") + `.length >= 20`},
		{"event", failed, `document.querySelector('[data-test="rule"]') && document.querySelector('[data-test="answer"]')`},
		{"events", "#/events/icfm/project_status_change", visible(test("field-seen"), "") + `.length > 3`},
		{"send", "#/send?source=pbx&event=incoming_call", `document.querySelector('[data-test="send-source"]').value === "pbx"`},
		{"actions", "#/actions/create_project_folder", visible(test("action-example"), "") + `.length === 1`},
		{"import", "#/import", visible(test("import-collection"), "") + `.length === 1`},
		{"parameters", "#/parameters", visible(test("parameter"), "") + `.length > 15`},
		{"rehearse", "#/rehearse?rule=rule%201", `document.querySelector('[data-test="rehearse-run"]')?.disabled === false`},
		{"charts", "#/charts?since=6h", `document.querySelectorAll(".u-wrap canvas").length === 5`},
		{"rejections", "#/rejections", visible(test("rejection"), "") + `.length === 2`},
		{"settings", "#/settings", visible(test("snapshot"), "") + `.length > 0`},
		{"snapshot", "#/snapshot/", visible(test("configuration"), "") + `.length === 1`},
	}
}

// TestBrowserLooks looks at every view, in every way, with much to show in it.
func TestBrowserLooks(t *testing.T) {
	t.Parallel()
	browserContext(t)
	script := axe(t)
	s := newStudio(t)
	if picturesDirectory() != "" {
		// The page shows where the queue is.
		s.machine.home = filepath.Join(os.TempDir(), "studio")
		if err := os.Mkdir(s.machine.home, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(s.machine.home) })
	}
	s.remember(7)
	s.open()
	s.present()

	p := openTab(t, s.console, lightDesk, "#/activity?event=project_status_change&state=failed&text=4711")
	p.rows(1)
	failed := read[string](p, `document.querySelector("a.event-link").hash`)
	p.visit("#/settings")
	p.sees(test("snapshot"), "")
	snapshot := read[string](p, `document.querySelector('[data-test="snapshot"] a').hash`)
	// A switch, so that the banner shows.
	p.visit("#/actions")
	p.opens("action", "book_room")
	p.click(test("action-pause"), "")
	p.switches("4h", "the calendar is being moved")
	s.icfm("rs_modified", `{"id":"b-2","booking":{"id":8812,"room":"Mix stage","hours":6}}`)
	p.sees(test("banner"), "the calendar is being moved")

	p.click(test("toast")+" button", "")

	for _, how := range []look{lightDesk, darkDesk, lightPhone, darkPhone} {
		p.as(how)
		for _, view := range consoleViews(failed) {
			if view.name == "snapshot" {
				view.where = snapshot
			}
			name := view.name + ", " + how.name
			p.visit(view.where)
			p.until(name, `document.querySelector("#main > .view:not([hidden])").classList.contains(`+quoted("view-"+view.name)+`) && Boolean(`+view.drawn+`)
				&& !document.querySelector("#main > .view:not([hidden]) [aria-busy=true]")`)
			p.fits(name)
			p.accessible(name, script)
			switch view.name {
			case "activity":
				p.sees(test("subject"), "RS b-2")
			case "event":
				p.sees(test("event-subject"), "4711")
			case "charts":
				p.drawn(name)
			case "actions":
				p.click(test("action-example"), "")
				p.sees(test("planned-request"), "/folders")
				p.accessible(name+", with an example", script)
			case "rehearse":
				p.choose(test("rehearse-begin"), "")
				p.sees(test("rehearse-status"), "whole configuration")
				p.fits(name + ", of everything")
				p.accessible(name+", of everything", script)
				p.choose(test("rehearse-begin"), "1")
			}
			p.portrait(view, how)
		}
	}
}

// drawn checks that the charts show what the studio has lived through.
func (p *tab) drawn(name string) {
	p.t.Helper()
	colours := read[[]int](p, `[...document.querySelectorAll(".u-wrap canvas")].map((canvas) => {
		const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
		const counts = new Map();
		for (const pixel of pixels) if (pixel >>> 24 === 255) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
		return [...counts.values()].filter((n) => n > 60).length;
	})`)
	for i, n := range colours {
		if n < 2 {
			p.t.Errorf("%s: chart %d shows nothing: %d colours", name, i+1, n)
		}
	}
	for hook, says := range map[string]string{
		"chart-events": "events in this time", "chart-deliveries": "deliveries delivered", "chart-latency": "Median",
		"chart-backlog": "had deliveries waiting", "chart-age": "At most",
	} {
		p.sees(test(hook), says)
	}
	if text := p.text(test("chart-notes")); !strings.Contains(text, "started") || !strings.Contains(text, "the calendar is being moved") {
		p.t.Errorf("%s: the marks do not tell of the restart and of the pause: %s", name, text)
	}
}

// portrait writes a picture of what is shown, if it is one for the README.
func (p *tab) portrait(view consoleView, how look) {
	p.t.Helper()
	directory := picturesDirectory()
	if directory == "" || !slices.Contains(pictured[how], view.name) {
		return
	}
	read[bool](p, `(window.scrollTo(0, 0), document.activeElement.blur(), true)`)
	name := view.name
	if how != lightDesk {
		name += "-" + how.name
	}
	p.picture(filepath.Join(directory, name+".png"))
}

// TestBrowserTestsNoticeFaults: what the other tests rely on is seen when it is
// there.
func TestBrowserTestsNoticeFaults(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	p := openTab(t, s.console, lightPhone, "#/settings")
	for want, script := range map[string]string{
		`^console: .*a complaint`:                                `console.error("a complaint")`,
		`^exception: .*thrown away`:                              `setTimeout(() => { throw new Error("thrown away") })`,
		`^dialog: a dialog`:                                      `setTimeout(() => alert("a dialog"))`,
		`^console: .*policy violation.*connect-src`:              `fetch("http://127.0.0.1:1/").catch(() => {})`,
		`^issue: ContentSecurityPolicyIssue .*attacker\.example`: `document.body.append(Object.assign(new Image(), {src: "http://attacker.example/x.png"}))`,
		`^log: .*404`:                                            `fetch("api/nothing").catch(() => {})`,
		`^console: .*policy violation.*script-src`:               `document.body.insertAdjacentHTML("beforeend", "<img src=icon.svg onload='window.__pwned=1'>")`,
	} {
		p.do(chromedp.Evaluate[chromedp.Void](`void (` + "() => {" + script + "}" + `)()`))
		pattern := regexp.MustCompile(want)
		waitFor(t, "the page's complaint "+want, func() bool {
			p.mutex.Lock()
			defer p.mutex.Unlock()
			return slices.ContainsFunc(p.faults, pattern.MatchString)
		})
		p.expect(want)
	}
	p.expect(`.`)
	if script := axe(t); script != "" {
		p.do(chromedp.Evaluate[chromedp.Void](script + `; document.querySelector("h1").insertAdjacentHTML("afterend", "<img src=icon.svg><input type=text>")`))
		if found := p.findings(); len(found) < 2 {
			t.Errorf("axe-core finds only %v", found)
		}
	}
	if wide := p.wide(); wide != "" {
		t.Errorf("the page is too wide before it is made so: %s", wide)
	}
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelector("h1").style.minWidth = "500px"`))
	if p.wide() == "" {
		t.Error("a page that is too wide is not noticed")
	}
}
