package forward

import (
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// limiter says when the next attempt of an action may begin, so that no more of them
// begin than its rate allows.
//
// They are spread evenly, and what was not used is not made up for: only so do
// no more than Count attempts begin in any stretch of time that is as long as
// Per, wherever a target's own limit begins to count. A reload may change the
// rate; the pause from the last attempt to the next is then that of the new one.
type limiter struct {
	// last is when the last attempt began, zero if there was none.
	last time.Time
}

// next returns when the next attempt may begin. The zero time means at once.
func (l *limiter) next(rate *config.Rate) time.Time {
	if rate == nil || l.last.IsZero() {
		return time.Time{}
	}
	// Rounded up: a nanosecond too early would be one too many.
	interval := (time.Duration(rate.Per) + time.Duration(rate.Count) - 1) / time.Duration(rate.Count)
	return l.last.Add(interval)
}
