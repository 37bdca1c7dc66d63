package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// refusedCaddyfile has a site with error routes and one without, and takes
// HTTP/2 without TLS. The log has all levels, but not what handle_path logs of
// each request.
func refusedCaddyfile(machine *installation, plain, settings string) string {
	return fmt.Sprintf(`{
	%s
	log {
		level DEBUG
		exclude http.handlers.rewrite
	}
	servers {
		protocols h1 h2c
	}
	event_relay {
		%s
		source icfm {
			auth api_key query key icfm-key-of-the-test
			max_body 1KiB
		}
	}
}

http://%s {
	handle_path /prefix/* {
		event_relay /listen.php
	}
	handle_errors {
		header X-Path {path}
		respond "sorry, {err.status_code}"
	}
}

http://%s {
	event_relay /listen.php
}
`, machine.globals(), settings, machine.site, plain)
}

// TestRefusalsAreAnsweredBySite sends what is refused to a site with
// handle_errors and to one without. Neither leaves a URL in any line of the log.
func TestRefusalsAreAnsweredBySite(t *testing.T) {
	t.Parallel()
	machine, plain := newInstallation(t), freeAddress(t)
	caddy := machine.start(refusedCaddyfile(machine, plain, ""))
	const valid, wrong = "/listen.php?key=icfm-key-of-the-test", "/listen.php?key=wrong-key-of-the-test"
	send := func(method, url, body string) *http.Response {
		t.Helper()
		request, err := http.NewRequest(method, "http://"+url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := secretClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		response.Body = io.NopCloser(bytes.NewReader(text))
		return response
	}
	check := func(method, path, body string, status int, header string) {
		t.Helper()
		for site, routes := range map[string]bool{machine.site + "/prefix": true, plain: false} {
			response := send(method, site+path, body)
			text, _ := io.ReadAll(response.Body)
			want, at := "", ""
			if routes && method != http.MethodHead {
				want = fmt.Sprintf("sorry, %d", status)
			}
			if routes {
				at = "/prefix/listen.php" // as it came, for matchers
			}
			if response.StatusCode != status || string(text) != want || response.Header.Get("X-Path") != at {
				t.Errorf("%s %s is answered %d %q with X-Path %q, want %d %q and %q",
					method, path, response.StatusCode, text, response.Header.Get("X-Path"), status, want, at)
			}
			if header != "" && response.Header.Get(header) == "" {
				t.Errorf("%s %s is answered without %s", method, path, header)
			}
		}
	}
	check(http.MethodPost, wrong, "{}", http.StatusUnauthorized, "")
	check(http.MethodHead, wrong, "", http.StatusUnauthorized, "")
	check(http.MethodOptions, valid, "", http.StatusMethodNotAllowed, "Allow")
	check(http.MethodPost, valid, strings.Repeat("x", 2000), http.StatusRequestEntityTooLarge, "")
	if status, answer := caddy.load(refusedCaddyfile(machine, plain, "min_free 100PiB")); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	waitFor(t, "the new configuration to refuse events", func() bool {
		return send(http.MethodPost, plain+valid, `{"event":"job_saved"}`).StatusCode == http.StatusServiceUnavailable
	})
	check(http.MethodPost, valid, `{"event":"job_saved"}`, http.StatusServiceUnavailable, "Retry-After")

	log := caddy.Output.String()
	for _, text := range []string{"icfm-key-of-the-test", "wrong-key-of-the-test"} {
		if at := strings.Index(log, text); at >= 0 {
			t.Errorf("the log holds a key: …%s…", log[max(0, at-300):at+50])
		}
	}
	if n := strings.Count(log, `"msg":"refused a request"`); n < 10 {
		t.Errorf("the log has %d lines of refusals, want one for each", n)
	}
}

// TestSendersThatLeaveAreNoErrors opens streams of HTTP/2 and resets them, some
// in the middle of their body, and closes connections. The sender's fault is not
// an error of the server.
func TestSendersThatLeaveAreNoErrors(t *testing.T) {
	t.Parallel()
	machine, plain := newInstallation(t), freeAddress(t)
	caddy := machine.start(refusedCaddyfile(machine, plain, ""))
	const connections, streams = 8, 200
	for n := range connections {
		resetStreams(t, plain, streams, n%2 == 0)
	}
	count := func() float64 {
		return caddy.scrape(machine.admin)[`caddy_event_relay_rejected_requests_total{reason="gone"}`]
	}
	waitFor(t, "senders that left to be counted", func() bool { return count() > connections*streams/8 })
	caddy.Stop()
	log := caddy.Output.String()
	for _, line := range strings.Split(log, "\n") {
		if strings.Contains(line, `"level":"error"`) || strings.Contains(line, "icfm-key-of-the-test") {
			t.Fatalf("the log has the line %s", line)
		}
	}
}

// resetStreams opens streams on a connection of its own. Half of them end with
// the header, the others lack the rest of their body. It resets them all, or
// only closes the connection.
func resetStreams(t *testing.T, address string, streams int, reset bool) {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	go func() { _, _ = io.Copy(io.Discard, connection) }()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = io.WriteString(connection, http2.ClientPreface)
	must(err)
	framer := http2.NewFramer(connection, nil)
	must(framer.WriteSettings())
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := range streams {
		id := uint32(2*i + 1)
		whole := i%2 == 0
		block.Reset()
		for _, field := range [][2]string{
			{":method", "POST"}, {":scheme", "http"}, {":authority", address},
			{":path", "/listen.php/job_saved?key=icfm-key-of-the-test"},
		} {
			must(encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
		}
		must(framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: whole, EndHeaders: true}))
		if !whole {
			must(framer.WriteData(id, false, []byte(`{"id":`)))
		}
		if reset {
			must(framer.WriteRSTStream(id, http2.ErrCodeCancel))
		}
	}
}
