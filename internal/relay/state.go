package relay

import (
	"net/url"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// State is how the runtime is right now, apart from what the store knows.
type State struct {
	// Started is when the queue was opened, and Loaded when the newest generation
	// came into force. Configuration is the digest of its snapshot, if it has one.
	Started, Loaded time.Time
	Configuration   string
	// Down are the targets that are down and that an action of the newest
	// generation calls, the one that is down for longest first.
	Down []TargetDown
	// Quiet are the sources of the newest generation that have been silent for
	// longer than their quiet, in the order of the configuration.
	Quiet []QuietSource
	// Troubles are what is wrong with the queue, the oldest first.
	Troubles []queue.Trouble
	// Refused are the rejected requests that are a reason to look, newest first. Probes
	// counts the other ones that were rejected lately.
	Refused []Rejection
	Probes  int
}

// TargetDown is a target that cannot be reached or gives no proper answer. Error
// says which.
type TargetDown struct {
	Target string    `json:"target"`
	Action string    `json:"action"`
	Since  time.Time `json:"since"`
	Error  string    `json:"error"`
}

// QuietSource is a source that has sent nothing for longer than its quiet.
type QuietSource struct {
	Source string    `json:"source"`
	Last   time.Time `json:"last,omitzero"`
}

// State returns how the runtime is. It reads nothing from the disk.
func (r *Runtime) State() State {
	state := State{
		Started: r.watch.started, Down: []TargetDown{}, Quiet: []QuietSource{},
		Troubles: slices.Concat([]queue.Trouble{}, r.engine.Troubles(), r.clock.trouble(r.zone())),
	}
	state.Refused, state.Probes = r.rejections.lately(time.Now())
	r.mutex.Lock()
	state.Loaded, state.Configuration = r.inForce.since, r.inForce.digest
	r.mutex.Unlock()
	if generation := r.Generation(); generation != nil {
		state.Down = r.watch.down(generation)
		state.Quiet = r.watch.silent(generation, time.Now())
	}
	return state
}

// Is reports whether this is the target that an action names so.
func (d *TargetDown) Is(target string) bool { return withPort(d.Target) == withPort(target) }

// DownFor returns the target that the requests of an action for a tenant go to, if
// it is down, else nil.
func DownFor(r *Runtime, action, tenant string) *TargetDown {
	generation := r.Generation()
	if generation == nil || generation.Action(action) == nil {
		return nil
	}
	target, ok := generation.Action(action).TargetFor(tenant)
	if !ok {
		return nil
	}
	for _, down := range r.watch.down(generation) {
		if down.Is(target.String()) {
			return &down
		}
	}
	return nil
}

// Probe has a target that is down be tested at once, by one of the deliveries that
// are due for it.
func (r *Runtime) Probe(down TargetDown) { r.dispatcher.Probe(down.Target) }

// down returns the targets that are down and that an action of the generation
// calls, the one that is down for longest first.
func (w *watch) down(generation *Generation) []TargetDown {
	down := []TargetDown{}
	w.mutex.Lock()
	for _, target := range w.targets {
		if target.endpoints > 0 {
			down = append(down, target.TargetDown)
		}
	}
	w.mutex.Unlock()
	if len(down) == 0 {
		// Lists of deliveries ask for each that waits.
		return down
	}
	called := map[string]bool{}
	for _, action := range generation.Actions {
		for _, target := range action.Targets() {
			called[withPort(target)] = true
		}
	}
	down = slices.DeleteFunc(down, func(d TargetDown) bool { return !called[withPort(d.Target)] })
	slices.SortFunc(down, func(a, b TargetDown) int { return a.Since.Compare(b.Since) })
	return down
}

// withPort writes out the port of a target, because a default one may be left
// out.
func withPort(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Port() != "" {
		return target
	}
	if u.Scheme == "https" {
		return target + ":443"
	}
	return target + ":80"
}
