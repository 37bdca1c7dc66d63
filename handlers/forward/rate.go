package forward

import (
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// limiter says when the next attempt of an action may begin, so that no more of them
// begin than its rate allows.
//
// Attempts are spread evenly, and unused time is not made up for. So no more than
// Count attempts begin in any stretch of time as long as Per, and a target with the
// same limit refuses none, at whatever moment its own period begins. After a reload
// the pause from the last attempt to the next is that of the new rate.
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
