package layout

import (
	"maps"
	"math"
	"strconv"
	"strings"
	"time"
)

// latencyClasses is how many classes of LatencyClass are kept: enough for nine years.
const latencyClasses = 96

// CountedMinutes are the lengths of time for which counts are kept.
var CountedMinutes = [...]int64{1, 10, 60}

// Counted names what is counted, in order, as engines name their columns. First
// come the events by decision, then the deliveries by state, then the retries. A
// delivery that is mended is taken from its state and added to mended.
var Counted = [...]string{"action", "ignored", "rule_error", "disabled", "duplicate", "delivered", "failed", "expired", "cancelled", "mended", "retries"}

const (
	// CountedDecisions is how many decisions are counted.
	CountedDecisions = 5
	// CountedStates, added to the number of a state in which deliveries end, is its
	// place in Counted.
	CountedStates = CountedDecisions - Delivered
	// CountedMended is the place of the deliveries that are mended.
	CountedMended = len(Counted) - 2
	// CountedRetries is the place of the retries.
	CountedRetries = len(Counted) - 1
)

// Counts is what happened in some time.
type Counts struct {
	// At is when that time begins, in microseconds since 1970.
	At int64
	// Numbers are in the order of Counted.
	Numbers [len(Counted)]int64
	// Latencies counts delivered deliveries by LatencyClass.
	Latencies [latencyClasses]int64
	// Backlog is the last sample of each action. The map is never changed, only
	// replaced, so that copies of Counts may share it.
	Backlog map[string]Sample
}

// Sample is queue.BacklogSample as it is stored, with its age in microseconds.
type Sample struct {
	Count int   `json:"count"`
	Age   int64 `json:"age"`
}

// Add adds what happened in another, later time.
func (c *Counts) Add(other *Counts) {
	for i, n := range other.Numbers {
		c.Numbers[i] += n
	}
	for i, n := range other.Latencies {
		c.Latencies[i] += n
	}
	c.Sample(other.Backlog)
}

// Sample notes a backlog that is later than what is known.
func (c *Counts) Sample(backlog map[string]Sample) {
	switch {
	case len(backlog) == 0:
	case len(c.Backlog) == 0:
		c.Backlog = backlog
	default:
		c.Backlog = maps.Clone(c.Backlog)
		maps.Copy(c.Backlog, backlog)
	}
}

// LatencyClass returns the class n of a delivery that what took from 2^(n/2) to 2^((n+1)/2)
// microseconds.
func LatencyClass(took int64) int {
	return min(int(2*math.Log2(float64(max(took, 1)))), latencyClasses-1)
}

// Latency returns how long it took at most for a part of all deliveries, as the
// middle of a class. It is 0 without deliveries.
func (c *Counts) Latency(part float64) time.Duration {
	total := int64(0)
	for _, n := range c.Latencies {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := int64(math.Ceil(part * float64(total)))
	for class, n := range c.Latencies {
		if rank -= n; rank <= 0 {
			return time.Duration(math.Exp2((float64(class)+0.5)/2) * float64(time.Microsecond))
		}
	}
	return 0
}

// AppendLatencies appends the latencies as a text: class:count of each class that has any.
func (c *Counts) AppendLatencies(text []byte) []byte {
	for class, n := range c.Latencies {
		if n == 0 {
			continue
		}
		if len(text) > 0 {
			text = append(text, ' ')
		}
		text = strconv.AppendInt(text, int64(class), 10)
		text = append(text, ':')
		text = strconv.AppendInt(text, n, 10)
	}
	return text
}

// AddLatencies adds latencies from a text that AppendLatencies made. What cannot be
// read counts as nothing.
func (c *Counts) AddLatencies(text string) {
	for text != "" {
		var pair string
		pair, text, _ = strings.Cut(text, " ")
		name, number, _ := strings.Cut(pair, ":")
		class, err := strconv.Atoi(name)
		n, err2 := strconv.ParseInt(number, 10, 64)
		if err == nil && err2 == nil && class >= 0 && class < latencyClasses {
			c.Latencies[class] += n
		}
	}
}
