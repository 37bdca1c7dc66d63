package e2e_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// types puts a text into the box for a rehearsal, as by hand.
func (p *tab) types(text string) {
	p.t.Helper()
	read[bool](p, `(() => {
		const area = document.querySelector('[data-test="rehearse-text"]');
		area.focus();
		area.select();
		document.execCommand("insertText", false, `+quoted(text)+`);
		return true;
	})()`)
}

// rehearsalText is what stands in the box.
const rehearsalText = `document.querySelector('[data-test="rehearse-text"]').value`

// TestBrowserRehearses tries a changed rule on the past: its mistakes are shown at their
// lines, and what it would newly do is told and not done.
func TestBrowserRehearses(t *testing.T) {
	t.Parallel()
	browserContext(t)
	script := axe(t)
	s := openStudio(t)
	for id := range 3 {
		s.icfm("project_created", project(id, "Saltmarsh", "Pitched"))
	}
	s.icfm("project_created", project(7, "Harbour Lights", "Approved"))
	s.folders.awaits(t, "/folders", 1)
	p := openTab(t, s.console, lightDesk, "#/events")
	p.write(test("search"), "project_created")
	p.opens("catalogue-event", "icfm:project_created")
	p.click(test("rehearse-rule"), "")
	p.until("the rule's text", rehearsalText+`.startsWith("on icfm:project_created") || `+rehearsalText+`.startsWith("on project_created")`)
	p.sees(test("rehearse-status"), "in place of rule")
	rule := read[string](p, rehearsalText)

	// All mistakes together, each with its line.
	wrong := strings.Replace(strings.Replace(rule, "when ", "wen ", 1), "}", "\tdo\n}", 1)
	p.types(wrong)
	p.sees(test("rehearse-status"), "2 mistakes")
	p.until("the lines to be marked", fmt.Sprintf(`(() => {
		const bad = [...document.querySelectorAll(".editor-lines .is-bad")].map((line) => Number(line.textContent));
		return bad.length === 2 && bad[0] === %d && bad[1] === %d;
	})()`, 1+strings.Count(wrong[:strings.Index(wrong, "wen ")], "\n"), strings.Count(wrong, "\n")-1))
	p.sees(test("mistake"), "did you mean when")
	p.until("nothing to start", `document.querySelector('[data-test="rehearse-run"]').disabled`)
	p.accessible("mistakes", script)
	p.picturesOf("rehearse-mistakes")
	p.click(test("mistake")+" button", "")
	p.until("the line to be selected", `(() => {
		const area = document.querySelector('[data-test="rehearse-text"]');
		return document.activeElement === area && area.value.slice(area.selectionStart, area.selectionEnd).includes("wen ");
	})()`)

	// A rule that also takes what was pitched.
	p.types(strings.Replace(rule, "'Approved'", "'Approved', 'Pitched'", 1))
	p.sees(test("rehearse-status"), "No mistake")
	p.until("to be let start", `!document.querySelector('[data-test="rehearse-run"]').disabled`)
	p.cancelsRehearsal(script)
	p.click(test("rehearse-run"), "")
	p.sees(test("rehearse-summary"), "4 events")
	p.sees(test("rehearse-summary"), "3 would be decided otherwise")
	p.sees(test("difference-fires"), "create_project_folder")
	p.until("three events", visible(test("difference-event"), "")+`.length === 3`)
	p.sees(test("difference-event"), "ignored")
	p.accessible("a result", script)
	p.fits("a result")
	p.picturesOf("rehearse-result")
	p.click(test("difference-fires")+" button", "line 1")
	p.until("the rule's line", `document.activeElement.dataset.test === "rehearse-text"`)
	p.click(test("rehearse-copy")+" button", "Copy")
	p.sees(test("toasts"), "Copied")
	if n := len(s.folders.requests("/folders")); n != 1 {
		t.Errorf("a rehearsal sent %d requests", n-1)
	}

	// An event, and back to what was written.
	p.click(test("difference-event")+" a", "")
	p.sees(test("event-title"), "project_created")
	p.click("#tabs a", "Rehearse")
	p.sees(test("rehearse-summary"), "3 would be decided otherwise")
	p.until("the text to be as it was", rehearsalText+`.includes("'Pitched'")`)

	// The whole configuration, on a telephone, in the dark, by keyboard.
	p.as(darkPhone)
	p.choose(test("rehearse-begin"), "")
	p.click(test("confirm"), "")
	p.until("the whole configuration", rehearsalText+`.startsWith("event_relay {")`)
	p.sees(test("rehearse-status"), "whole configuration")
	p.fits("the whole configuration")
	p.accessible("the whole configuration", script)
	p.until("to be let start", `!document.querySelector('[data-test="rehearse-run"]').disabled`)
	read[bool](p, `(document.querySelector('[data-test="rehearse-run"]').focus(), true)`)
	p.press(kb.Enter)
	p.sees(test("rehearse-summary"), "all would be decided as they were then")
	p.until("the heading to be told", `document.activeElement.textContent === "What would change"`)
	p.picturesOf("rehearse-whole")
}

// cancelsRehearsal starts a rehearsal that does not end, and cancels it: so few events
// would be over before anyone could. Only the answer is made up, and ends as the
// browser's does.
func (p *tab) cancelsRehearsal(script string) {
	p.t.Helper()
	read[bool](p, `(() => {
		const real = window.fetch;
		window.fetch = (url, options) => {
			if (!String(url).endsWith("/rehearse") || options?.method !== "POST") return real(url, options);
			return Promise.resolve(new Response(new ReadableStream({ start(stream) {
				stream.enqueue(new TextEncoder().encode('{"progress":{"done":1250,"total":4000}}\n'));
				options.signal.addEventListener("abort", () => {
					window.fetch = real;
					stream.error(options.signal.reason);
				});
			} })));
		};
		return true;
	})()`)
	p.click(test("rehearse-run"), "")
	p.sees(test("rehearse-progress"), "1,250 of 4,000 events")
	p.until("the button to cancel to have the focus, and no second start", `document.activeElement.dataset.test === "rehearse-cancel" && document.querySelector('[data-test="rehearse-run"]').disabled`)
	p.fits("a rehearsal that runs")
	p.accessible("a rehearsal that runs", script)
	p.picturesOf("rehearse-runs")
	p.press(kb.Enter)
	p.sees(test("rehearse-cancelled"), "Nothing was stored or sent")
	p.gone(test("rehearse-progress"), "")
	p.until("the button to start to have the focus", `document.activeElement.dataset.test === "rehearse-run"`)
	p.accessible("a rehearsal that was cancelled", script)
}

// picturesOf takes pictures in all looks, to be looked at by a person.
func (p *tab) picturesOf(name string) {
	p.t.Helper()
	directory := picturesDirectory()
	if directory == "" {
		return
	}
	for _, how := range []look{darkDesk, lightPhone, darkPhone, lightDesk} {
		p.as(how)
		p.picture(filepath.Join(directory, name+"-"+how.name+".png"))
	}
}
