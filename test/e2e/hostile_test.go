package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// hostileWebhookKey is the key of the source shop.
const hostileWebhookKey = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hostileCaddyfile has every way in which a source can be set up, and an action
// that puts what comes in into every part of a request.
const hostileCaddyfile = `{
	%s
	event_relay {
		source icfm {
			auth api_key query key icfm-key
			timezone Europe/London
			field project ` + "`body.project_id ?? body.data.project.id`" + `
		}
		source pbx pbxware {
			auth bearer pbx-token
			auth basic pbx pa:ss
			auth api_key header X-Api-Key pbx-key
			auth api_key query api_key pbx-key
			auth path pbx-token
			dedupe 10m
		}
		source aircall {
			auth api_key body token aircall-token
			event call.hungup
			redact body.data caller_id
		}
		source erp {
			auth hmac X-Signature sha256 erp-secret {
				timestamp X-Time 3m
			}
			name_from ` + "`body.type ?? body.event`" + `
			event order_paid
			batch ` + "`body.data`" + `
			max_body 64KiB
			respond 202
		}
		source shop {
			auth standard_webhooks whsec_` + hostileWebhookKey + `
			dedupe 10m
			allow 127.0.0.0/8
			respond 204
		}
		parameter lan %s
		action record {
			post "{{lan}}/record/{{event}}/{{source}}"
			query id "{{body.id}}"
			query name "{{calling_name}}"
			header X-Id "{{body.id}}"
			body json <<JSON
				{"data": {{body.data}}, "name": "{{calling_name}}", "raw": "{{raw_body}}"}
				JSON
			concurrency 16
		}
		on icfm:job_* project_* answered_call ringing pbx:hangup call.hungup order_paid {
			do record
		}
		on incoming_call dmg_* {
			when ` + "`caller_id != \"anonymous\" or body.data.deep.er[3].id > 5 and duration < 10`" + `
			do record
		}
	}
}

http://:%s {
	bind 127.0.0.1
	event_relay /listen.php
	respond 404
}
`

// TestHostileRequests posts what attackers and broken senders do: nothing of it
// may bring an error of the server, a panic, memory that stays, or an end of
// deliveries.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	requests := 20_000
	if fullSize() {
		requests = 100_000
	}
	const connections = 16
	machine := newInstallation(t)
	var delivered, alive atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		delivered.Add(1)
		if r.URL.Query().Get("id") == "are you there?" {
			alive.Add(1)
		}
	}))
	t.Cleanup(service.Close)
	_, port, _ := net.SplitHostPort(machine.site)
	caddy := machine.start(fmt.Sprintf(hostileCaddyfile, machine.globals(), service.URL, port))

	attack := newAttack(t, machine.site)
	idle := func() bool { return string(bytes.TrimSpace(caddy.adminRaw("/event_relay/backlog"))) == "[]" }

	// What the process needs when everything has been used once: connections,
	// caches of the database, the pools of decoders. The requests are others.
	attack.run(t, 1_000_000_000, requests/20, connections)
	waitFor(t, "deliveries to end", idle)
	heapBefore, residentBefore := caddy.heap(), caddy.resident()

	began := time.Now()
	attack.answers = newTally()
	attack.run(t, 0, requests, connections)
	took := time.Since(began)
	waitFor(t, "deliveries to end", idle)

	answers := attack.answers.counts
	t.Logf("%d requests in %v; answers: %v; %d deliveries", requests, took.Round(time.Millisecond), attack.answers, delivered.Load())
	for status, count := range answers {
		if status >= 500 && status != http.StatusServiceUnavailable {
			t.Errorf("%d requests were answered %d, the first: %q", count, status, attack.answers.first[status])
		}
	}
	// The attack must have come through to every part of the relay.
	for _, status := range []int{200, 202, 204, 400, 401, 404, 405, 413} {
		if answers[status] < requests/5_000 {
			t.Errorf("only %d requests were answered %d", answers[status], status)
		}
	}
	if answers[200] < requests/5 || delivered.Load() < int64(requests/20) {
		t.Errorf("only %d requests were answered 200, and %d deliveries made", answers[200], delivered.Load())
	}
	if answers[503] > requests/20 {
		t.Errorf("%d requests were answered 503, the first: %q", answers[503], attack.answers.first[503])
	}
	if answers[0] > requests/1_000 {
		t.Errorf("%d requests had no answer, the first: %q", answers[0], attack.answers.first[0])
	}
	if log := caddy.Output.String(); strings.Contains(log, "panic") {
		t.Errorf("there was a panic: %s", log[strings.Index(log, "panic"):])
	}

	// The heap after a collection is what is held on to: it must be what it was,
	// but for what grows with the history in bounded lists. The resident memory
	// also has what the collector gives back in its own time and what SQLite
	// keeps of pages, so it gets more room; a leak of one request's body in ten
	// would be beyond it.
	waitFor(t, "the heap to shrink", func() bool { return caddy.heap() < heapBefore+16<<20 })
	waitFor(t, "resident memory to shrink", func() bool { caddy.heap(); return caddy.resident() < residentBefore*3/2+32<<20 })
	t.Logf("heap %d KiB before, %d KiB after; resident %d KiB before, %d KiB after",
		heapBefore>>10, caddy.heap()>>10, residentBefore>>10, caddy.resident()>>10)

	// What was stored can be looked at, and does not steer the terminal.
	output, err := machine.run("event-relay", "activity", "-n", "1000", "--address", machine.admin)
	if lines := strings.Count(output, "\n"); err != nil || strings.ContainsAny(output, "\x1b\x00\r") || lines < 10 {
		t.Errorf("activity: %v, %d lines", err, lines)
	}
	const last = `{"event":"job_saved","id":"are you there?"}`
	status, answer := postRaw(t, machine.site, fmt.Appendf(nil,
		"POST /listen.php?key=icfm-key HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n%s", len(last), last))
	if status != http.StatusOK {
		t.Errorf("afterwards an event is answered %d %s", status, answer)
	}
	waitFor(t, "the relay to deliver afterwards", func() bool { return alive.Load() > 0 })
	caddy.Stop()
}

// heap returns how many bytes of the process's heap are in use after a
// collection.
func (p *server) heap() int64 {
	p.t.Helper()
	found := heapInUse.FindSubmatch(p.adminRaw("/debug/pprof/heap?gc=1&debug=1"))
	if found == nil {
		p.t.Fatal("the heap profile does not tell what is in use")
	}
	n, _ := strconv.ParseInt(string(found[1]), 10, 64)
	return n
}

var heapInUse = regexp.MustCompile(`(?m)^# HeapInuse = (\d+)`)

// resident returns how many bytes of memory the process takes.
func (p *server) resident() int64 {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.ID()))
	if err != nil {
		return 0 // another system
	}
	var kib int64
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &kib)
	}
	return kib << 10
}

// attack posts requests that its generator makes.
type attack struct {
	address  string
	fixtures [][]byte
	webhook  []byte
	answers  *tally
}

func newAttack(t *testing.T, address string) *attack {
	t.Helper()
	a := &attack{address: address, answers: newTally()}
	fixtures := readFixtures(t)
	for _, name := range slices.Sorted(maps.Keys(fixtures)) {
		a.fixtures = append(a.fixtures, fixtures[name])
	}
	var err error
	if a.webhook, err = base64.StdEncoding.DecodeString(hostileWebhookKey); err != nil {
		t.Fatal(err)
	}
	return a
}

// run posts count requests, which are numbered from first on.
func (a *attack) run(t *testing.T, first, count, connections int) {
	t.Helper()
	var next atomic.Int64
	var posting sync.WaitGroup
	for range connections {
		posting.Go(func() {
			var line *wire
			for {
				n := int(next.Add(1)) - 1
				if n >= count {
					line.close()
					return
				}
				request := newHostility(a.fixtures, a.webhook, first+n).request()
				if line == nil || !request.framed {
					line.close()
					var err error
					if line, err = dial(a.address); err != nil {
						t.Errorf("request %d: %v", first+n, err)
						return
					}
				}
				if !a.post(line, request) {
					line.close()
					line = nil
				}
			}
		})
	}
	posting.Wait()
}

// post makes one request and reports whether the connection can take another.
func (a *attack) post(line *wire, request hostileRequest) (again bool) {
	_ = line.connection.SetDeadline(time.Now().Add(patience))
	written := make(chan struct{})
	go func() {
		// An answer may come before all is written, and end the writing.
		_, _ = line.connection.Write(request.text)
		if !request.framed && !request.leave {
			_ = line.connection.CloseWrite()
		}
		close(written)
	}()
	if request.leave {
		<-written
		return false
	}
	defer func() { <-written }()
	for {
		response, err := http.ReadResponse(line.reader, &http.Request{Method: request.method})
		if err != nil {
			if request.framed {
				a.answers.add(0, request.text)
			}
			line.close() // or the writing would wait for ever
			return false
		}
		if response.StatusCode == http.StatusContinue {
			continue
		}
		a.answers.add(statusOf(response), request.text)
		_, err = io.Copy(io.Discard, response.Body)
		if err != nil || response.Close {
			line.close()
			return false
		}
		if request.framed {
			return true
		}
	}
}

// statusOf returns the status of an answer. Go's HTTP server answers by itself,
// before any handler, to a protocol or transfer encoding that it does not know;
// that counts as 400.
func statusOf(response *http.Response) int {
	if response.Header.Get("Server") == "" && (response.StatusCode == http.StatusNotImplemented || response.StatusCode == http.StatusHTTPVersionNotSupported) {
		return http.StatusBadRequest
	}
	return response.StatusCode
}

// wire is a connection to the server.
type wire struct {
	connection *net.TCPConn
	reader     *bufio.Reader
}

func dial(address string) (*wire, error) {
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	tcp, isTCP := connection.(*net.TCPConn)
	if !isTCP {
		return nil, errors.New("not a TCP connection")
	}
	// Closed with a reset, a connection leaves its port at once.
	_ = tcp.SetLinger(0)
	return &wire{tcp, bufio.NewReader(tcp)}, nil
}

func (w *wire) close() {
	if w != nil {
		_ = w.connection.Close()
	}
}

// tally counts answers by their status; 0 stands for none, though the client
// waited.
type tally struct {
	mutex  sync.Mutex
	counts map[int]int
	first  map[int]string
}

func newTally() *tally {
	return &tally{counts: make(map[int]int), first: make(map[int]string)}
}

func (c *tally) add(status int, request []byte) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.counts[status]++; c.counts[status] == 1 {
		c.first[status] = string(request[:min(len(request), 2000)])
	}
}

func (c *tally) String() string {
	var text []string
	for _, status := range slices.Sorted(maps.Keys(c.counts)) {
		text = append(text, fmt.Sprintf("%d× %d", c.counts[status], status))
	}
	return strings.Join(text, ", ")
}
