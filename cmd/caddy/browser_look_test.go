package main_test

import (
	"fmt"
	"os"
	"path/filepath"
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
		t.Log("EVENT_RELAY_AXE does not name axe.min.js of axe-core: accessibility is not checked")
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
func (p *tab) accessible(where string, script string) {
	p.t.Helper()
	if script == "" {
		return
	}
	if !read[bool](p, `"axe" in window`) {
		p.do(chromedp.Evaluate[chromedp.Void](script))
	}
	type finding struct {
		ID, Impact, Help string
		Nodes            []string
	}
	for _, found := range read[[]finding](p, `axe.run(document, {resultTypes: ["violations"]}).then((result) => result.violations
		.filter((one) => one.impact === "serious" || one.impact === "critical")
		.map((one) => ({ID: one.id, Impact: one.impact, Help: one.help, Nodes: one.nodes.slice(0, 3).map((node) => node.html.slice(0, 160) + " " + node.any.concat(node.all, node.none).map((check) => check.message).join("; ").slice(0, 200))})))`) {
		p.t.Errorf("%s: %s (%s, %s): %s", where, found.Help, found.ID, found.Impact, strings.Join(found.Nodes, "\n\t"))
	}
}

// consoleView is a view of the console: where it is, when it is drawn, and its picture
// in the README.
type consoleView struct {
	name, where, drawn, picture string
}

// consoleViews are all views of the console, for a studio that has a past. failed is
// the address of an event whose delivery failed.
func consoleViews(failed string) []consoleView {
	return []consoleView{
		{"activity", "#/activity", visible(row, "") + `.length >= 20`, "activity"},
		{"event", failed, `document.querySelector('[data-test="rule"]') && document.querySelector('[data-test="answer"]')`, "event"},
		{"events", "#/events/icfm/project_status_change", visible(test("field-seen"), "") + `.length > 3`, "events"},
		{"send", "#/send?source=pbx&event=incoming_call", `document.querySelector('[data-test="send-source"]').value === "pbx"`, ""},
		{"actions", "#/actions/create_project_folder", visible(test("action-example"), "") + `.length === 1`, "actions"},
		{"import", "#/import", visible(test("import-collection"), "") + `.length === 1`, ""},
		{"parameters", "#/parameters", visible(test("parameter"), "") + `.length > 15`, "parameters"},
		{"charts", "#/charts?since=6h", `document.querySelectorAll(".u-wrap canvas").length === 5`, "charts"},
		{"rejections", "#/rejections", visible(test("rejection"), "") + `.length === 2`, ""},
		{"settings", "#/settings", visible(test("snapshot"), "") + `.length > 0`, "settings"},
		{"snapshot", "#/snapshot/", visible(test("configuration"), "") + `.length === 1`, ""},
	}
}

// TestBrowserLooks looks at every view, in every way, with much to show in it.
func TestBrowserLooks(t *testing.T) {
	t.Parallel()
	script := axe(t)
	s := newStudio(t)
	s.remember(7)
	s.open()
	s.present()

	p := openTab(t, s.console, lightDesk, "#/activity?event=project_status_change&state=failed&text=4711")
	p.rows(1)
	failed := read[string](p, `document.querySelector("a.event-link").hash`)
	p.visit("#/settings")
	p.sees(test("snapshot"), "")
	snapshot := read[string](p, `document.querySelector('[data-test="snapshot"] a').hash`)
	// Something that everybody has to be reminded of.
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
			if view.name == "charts" {
				p.drawn(name)
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
		"chart-events": "events in this time", "chart-deliveries": "deliveries delivered", "chart-latency": "Half within",
		"chart-backlog": "had deliveries waiting", "chart-age": "At most",
	} {
		p.sees(test(hook), says)
	}
	if text := p.text(test("chart-notes")); !strings.Contains(text, "started") || !strings.Contains(text, "the calendar is being moved") {
		p.t.Errorf("%s: the marks do not tell of the restart and of the pause: %s", name, text)
	}
}

// portrait writes a picture for the README, if pictures are to be made.
func (p *tab) portrait(view consoleView, how look) {
	p.t.Helper()
	directory := picturesDirectory()
	if directory == "" || view.picture == "" {
		return
	}
	read[bool](p, `(window.scrollTo(0, 0), document.activeElement.blur(), true)`)
	name := fmt.Sprintf("%s-%s.png", view.picture, strings.ReplaceAll(how.name, " ", "-"))
	p.picture(filepath.Join(directory, name))
}
