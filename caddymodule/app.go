package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// grace is how long attempts in flight may go on when Caddy exits. Caddy's own
// systemd unit kills after 5s; an attempt cut off by that is made again.
const grace = 4 * time.Second

// runtimes holds the open queues by their identity, so that generations which
// name the same queue share it and a reload never opens a file twice.
var runtimes = caddy.NewUsagePool()

// started holds the apps between their Start and their Stop, newest last. It
// outlives configurations, because handlers outlive their app's Cleanup.
var started struct {
	sync.Mutex
	apps []*App
}

// appState is what an App has besides its configuration.
type appState struct {
	logger *zap.Logger
	// dry is set if the configuration is only to be tried: secrets and files are
	// left unread then.
	dry        *dryRun
	generation *relay.Generation
	queueDir   string

	// skipped says of each secret that is empty, and was left out for that, what it
	// is of. files are the references to files that were followed, with the value
	// that each had.
	skipped []string
	files   map[string]string

	// ctx and events are for Caddy's events, while this configuration is the one
	// in force.
	ctx    caddy.Context
	events *caddyevents.App

	// settled is closed when Start has succeeded or the app was cleaned up:
	// handlers, which may run before, wait for it.
	settled    chan struct{}
	settleOnce sync.Once

	// ending is closed when the app goes out of service, so that live views end.
	ending chan struct{}

	mutex       sync.Mutex
	runtime     *relay.Runtime
	serving     bool
	acquiredKey string
}

// Provision compiles and checks the whole configuration. It opens no file of
// the queue and starts nothing, because `caddy validate` runs it beside a live
// server.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	a.settled = make(chan struct{})
	a.ending = make(chan struct{})
	directory, err := a.queueDirectory()
	if err != nil {
		return err
	}
	a.queueDir = directory
	if err := a.loadEvents(ctx); err != nil {
		return err
	}
	if a.generation, err = a.compile(adminAddresses(ctx), sitesOf(ctx)); err != nil {
		return err
	}
	return registerMetrics(ctx)
}

// Start opens the queue, unless a configuration before this one has, and
// begins to carry out deliveries.
func (a *App) Start() error {
	key := queueKey(a.queueDir)
	if err := a.refuseToLeaveBehind(key); err != nil {
		return err
	}
	// A reload to a queue that cannot be opened fails: the configuration before
	// it goes on storing events.
	required := a.QueueRequired || newestApp() != nil
	value, _, err := runtimes.LoadOrNew(key, func() (caddy.Destructor, error) {
		return relay.Open(relay.Storage{Directory: a.queueDir, Required: required})
	})
	if err != nil {
		return err
	}
	runtime := value.(*relay.Runtime)
	a.mutex.Lock()
	a.acquiredKey = key
	a.runtime = runtime
	a.mutex.Unlock()
	if a.QueueRequired {
		// A configuration before this one may have opened it, and done without.
		if err := runtime.Unavailable(); err != nil {
			return fmt.Errorf("starting the relay with queue_required on: %w", err)
		}
	}
	a.mutex.Lock()
	a.serving = true
	a.mutex.Unlock()

	a.runtime.Push(a.generation)
	started.Lock()
	started.apps = append(started.apps, a)
	started.Unlock()
	a.settle()
	return nil
}

// Stop hands attempts over to the generation below, if there is one. It
// returns at once on a reload; when Caddy exits it waits for the attempts in
// flight.
func (a *App) Stop() error {
	a.leave()
	a.mutex.Lock()
	runtime := a.runtime
	a.mutex.Unlock()
	if runtime != nil && caddy.Exiting() {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		runtime.Drain(ctx)
	}
	return nil
}

// Cleanup lets go of the queue; the last one to do so closes it. It is also
// called without Stop when Start or a Provision failed.
func (a *App) Cleanup() error {
	a.leave()
	a.settle()
	a.mutex.Lock()
	key := a.acquiredKey
	a.acquiredKey = ""
	a.mutex.Unlock()
	if key == "" {
		return nil
	}
	if _, err := runtimes.Delete(key); err != nil {
		return fmt.Errorf("closing the queue: %w", err)
	}
	return nil
}

// leave takes the app out of service. It does nothing the second time.
func (a *App) leave() {
	a.mutex.Lock()
	serving := a.serving
	a.serving = false
	a.mutex.Unlock()
	if !serving {
		return
	}
	started.Lock()
	for i, app := range started.apps {
		if app == a {
			started.apps = append(started.apps[:i], started.apps[i+1:]...)
			break
		}
	}
	started.Unlock()
	close(a.ending)
	a.runtime.Remove(a.generation)
}

func (a *App) settle() {
	if a.settled != nil {
		a.settleOnce.Do(func() { close(a.settled) })
	}
}

var errNotServing = errors.New("the relay is shutting down or its configuration failed to start; nothing was stored")

// service returns what takes a request: the app's own runtime and generation
// while it is in service, else those of the newest app. Caddy runs handlers
// before their app's Start and after its Cleanup: the early ones wait.
func (a *App) service(ctx context.Context) (*relay.Runtime, *relay.Generation, error) {
	select {
	case <-a.settled:
	default:
		select {
		case <-a.settled:
		case <-ctx.Done():
			var runtime *relay.Runtime // of an earlier configuration, if any
			if newest := newestApp(); newest != nil {
				runtime = newest.runtime
			}
			return runtime, nil, fmt.Errorf("waiting for the relay to start: %w: %w", receive.ErrSenderGone, ctx.Err())
		}
	}
	a.mutex.Lock()
	runtime, serving := a.runtime, a.serving
	a.mutex.Unlock()
	if serving {
		return runtime, a.generation, nil
	}
	if newest := newestApp(); newest != nil {
		return newest.runtime, newest.generation, nil
	}
	// Between Stop and the last Cleanup an exiting Caddy still takes requests:
	// they are stored, and attempted after the next start.
	if runtime != nil {
		return runtime, a.generation, nil
	}
	return nil, nil, errNotServing
}

// newestApp returns the app that was started last and is still in service, or
// nil.
func newestApp() *App {
	started.Lock()
	defer started.Unlock()
	if len(started.apps) == 0 {
		return nil
	}
	return started.apps[len(started.apps)-1]
}

// refuseToLeaveBehind refuses a reload that names another queue while
// deliveries in the present one are unfinished: nobody would carry them out.
func (a *App) refuseToLeaveBehind(key string) error {
	present := newestApp()
	if present == nil || queueKey(present.queueDir) == key {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	waiting, err := present.runtime.Store().Backlog(ctx)
	if errors.Is(err, queue.ErrUnavailable) {
		// Naming another directory may be the remedy.
		a.logger.Warn("the queue is left without knowing what waits in it", zap.String("directory", present.queueDir), zap.Error(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("changing the queue's directory from %s to %s: %w", present.queueDir, a.queueDir, err)
	}
	if len(waiting) == 0 {
		return nil
	}
	actions := make([]string, len(waiting))
	for i, backlog := range waiting {
		actions[i] = fmt.Sprintf("%s (%d)", backlog.Action, backlog.Count)
	}
	return fmt.Errorf("changing the queue's directory from %s to %s: there are unfinished deliveries of %s; "+
		"keep `queue sqlite %s` until they are done (those of an action that is gone wait for it to come back)",
		present.queueDir, a.queueDir, strings.Join(actions, ", "), present.queueDir)
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
