package relay_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// TestOrderBy checks that order_by reaches the queue: a delivery is not sent
// before the one with the same key that came first.
func TestOrderBy(t *testing.T) {
	var mutex sync.Mutex
	var got []string
	failed := map[string]bool{}
	target := &relaytest.Service{Server: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mutex.Lock()
		defer mutex.Unlock()
		id := r.URL.Query().Get("id")
		got = append(got, id)
		if id != "other" && !failed[id] {
			failed[id] = true
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))}
	t.Cleanup(target.Close)
	ordered := relaytest.Configuration(target, "/record")
	ordered.Actions[0].OrderBy = `body.job + 0`
	ordered.Actions[0].RetryInterval = &config.RetryInterval{First: config.Duration(time.Millisecond), Cap: config.Duration(time.Millisecond)}
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, ordered)
	var want []string
	for n := range 5 {
		id := fmt.Sprint(n)
		relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":"`+id+`","job":7,"status":"Approved"}`)
		want = append(want, id, id)
	}
	// For this one order_by fails: it has no order, and is sent all the same.
	relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":"other","job":"seven","status":"Approved"}`)
	processtest.WaitFor(t, "all to arrive", func() bool {
		mutex.Lock()
		defer mutex.Unlock()
		return len(got) == len(want)+1
	})
	got = slices.DeleteFunc(got, func(id string) bool { return id == "other" })
	if !slices.Equal(got, want) {
		t.Errorf("target got %s", strings.Join(got, " "))
	}
}

// TestExpires checks that a delivery which is too old is not sent.
func TestExpires(t *testing.T) {
	target := relaytest.NewService(t)
	late := relaytest.Configuration(target, "/record")
	late.Actions[0].Expires = config.Duration(time.Nanosecond)
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, late)
	id := relaytest.Post(t, runtime, generation, `{"event":"job_saved","id":1,"status":"Approved"}`)
	processtest.WaitFor(t, "the delivery to expire", func() bool {
		return relaytest.Summary(t, runtime, id).Deliveries[0].State == queue.Expired
	})
	if got := target.Got(); got != "" {
		t.Errorf("target got %s", got)
	}
}
