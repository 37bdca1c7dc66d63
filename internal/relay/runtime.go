package relay

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Runtime is what lives as long as a queue is open, over any number of
// configurations: the queue, the attempts in flight, the limits and the switches.
// A Stack sets which generation is its newest. It is safe for concurrent use.
type Runtime struct {
	place  queue.Store
	engine queue.Engine
	// cluster is the engine if several nodes share the queue, else nil.
	cluster    queue.Cluster
	log        newestLog
	logger     *zap.Logger
	sender     *send.Sender
	dispatcher *forward.Dispatcher

	rejections rejections
	metrics    *Metrics
	watch      *watch

	// newest is the generation that starts new attempts; mutex is held while it or
	// what follows from it changes. existing says that the queue was told what it has.
	mutex    sync.Mutex
	newest   atomic.Pointer[Generation]
	inForce  inForce
	existing bool

	// kept is what is switched off according to the queue, off what of it is in
	// force: nil for nothing. loading is held while they are read, and look has
	// the switches looked at that have an end.
	kept    atomic.Pointer[[]queue.Switch]
	off     atomic.Pointer[switchedOff]
	loading sync.Mutex
	look    chan struct{}

	// entered is set once the queue is open and what is switched off has been read
	// from it: before that nothing may be stored or attempted.
	entered atomic.Bool

	// clock is that by which the history grows old.
	clock historyClock

	// life ends with the runtime; background is what Close waits for.
	life       context.Context
	stop       context.CancelFunc
	background sync.WaitGroup

	closing  sync.Once
	closeErr error
}

// Open opens a queue, of which there can be one user at a time, and begins to
// keep its history within the retention of the newest generation. Nothing is
// attempted before a Stack gives it a generation. If the queue cannot be opened
// and required is not set, it is tried again until it can be; Unavailable says
// meanwhile why it cannot. metrics are the counts of the process; nil makes some.
func Open(store queue.Store, required bool, metrics *Metrics) (*Runtime, error) {
	log := newNewestLog()
	engine, err := store.Open(required, log.logger("queue"))
	if err != nil {
		return nil, err
	}
	r := newRuntime(engine, log)
	r.place = store
	if metrics != nil {
		r.metrics = metrics
	}
	select {
	case <-engine.Ready():
		err = r.enter()
	default:
	}
	if err != nil && required {
		return nil, errors.Join(err, r.Close())
	}
	r.start()
	return r, nil
}

func newRuntime(engine queue.Engine, log newestLog) *Runtime {
	life, stop := context.WithCancel(context.Background())
	r := &Runtime{
		engine:  engine,
		metrics: NewMetrics(),
		log:     log,
		logger:  log.logger("relay"),
		sender:  send.NewSender(new(send.Targets), nil),
		life:    life,
		stop:    stop,
		look:    make(chan struct{}, 1),
	}
	r.cluster, _ = engine.(queue.Cluster)
	r.watch = newWatch(r)
	r.dispatcher = forward.New(inTime{engine, r}, r.sender, forward.Options{
		Logger:    log.logger("forward"),
		OnOutcome: r.attempted,
		OnTarget:  r.watch.target,
	})
	r.kept.Store(new([]queue.Switch))
	return r
}

// start begins what runs beside the events.
func (r *Runtime) start() {
	if r.cluster != nil {
		r.cluster.OnSwitches(r.obeyOthers)
	}
	r.background.Go(r.enterWhenReady)
	r.background.Go(func() { r.eachMinute("removing old activity; it is tried again in a minute", r.pruneOnce) })
	r.background.Go(func() { r.eachMinute("sampling the backlog; charts lack a minute of it", r.engine.Sample) })
	r.background.Go(func() { r.eachMinute(notExisting, r.existAgain) })
	r.background.Go(func() {
		r.eachMinute("storing which requests were refused; it is tried again in a minute, and a restart forgets them", r.keepRejections)
	})
	r.background.Go(func() { r.turnOnAgain(r.life) })
	r.background.Go(func() { r.watch.run(r.life) })
	go r.watch.emitAll(r.life)
}

// use makes a generation the newest, or none.
func (r *Runtime) use(generation *Generation) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if generation != nil && r.entered.Load() {
		r.begin(generation)
	}
	r.newest.Store(generation)
	if generation != nil {
		r.log.use(generation.logger)
		r.engine.Limit(generation.Configuration.MaxPending, generation.Configuration.MinFree)
		r.sender.Restrict(generation.targets)
		r.join(generation)
	}
	r.dispatch(generation)
	r.lookAgain()
	if generation != nil {
		if r.entered.Load() {
			r.remember(generation)
		}
		r.watch.look()
	}
}

// dispatch hands new attempts over to a generation, or to none while the relay
// is switched off, is not known to be on, or only receives. The caller holds the mutex.
func (r *Runtime) dispatch(generation *Generation) {
	if generation == nil || !r.entered.Load() || generation.Configuration.Disabled || !generation.Configuration.Delivers() || r.off.Load().everything() {
		r.dispatcher.Use(nil)
		return
	}
	r.dispatcher.Use(generation.Actions)
}

// Generation returns the newest generation, which starts new attempts, or nil.
func (r *Runtime) Generation() *Generation { return r.newest.Load() }

// zone is the relay's time zone, UTC while no configuration is in service.
func (r *Runtime) zone() *time.Location {
	if generation := r.newest.Load(); generation != nil {
		return generation.Configuration.Zone
	}
	return time.UTC
}

// Logger returns a logger that writes where the newest generation does.
func (r *Runtime) Logger() *zap.Logger { return r.logger }

// Place returns where the queue is.
func (r *Runtime) Place() queue.Store { return r.place }

// Store returns the queue with its history.
func (r *Runtime) Store() queue.Engine { return r.engine }

// Drain waits until the attempts in flight have ended. Attempts that are still
// running when ctx ends are cut off; their deliveries stay unfinished and are
// attempted again after the next start.
func (r *Runtime) Drain(ctx context.Context) {
	if err := r.dispatcher.Stop(ctx); err != nil {
		r.logger.Warn("attempts were cut off by the exit; they are made again after the next start", zap.Error(err))
	}
}

// Close cuts off what is in flight and closes the queue. It may be called more
// than once.
func (r *Runtime) Close() error {
	r.closing.Do(func() {
		r.keepAtEnd()
		r.use(nil)
		cut, cancel := context.WithCancel(context.Background())
		cancel()
		_ = r.dispatcher.Stop(cut)
		r.sender.Close()
		r.stop()
		r.background.Wait()
		r.closeErr = r.engine.Close()
	})
	return r.closeErr
}

// keepAtEnd stores what was refused since the last minute. The queue must not keep
// the process from ending.
func (r *Runtime) keepAtEnd() {
	ctx, cancel := context.WithTimeout(context.Background(), keepWithin)
	defer cancel()
	if err := r.keepRejections(ctx); err != nil {
		r.logger.Warn("storing which requests were refused; those of the last minute are forgotten", zap.Error(err))
	}
}

// eachMinute calls do once a minute until the runtime ends. failed is what the
// log says of an error.
func (r *Runtime) eachMinute(failed string, do func(context.Context) error) {
	ticker := time.NewTicker(time.Minute)
	defer ticker.Stop()
	for {
		select {
		case <-r.life.Done():
			return
		case <-ticker.C:
		}
		if !r.entered.Load() {
			continue
		}
		if err := do(r.life); err != nil && r.life.Err() == nil {
			r.logger.Error(failed, zap.Error(err))
		}
	}
}

// pruneOnce removes what the newest generation does not keep. Without one,
// nothing says how long to keep. If there is nothing to do, it costs one look at
// an index.
func (r *Runtime) pruneOnce(ctx context.Context) error {
	generation := r.newest.Load()
	if generation == nil {
		return nil
	}
	age, size := time.Duration(generation.Configuration.Retention.Age), generation.Configuration.Retention.Size
	removed, err := r.engine.Prune(ctx, r.historyNow(ctx, age).Add(-age), size)
	if removed > 0 {
		r.logger.Debug("removed old activity", zap.Int("events", removed))
	}
	return err
}
