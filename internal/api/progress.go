package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// progressEvery is how often a long call says how far it is.
const progressEvery = 200 * time.Millisecond

// line is one line of the answer to a long call. One of its members is set.
type line struct {
	Progress *replay.Progress `json:"progress,omitempty"`
	Result   any              `json:"result,omitempty"`
	*failure
}

// long answers with lines of JSON: how far the call is, now and then, and at
// last the result or an error. An error before there was any progress is
// answered with its status.
func (c *call) long(do func(context.Context, func(replay.Progress)) (any, error)) error {
	ctx, stop := context.WithCancel(c.r.Context())
	defer stop()
	out := c.flushing()
	defer out.close()
	var last time.Time
	write := func(l line) {
		if last.IsZero() {
			header(c.w, "application/x-ndjson")
			c.w.Header().Set("X-Accel-Buffering", "no")
		}
		last = time.Now()
		data, err := json.Marshal(l)
		if err == nil {
			_, err = out.Write(append(data, '\n'))
		}
		if err != nil {
			stop()
		}
	}
	result, err := do(ctx, func(p replay.Progress) {
		if time.Since(last) >= progressEvery {
			write(line{Progress: &p})
		}
	})
	switch {
	case err == nil:
		write(line{Result: result})
	case last.IsZero():
		return err
	default:
		known := c.failed(err)
		write(line{failure: &failure{Error: known.Error(), Field: known.Field}})
	}
	return nil
}
