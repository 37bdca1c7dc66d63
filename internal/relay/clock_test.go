package relay

import (
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
)

// The clock of the history follows the machine's, and goes on by no more than its
// share after a jump.
func TestHistoryClock(t *testing.T) {
	const month = 30 * 24 * time.Hour
	start := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	type step struct {
		elapsed, jump time.Duration // by the monotonic clock, and what the shown one was set by besides
		lag           time.Duration // wanted
	}
	share := 30 * time.Hour // a 24th of a month
	for name, steps := range map[string][]step{
		"no jump":              {{time.Minute, 0, 0}, {time.Minute, 0, 0}},
		"within the share":     {{time.Minute, 29 * time.Hour, 0}},
		"set back":             {{time.Minute, -month, 0}, {time.Minute, 0, 0}},
		"a month ahead":        {{time.Minute, month, month - share/60}, {time.Hour, 0, month - share/60 - share}},
		"a month and back":     {{time.Minute, month, month - share/60}, {time.Minute, -month, 0}},
		"caught up with a day": {{time.Minute, month, month - share/60}, {23 * time.Hour, 0, month - share/60 - 23*share}, {time.Minute, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			var c historyClock
			// Without a monotonic part elapsed time is what the clock shows, so the
			// clock is told how long ago it was read.
			now := start
			c.advance(now, 0, month)
			for i, s := range steps {
				now = now.Add(s.elapsed + s.jump)
				c.read = now.Add(-s.elapsed)
				if at, lag := c.advance(now, 0, month); lag != s.lag || !at.Equal(now.Add(-s.lag)) {
					t.Errorf("step %d: it shows %s, %s behind, want %s", i, at, lag, s.lag)
				}
				if told := len(c.trouble(time.UTC)) > 0; told != (s.lag > 0) {
					t.Errorf("step %d: a trouble is told: %v", i, told)
				}
			}
		})
	}
}

// A jump while the relay was off, and one before a restart, is none that is taken
// for true.
func TestHistoryClockOverRestarts(t *testing.T) {
	directory := t.TempDir()
	open := func() *Runtime {
		runtime, err := Open(sqlite.Store{Dir: directory}, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		return runtime
	}
	first := open()
	// As if the clock had jumped ahead by a year since the last reading.
	first.clock.at = time.Now().Add(-365 * 24 * time.Hour)
	first.clock.read = time.Now()
	at := first.historyNow(t.Context(), 30*24*time.Hour)
	if time.Since(at) < 300*24*time.Hour || len(first.State().Troubles) != 1 {
		t.Fatalf("after a jump the history is at %s, and the troubles are %+v", at, first.State().Troubles)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := open()
	defer second.Close()
	if at := second.historyNow(t.Context(), 30*24*time.Hour); time.Since(at) < 300*24*time.Hour {
		t.Errorf("after the restart the history is at %s: the jump was taken for true", at)
	}
	second.clock.at = time.Now()
	second.historyNow(t.Context(), 30*24*time.Hour)
	if troubles := second.State().Troubles; len(troubles) > 0 {
		t.Errorf("with the clock set right there still is %+v", troubles)
	}
}
