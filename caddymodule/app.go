package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/caddymodule/environment"
	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// grace is how long attempts in flight may go on when Caddy exits. Caddy's own
// systemd unit kills after 5s; an attempt cut off by that is made again.
const grace = 4 * time.Second

// runtimes holds the open queues by their identity, so that generations which
// name the same queue share it and a reload never opens a file twice.
var runtimes = caddy.NewUsagePool()

// generations are the configurations in service. They outlive their apps'
// handlers, which Caddy runs before Start and after Cleanup.
var generations relay.Stack

// metrics outlive configurations, each of which has a registry of its own.
var metrics = relay.NewMetrics()

// openQueue is a runtime that the usage pool closes with its last user.
type openQueue struct{ *relay.Runtime }

// Destruct closes the queue.
func (q openQueue) Destruct() error { return q.Close() }

// appState is what an App has besides its configuration.
type appState struct {
	logger     *zap.Logger
	generation *relay.Generation
	place      queue.Store

	// mounts and consoles are where the handlers of the configuration can be
	// reached, for people.
	mounts, consoles []string

	// served are the sites of the configuration, and watched the servers of which
	// requests are reported that no mount takes.
	served  sites.Sites
	watched map[*caddyhttp.Server]bool

	// ctx and events are for Caddy's events, while this configuration is the one
	// in force.
	ctx    caddy.Context
	events *caddyevents.App

	// acquired is the key of the queue that the app uses, empty for none.
	acquired string
}

// Provision compiles and checks the whole configuration. It opens no file of
// the queue and starts nothing, because `caddy validate` runs it beside a live
// server.
func (a *App) Provision(ctx caddy.Context) error {
	a.logger = ctx.Logger()
	var err error
	if a.place, err = environment.Queue(&a.Relay); err != nil {
		return err
	}
	if err := a.loadEvents(ctx); err != nil {
		return err
	}
	served := sitesOf(ctx)
	a.served, a.watched = served, make(map[*caddyhttp.Server]bool)
	a.mounts, a.consoles = served.Locations(sites.RelayHandler), served.Locations(sites.ConsoleHandler)
	if a.generation, err = a.compile(adminAddresses(ctx), served); err != nil {
		return err
	}
	return metrics.Register(ctx.GetMetricsRegistry(), &generations)
}

// Start opens the queue, unless a configuration before this one has, and
// begins to carry out deliveries.
func (a *App) Start() error {
	key := a.place.Key()
	if err := a.refuseToLeaveBehind(key); err != nil {
		return err
	}
	// A reload to a queue that cannot be opened fails: the configuration before
	// it goes on storing events.
	required := a.QueueRequired || generations.Newest() != nil
	value, open, err := runtimes.LoadOrNew(key, func() (caddy.Destructor, error) {
		runtime, err := relay.Open(a.place, required, metrics)
		return openQueue{runtime}, err
	})
	if err != nil {
		return a.atQueue(err)
	}
	a.acquired = key
	runtime := value.(openQueue).Runtime
	if open {
		a.adjust(runtime)
	}
	if a.QueueRequired {
		// A configuration before this one may have opened it, and done without.
		if err := runtime.Unavailable(); err != nil {
			return a.atQueue(fmt.Errorf("starting the relay with queue_required on: %w", err))
		}
	}
	generations.Push(runtime, a.generation)
	a.logStart()
	return nil
}

// Stop hands attempts over to the generation below, if there is one. It
// returns at once on a reload; when Caddy exits it waits for the attempts in
// flight.
func (a *App) Stop() error {
	if caddy.Exiting() {
		exiting() // before calls find that no configuration is in service
	}
	generations.Remove(a.generation)
	if runtime := a.generation.Runtime(); runtime != nil && caddy.Exiting() {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		runtime.Drain(ctx)
	}
	return nil
}

// Cleanup lets go of the queue; the last one to do so closes it. It is also
// called without Stop when Start or a Provision failed.
func (a *App) Cleanup() error {
	if a.generation != nil {
		generations.Remove(a.generation)
	}
	if a.acquired == "" {
		return nil
	}
	key := a.acquired
	a.acquired = ""
	if _, err := runtimes.Delete(key); err != nil {
		return fmt.Errorf("closing the queue: %w", err)
	}
	return nil
}

// atQueue adds to an error where the configuration names the queue.
func (a *App) atQueue(err error) error {
	if a.Queue == nil {
		return err
	}
	var wrong config.Findings
	wrong.Add(a.Queue.Place, err)
	return wrong.Err()
}

// adjust hands the settings of the queue to an engine that is open already, and warns
// of those that it cannot take over.
func (a *App) adjust(runtime *relay.Runtime) {
	engine, can := runtime.Store().(queue.Adjuster)
	if !can {
		return
	}
	if later := engine.Adjust(a.place); len(later) > 0 {
		a.logger.Warn("settings of the queue were changed that count only after a restart of Caddy; until then the old values do",
			zap.Strings("settings", later), zap.Stringer("queue", a.place))
	}
}

// refuseToLeaveBehind refuses a reload that names another queue while
// deliveries in the present one are unfinished: they would never be carried out.
func (a *App) refuseToLeaveBehind(key string) error {
	present := generations.Newest()
	if present == nil || present.Runtime().Place().Key() == key {
		return nil
	}
	from, engine := present.Runtime().Place(), present.Runtime().Store()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	waiting, err := engine.Backlog(ctx)
	if errors.Is(err, queue.ErrUnavailable) {
		// Naming another place may be the remedy.
		a.logger.Warn("the queue is left without knowing what waits in it", zap.Stringer("queue", from), zap.Error(err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("changing the queue from %s to %s: %w", from, a.place, err)
	}
	if len(waiting) == 0 || othersDeliver(ctx, engine) {
		return nil
	}
	actions := make([]string, len(waiting))
	for i, backlog := range waiting {
		actions[i] = fmt.Sprintf("%s (%d)", backlog.Action, backlog.Count)
	}
	return fmt.Errorf("changing the queue from %s to %s: there are unfinished deliveries of %s; "+
		"keep the queue %s until they are done (those of an action that is gone wait for it to come back)",
		from, a.place, strings.Join(actions, ", "), from)
}

// othersDeliver reports whether another node carries out what waits in a queue.
func othersDeliver(ctx context.Context, engine queue.Engine) bool {
	cluster, is := engine.(queue.Cluster)
	if !is {
		return false
	}
	nodes, err := cluster.Nodes(ctx)
	return err == nil && slices.ContainsFunc(nodes, func(n queue.Node) bool { return n.Lives && n.Delivers && !n.Self })
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
