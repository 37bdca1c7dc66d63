package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
)

// writeTime is how long a reader may take for a part of a long answer. One that
// is dead would otherwise hold its connection until TCP gives up.
const writeTime = 30 * time.Second

// lastWriteTime is how long it may take when the call is to end.
const lastWriteTime = time.Second

// live is a stream of server-sent events: a batch for what is new or changed.
func live(c *call) error {
	query := c.r.URL.Query()
	filter, err := parseFilter(query, c.now())
	if err != nil {
		return err
	}
	if filter.Text != "" {
		return wrong("text", "following the activity: text cannot be looked for in a live view, because that reads the events themselves; look for it in the activity")
	}
	select {
	case c.api.views <- struct{}{}:
		defer func() { <-c.api.views }()
	default:
		return &Error{Status: http.StatusServiceUnavailable, Err: fmt.Errorf("following the activity: there are %d live views already; close some", cap(c.api.views))}
	}
	c.stream(inspect.Live(c.r.Context(), c.Runtime, filter))
	return nil
}

// stream sends batches until they end, or the reader or the configuration does.
func (c *call) stream(batches <-chan inspect.LiveBatch) {
	header(c.w, "text/event-stream")
	// Proxies are not to collect the stream.
	c.w.Header().Set("X-Accel-Buffering", "no")
	out := c.flushing()
	defer out.close()
	// The first bytes show the reader that the view is open.
	if _, err := io.WriteString(out, "retry: 2000\n\n"); err != nil {
		return
	}
	ticker := time.NewTicker(c.api.keepAlive)
	defer ticker.Stop()
	for {
		var err error
		select {
		case batch, open := <-batches:
			if !open {
				return
			}
			err = writeBatch(out, batch)
		case <-ticker.C:
			_, err = io.WriteString(out, ": still here\n\n")
		case <-c.r.Context().Done():
			return
		case <-c.Ending:
			return
		}
		if err != nil {
			return
		}
	}
}

func writeBatch(w io.Writer, batch inspect.LiveBatch) error {
	batch.Events = list(batch.Events)
	data, err := json.Marshal(batch)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "event: batch\ndata: %s\n\n", data)
	return err
}

// flushing is an answer that goes on for long: each write goes out at once, and
// must be read in time.
type flushing struct {
	w       http.ResponseWriter
	control *http.ResponseController
	ctx     context.Context
	relax   func() bool

	// mutex makes setting a limit and taking it off exclude each other. The end
	// of the call sets one from a goroutine of its own, which may run late: after
	// close it would touch an answer that is over, and cut off the next request
	// on its connection.
	mutex  sync.Mutex
	closed bool
}

func (c *call) flushing() *flushing {
	f := &flushing{w: c.w, control: http.NewResponseController(c.w), ctx: c.r.Context()}
	// A write that waits already when the call is to end must not go on waiting.
	f.relax = context.AfterFunc(f.ctx, f.limit)
	return f
}

// limit says until when a write may take. After close it does nothing.
func (f *flushing) limit() {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	if f.closed {
		return
	}
	limit := writeTime
	if f.ctx.Err() != nil {
		limit = lastWriteTime
	}
	_ = f.control.SetWriteDeadline(time.Now().Add(limit)) // not every answer is a connection
}

func (f *flushing) Write(p []byte) (int, error) {
	f.limit()
	n, err := f.w.Write(p)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

// close takes the time limit off the connection, which may serve other requests.
func (f *flushing) close() {
	f.relax()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.closed = true
	_ = f.control.SetWriteDeadline(time.Time{})
}
