package sqlite

import (
	"testing"
	"time"
)

func TestLatencyWithinAFifth(t *testing.T) {
	for took := int64(1); took < int64(10*365*24*time.Hour/time.Microsecond); took += took/7 + 1 {
		var c counts
		c.latencies[latencyClass(took)]++
		got := c.latency(0.5).Microseconds()
		if took > 4 && (got < took*4/5 || got > took*6/5) && took < 1<<47 {
			t.Errorf("%d µs are told as %d", took, got)
		}
	}
	for _, took := range []int64{-5, 0, 1 << 62} {
		var c counts
		c.latencies[latencyClass(took)]++ // must not panic
	}
}

// Counts go on where they were when the clock was set back over minutes that
// were added up before.
func TestCountsWhenTheClockIsSetBack(t *testing.T) {
	h := newHarness(t, limits{})
	h.Open(t)
	for _, d := range []time.Duration{0, time.Minute, 2 * time.Hour, -2 * time.Hour, -time.Minute, 10 * time.Minute, -30 * 24 * time.Hour, 0} {
		h.set(d)
		mustPut(t, h.db, benchEntry(""))
	}
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	checkCounts(t, h.options.Dir)
}
