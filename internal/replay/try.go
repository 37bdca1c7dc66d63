package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// Tried is what trying now came to.
type Tried struct {
	// Deliveries counts the deliveries that are due now because of it.
	Deliveries int `json:"deliveries"`
	// Tested are the targets that are down and are tested because of it.
	Tested []string `json:"tested,omitempty"`
	// Says says what happens now, or what they wait for all the same, in sentences.
	Says []string `json:"says"`
}

func (t *Tried) say(format string, arguments ...any) {
	if text := fmt.Sprintf(format, arguments...); !slices.Contains(t.Says, text) {
		t.Says = append(t.Says, text)
	}
}

// TryDelivery makes a delivery that waits due at once, by its id or the beginning of
// it; the id of an event means all of its deliveries that wait. If its target is
// down, that is tested at once. It wraps queue.ErrNotFound; what has ended is
// *relay.WrongInput.
func TryDelivery(ctx context.Context, runtime *relay.Runtime, id string) (Tried, error) {
	generation := runtime.Generation()
	if generation == nil {
		return Tried{}, fmt.Errorf("trying a delivery: %w", relay.ErrNotInService)
	}
	id = strings.ToLower(id)
	history, err := runtime.Store().Find(ctx, id)
	if err != nil {
		return Tried{}, err
	}
	chosen := chosen{Stored: queue.Stored{Summary: history.Summary, Event: history.Event}}
	if err := chosen.choose(id); err != nil {
		return Tried{}, err
	}
	var waiting []queue.DeliveryState
	for _, delivery := range history.Summary.Deliveries {
		named := slices.Contains(chosen.deliveries, delivery.ID)
		switch {
		case delivery.State == queue.Pending && (chosen.whole || named):
			waiting = append(waiting, delivery)
		case named:
			return Tried{}, relay.Wrong("delivery", "delivery %s is %s: only one that waits can be tried now; to send it again, use resend", delivery.ID, delivery.Standing())
		}
	}
	if len(waiting) == 0 {
		return Tried{}, relay.Wrong("delivery", "event %s has no delivery that waits: only one that waits can be tried now; to send it again, use resend", history.Summary.ID)
	}
	tried := Tried{Says: []string{}}
	for _, delivery := range waiting {
		if err := tried.delivery(ctx, runtime, generation, delivery, history); err != nil {
			return tried, fmt.Errorf("trying a delivery: %w", err)
		}
	}
	return tried, nil
}

// delivery tries one delivery of an event.
func (t *Tried) delivery(ctx context.Context, runtime *relay.Runtime, generation *relay.Generation, delivery queue.DeliveryState, of queue.Detail) error {
	// A caller that goes away must not leave it open what was done.
	changed, err := runtime.Store().Change(context.WithoutCancel(ctx), queue.Change{TryDelivery: delivery.ID})
	if err != nil {
		return err
	}
	t.Deliveries += changed.Deliveries
	switch {
	case changed.Leased > 0:
		t.say("The delivery for %s is being attempted right now.", delivery.Action)
	case changed.Deliveries == 0:
		t.say("The delivery for %s has ended meanwhile.", delivery.Action)
	case of.Behind[delivery.ID] != "":
		t.say("The delivery for %s still waits for the delivery %s of the same order_by, which must end first: try that one.", delivery.Action, of.Behind[delivery.ID])
	default:
		if held, err := t.held(ctx, runtime, generation, delivery.Action); held || err != nil {
			return err
		}
		if down := relay.DownFor(runtime, delivery.Action, of.Summary.Tenant); down != nil {
			t.test(runtime, *down)
			t.say("The target %s is down. It is tested with this delivery now.", down.Target)
			return nil
		}
		t.say("The delivery for %s is due now.", delivery.Action)
	}
	return nil
}

func (t *Tried) test(runtime *relay.Runtime, down relay.TargetDown) {
	runtime.Probe(down)
	if !slices.Contains(t.Tested, down.Target) {
		t.Tested = append(t.Tested, down.Target)
	}
}

// held says why nothing of an action is sent whatever is due, or not by this node, if
// that is so.
func (t *Tried) held(ctx context.Context, runtime *relay.Runtime, generation *relay.Generation, action string) (bool, error) {
	held := relay.HeldBy(runtime, action)
	known, delivers := generation.Action(action) != nil, generation.Configuration.Delivers()
	switch {
	case !known || held == nil && !delivers:
		carriers, err := relay.Carriers(ctx, runtime, action)
		switch {
		case err != nil:
			return true, err
		case len(carriers) > 0 && known:
			t.say("This node only receives (deliver off): deliveries for %s are due, and carried out by %s.", action, strings.Join(carriers, " or "))
		case len(carriers) > 0:
			t.say("The configuration of this node has no action %s: its deliveries are due, and carried out by %s.", action, strings.Join(carriers, " or "))
		case known:
			t.say("This node only receives (deliver off), and no other carries out deliveries of %s: they wait until one does.", action)
		default:
			t.say("There is no action %s in the configuration any more: its deliveries wait until they are moved to another or cancelled.", action)
		}
		return true, nil
	case held == nil:
		return false, nil
	case held.Kind == queue.SwitchAction:
		t.say("The action %s is paused: its deliveries are due and wait until it is resumed.", action)
	case held.Since.IsZero():
		t.say("The relay is switched off by the configuration (active off): deliveries are due and wait until it is on.")
	default:
		t.say("Everything is switched off: deliveries are due and wait until it is switched on.")
	}
	return true, nil
}

// TryTarget tests a target that is down at once, and makes all waiting deliveries of
// the actions that call it due, also those of them that are for another target. A
// target that no action calls is *relay.WrongInput.
func TryTarget(ctx context.Context, runtime *relay.Runtime, target string) (Tried, error) {
	generation := runtime.Generation()
	if generation == nil {
		return Tried{}, fmt.Errorf("trying a target: %w", relay.ErrNotInService)
	}
	wanted := relay.TargetDown{Target: strings.TrimSuffix(target, "/")}
	var known, actions []string
	for _, action := range generation.Actions {
		for _, called := range action.Targets() {
			known = append(known, called)
			if wanted.Is(called) && !slices.Contains(actions, action.Name()) {
				actions = append(actions, action.Name())
			}
		}
	}
	if len(actions) == 0 {
		slices.Sort(known)
		return Tried{}, relay.Wrong("target", "%w", names.Unknown("target", target, slices.Compact(known), ""))
	}
	backlog, err := runtime.Store().Backlog(ctx)
	if err != nil {
		return Tried{}, fmt.Errorf("trying a target: %w", err)
	}
	tried, waiting := Tried{Says: []string{}}, 0
	for _, action := range actions {
		changed, err := runtime.Store().Change(context.WithoutCancel(ctx), queue.Change{TryAction: action})
		tried.Deliveries += changed.Deliveries
		if err != nil {
			return tried, fmt.Errorf("trying a target: %w", err)
		}
		for _, line := range backlog {
			if line.Action == action {
				waiting += line.Count
				if _, err := tried.held(ctx, runtime, generation, action); err != nil {
					return tried, fmt.Errorf("trying a target: %w", err)
				}
			}
		}
	}
	isDown := false
	for _, down := range runtime.State().Down {
		if down.Is(wanted.Target) {
			isDown = true
			tried.test(runtime, down)
		}
	}
	switch {
	case waiting == 0 && isDown:
		tried.say("The target %s is down, and no delivery waits for it: the next one tests it.", wanted.Target)
	case waiting == 0:
		tried.say("No delivery waits for %s, and it is not down.", wanted.Target)
	case len(tried.Says) > 0:
	case isDown:
		tried.say("The target %s is tested with one delivery now. If it answers, the others follow; %d wait.", wanted.Target, waiting)
	case waiting == 1:
		tried.say("The target %s is not down: its waiting delivery is due now.", wanted.Target)
	default:
		tried.say("The target %s is not down: its %d waiting deliveries are due now.", wanted.Target, waiting)
	}
	return tried, nil
}
