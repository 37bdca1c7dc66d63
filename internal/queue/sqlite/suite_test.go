package sqlite

import (
	"sync"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/queuetest"
)

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// harness runs the suite over a directory.
type harness struct {
	*clock
	options Options
	db      *DB
}

func newHarness(t *testing.T, l limits) *harness {
	h := &harness{clock: newClock()}
	h.options = Options{Dir: t.TempDir(), MinFree: -1, Clock: h.Now, Logger: zaptest.NewLogger(t), limits: l}
	t.Cleanup(func() { checkConsistency(t, h.options.Dir) }) // after the engine is closed
	return h
}

func (h *harness) Lease() time.Duration { return time.Minute }

func (h *harness) Soon() time.Duration { return 30 * time.Millisecond }

func (h *harness) Advance(d time.Duration) {
	h.set(d)
	h.db.tick()
}

func (h *harness) Open(t *testing.T) queue.Engine {
	t.Helper()
	db, err := Open(h.options)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	h.db = db
	return db
}

func TestSuite(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queuetest.Harness { return newHarness(t, limits{}) })
}

// With hardly any memory every delivery goes through the table.
func TestSuiteWithoutMemory(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queuetest.Harness {
		return newHarness(t, limits{fresh: 1, actionBytes: 1, totalBytes: 1, blockEvents: 30, countEvents: 3, walIdle: 1, walLimit: 1 << 18})
	})
}

func TestModel(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]limits{
		"with memory":    {},
		"with a little":  {fresh: 4},
		"without memory": {fresh: 1, actionBytes: 1, totalBytes: 1, blockEvents: 30},
	} {
		t.Run(name, func(t *testing.T) {
			queuetest.RunModel(t, func(t *testing.T) queuetest.Harness { return newHarness(t, l) })
		})
	}
}
