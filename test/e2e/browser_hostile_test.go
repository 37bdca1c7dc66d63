package e2e_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Text that would do something if the page took it for anything but text.
const (
	hostileScript = `<script>window.__pwned=1</script>`
	hostileImage  = `<img src=x onerror="window.__pwned=1">`
	hostileLink   = `<a class="hostile" href="javascript:window.__pwned=1">Resend</a>`
	hostileBidi   = "invoice\u202efdp.exe\u2066\u200b\u0007"
	hostileEnd    = `"}]}</pre></table></dialog><svg onload=window.__pwned=1>`
)

// shownBidi is how the page is to show hostileBidi.
const shownBidi = "invoice⟨U+202E⟩fdp.exe⟨U+2066⟩⟨U+200B⟩⟨BEL⟩"

// hostileJSON writes a text into JSON, control characters too.
func hostileJSON(text string) string {
	return strings.ReplaceAll(quoted(text), "\u200b", `\u200b`)
}

// postHostile posts events whose every part is hostile.
func (s *studio) postHostile() {
	s.t.Helper()
	all := hostileScript + hostileImage + hostileLink + hostileBidi + hostileEnd
	body := `{"id":` + hostileJSON(hostileEnd) + `,` + hostileJSON(hostileImage) + `:{` + hostileJSON(hostileBidi) + `:` + hostileJSON(all) + `},
		"project":{"id":4711,"name":` + hostileJSON(all) + `,"status":"Approved"},"long":"` + strings.Repeat("W", 200_000) + `"}`
	s.icfm("project_created", body)
	s.icfm(url.QueryEscape(hostileImage+hostileBidi), `{"id":"2","note":`+hostileJSON(all)+`}`)
	s.pbx("incoming_call", `{"call_id":"3","caller_id":`+hostileJSON(hostileScript)+`,"calling_name":`+hostileJSON(all)+`,"tenant":`+hostileJSON(hostileImage+hostileBidi)+`}`)
	// Names in a PBX's JSON are not escaped.
	s.pbx("unanswered_call", `{"call_id":"4","direction":"inbound","calling_name":"Bob "B" `+hostileScript+`","caller_id":"`+hostileBidi+`"}`)
	if status := s.post("/"+url.PathEscape(hostileImage)+"?key="+icfmKey+"&"+url.QueryEscape(hostileScript)+"="+url.QueryEscape(hostileBidi), "application/octet-stream", "",
		"\x00\x01\xff\xfe\x89PNG"+strings.Repeat("\x80\x00", 4000)); status != http.StatusOK {
		s.t.Fatalf("posting bytes: %d", status)
	}
	if status := s.post("/"+url.PathEscape(hostileScript), "text/plain", "no-token", all); status != http.StatusUnauthorized {
		s.t.Fatalf("posting without a credential: %d", status)
	}
}

// harmless checks that the page made no element out of what came with events.
func (p *tab) harmless(where string) {
	p.t.Helper()
	if made := read[string](p, `[...document.querySelectorAll('script:not([src]), img:not([src="icon.svg"]), [onerror], [onload], a.hostile, a[href^="javascript:"], iframe, object, embed, main svg[onload]')]
		.map((n) => n.outerHTML.slice(0, 200)).join("\n")`); made != "" {
		p.t.Errorf("%s has elements that came with an event: %s", where, made)
	}
	if raw := read[bool](p, `/[\u202a-\u202e\u2066-\u2069\u200b\u0007]/.test(document.body.innerText)`); raw {
		p.t.Errorf("%s shows characters that cannot be seen as they are", where)
	}
	p.fits(where)
}

// fits checks that the page as a whole does not scroll sideways.
func (p *tab) fits(where string) {
	p.t.Helper()
	if wide := p.wide(); wide != "" {
		p.t.Errorf("%s is wider than its window of %d pixels: %s", where, read[int](p, `innerWidth`), wide)
	}
}

// wide returns what makes the page wider than its window, if it is.
func (p *tab) wide() string {
	p.t.Helper()
	return read[string](p, `(() => {
		const most = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= most && document.body.scrollWidth <= most) return "";
		const scrolls = (n) => n && n !== document.body && (/(auto|scroll|hidden|clip)/.test(getComputedStyle(n).overflowX) || scrolls(n.parentElement));
		return [...document.body.querySelectorAll("*")].filter((n) => n.getBoundingClientRect().right > most + 1 && !scrolls(n.parentElement)).slice(0, 3)
			.map((n) => n.outerHTML.slice(0, 160)).join("\n") || "something that is not told apart";
	})()`)
}

// TestBrowserHostileText has events say what a browser would run or hide, and expects the page to show it
// as text.
func TestBrowserHostileText(t *testing.T) {
	t.Parallel()
	browserContext(t)
	s := openStudio(t)
	hostileAnswer := func(int, received) (int, string) {
		return http.StatusTeapot, hostileScript + hostileBidi + hostileEnd
	}
	s.folders.answers(hostileAnswer)
	s.crm.answers(hostileAnswer)
	p := s.goLive(lightDesk)
	s.postHostile()
	// Five, and the relay's own about the three deliveries that fail.
	p.rows(8)
	p.sees(row, "⟨U+202E⟩")
	p.sees(row, "<img src=x onerror=")
	p.until("the answers", visible(row, "418")+`.length === 3`)
	p.harmless("the activity")
	p.as(lightPhone)
	p.harmless("the activity on a phone")

	for _, address := range read[[]string](p, `[...document.querySelectorAll('a.event-link')].map((n) => n.hash)`) {
		p.as(lightDesk)
		p.visit(address)
		p.until("the event "+address, `document.querySelector('.id-line, .subline button')?.isConnected && location.hash === `+quoted(address)+
			` && document.querySelector('.subline').textContent.includes(`+quoted(strings.TrimPrefix(address, "#/event/"))+`) && document.querySelector('[data-test="why"] [aria-busy]') === null`)
		p.harmless("the event " + address)
		// What is long is shown when it is asked for.
		read[int](p, `[...document.querySelectorAll("#main button.link")].filter((n) => n.textContent.startsWith("Show all")).map((n) => n.click()).length`)
		p.harmless("all of the event " + address)
		p.as(lightPhone)
		p.harmless("the event " + address + " on a phone")
	}
	p.as(lightDesk)
	// The relay's own event about it has its subject.
	p.visit("#/activity?source=pbx&text=Bob")
	p.rows(1)
	p.click(test("event-link"), "")
	p.sees(test("request"), "not well-formed")
	p.sees(test("answer"), "<script>window.__pwned=1</script>"+shownBidi)

	for where, wants := range map[string]string{
		// The path of a field is written as an expression has it.
		"#/events/icfm/project_created":                                `invoice\u202efdp.exe`,
		"#/events/pbx/incoming_call":                                   "<script>",
		"#/rejections":                                                 "401",
		"#/charts?since=1h":                                            "Events per minute",
		"#/actions/create_project_folder":                              "create_project_folder",
		"#/send?source=icfm&event=" + url.QueryEscape(hostileImage):    "Send a test event",
		"#/activity?text=" + url.QueryEscape(hostileImage+hostileBidi): "⟨U+202E⟩",
		"#/activity?verdict=" + url.QueryEscape("ignored"):             "ignored",
		"#/event/" + url.PathEscape(hostileImage):                      "Event",
		"#/" + url.PathEscape(hostileImage):                            "Activity",
	} {
		if strings.Contains(where, "/event/") {
			p.expect(`^log: Failed to load resource: the server responded with a status of 4`)
		}
		p.visit(where)
		p.sees("#main > .view:not([hidden])", wants)
		p.harmless(where)
	}

	// What an administrator writes is as hostile: it may be pasted.
	p.visit("#/actions")
	p.opens("action", "screen_pop")
	p.click(test("action-pause"), "")
	p.switches("1h", hostileImage+hostileBidi)
	p.sees(test("banner"), "<img src=x")
	p.sees(test("banner"), "⟨U+202E⟩")
	p.harmless("the banner")
	p.visit("#/charts?since=1h")
	p.sees(test("chart-notes"), "<img src=x")
	p.harmless("the marks of the charts")
}
