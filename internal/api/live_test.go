package api

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// streaming serves a stream of batches, to be read over a connection. It closes
// ended once the server is done with it.
type streaming struct {
	*httptest.Server
	batches chan inspect.LiveBatch
	ending  chan struct{}
	ended   chan struct{}
}

func newStreaming(t *testing.T, keepAlive time.Duration) *streaming {
	s := &streaming{batches: make(chan inspect.LiveBatch), ending: make(chan struct{}), ended: make(chan struct{})}
	api := NewAPI(nil)
	api.keepAlive = keepAlive
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Running: &Running{Ending: s.ending}, api: api, w: w, r: r}
		c.stream(s.batches)
		close(s.ended)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *streaming) open(t *testing.T, ctx context.Context) *bufio.Reader {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "X-Accel-Buffering": "no", "Cache-Control": "no-store"} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	return bufio.NewReader(response.Body)
}

func wantLine(t *testing.T, stream *bufio.Reader, want string) {
	t.Helper()
	line, err := stream.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, want) {
		t.Fatalf("the stream goes on with %q (%v), want %q", line, err, want)
	}
}

func (s *streaming) waitForEnd(t *testing.T) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the stream does not end")
	}
}

func TestLiveViewShowsBatches(t *testing.T) {
	s := newStreaming(t, time.Hour)
	stream := s.open(t, t.Context())
	wantLine(t, stream, "retry: 2000")
	wantLine(t, stream, "\n")
	s.batches <- inspect.LiveBatch{Events: []queue.Summary{{ID: "1", Event: "line\nbreak"}}}
	wantLine(t, stream, "event: batch\n")
	wantLine(t, stream, `data: {"events":[{"id":"1","source":"","event":"line\nbreak"`)
	wantLine(t, stream, "\n")
	s.batches <- inspect.LiveBatch{Missed: true}
	wantLine(t, stream, "event: batch\n")
	wantLine(t, stream, `data: {"events":[],"missed":true}`)
	wantLine(t, stream, "\n")
	close(s.batches)
	if _, err := stream.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("when the relay ends its view, the stream ends with %v", err)
	}
	s.waitForEnd(t)
}

func TestLiveViewIsKeptAlive(t *testing.T) {
	stream := newStreaming(t, time.Millisecond).open(t, t.Context())
	wantLine(t, stream, "retry:")
	for range 3 {
		wantLine(t, stream, "\n")
		wantLine(t, stream, ":")
	}
}

func TestLiveViewEndsWithItsConfiguration(t *testing.T) {
	s := newStreaming(t, time.Hour)
	stream := s.open(t, t.Context())
	wantLine(t, stream, "retry:")
	close(s.ending)
	s.waitForEnd(t)
}

func TestLiveViewEndsWithItsReader(t *testing.T) {
	s := newStreaming(t, time.Hour)
	ctx, leave := context.WithCancel(t.Context())
	wantLine(t, s.open(t, ctx), "retry:")
	leave()
	s.waitForEnd(t)
}

// stuck is a reader that takes nothing, as far as the answer can tell.
type stuck struct {
	http.ResponseWriter
	deadline time.Time
}

func (s *stuck) SetWriteDeadline(at time.Time) error { s.deadline = at; return nil }

func (s *stuck) Write(p []byte) (int, error) {
	if s.deadline.IsZero() || s.deadline.After(time.Now().Add(2*writeTime)) {
		panic("this write would never end")
	}
	return 0, errors.New("i/o timeout")
}

func TestLiveViewDoesNotWaitForTheDead(t *testing.T) {
	c := &call{Running: new(Running), api: NewAPI(nil), r: httptest.NewRequest(http.MethodGet, "/live", nil)}
	c.w = &stuck{ResponseWriter: httptest.NewRecorder()}
	c.stream(make(chan inspect.LiveBatch))
}

func TestLiveViewsAreBounded(t *testing.T) {
	b := newBench(t)
	for range maxViews {
		b.api.views <- struct{}{}
	}
	checkFailure(t, "one view more", b.do(http.MethodGet, "live", ""), http.StatusServiceUnavailable, "", "64 live views")
	<-b.api.views
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	answer := httptest.NewRecorder()
	b.api.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/live", nil).WithContext(ctx))
	if answer.Code != http.StatusOK || len(b.api.views) != maxViews-1 {
		t.Errorf("a view after another has ended is answered with %d %s, and %d are counted", answer.Code, answer.Body, len(b.api.views))
	}
}

func TestLongCallsTellHowFarTheyAre(t *testing.T) {
	begun := func(progress func(replay.Progress)) { progress(replay.Progress{Done: 1, Total: 9}) }
	for name, test := range map[string]struct {
		do     func(context.Context, func(replay.Progress)) (any, error)
		status int
		lines  string
	}{
		"a result": {
			func(_ context.Context, progress func(replay.Progress)) (any, error) {
				begun(progress)
				return Merged{Events: 9}, nil
			},
			http.StatusOK, `{"progress":{"done":1,"total":9}}` + "\n" + `{"result":{"events":9}}` + "\n",
		},
		"an error on the way": {
			func(_ context.Context, progress func(replay.Progress)) (any, error) {
				begun(progress)
				return nil, queue.ErrFull
			},
			http.StatusOK, `{"progress":{"done":1,"total":9}}` + "\n" + `{"error":"queue is full"}` + "\n",
		},
		"nothing to tell": {
			func(context.Context, func(replay.Progress)) (any, error) { return Merged{}, nil },
			http.StatusOK, `{"result":{"events":0}}` + "\n",
		},
		"an error at once": {
			func(context.Context, func(replay.Progress)) (any, error) {
				return nil, &relay.WrongInput{Field: "ids", Err: errors.New("no such event")}
			},
			http.StatusBadRequest, `{"error":"no such event","field":"ids"}` + "\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			c := &call{Running: new(Running), w: answer, r: httptest.NewRequest(http.MethodPost, "/", nil)}
			if err := c.long(test.do); err != nil {
				WriteError(answer, err)
			} else if got := answer.Header().Get("Content-Type"); got != "application/x-ndjson" || !answer.Flushed {
				t.Errorf("the type is %q, flushed: %v", got, answer.Flushed)
			}
			if answer.Code != test.status || answer.Body.String() != test.lines {
				t.Errorf("answered with %d\n%s\nwant %d\n%s", answer.Code, answer.Body, test.status, test.lines)
			}
		})
	}
}

// TestLongCallsEndWithTheirReader: nobody is told what they do any more.
func TestLongCallsEndWithTheirReader(t *testing.T) {
	c := &call{Running: new(Running), w: &stuck{ResponseWriter: httptest.NewRecorder()}, r: httptest.NewRequest(http.MethodPost, "/", nil)}
	_ = c.long(func(ctx context.Context, progress func(replay.Progress)) (any, error) {
		progress(replay.Progress{Done: 1})
		if ctx.Err() == nil {
			t.Error("the call goes on")
		}
		return nil, ctx.Err()
	})
}

// TestCallsEndWhenCaddyExits: it waits for them, and who waits too long to exit
// is killed.
func TestCallsEndWhenCaddyExits(t *testing.T) {
	exit, leave := context.WithCancel(t.Context())
	known := routes
	defer func() { routes = known }()
	endless := func(ctx context.Context, _ func(replay.Progress)) (any, error) {
		leave()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	routes = []route{
		{method: http.MethodGet, path: "at-once", serve: func(c *call) error { return c.long(endless) }},
		// One that fails because the relay is stopped first.
		{method: http.MethodGet, path: "stopped-first", serve: func(c *call) error {
			return c.long(func(context.Context, func(replay.Progress)) (any, error) {
				leave()
				return nil, relay.ErrNotInService
			})
		}},
		{method: http.MethodGet, path: "on-the-way", serve: func(c *call) error {
			return c.long(func(ctx context.Context, progress func(replay.Progress)) (any, error) {
				progress(replay.Progress{Done: 1})
				return endless(ctx, progress)
			})
		}},
	}
	api := NewAPI(func() (Running, error) { return Running{Exit: exit, Runtime: new(relay.Runtime)}, nil })
	for path, status := range map[string]int{"/at-once": http.StatusServiceUnavailable, "/stopped-first": http.StatusServiceUnavailable, "/on-the-way": http.StatusOK} {
		answer := httptest.NewRecorder()
		api.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, nil))
		if answer.Code != status || !strings.HasSuffix(answer.Body.String(), `{"error":"the server is exiting; what was done until then stays done"}`+"\n") {
			t.Errorf("%s is answered with %d %s", path, answer.Code, answer.Body)
		}
	}
}

// TestStuckWritesEndWithTheCall: a reader that takes nothing keeps a write
// waiting, which nothing but its time limit ends.
func TestStuckWritesEndWithTheCall(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	limits := make(limitsOf, 2)
	c := &call{Running: new(Running), r: httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)}
	c.w = struct {
		*httptest.ResponseRecorder
		limitsOf
	}{httptest.NewRecorder(), limits}
	out := c.flushing()
	if _, err := out.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	first := <-limits
	end()
	if last := <-limits; !last.Before(first) {
		t.Errorf("the write may take until %s, and until %s when the call has ended", first, last)
	}
}

// limitsOf takes the time limits of writes.
type limitsOf chan time.Time

func (l limitsOf) SetWriteDeadline(at time.Time) error { l <- at; return nil }

// TestEndOfACallLeavesTheConnectionAlone: the call can end while its answer is
// closed. The last limit must be none, or the next request on the connection is
// cut off by it; and an answer that is over must not be touched, which the race
// detector shows.
func TestEndOfACallLeavesTheConnectionAlone(t *testing.T) {
	for range 500 {
		ctx, end := context.WithCancel(t.Context())
		last := new(lastLimit)
		c := &call{Running: new(Running), r: httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)}
		c.w = struct {
			*httptest.ResponseRecorder
			*lastLimit
		}{httptest.NewRecorder(), last}
		out := c.flushing()
		go end()
		out.close()
		last.over = true // without a lock: only what is forbidden reads it at the same time
		<-ctx.Done()
		out.limit()
		if !last.at.IsZero() {
			t.Fatalf("the connection keeps the limit %s of a call that is over", last.at)
		}
	}
}

// lastLimit keeps the last time limit that was set, and refuses any once the
// answer is over.
type lastLimit struct {
	at   time.Time
	over bool
}

func (l *lastLimit) SetWriteDeadline(at time.Time) error {
	if l.over {
		panic("a limit is set on an answer that is over")
	}
	l.at = at
	return nil
}
