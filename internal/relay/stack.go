package relay

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Stack holds the generations in service, the newest last. A process has one,
// because a reload may give the relay another queue and so another runtime. Its
// zero value is empty and ready. It is safe for concurrent use.
type Stack struct {
	// changing is held while a generation comes or goes, which takes as long as a
	// note takes to be stored. mutex guards the list and is held for moments, so
	// that requests do not wait for a reload.
	changing    sync.Mutex
	mutex       sync.RWMutex
	generations []*Generation

	storing patience
}

// life is what becomes of a generation.
type life struct {
	// settled is closed once the generation came into service or will not any more,
	// and removed once it is out of service. runtime is set before settled is
	// closed, and stays nil if it never came into service.
	settled, removed chan struct{}
	runtime          *Runtime
}

func newLife() life { return life{settled: make(chan struct{}), removed: make(chan struct{})} }

// Runtime returns the runtime of a generation that came into service.
func (g *Generation) Runtime() *Runtime { return g.life.runtime }

// Removed returns a channel that is closed when the generation goes out of
// service.
func (g *Generation) Removed() <-chan struct{} { return g.life.removed }

// Push puts a generation into service and makes it the newest: it starts new
// attempts in the runtime from now on, and what waits there is carried out by its
// actions. A generation is pushed once.
func (s *Stack) Push(runtime *Runtime, generation *Generation) {
	s.changing.Lock()
	defer s.changing.Unlock()
	generation.life.runtime = runtime
	if below := runtime.Generation(); below != nil {
		generation.Receiver.Inherit(below.Receiver)
	}
	runtime.recallCredentials(generation)
	runtime.metrics.expect(generation)
	runtime.use(generation)
	s.mutex.Lock()
	s.generations = append(s.generations, generation)
	s.mutex.Unlock()
	close(generation.life.settled)
}

// Remove takes a generation out of service, wherever it stands in the stack. If
// it was the newest of its runtime, the one below is revived there: so a reload
// that fails leaves everything as it was. A generation that was never pushed is
// not waited for any more. Removing twice does nothing.
func (s *Stack) Remove(generation *Generation) {
	s.changing.Lock()
	defer s.changing.Unlock()
	select {
	case <-generation.life.removed:
		return
	default:
	}
	close(generation.life.removed)
	runtime := generation.life.runtime
	if runtime == nil {
		close(generation.life.settled)
		return
	}
	s.mutex.Lock()
	s.generations = slices.DeleteFunc(s.generations, func(g *Generation) bool { return g == generation })
	s.mutex.Unlock()
	if runtime.Generation() == generation {
		var below *Generation
		for _, g := range s.generations {
			if g.life.runtime == runtime {
				below = g
			}
		}
		runtime.use(below)
	}
}

// Newest returns the generation that came into service last, or nil.
func (s *Stack) Newest() *Generation {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	if len(s.generations) == 0 {
		return nil
	}
	return s.generations[len(s.generations)-1]
}

// serving returns the generation that takes a request of another: that one while
// it is in service, else the newest. While the process exits none is in service,
// and it takes what comes until its queue is closed: that is attempted after the
// next start. It returns nil when no generation ever came into service.
func (s *Stack) serving(generation *Generation) *Generation {
	select {
	case <-generation.life.removed:
	default:
		return generation
	}
	if newest := s.Newest(); newest != nil {
		return newest
	}
	if generation.life.runtime == nil {
		return nil
	}
	return generation
}

// successor returns the generation that stores what another has received: that
// one, unless a reload has put it out of service and given the relay another
// queue.
func (s *Stack) successor(generation *Generation) *Generation {
	if now := s.serving(generation); now.life.runtime != generation.life.runtime {
		return now
	}
	return generation
}

// Ingest takes a request that came to a generation, by the generation itself or
// by the newest if it is out of service, and waits for one that is about to come
// into service. When it returns without error, the events are on stable storage,
// or the request was a ping. Its errors are *receive.Refusal, receive.ErrSenderGone,
// and those of queue.Queue's Put; all are listed in Rejections, as far as there
// is a runtime.
func (s *Stack) Ingest(generation *Generation, request *http.Request, origin receive.Origin) (*receive.Received, error) {
	received, by, err := s.ingest(generation, request, origin)
	if err != nil && by != nil {
		by.life.runtime.notStored(origin, err)
	}
	return received, err
}

func (s *Stack) ingest(generation *Generation, request *http.Request, origin receive.Origin) (*receive.Received, *Generation, error) {
	select {
	case <-generation.life.settled:
	case <-request.Context().Done():
		return nil, s.Newest(), fmt.Errorf("waiting for the relay to start: %w: %w", receive.ErrSenderGone, request.Context().Err())
	}
	by := s.serving(generation)
	if by == nil {
		return nil, nil, errNeverServing
	}
	received, err := by.Receiver.Receive(request, origin)
	if err != nil || received.Ping {
		return received, by, err
	}
	// The events are here. A sender that closes its side once it has sent must not
	// undo the storing of them: some do, and wait for the answer all the same.
	ctx := s.storing.context()
	by = s.successor(by)
	err = by.life.runtime.Accept(ctx, by, received)
	if errors.Is(err, queue.ErrClosed) {
		// The reload came between the last two lines.
		if next := s.successor(by); next != by {
			by = next
			err = by.life.runtime.Accept(ctx, by, received)
		}
	}
	return received, by, err
}

// storeWithin is how long a disk may take to store events before their sender gets
// 503 and is to post them again.
const storeWithin = 30 * time.Second

// patience makes the contexts in which requests wait for the disk. Requests of the
// same second share one: a context and a timer for each is 3 % of what an event
// costs.
type patience struct {
	mutex   sync.Mutex
	shared  context.Context
	release context.CancelFunc // the time-out does its work: requests still wait until then
	renew   time.Time
}

// context returns one that ends after storeWithin, or up to a second later.
func (p *patience) context() context.Context {
	now := time.Now()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if !now.Before(p.renew) {
		p.shared, p.release = context.WithTimeout(context.Background(), storeWithin+time.Second)
		p.renew = now.Add(time.Second)
	}
	return p.shared
}

var errNeverServing = errors.New("the relay is shutting down or its configuration failed to start; nothing was stored")
