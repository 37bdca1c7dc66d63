package relay

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// allocationBudgetFactor makes room for what a build allocates besides.
var allocationBudgetFactor = 1.0

// TestAllocationBudget bounds the objects that an event costs from its request to the
// end of its delivery, over all goroutines. What is collected is a quarter of the CPU
// time of an event: raise a number only for what is worth it.
func TestAllocationBudget(t *testing.T) {
	target, arrived := quietTarget(t)
	relay := openRuntime(t, t.TempDir())
	stack := new(Stack)
	generation, err := Compile(Configuration{Relay: config.Relay{
		Sources: []config.Source{{Name: "studio", Auth: []config.Credential{{Kind: auth.APIKey, In: "query", Name: "key", Values: []string{"k"}}}, Events: []config.EventType{{Name: "job_saved"}}}},
		Actions: []config.Action{{Name: "forward", Method: "POST", URL: "http://" + target + "/events", Concurrency: 16,
			Body: &config.Body{Kind: config.BodyJSON, Text: `{"id": "{{body.id}}", "project": {{body.project.id}}, "status": "{{body.status}}"}`}}},
		Rules: []config.Rule{{Place: "Caddyfile:1", Events: []string{"job_saved"}, When: []string{`body.status == "Approved"`}, Do: []string{"forward"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	stack.Push(relay, generation)
	const events = 500
	for _, c := range []struct {
		status string
		budget float64
		// arrives says that each event leads to a request.
		arrives bool
	}{{"Approved", 76, true}, {"Pencil", 36, false}} {
		text := []byte(`{"event":"job_saved","id":"1","status":"` + c.status + `","project":{"id":48213,"name":"Flight 2","client":"Northlight"},"user":"producer1","notes":"none"}`)
		body := bytes.NewReader(text)
		request := httptest.NewRequest("POST", "/listen?key=k", nil)
		request.Header.Set("Content-Type", "application/json")
		request.Body, request.ContentLength = io.NopCloser(body), int64(len(text))
		post := func(n int) {
			before := arrived.Load()
			for range n {
				body.Reset(text)
				if _, err := stack.Ingest(generation, request, receive.Origin{Mount: "/listen"}); err != nil {
					t.Fatal(err)
				}
			}
			if c.arrives {
				processtest.WaitFor(t, "all requests to arrive", func() bool { return arrived.Load() == before+int64(n) })
			}
		}
		post(100) // fills pools, caches and connections
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		post(events)
		runtime.ReadMemStats(&after)
		each := float64(after.Mallocs-before.Mallocs) / events
		t.Logf("%s: %.1f objects, %.0f bytes", c.status, each, float64(after.TotalAlloc-before.TotalAlloc)/events)
		if budget := c.budget * allocationBudgetFactor; each > budget {
			t.Errorf("an event that is %s costs %.1f objects, more than %.0f", c.status, each, budget)
		}
	}
}

// quietTarget starts a target that allocates next to nothing for a request, and counts
// them.
func quietTarget(t *testing.T) (address string, arrived *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	arrived = new(atomic.Int64)
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				reader := bufio.NewReader(connection)
				// The body is an object of one line without an end: it ends with a brace.
				for {
					if _, err := reader.ReadSlice('}'); err != nil {
						return
					}
					arrived.Add(1)
					if _, err := connection.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String(), arrived
}
