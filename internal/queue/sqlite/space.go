package sqlite

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// space watches the free bytes of the queue's file system, so that the last of
// them are left for settlements, checkpoints and pruning, which a full disk
// would stop too.
type space struct {
	dir      string
	min      atomic.Int64
	free     func(dir string) (int64, error)
	every    time.Duration
	logger   *zap.Logger
	troubles *queue.Troubles
	started  time.Time
	checked  atomic.Int64 // nanoseconds since started, 0: never
	short    atomic.Bool
}

func newSpace(o Options, troubles *queue.Troubles) *space {
	s := &space{dir: o.Dir, free: o.limits.free, every: o.limits.freeEvery, logger: o.Logger, troubles: troubles, started: time.Now()}
	s.min.Store(o.MinFree)
	return s
}

// low reports whether there is too little space to store anything new. It asks
// the file system at most once in a while, one caller at a time.
func (s *space) low() bool {
	least := s.min.Load()
	if least == math.MinInt64 {
		s.short.Store(false)
		s.troubles.End(queue.TroubleSpace)
		return false
	}
	last, now := s.checked.Load(), int64(time.Since(s.started))+1
	if (last == 0 || now-last >= int64(s.every)) && s.checked.CompareAndSwap(last, now) {
		free, err := s.free(s.dir)
		if err != nil {
			// Not to know is no reason to refuse: a full disk shows itself.
			s.logger.Warn("reading the free space of the queue's file system", zap.String("dir", s.dir), zap.Error(err))
			free = math.MaxInt64
		}
		if short := free < least; s.short.Swap(short) != short {
			if short {
				s.troubles.Begin(queue.TroubleSpace, s.why(), true)
				s.logger.Error("the queue's file system is nearly full: events are refused until there is room again",
					zap.String("dir", s.dir), zap.String("free", humanize.IBytes(uint64(max(free, 0)))), zap.String("min_free", humanize.IBytes(uint64(least))))
			} else {
				s.troubles.End(queue.TroubleSpace)
				s.logger.Info("the queue's file system has room again", zap.String("dir", s.dir))
			}
		}
	}
	return s.short.Load()
}

// why says why nothing new is stored, and what to do about it.
func (s *space) why() string {
	return fmt.Sprintf("less than min_free (%s) is free on the file system of %s: make room there, keep less history (retention), or lower min_free",
		humanize.IBytes(uint64(max(s.min.Load(), 0))), s.dir)
}

// recheck makes the next call of low ask the file system.
func (s *space) recheck() { s.checked.Store(0) }
