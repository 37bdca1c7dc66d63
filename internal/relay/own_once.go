package relay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Several nodes that share a queue notice the same things: each finds a target down
// by an attempt of its own, and each has failures of the same action. What one of them
// has reported is in the history, where the others look before they report. Two that
// look at the same moment are told apart by a key: the second is stored as a duplicate
// of the first, and nothing is done about it.

const (
	// yieldFor is by how much a node that reported failures lets the others go before
	// it, so that the failures of each are reported in the end.
	yieldFor = 5 * time.Second
	// upKeyFor is how long the key of target_up is remembered: nodes find at different
	// times that a target answers again.
	upKeyFor = time.Hour
)

// yield returns how much later than usual a node may report failures again.
func (w *watch) yield(most time.Duration) time.Duration {
	if w.runtime.cluster == nil {
		return 0
	}
	return most
}

// once prepares a fact to be reported by one node, and reports whether this one is to.
// What another has reported is taken note of. What cannot be found out is reported:
// twice is better than never.
func (w *watch) once(ctx context.Context, now time.Time, f *fact) bool {
	if w.runtime.cluster == nil {
		return true
	}
	f.body["node"] = w.runtime.node()
	f.key, f.window = "relay "+f.name+" "+f.about, reportEvery
	var mine bool
	var err error
	switch f.name {
	case DeliveryFailed:
		mine, err = w.onceFailed(ctx, now, f)
	case TargetIsDown:
		mine, err = w.onceDown(ctx, now, f)
	case TargetIsUp:
		mine, err = w.onceUp(ctx, f)
	default: // see quietFacts
		f.key += " " + fmt.Sprint(f.body["since"])
		return true
	}
	if err != nil {
		if ctx.Err() == nil {
			w.runtime.logger.Warn("finding out what other nodes have reported; it may be reported twice", zap.String("event", f.name), zap.Error(err))
		}
		return true
	}
	return mine
}

// repeated takes note that another node reported a fact at the same moment.
func (w *watch) repeated(now time.Time, f *fact) {
	switch f.name {
	case DeliveryFailed:
		w.giveBack(now, f)
	case TargetIsDown:
		w.toldDown(f.about, now)
	}
}

// ownReports returns the events of one name that the relay made about an action, a
// target or a source, on whichever node, newest first.
func (w *watch) ownReports(ctx context.Context, name, member, about string, since, until time.Time) ([]queue.Stored, error) {
	page, err := w.runtime.engine.Events(ctx, queue.Filter{Source: names.RelaySource, Event: name, Since: since, Until: until}, queue.NewestFirst, "", lookBack)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(page.Events, func(stored queue.Stored) bool {
		if stored.Event == nil || stored.Summary.Test {
			return true
		}
		body, _ := stored.Event.Body.(map[string]any)
		return body[member] != about
	}), nil
}

func (w *watch) onceFailed(ctx context.Context, now time.Time, f *fact) (bool, error) {
	// The clocks of nodes differ: what seems to be from the far future or past is left
	// to the key, which goes by the clock of the storage.
	reports, err := w.ownReports(ctx, DeliveryFailed, "action", f.about, now.Add(-reportEvery), now.Add(reportEvery))
	if err != nil || len(reports) == 0 {
		return true, err
	}
	w.giveBack(earlier(reports[0].Summary.Received, now), f)
	return false, nil
}

// giveBack has failures be reported later, because another node reported some at a
// time. The pause differs, so that it is not always the same node that comes first.
func (w *watch) giveBack(at time.Time, f *fact) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	known := w.failuresOf(f.about)
	if known.count == 0 {
		known.last = f.failures.last
	}
	known.count, known.since = known.count+f.failures.count, f.failures.since
	known.reported = at.Add(rand.N(yieldFor))
	w.look()
}

// lastReport returns the newest event that says that a target is down, and whether the
// newest of all says so. ID is empty if there is none.
func (w *watch) lastReport(ctx context.Context, target string) (down queue.Summary, stands bool, err error) {
	downs, err := w.ownReports(ctx, TargetIsDown, "target", target, time.Time{}, time.Time{})
	if err != nil || len(downs) == 0 {
		return queue.Summary{}, false, err
	}
	down = downs[0].Summary
	ups, err := w.ownReports(ctx, TargetIsUp, "target", target, down.Received, time.Time{})
	return down, len(ups) == 0, err
}

func (w *watch) onceDown(ctx context.Context, now time.Time, f *fact) (bool, error) {
	down, stands, err := w.lastReport(ctx, f.about)
	if err != nil || down.ID == "" {
		return true, err
	}
	at := earlier(down.Received, now)
	if stands && down.Node != w.runtime.node() {
		// A node that was started anew since does not know of it any more, and would
		// not report that the target is up.
		nodes, err := w.runtime.cluster.Nodes(ctx)
		if err != nil {
			return true, err
		}
		if slices.ContainsFunc(nodes, func(node queue.Node) bool {
			return node.Name == down.Node && node.Lives && !node.Started.After(down.Received)
		}) {
			w.toldDown(f.about, at)
			return false, nil
		}
	}
	if !now.Before(at.Add(reportEvery)) {
		return true, nil
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if known := w.targets[f.about]; known != nil {
		known.reportedDown, known.reported = false, at
		w.look()
	}
	return false, nil
}

// toldDown takes note that another node reported that a target is down.
func (w *watch) toldDown(target string, at time.Time) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if known := w.targets[target]; known != nil {
		known.reported = at
	}
}

func (w *watch) onceUp(ctx context.Context, f *fact) (bool, error) {
	down, stands, err := w.lastReport(ctx, f.about)
	if err != nil || down.ID == "" {
		return true, err
	}
	f.key, f.window = f.key+" "+down.ID, upKeyFor
	return stands, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
