package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// consoleCaddyfile has the console at a path of a site that takes any Host, so
// that the guard is all that stands before it.
func consoleCaddyfile(machine *installation, comment string) string {
	_, port, _ := strings.Cut(machine.site, ":")
	return fmt.Sprintf(`{
	%s
	event_relay {
		source icfm {
			auth api_key query key icfm-key
		}
	}
}

http://:%s {
	bind 127.0.0.1
	event_relay /listen.php
	event_relay_console /console
	header X-Loaded %q
	respond 404
}
`, machine.globals(), port, comment)
}

// ask sends a request and returns the status and the body.
func ask(t *testing.T, method, url, host, body string, header ...string) (int, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		request.Host = host
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

const (
	switchAll = `{"kind":"all","off":true}`
	evil      = "http://evil.example"
)

// TestConsole opens the console of a running Caddy as its page does, and as
// others would like to.
func TestConsole(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	caddy := machine.start(consoleCaddyfile(machine, "first"))
	site := "http://" + machine.site
	for _, test := range []struct {
		name, method, path, host, body string
		header                         []string
		status                         int
		says                           string
	}{
		{"the mount", "GET", "/console", "", "", nil, 302, ""},
		{"the page", "GET", "/console/", "", "", nil, 200, "<title>"},
		{"its API", "GET", "/console/api/activity", "", "", nil, 200, `"events":[]`},
		{"wrong input", "GET", "/console/api/activity?since=soon", "", "", nil, 400, `"field":"since"`},
		{"localhost", "GET", "/console/api/activity", "localhost:8090", "", nil, 200, `"events":[]`},
		{"DNS rebinding", "GET", "/console/api/activity", "evil.example", "", nil, 403, "hosts evil.example"},
		{"a proxy that is not trusted", "GET", "/console/", "", "", []string{"X-Forwarded-For", "203.0.113.9"}, 403, "trusted_proxies"},
		{"another site reads", "GET", "/console/api/activity", "", "", []string{"Sec-Fetch-Site", "cross-site"}, 403, "another page"},
		{"another site switches", "POST", "/console/api/switch", "", switchAll, []string{"Origin", evil, "Content-Type", "application/json"}, 403, "another page"},
		{"a form switches", "POST", "/console/api/switch", "", switchAll, []string{"Origin", site, "Content-Type", "text/plain"}, 415, "application/json"},
		{"a program switches", "POST", "/console/api/switch", "", switchAll, []string{"Content-Type", "application/json"}, 403, "admin API"},
		{"the page switches", "POST", "/console/api/switch", "", switchAll, []string{"Origin", site, "Content-Type", "application/json"}, 200, `"kind":"all"`},
		{"merging is not for pages", "POST", "/console/api/merge", "", "x", []string{"Origin", site}, 404, ""},
		{"beside the mount", "GET", "/consoles", "", "", nil, 404, ""},
	} {
		status, answer := ask(t, test.method, site+test.path, test.host, test.body, test.header...)
		if status != test.status || !strings.Contains(answer, test.says) {
			t.Errorf("%s: answered with %d %s, want %d that says %q", test.name, status, answer, test.status, test.says)
		}
	}
	caddy.Stop()
}

// TestAdminAPIRefusesOtherSites: Caddy guards its admin endpoint itself, and the
// relay's part of it with the rest. What it lets through because nothing says
// that it comes from a browser must be JSON.
func TestAdminAPIRefusesOtherSites(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	caddy := machine.start(consoleCaddyfile(machine, "first"))
	admin := "http://" + machine.admin
	for _, test := range []struct {
		name, method, path, host, body string
		header                         []string
		status                         int
	}{
		{"a program", "GET", "/event_relay/activity", "", "", nil, 200},
		{"DNS rebinding", "GET", "/event_relay/activity", "evil.example", "", nil, 403},
		{"another site reads", "GET", "/event_relay/activity", "", "", []string{"Origin", evil, "Sec-Fetch-Mode", "cors"}, 403},
		{"an image of another site", "GET", "/event_relay/activity", "", "", []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Site", "cross-site"}, 400},
		{"another site switches", "POST", "/event_relay/switch", "", switchAll, []string{"Origin", evil, "Content-Type", "application/json"}, 403},
		{"a form of another site", "POST", "/event_relay/switch", "", switchAll, []string{"Origin", evil, "Sec-Fetch-Mode", "navigate", "Content-Type", "text/plain"}, 403},
		{"a form of a sandbox", "POST", "/event_relay/switch", "", switchAll, []string{"Origin", "null", "Content-Type", "text/plain"}, 400},
		{"a form without an origin", "POST", "/event_relay/switch", "", switchAll, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"a program switches", "POST", "/event_relay/switch", "", switchAll, []string{"Content-Type", "application/json"}, 200},
		{"a wrong method", "GET", "/event_relay/switch", "", "", nil, 405},
		{"nothing", "GET", "/event_relay/nothing", "", "", nil, 404},
	} {
		status, answer := ask(t, test.method, admin+test.path, test.host, test.body, test.header...)
		if status != test.status || status >= 400 && !strings.HasPrefix(answer, `{"error":"`) {
			t.Errorf("%s: answered with %d %s, want %d", test.name, status, answer, test.status)
		}
	}
	caddy.Stop()
}

// view is a live view that is open.
type view struct {
	*bufio.Scanner
	closed chan struct{}
}

func openView(t *testing.T, url string) *view {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	v := &view{Scanner: bufio.NewScanner(response.Body), closed: make(chan struct{})}
	if response.StatusCode != http.StatusOK || !v.Scan() || v.Text() != "retry: 2000" {
		t.Fatalf("%s is answered with %d %s", url, response.StatusCode, v.Text())
	}
	return v
}

// waitForEnd reads a view to its end.
func (v *view) waitForEnd(t *testing.T, why string) {
	t.Helper()
	go func() {
		for v.Scan() {
		}
		close(v.closed)
	}()
	waitFor(t, "a live view to end "+why, func() bool {
		select {
		case <-v.closed:
			return true
		default:
			return false
		}
	})
}

// TestLiveViewsEndWithTheirConfiguration: Caddy waits for its requests when it
// stops, and these would go on for ever.
func TestLiveViewsEndWithTheirConfiguration(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	caddy := machine.start(consoleCaddyfile(machine, "first"))
	urls := []string{"http://" + machine.site + "/console/api/live", "http://" + machine.admin + "/event_relay/live"}
	for _, url := range urls {
		v := openView(t, url)
		if status, answer := ask(t, "POST", "http://"+machine.site+"/listen.php?key=icfm-key", "", `{"event":"job_saved"}`); status != http.StatusOK {
			t.Fatalf("an event is answered with %d %s", status, answer)
		}
		for v.Scan() && v.Text() != "event: batch" {
		}
		if !v.Scan() || !strings.HasPrefix(v.Text(), `data: {"events":[{"id":"`) {
			t.Fatalf("%s does not show the event, but %q", url, v.Text())
		}
	}
	var views []*view
	for _, url := range urls {
		views = append(views, openView(t, url))
	}
	if status, answer := caddy.load(consoleCaddyfile(machine, "second")); status != http.StatusOK {
		t.Fatalf("the reload is answered with %d %s", status, answer)
	}
	for _, v := range views {
		v.waitForEnd(t, "after a reload")
	}

	views = nil
	for _, url := range urls {
		views = append(views, openView(t, url))
	}
	caddy.Stop()
	for _, v := range views {
		v.waitForEnd(t, "at the exit")
	}
}

// TestExitEndsLongCalls: Caddy waits for its requests, and systemd kills what
// takes longer than 5s to exit.
func TestExitEndsLongCalls(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	caddy := machine.start(consoleCaddyfile(machine, "only"))
	events := "[" + strings.Repeat(`{"event":"job_saved"},`, 1999) + `{"event":"job_saved"}]`
	for range 10 {
		if status, answer := ask(t, "POST", "http://"+machine.site+"/listen.php?key=icfm-key", "", events); status != http.StatusOK {
			t.Fatalf("events are answered with %d %s", status, answer)
		}
	}
	// Each event takes milliseconds to decide, all of them more than half a minute: the
	// call must not end before the exit, however fast the machine is.
	slow := strings.Replace(consoleCaddyfile(machine, "slow"), "\tevent_relay {\n", "\tevent_relay {\n\t\ton * {\n\t\t\twhen \"any(1..10000, # == body.number)\"\n\t\t\tignore\n\t\t}\n", 1)
	if status, answer := caddy.load(slow); status != http.StatusOK {
		t.Fatalf("loading a slow rule is answered with %d %s", status, answer)
	}
	request, err := http.NewRequest("POST", "http://"+machine.site+"/console/api/decide", strings.NewReader(`{"filter":{},"dry_run":true}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Origin", "http://"+machine.site)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	if !lines.Scan() || !strings.HasPrefix(lines.Text(), `{"progress":`) {
		t.Fatalf("deciding again is answered with %d %s", response.StatusCode, lines.Text())
	}
	caddy.Signal(syscall.SIGTERM)
	last := ""
	for lines.Scan() {
		last = lines.Text()
	}
	<-caddy.Exited
	if lines.Err() != nil || !strings.HasPrefix(last, `{"error":"the server is exiting`) {
		t.Errorf("at the exit it ends with %q (%v)", last, lines.Err())
	}
}
