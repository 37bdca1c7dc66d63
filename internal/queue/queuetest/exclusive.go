package queuetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

var exclusiveTests = map[string]func(*fixture){
	"one at a time": func(f *fixture) {
		var running, calls atomic.Int32
		var done sync.WaitGroup
		for range 8 {
			done.Go(func() {
				for range 20 {
					err := f.Exclusive(f.patient(), "a", func(context.Context) error {
						if running.Add(1) > 1 {
							f.Error("two run at once")
						}
						calls.Add(1)
						running.Add(-1)
						return nil
					})
					if err != nil {
						f.Errorf("Exclusive: %v", err)
					}
				}
			})
		}
		done.Wait()
		equal(f, "number of calls", calls.Load(), 160)
	},

	"its error is returned, and the next has its turn": func(f *fixture) {
		mine := errors.New("mine")
		for range 2 {
			if err := f.Exclusive(f.patient(), "a", func(context.Context) error { return mine }); !errors.Is(err, mine) {
				f.Errorf("Exclusive gave %v, want %v", err, mine)
			}
		}
	},

	"another name does not wait, and waiting ends with the context": func(f *fixture) {
		err := f.Exclusive(f.patient(), "a", func(ctx context.Context) error {
			other := false
			if err := f.Exclusive(ctx, "b", func(context.Context) error { other = true; return nil }); err != nil || !other {
				f.Errorf("Exclusive of another name gave %v, run: %v", err, other)
			}
			ended, cancel := context.WithTimeout(ctx, f.Soon())
			defer cancel()
			err := f.Exclusive(ended, "a", func(context.Context) error {
				f.Error("two of one name run at once")
				return nil
			})
			if !errors.Is(err, context.DeadlineExceeded) {
				f.Errorf("Exclusive of the same name gave %v, want its context's error", err)
			}
			return nil
		})
		if err != nil {
			f.Errorf("Exclusive: %v", err)
		}
	},
}
