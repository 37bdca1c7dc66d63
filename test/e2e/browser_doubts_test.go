package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// everyLook are the looks in which what is new is checked.
var everyLook = []look{lightDesk, darkDesk, lightPhone, darkPhone}

// checksLooks checks what is shown in all looks: nothing is too wide, and nothing keeps
// people from using it.
func (p *tab) checksLooks(name, script string) {
	p.t.Helper()
	for _, how := range everyLook {
		p.as(how)
		p.fits(name + ", " + how.name)
		p.accessible(name+", "+how.name, script)
		p.picturesOf("doubts-" + name + "-" + strings.ReplaceAll(how.name, " ", "-"))
	}
	p.as(lightDesk)
}

// focuses puts the focus on the first visible element of a selector, to go on by
// keyboard.
func (p *tab) focuses(selector, text string) {
	p.t.Helper()
	p.sees(selector, text)
	read[bool](p, `(`+visible(selector, text)+`[0].focus(), true)`)
}

// TestBrowserNamesTurnedAway: a wrong path and a wrong key are no mystery.
func TestBrowserNamesTurnedAway(t *testing.T) {
	t.Parallel()
	browserContext(t)
	script := axe(t)
	s := openStudio(t)
	post := func(path string, want int) {
		t.Helper()
		response, err := newSender().Post("http://"+s.machine.site+path, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s is answered %d, want %d", path, response.StatusCode, want)
		}
	}
	// A scanner is no reason to look.
	post("/wp-login.php", http.StatusNotFound)
	p := openTab(t, s.console, lightDesk, "#/settings")
	p.sees(test("switches"), "Everything is on.")
	p.gone(test("refused-badge"), "")
	p.gone(test("banner"), "")

	post("/listen.php?key=a-mistyped-key&event=project_created", http.StatusUnauthorized)
	post("/listen_php?key="+icfmKey+"&event=project_created", http.StatusNotFound)
	p.sees(test("refused-badge"), "2")
	p.sees(test("banner"), "2 requests that most likely came from senders were refused in the last hour")
	p.sees(test("banner"), "POST /listen_php")
	p.sees(test("banner"), "no mount has this path; mounts: /listen.php")
	p.checksLooks("turned-away-banner", script)

	p.focuses(test("banner")+" a", "All rejections")
	p.press(kb.Enter)
	p.sees("h1", "Rejections")
	p.until("all that were turned away", visible(test("rejection"), "")+`.length === 3`)
	for _, says := range [][]string{
		{"POST /listen_php", "404", "no mount has this path; mounts: /listen.php", "Correct the address in the sender"},
		{"the value of key in the query is not a key of any source", "401", "127.0.0.1", "Correct the credential in the sender"},
		{"POST /wp-login.php", "404", "it does not count"},
	} {
		p.until(fmt.Sprint("a line with ", says), visible(test("rejection"), says[0])+`.some((n) => `+quoted(says)+`.every((text) => n.textContent.includes(text)))`)
	}
	if said := read[string](p, `document.body.innerText`); strings.Contains(said, icfmKey) || strings.Contains(said, "mistyped") {
		t.Error("the page shows a key")
	}
	p.checksLooks("turned-away-list", script)
}

// TestBrowserTriesNow: what waits for a target that was down is sent when an
// administrator says so, and what is paused says why.
func TestBrowserTriesNow(t *testing.T) {
	t.Parallel()
	browserContext(t)
	script := axe(t)
	s := openStudio(t)
	// By itself it is not tried again within this test.
	s.reload("retry_interval 1s 30s", "retry_interval 1h 1h")
	s.icfm("library_item_created", `{"id":"l-1","item":{"id":1,"title":"Tape 1"}}`)
	waitFor(t, "the target to be down", func() bool {
		said, _, _ := s.machine.relayCommand("status")
		return strings.Contains(said, s.archive)
	})
	s.icfm("library_item_created", `{"id":"l-2","item":{"id":2,"title":"Tape 2"}}`)

	p := openTab(t, s.console, lightDesk, "#/activity?action=archive_item")
	p.rows(2)
	p.sees(test("banner"), "Target down")
	p.until("the row that was tried", visible(row, "connecting to the target")+`.length === 1`)
	p.until("both rows to say what they wait for", visible(row, "waits for the target, which is down")+`.length === 2`)
	p.visit("#/activity?action=archive_item&text=Tape+1")
	p.rows(1)
	p.click(row+` a.event-link`, "")
	p.sees(test("delivery")+`[data-state="pending"]`, "Not delivered after 1 attempt")
	p.checksLooks("waiting", script)

	// It is still down.
	p.as(darkPhone)
	p.focuses(test("try-now"), "Try now")
	p.press(kb.Enter)
	p.sees(test("toast"), "is down. It is tested with this delivery now.")
	p.until("a second attempt", visible(test("attempt"), "")+`.length === 2`)
	p.sees(test("attempt"), "the same error")
	p.picturesOf("doubts-tried-in-vain")
	p.as(lightDesk)
	p.visit("#/actions/archive_item")
	p.sees(test("action")+`[data-name="archive_item"]`, "target down")
	p.sees(test("action")+`[data-name="archive_item"] `+test("try-now"), "Try now")
	p.checksLooks("action-down", script)

	// It is well again.
	listener, err := net.Listen("tcp", s.archive)
	if err != nil {
		t.Fatal(err)
	}
	archive := new(studioService)
	archive.Server = httptest.NewUnstartedServer(http.HandlerFunc(archive.serve))
	archive.Listener.Close()
	archive.Listener = listener
	archive.Start()
	t.Cleanup(archive.Close)
	p.visit("#/settings")
	p.sees(test("health"), s.archive)
	p.checksLooks("settings-down", script)
	p.click(test("health")+" "+test("try-now"), "Try now")
	p.sees(test("toast"), "is tested with one delivery now. If it answers, the others follow; 2 wait.")
	archive.awaits(t, "/items", 2)
	p.sees(test("health"), "No target is down.")
	p.gone(test("banner"), "Target down")

	// Paused by a command, while the page is looked at.
	archive.answers(func(int, received) (int, string) { return http.StatusServiceUnavailable, "{}" })
	s.icfm("library_item_created", `{"id":"l-3","item":{"id":3,"title":"Tape 3"}}`)
	archive.awaits(t, "/items", 3)
	p.visit("#/activity?action=archive_item&state=pending")
	p.rows(1)
	p.click(test("event-link"), "")
	p.sees(test("try-now"), "Try now")
	s.machine.expect(0, "pause archive_item --for 2h --reason tapes", "archive_item")
	p.sees(test("banner"), "Action paused: archive_item")
	p.sees(test("delivery")+" "+test("paused"), "It waits: action archive_item is paused")
	p.sees(test("delivery"), "(tapes)")
	p.sees(test("way"), "paused")
	p.gone(test("try-now"), "")
	p.checksLooks("paused", script)
	p.click(test("back"), "")
	p.sees(row+" "+test("paused"), "paused: tapes")
	p.visit("#/settings")
	p.sees(test("switches"), "Not everything is on")
	p.sees(test("switch"), "tapes")
	p.checksLooks("settings-paused", script)
	archive.answers(nil)
	p.focuses(test("switch")+" button", "Resume")
	p.press(kb.Enter)
	p.sees(test("switches"), "Everything is on.")
	p.visit("#/actions/archive_item")
	p.gone(test("banner"), "Action paused")
}
