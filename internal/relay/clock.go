package relay

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// The history is removed by age, and a clock that jumps ahead by a month would
// make all of it too old at once. So removing goes by a clock of its own, which
// follows the machine's and goes on no faster than catchUp allows after a jump.

// catchUp is in how much time at least all of the history is removed after the
// clock jumped ahead: in an hour a 24th of the time for which it is kept.
const catchUp = 24 * time.Hour

// noteClockEvery is how often the clock of the history is noted while it is
// behind.
const noteClockEvery = 10 * time.Minute

// historyClock is the clock by which the history grows old.
type historyClock struct {
	mutex sync.Mutex
	// at is what it shows, read when that was set; zero before the first.
	at, read time.Time
	// behind is since when it has been behind the machine's, zero if it is not.
	behind time.Time
	noted  time.Time
}

// advance moves the clock on to now, by a machine's clock that is ahead of that of the
// storage, for a history that is kept for age. Only the monotonic part of now is trusted
// if it has one. It returns what the clock shows, and how far that is behind.
func (c *historyClock) advance(now time.Time, ahead, age time.Duration) (at time.Time, lag time.Duration) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	// Round strips the monotonic part: this is about what the clock shows.
	shows := now.Round(0).Add(-ahead)
	if c.at.IsZero() {
		c.at, c.read = shows, now
	}
	elapsed := max(now.Sub(c.read), 0)
	share := max(time.Duration(float64(age)/float64(catchUp)*float64(time.Hour)), time.Minute)
	next := c.at.Add(elapsed)
	switch jumped := shows.Sub(next); {
	case jumped <= share:
		next = shows // also when it was set back
	default:
		next = next.Add(time.Duration(float64(elapsed) * float64(age) / float64(catchUp)))
	}
	c.at, c.read = next.Round(0), now
	lag = shows.Sub(c.at)
	switch {
	case lag <= 0:
		c.behind = time.Time{}
	case c.behind.IsZero():
		c.behind = shows
	}
	return c.at, lag
}

// trouble says that the clock is behind, if it is.
func (c *historyClock) trouble(zone *time.Location) []queue.Trouble {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.behind.IsZero() {
		return nil
	}
	return []queue.Trouble{{
		Kind: queue.TroubleClock, Since: c.behind,
		Message: fmt.Sprintf("the clock of this machine jumped ahead, from about %s: no more than a 24th of the history is removed in an hour; if the clock is wrong, set it",
			c.at.In(zone).Format("2006-01-02 15:04 MST")),
	}}
}

// historyNow returns the time by which the history is old, and notes while that
// is behind the machine's clock, so that a restart does not take the jump for
// true.
func (r *Runtime) historyNow(ctx context.Context, age time.Duration) time.Time {
	before := len(r.clock.trouble(time.UTC)) > 0
	at, lag := r.clock.advance(time.Now(), r.ahead(), age)
	var err error
	switch {
	case lag > 0 && (!before || time.Since(r.clock.noted) >= noteClockEvery):
		if !before {
			r.logger.Error("the clock jumped ahead: the history is removed little by little", zap.Duration("by", lag), zap.Time("from", at))
		}
		r.clock.noted = time.Now()
		err = r.engine.Note(ctx, queue.Note{Kind: queue.NoteClock, Text: at.UTC().Format(time.RFC3339)})
	case lag <= 0 && before:
		r.logger.Info("the clock of the history is that of the machine again")
		err = r.engine.Note(ctx, queue.Note{Kind: queue.NoteClock})
	}
	if err != nil && ctx.Err() == nil {
		r.logger.Error("noting the clock of the history; after a restart it may be removed at once", zap.Error(err))
	}
	return at
}

// startClock sets the clock of the history to what it showed last: what was noted
// if it was behind, else the time of the newest thing that is stored from before
// this start.
func (r *Runtime) startClock(ctx context.Context) error {
	clock, err := r.newestNote(ctx, queue.NoteClock, true)
	if err != nil {
		return fmt.Errorf("reading the clock of the history: %w", err)
	}
	var last time.Time
	if clock.Text != "" {
		last, _ = time.Parse(time.RFC3339, clock.Text) // the zero time trusts the machine's
	} else {
		notes, err := r.engine.Notes(ctx, "", time.Time{}, time.Time{}, 2, false)
		if err != nil {
			return fmt.Errorf("reading the clock of the history: %w", err)
		}
		if len(notes) > 1 { // the newest is of this start
			last = notes[1].At
		}
		page, err := r.engine.Page(ctx, queue.Filter{}, queue.NewestFirst, "", 1)
		if err != nil {
			return fmt.Errorf("reading the clock of the history: %w", err)
		}
		if len(page.Events) > 0 && page.Events[0].Received.After(last) {
			last = page.Events[0].Received
		}
	}
	if last.IsZero() {
		return nil
	}
	r.clock.mutex.Lock()
	defer r.clock.mutex.Unlock()
	r.clock.at, r.clock.read = last.Round(0), time.Now()
	return nil
}
