package relay_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// decidedBy is a generation whose verdicts name a place, so that it can be told
// which generation has taken an event.
func decidedBy(t *testing.T, place string) *relay.Generation {
	t.Helper()
	configuration := relaytest.Configuration(relaytest.NewService(t), "/record")
	configuration.Rules[0].Place = place
	return relaytest.Compile(t, configuration)
}

func requestWith(ctx context.Context, body io.Reader) *http.Request {
	request := httptest.NewRequestWithContext(ctx, http.MethodPost, "/listen.php?key=icfm-key", body)
	request.Header.Set("Content-Type", "application/json")
	return request
}

// TestIngestAtAnyTimeOfAGeneration is about requests that come to a generation
// before it is in service and after it was removed.
func TestIngestAtAnyTimeOfAGeneration(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	var stack relay.Stack
	first, failing, tried, second := decidedBy(t, "first"), decidedBy(t, "failing"), decidedBy(t, "tried"), decidedBy(t, "second")
	goesTo := func(when string, generation *relay.Generation, want string) {
		t.Helper()
		received, err := stack.Ingest(generation, requestWith(t.Context(), strings.NewReader(relaytest.Approved)), receive.Origin{Mount: "/listen.php"})
		if err != nil {
			t.Errorf("%s: %v", when, err)
			return
		}
		if got := relaytest.Summary(t, runtime, received.Events[0].ID).Verdict.Rule; got != want {
			t.Errorf("%s, the event is taken by %s, want %s", when, got, want)
		}
	}
	brief, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := stack.Ingest(first, requestWith(brief, strings.NewReader(relaytest.Approved)), receive.Origin{}); !errors.Is(err, receive.ErrSenderGone) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("before a generation is in service a request gets %v; it must wait", err)
	}
	waited := make(chan error)
	go func() {
		_, err := stack.Ingest(first, requestWith(t.Context(), strings.NewReader(relaytest.Approved)), receive.Origin{Mount: "/listen.php"})
		waited <- err
	}()
	stack.Push(runtime, first)
	if err := <-waited; err != nil {
		t.Errorf("a request that waited: %v", err)
	}
	goesTo("in service", first, "first")

	stack.Push(runtime, failing)
	goesTo("in service, with another above", first, "first")
	stack.Remove(failing)
	stack.Remove(failing)
	goesTo("removed, with another in service", failing, "first")
	stack.Remove(tried)
	goesTo("never in service", tried, "first")

	stack.Push(runtime, second)
	stack.Remove(first)
	goesTo("after a reload", first, "second")
	stack.Remove(second)
	goesTo("while the process exits", second, "second")
	if _, err := stack.Ingest(tried, requestWith(t.Context(), strings.NewReader(relaytest.Approved)), receive.Origin{}); err == nil {
		t.Error("a generation that was never in service took an event")
	}
	if err := runtime.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := stack.Ingest(second, requestWith(t.Context(), strings.NewReader(relaytest.Approved)), receive.Origin{Mount: "/listen.php"}); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("with a closed queue a request gets %v", err)
	}
	if list := runtime.Rejections(); len(list) != 1 || list[0].Status != http.StatusServiceUnavailable {
		t.Errorf("listed are %+v", list)
	}
}

// TestIngestOverAReloadToAnotherQueue reads a request while the relay is given
// another queue: the event must not be left behind in the old one.
func TestIngestOverAReloadToAnotherQueue(t *testing.T) {
	for _, closed := range []bool{false, true} {
		old, next := relaytest.Open(t, t.TempDir()), relaytest.Open(t, t.TempDir())
		var stack relay.Stack
		first, second := decidedBy(t, "first"), decidedBy(t, "second")
		stack.Push(old, first)
		body, send := io.Pipe()
		type outcome struct {
			received *receive.Received
			err      error
		}
		outcomes := make(chan outcome)
		go func() {
			received, err := stack.Ingest(first, requestWith(t.Context(), body), receive.Origin{Mount: "/listen.php"})
			outcomes <- outcome{received, err}
		}()
		if _, err := send.Write([]byte(relaytest.Approved[:10])); err != nil {
			t.Fatal(err)
		}
		stack.Push(next, second)
		stack.Remove(first)
		if closed {
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := send.Write([]byte(relaytest.Approved[10:])); err != nil {
			t.Fatal(err)
		}
		send.Close()
		got := <-outcomes
		if got.err != nil {
			t.Fatalf("old queue closed %v: %v", closed, got.err)
		}
		if rule := relaytest.Summary(t, next, got.received.Events[0].ID).Verdict.Rule; rule != "second" {
			t.Errorf("old queue closed %v: the event is taken by %s", closed, rule)
		}
	}
}
