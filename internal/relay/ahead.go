package relay

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// The clock of one of several nodes may be wrong. What one node writes down and another
// compares with the present, such as when a delivery expires or when it was first attempted,
// is therefore by the clock of the storage, which all of them share. The time of receipt and
// now() of rules are what the machine shows, and so is what a signature is checked against:
// a wrong clock is told of.

const (
	// tellAheadFrom is by how much a clock must be wrong to be told of, and
	// lookAtClocks how often that is looked at.
	tellAheadFrom = 5 * time.Second
	lookAtClocks  = 5 * time.Second
	// noteAheadEvery is how often a wrong clock is noted again, so that the note is not
	// removed with the history.
	noteAheadEvery = time.Hour
)

// ahead returns by how much the clock of this machine is ahead of that of the storage, as
// far as several nodes share one.
func (r *Runtime) ahead() time.Duration {
	if r.cluster == nil {
		return 0
	}
	return r.cluster.Ahead()
}

// Now returns the present time by the clock of the storage, which is this machine's unless
// several nodes share the queue.
func Now(r *Runtime) time.Time { return time.Now().Add(-r.ahead()) }

// inTime is the queue as the dispatcher sees it: with times by the clock of this machine,
// while those that are stored are by that of the storage.
type inTime struct {
	queue.Queue
	runtime *Runtime
}

// Take implements queue.Queue.
func (q inTime) Take(ctx context.Context, action string, n int) ([]queue.Lease, error) {
	leases, err := q.Queue.Take(ctx, action, n)
	if ahead := q.runtime.ahead(); ahead != 0 {
		for i := range leases {
			delivery := &leases[i].Delivery
			for _, at := range []*time.Time{&delivery.Due, &delivery.Expires, &delivery.FirstAttempt} {
				if !at.IsZero() {
					*at = at.Add(ahead)
				}
			}
		}
	}
	return leases, err
}

// Settle implements queue.Queue. When the delivery is due again is left as it is: the queue
// knows for how long that is.
func (q inTime) Settle(lease queue.Token, settlement queue.Settlement) error {
	if ahead := q.runtime.ahead(); ahead != 0 && settlement.Attempt != nil {
		attempt := *settlement.Attempt
		attempt.Began = attempt.Began.Add(-ahead)
		settlement.Attempt = &attempt
	}
	return q.Queue.Settle(lease, settlement)
}

// tellAhead notes for the other nodes by how much the clock of this machine is wrong, and
// logs it, until the runtime ends. The queue is open.
func (r *Runtime) tellAhead() {
	ticker := time.NewTicker(lookAtClocks)
	defer ticker.Stop()
	var told time.Duration // what is noted
	var at time.Time       // when it was, by what passes on this machine
	for known := false; ; {
		if !known {
			noted, err := r.aheadOf(r.life)
			known, told = err == nil, noted[r.node()]
		}
		ahead := wrong(r.ahead())
		if known && ((ahead-told).Abs() >= tellAheadFrom || ahead == 0 && told != 0 || ahead != 0 && time.Since(at) >= noteAheadEvery) {
			if err := r.noteAhead(ahead, told); err == nil {
				told, at = ahead, time.Now()
			} else if r.life.Err() == nil {
				r.logger.Warn("noting that the clock of this machine is wrong; other nodes do not tell of it yet", zap.Error(err))
			}
		}
		select {
		case <-r.life.Done():
			return
		case <-ticker.C:
		}
	}
}

// wrong rounds by how much a clock is ahead to seconds. It returns 0 for less than
// tellAheadFrom, which is not worth a warning.
func wrong(ahead time.Duration) time.Duration {
	if ahead.Abs() < tellAheadFrom {
		return 0
	}
	return ahead.Round(time.Second)
}

func (r *Runtime) noteAhead(ahead, told time.Duration) error {
	note := queue.Note{Kind: queue.NoteAhead, Name: r.node(), Replace: true}
	switch {
	case ahead != 0:
		note.Text = ahead.String()
		if (ahead - told).Abs() >= tellAheadFrom {
			r.logger.Error("the clock of this machine differs from that of the database: set it, best with NTP",
				zap.String("node", r.node()), zap.String("clock", AheadOf(ahead, "that of the database")))
		}
	default:
		r.logger.Info("the clock of this machine agrees with that of the database again", zap.String("node", r.node()))
	}
	return r.engine.Note(r.life, note)
}

// AheadOf says by how much a clock is ahead of another.
func AheadOf(ahead time.Duration, other string) string {
	text := config.Duration(ahead.Abs().Round(time.Second)).String()
	if ahead < 0 {
		return text + " behind " + other
	}
	return text + " ahead of " + other
}

// aheadOf returns by how much the clocks of nodes are wrong, as they noted.
func (r *Runtime) aheadOf(ctx context.Context) (map[string]time.Duration, error) {
	notes, err := r.engine.Notes(ctx, queue.NoteAhead, time.Time{}, time.Time{}, mostNotes, true)
	if err != nil {
		return nil, fmt.Errorf("reading which clocks are wrong: %w", err)
	}
	ahead := make(map[string]time.Duration, len(notes))
	for _, note := range notes {
		if _, newer := ahead[note.Name]; !newer {
			ahead[note.Name], _ = time.ParseDuration(note.Text) // none once it is right
		}
	}
	return ahead, nil
}
