package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// WrongInput is an error about something that a caller gave: which part, and
// what is wrong with it.
type WrongInput struct {
	Field string
	Err   error
}

func (e *WrongInput) Error() string { return e.Err.Error() }
func (e *WrongInput) Unwrap() error { return e.Err }

// Wrong returns a *WrongInput about a field.
func Wrong(field, format string, arguments ...any) error {
	return &WrongInput{Field: field, Err: fmt.Errorf(format, arguments...)}
}

// longestReason bounds what is said about a switch, in bytes: it is stored again
// with each event that comes meanwhile.
const longestReason = 500

// How often a switch is looked at that is to be turned on again: at least so
// often, since the clock may be set, and so soon after that failed.
const (
	lookAtSwitches   = time.Minute
	retrySwitchAgain = 10 * time.Second
)

// switchedOff is what is switched off, made ready to be looked up for each event. It
// does not change once it is made.
type switchedOff struct {
	list []queue.Switch
	// all and events are what is off but for actions. all is nil if not everything
	// is off.
	all    *queue.Switch
	events map[eventName]queue.Switch
}

type eventName struct{ source, event string }

// newSwitchedOff returns nil if nothing is off, so that asking costs next to
// nothing then. What is obeyed here is on again from the moment on that was set
// for it, even if that could not be stored yet.
func newSwitchedOff(list []queue.Switch, now time.Time) *switchedOff {
	off := &switchedOff{events: map[eventName]queue.Switch{}}
	for _, s := range list {
		if s.Kind != queue.SwitchAction && !s.Until.IsZero() && !now.Before(s.Until) {
			continue
		}
		off.list = append(off.list, s)
		switch s.Kind {
		case queue.SwitchAll:
			off.all = &s
		case queue.SwitchEvent:
			source, event, _ := strings.Cut(s.Name, ":")
			off.events[eventName{source, event}] = s
		}
	}
	if off.list == nil {
		return nil
	}
	return off
}

// offReason says why an event that came in meanwhile was left alone.
func offReason(s queue.Switch, zone *time.Location) string {
	const minute = "2006-01-02 15:04 MST"
	text := "switched off since " + s.Since.In(zone).Format(minute)
	if !s.Until.IsZero() {
		text += " until " + s.Until.In(zone).Format(minute)
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}

// everything reports whether nothing at all is to be done.
func (off *switchedOff) everything() bool { return off != nil && off.all != nil }

// reason returns why an event is left alone, or "" if it is not. It is stored, and
// names the zone that its times are in.
func (off *switchedOff) reason(event *event.Event, zone *time.Location) string {
	switch {
	case off == nil:
		return ""
	case off.all != nil:
		return "everything " + offReason(*off.all, zone)
	}
	if s, isOff := off.events[eventName{event.Source, event.Name}]; isOff {
		return offReason(s, zone)
	}
	return ""
}

// Switches returns what is switched off. The list must not be changed.
func (r *Runtime) Switches() []queue.Switch {
	if off := r.off.Load(); off != nil {
		return off.list
	}
	return nil
}

// HeldBy returns what keeps the deliveries of an action waiting although they are
// due: the configuration (active off), which has no time, the switch of everything,
// or that of the action. It is nil if nothing is switched off.
func HeldBy(r *Runtime, action string) *queue.Switch {
	if generation := r.Generation(); generation != nil && generation.Configuration.Disabled {
		return &queue.Switch{Kind: queue.SwitchAll, Off: true, Reason: "active off in the configuration"}
	}
	off := r.Switches()
	for _, kind := range []queue.SwitchKind{queue.SwitchAll, queue.SwitchAction} {
		for i := range off {
			if off[i].Kind == kind && (kind == queue.SwitchAll || off[i].Name == action) {
				return &off[i]
			}
		}
	}
	return nil
}

// Turn turns a switch on or off, durably. An event may be named without its
// source if only one source has it. A during of zero means until it is turned on
// by hand; turning off what is off replaces end and reason. It returns the switch
// as it is now. Wrong names, and an end for what is turned on, are *WrongInput.
func (r *Runtime) Turn(ctx context.Context, s queue.Switch, during time.Duration) (queue.Switch, error) {
	var now queue.Switch
	err := r.engine.Exclusive(ctx, turning, func(ctx context.Context) (err error) {
		now, err = r.turnChecked(ctx, s, during)
		return err
	})
	if err != nil {
		return s, err
	}
	r.lookAgain()
	return now, nil
}

// turning is the name under which one at a time turns a switch, on whichever node: one
// that is turned on because its time has come must not undo what is turned off anew.
const turning = "switch"

// turnChecked checks what is to be turned, turns it, and returns it as it is now. The
// caller is the only one that turns a switch.
func (r *Runtime) turnChecked(ctx context.Context, s queue.Switch, during time.Duration) (queue.Switch, error) {
	name, err := r.switchName(ctx, s.Kind, s.Name)
	switch {
	case err != nil:
		return s, err
	case during < 0:
		return s, Wrong("for", "a switch cannot be off for %s; give a time such as 24h, or none", during)
	case during > 0 && !s.Off:
		return s, Wrong("for", "only what is switched off can have an end")
	case len(s.Reason) > longestReason:
		return s, Wrong("reason", "the reason has %d bytes; at most %d are kept", len(s.Reason), longestReason)
	}
	s = queue.Switch{Kind: s.Kind, Name: name, Off: s.Off, Reason: strings.TrimSpace(s.Reason)}
	if during > 0 {
		s.Until = Now(r).Add(during).UTC()
	}
	if err := r.turn(ctx, s); err != nil {
		return s, err
	}
	for _, now := range r.Switches() {
		if now.Kind == s.Kind && now.Name == s.Name {
			return now, nil
		}
	}
	return queue.Switch{Kind: s.Kind, Name: s.Name}, nil
}

// turn stores a switch and brings it into force. The caller is the only one that turns
// a switch.
func (r *Runtime) turn(ctx context.Context, s queue.Switch) error {
	// A caller that goes away must not leave it open whether it was turned.
	ctx = context.WithoutCancel(ctx)
	if _, err := r.engine.Change(ctx, queue.Change{Switch: &s}); err != nil {
		return fmt.Errorf("turning a switch: %w", err)
	}
	return r.loadSwitches(ctx)
}

// loadSwitches brings into force what the queue keeps.
func (r *Runtime) loadSwitches(ctx context.Context) error {
	// A list that was read earlier must not take the place of a later one.
	r.loading.Lock()
	defer r.loading.Unlock()
	list, err := r.engine.Switches(ctx)
	if err != nil {
		return fmt.Errorf("reading the switches: %w", err)
	}
	r.kept.Store(&list)
	r.obeySwitches()
	return nil
}

// obeyOthers brings into force what another node turned.
func (r *Runtime) obeyOthers(ctx context.Context) error {
	if err := r.loadSwitches(ctx); err != nil {
		return err
	}
	r.lookAgain()
	return nil
}

// obeySwitches brings into force what is kept and has not come to its end. The
// queue itself obeys the switches of actions.
func (r *Runtime) obeySwitches() {
	off := newSwitchedOff(*r.kept.Load(), Now(r))
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if before := r.off.Swap(off); before.everything() != off.everything() {
		r.dispatch(r.newest.Load())
	}
}

// switchName checks the name of a switch and returns it as it is kept.
func (r *Runtime) switchName(ctx context.Context, kind queue.SwitchKind, name string) (string, error) {
	isOff := slices.ContainsFunc(r.Switches(), func(s queue.Switch) bool { return s.Kind == kind && s.Name == name })
	switch kind {
	case queue.SwitchAll:
		if name != "" {
			return "", Wrong("name", "a switch for everything has no name, not even %s", name)
		}
		return "", nil
	case queue.SwitchAction, queue.SwitchEvent:
	default:
		return "", Wrong("kind", "%q can have no switch; there are %s, %s and %s", kind, queue.SwitchAction, queue.SwitchEvent, queue.SwitchAll)
	}
	switch {
	case name == "":
		return "", Wrong("name", "give the name of the %s", kind)
	case isOff:
		// It can be turned on even after it went from the configuration.
		return name, nil
	case kind == queue.SwitchAction:
		return name, r.checkWaiting(ctx, "name", name)
	}
	generation := r.Generation()
	if generation == nil {
		return "", ErrNotInService
	}
	source, event, err := rules.FindEvent(generation.Declared, name)
	if err != nil {
		return "", &WrongInput{Field: "name", Err: err}
	}
	return source + ":" + event, nil
}

// checkWaiting checks that an action is configured or has deliveries that wait.
// field is what the caller calls it.
func (r *Runtime) checkWaiting(ctx context.Context, field, action string) error {
	known := r.actionNames()
	if slices.Contains(known, action) {
		return nil
	}
	backlog, err := r.engine.Backlog(ctx)
	if err != nil {
		return fmt.Errorf("looking for the action %s: %w", action, err)
	}
	for _, waiting := range backlog {
		if waiting.Action == action {
			return nil
		}
		if !slices.Contains(known, waiting.Action) {
			known = append(known, waiting.Action)
		}
	}
	return unknownAction(field, action, known)
}

// actionNames are the actions of the newest generation.
func (r *Runtime) actionNames() []string {
	if generation := r.Generation(); generation != nil {
		return generation.ActionNames()
	}
	return nil
}

func unknownAction(field, name string, known []string) error {
	return Wrong(field, "%w", names.Unknown("action", name, known, ""))
}

// Cancel ends unfinished deliveries: one, by its id or the beginning of it, or all
// of an action, also of one that is not configured any more. It returns how many,
// which is none if they had ended before. It wraps queue.ErrNotFound.
func (r *Runtime) Cancel(ctx context.Context, delivery, action string) (int, error) {
	switch {
	case delivery != "" && action != "":
		return 0, Wrong("action", "give a delivery or an action, not both")
	case delivery == "" && action == "":
		return 0, Wrong("delivery", "give the id of a delivery, or the name of an action")
	case delivery != "":
		id, err := r.deliveryID(ctx, strings.ToLower(delivery))
		if err != nil {
			return 0, err
		}
		changed, err := r.engine.Change(ctx, queue.Change{CancelDelivery: id})
		return changed.Deliveries, err
	}
	if err := r.checkWaiting(ctx, "action", action); err != nil {
		return 0, err
	}
	changed, err := r.engine.Change(ctx, queue.Change{CancelAction: action})
	return changed.Deliveries, err
}

// deliveryID returns the id of the one delivery whose id begins so.
func (r *Runtime) deliveryID(ctx context.Context, beginning string) (string, error) {
	history, err := r.engine.Find(ctx, beginning)
	if err != nil {
		return "", err
	}
	return history.Summary.FindDelivery(beginning)
}

// Move hands the unfinished deliveries of an action, configured or not, to a
// configured one, and returns how many.
func (r *Runtime) Move(ctx context.Context, from, to string) (int, error) {
	configured := r.actionNames()
	switch {
	case from == "":
		return 0, Wrong("from", "give the name of the action whose deliveries are to be moved")
	case !slices.Contains(configured, to):
		return 0, unknownAction("to", to, configured)
	case from == to:
		return 0, Wrong("to", "the deliveries of %s are there already", from)
	}
	if err := r.checkWaiting(ctx, "from", from); err != nil {
		return 0, err
	}
	changed, err := r.engine.Change(ctx, queue.Change{Move: &queue.Move{From: from, To: to}})
	return changed.Deliveries, err
}

// turnOnAgain turns switches on when their time has come, until ctx ends.
func (r *Runtime) turnOnAgain(ctx context.Context) {
	for {
		wait := lookAtSwitches
		if r.Generation() != nil {
			// Before there is a generation, nothing is done and nothing can be
			// logged.
			wait = r.turnOnDue(ctx)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-r.look:
			timer.Stop()
		}
	}
}

// turnOnDue turns on the switches whose time has come, and returns how long
// there is nothing more to do.
func (r *Runtime) turnOnDue(ctx context.Context) time.Duration {
	due, wait := r.dueSwitches()
	if len(due) == 0 {
		return wait
	}
	r.obeySwitches()
	err := r.engine.Exclusive(ctx, turning, func(ctx context.Context) error {
		// Another node, or an administrator, may have been faster.
		if err := r.loadSwitches(ctx); err != nil {
			return err
		}
		var failed []error
		due, wait = r.dueSwitches()
		for _, s := range due {
			fields := []zap.Field{zap.String("kind", string(s.Kind)), zap.String("name", s.Name), zap.Time("off_since", s.Since)}
			if err := r.turn(ctx, queue.Switch{Kind: s.Kind, Name: s.Name}); err != nil {
				failed = append(failed, fmt.Errorf("%s %s: %w", s.Kind, s.Name, err))
				continue
			}
			r.logger.Info("a switch is on again, as its time has come", fields...)
		}
		return errors.Join(failed...)
	})
	if err != nil {
		if ctx.Err() == nil {
			r.logger.Error("turning switches on again, as their time has come; it is tried again soon", zap.Error(err))
		}
		return min(wait, retrySwitchAgain)
	}
	return wait
}

// dueSwitches returns the switches whose time has come, and after which time the next
// one's has, or it is to be looked at again.
func (r *Runtime) dueSwitches() (due []queue.Switch, wait time.Duration) {
	wait = lookAtSwitches
	for _, s := range *r.kept.Load() {
		if s.Until.IsZero() {
			continue
		}
		if left := s.Until.Sub(Now(r)); left > 0 {
			wait = min(wait, left)
		} else {
			due = append(due, s)
		}
	}
	return due, wait
}

// lookAgain has turnOnAgain look at the switches.
func (r *Runtime) lookAgain() {
	select {
	case r.look <- struct{}{}:
	default:
	}
}
