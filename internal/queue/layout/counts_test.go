package layout

import (
	"testing"
	"time"
)

func TestLatencyWithinAFifth(t *testing.T) {
	for took := int64(1); took < int64(10*365*24*time.Hour/time.Microsecond); took += took/7 + 1 {
		var c Counts
		c.Latencies[LatencyClass(took)]++
		got := c.Latency(0.5).Microseconds()
		if took > 4 && (got < took*4/5 || got > took*6/5) && took < 1<<47 {
			t.Errorf("%d µs are told as %d", took, got)
		}
	}
	for _, took := range []int64{-5, 0, 1 << 62} {
		var c Counts
		c.Latencies[LatencyClass(took)]++ // must not panic
	}
}
