package sqlite

import (
	"testing"
	"time"
)

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
