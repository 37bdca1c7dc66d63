package forward

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// workbench is a dispatcher with what stands around it.
type workbench struct {
	*Dispatcher
	queue *memory
	clock *clock
	log   *bytes.Buffer
}

func newWorkbench(t testing.TB) *workbench {
	t.Helper()
	w := &workbench{clock: newClock(), log: new(bytes.Buffer)}
	w.queue = newMemory(w.clock.Now)
	sender := send.NewSender(mustTargets(t), nil)
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}), zapcore.Lock(zapcore.AddSync(w.log)), zap.InfoLevel)
	w.Dispatcher = New(w.queue, sender, Options{Logger: zap.New(core), Now: w.clock.Now})
	w.timer = w.clock.timer
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = w.Stop(ended)
		sender.Close()
	})
	return w
}

// advance moves the clock, also for the queue.
func (w *workbench) advance(d time.Duration) {
	w.clock.advance(d)
	w.queue.poke()
}

// settledAs waits until a delivery is in a state and returns it.
func (w *workbench) settledAs(t testing.TB, id string, state queue.State) remembered {
	t.Helper()
	eventually(t, fmt.Sprintf("delivery becomes %s", state), func() bool { r := w.queue.get(id); return r.state == state && !r.leased })
	return w.queue.get(id)
}

// attempted waits until a delivery has had a number of attempts.
func (w *workbench) attempted(t testing.TB, id string, n int) remembered {
	t.Helper()
	eventually(t, fmt.Sprintf("attempt %d", n), func() bool { r := w.queue.get(id); return len(r.attempts) == n && !r.leased })
	return w.queue.get(id)
}

// serve starts a target.
func serve(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	target := httptest.NewServer(handler)
	t.Cleanup(target.Close)
	return target.URL
}

func TestDelivers(t *testing.T) {
	w := newWorkbench(t)
	var keys sync.Map
	url := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		keys.Store(r.Header.Get("Idempotency-Key"), r.URL.Path)
		_, _ = io.WriteString(rw, "done")
	})
	var told atomic.Int64
	w.tell = func(o Outcome) {
		if o.State == queue.Delivered && o.Action == "test" && o.Status == 200 && o.Attempts == 1 && o.Event != nil {
			told.Add(1)
		}
	}
	ids := w.queue.add("test", eventtest.With(map[string]any{"id": int64(7)}), 300)
	w.Use([]*Prepared{prepare(t, config.Action{URL: url + "/{{body.id}}?x={{body.none}}"})})
	for _, id := range ids {
		r := w.settledAs(t, id, queue.Delivered)
		a := r.attempts[0]
		if a.Status != 200 || a.Response != "done" || a.Error != "" || !strings.HasPrefix(a.Request, "POST "+url+"/7?x= HTTP/1.1\n") || len(a.Empty) != 1 || !a.Began.Equal(w.clock.Now()) {
			t.Fatalf("attempt is %+v", a)
		}
		if path, ok := keys.Load(id); !ok || path != "/7" {
			t.Errorf("%s did not arrive", id)
		}
	}
	eventually(t, "the hook is told", func() bool { return told.Load() == 300 })
	if w.log.Len() > 0 {
		t.Errorf("log: %s", w.log)
	}
}

// What cannot be sent fails for good and is never sent.
func TestEndsWithoutSending(t *testing.T) {
	w := newWorkbench(t)
	var count atomic.Int64
	url := serve(t, func(http.ResponseWriter, *http.Request) { count.Add(1) })
	w.Use([]*Prepared{prepare(t, config.Action{URL: url + "/{{body.number}}"})})

	r := w.settledAs(t, w.queue.add("test", eventtest.With(nil), 1)[0], queue.Failed)
	if want := "url: {{body.number}} is absent or empty, and the path needs a value there; not sent"; r.attempts[0].Error != want {
		t.Errorf("absent: %q", r.attempts[0].Error)
	}
	r = w.settledAs(t, w.queue.add("test", nil, 1)[0], queue.Failed)
	if want := "the stored event cannot be read; not sent"; r.attempts[0].Error != want {
		t.Errorf("no event: %q", r.attempts[0].Error)
	}
	w.queue.mu.Lock()
	late := &remembered{delivery: queue.Delivery{ID: "late", Action: "test", Expires: w.clock.Now()}, event: eventtest.With(map[string]any{"id": "7"}), state: queue.Pending}
	w.queue.byID["late"], w.queue.waiting = late, append(w.queue.waiting, late)
	w.queue.wake()
	w.queue.mu.Unlock()
	if r = w.settledAs(t, "late", queue.Expired); len(r.attempts) != 0 {
		t.Errorf("expired: %+v", r.attempts)
	}
	if count.Load() != 0 {
		t.Errorf("%d requests were sent", count.Load())
	}
}

// An attempt that brings the code down fails its delivery and nothing else.
func TestPanic(t *testing.T) {
	w := newWorkbench(t)
	broken := prepare(t, config.Action{URL: serve(t, func(http.ResponseWriter, *http.Request) {})})
	broken.success = nil
	w.Use([]*Prepared{broken})
	for range 3 {
		r := w.settledAs(t, w.queue.add("test", eventtest.With(nil), 1)[0], queue.Failed)
		if !strings.HasPrefix(r.attempts[0].Error, "the relay itself failed") {
			t.Error(r.attempts[0].Error)
		}
	}
}

// A lease that would end before its attempt is extended, and when it is lost
// nothing is sent.
func TestLeases(t *testing.T) {
	w := newWorkbench(t)
	var count atomic.Int64
	url := serve(t, func(http.ResponseWriter, *http.Request) { count.Add(1) })
	p := prepare(t, config.Action{URL: url, Timeout: config.Duration(10 * time.Minute)})
	w.queue.lease = 30 * time.Second
	w.Use([]*Prepared{p})
	w.settledAs(t, w.queue.add("test", eventtest.With(nil), 1)[0], queue.Delivered)
	if len(w.queue.extended) != 1 || w.queue.extended[0] < 10*time.Minute {
		t.Errorf("extended by %s", w.queue.extended)
	}
	w.queue.mu.Lock()
	w.queue.loseLeases = true
	w.queue.mu.Unlock()
	w.queue.add("test", eventtest.With(nil), 1)
	eventually(t, "the lease is found lost", func() bool { w.queue.mu.Lock(); defer w.queue.mu.Unlock(); return len(w.queue.extended) == 2 })
	if err := w.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if count.Load() != 1 {
		t.Errorf("%d requests were sent", count.Load())
	}
}

// A queue that cannot give anything for a while is asked again.
func TestTakeFails(t *testing.T) {
	w := newWorkbench(t)
	w.queue.failTakes = 1
	url := serve(t, func(http.ResponseWriter, *http.Request) {})
	id := w.queue.add("test", eventtest.With(nil), 1)[0]
	w.Use([]*Prepared{prepare(t, config.Action{URL: url})})
	eventually(t, "the worker pauses", func() bool { return w.clock.waiting() == 1 })
	w.advance(takeAgain)
	w.settledAs(t, id, queue.Delivered)
}

// A queue that closes ends the taking.
func TestQueueCloses(t *testing.T) {
	w := newWorkbench(t)
	w.Use([]*Prepared{prepare(t, config.Action{URL: "http://127.0.0.1/"})})
	eventually(t, "the worker takes", func() bool { return w.queue.idle("test") == 1 })
	_ = w.queue.Close()
	eventually(t, "the worker takes no more", func() bool { return w.queue.idle("test") == 0 })
	if err := w.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

// benchQueue gives the same delivery for ever.
type benchQueue struct {
	*memory
	left, done atomic.Int64
	event      *event.Event
	end        chan struct{}
}

func (q *benchQueue) Take(ctx context.Context, action string, n int) ([]queue.Lease, error) {
	left := q.left.Add(-int64(n))
	if left < 0 {
		n = max(0, n+int(left))
	}
	if n == 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	leases := make([]queue.Lease, n)
	for i := range leases {
		leases[i] = queue.Lease{Token: i, Event: q.event, Expires: time.Now().Add(time.Minute), Delivery: queue.Delivery{ID: testDelivery, Action: action}}
	}
	return leases, nil
}

func (q *benchQueue) Settle(queue.Token, queue.Settlement) error {
	if q.done.Add(-1) == 0 {
		close(q.end)
	}
	return nil
}

func BenchmarkDispatch(b *testing.B) {
	url := serve(b, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	for _, concurrency := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("concurrency %d", concurrency), func(b *testing.B) {
			action := config.Action{
				URL: url + "/folders/{{body.project.id}}", Concurrency: concurrency, Query: []config.NameValue{{Name: "number", Value: "{{caller_id}}"}, {Name: "dry_run", Value: "no"}},
				Headers: []config.NameValue{{Name: "X-Project", Value: "{{body.project.id}}"}, {Name: "Authorization", Value: "Bearer {{studio_token}}"}},
				Body:    &config.Body{Kind: config.BodyJSON, Text: `{"project": {{body.project.id}}, "name": "{{body.project.name}}", "by": "{{calling_name}}"}`},
			}
			p := prepare(b, action, config.Parameter{Name: "studio_token", Value: "{env.s3cret}"})
			sender := send.NewSender(mustTargets(b), nil)
			defer sender.Close()
			q := &benchQueue{memory: newMemory(time.Now), event: eventtest.With(map[string]any{"project": map[string]any{"id": int64(4711), "name": "Spring campaign \"Blüte\""}}), end: make(chan struct{})}
			q.left.Store(int64(b.N))
			q.done.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			d := New(q, sender, Options{})
			d.Use([]*Prepared{p})
			<-q.end
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
			_ = d.Stop(context.Background())
		})
	}
}
