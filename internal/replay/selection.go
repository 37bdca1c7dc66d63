package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// Selection chooses events or deliveries to do something with again.
type Selection struct {
	// IDs are of events or deliveries, or their beginnings; one that fits an
	// event and deliveries of it means the event. If there are any, Filter does
	// not count.
	IDs []string
	// Filter chooses all that it passes. One that is empty chooses everything.
	Filter queue.Filter
}

// Progress is how far a long call is. Total is 0 while it is not known.
type Progress struct {
	Done  int `json:"done"`
	Total int `json:"total,omitempty"`
}

// What is held in memory and amended as one unit: about againAtOnce events, which
// then share the sync of a commit, but no more than againBytes of bodies, which
// take many times their size when decoded. They are read eventsAtOnce at a time.
const (
	againAtOnce  = 128
	againBytes   = 1 << 20
	eventsAtOnce = 5
)

// manyAgain bounds lists that are only an excerpt.
const manyAgain = 1000

// chosen is what of a selection is in one event.
type chosen struct {
	queue.Stored
	// whole says that the event was chosen. Otherwise those of its deliveries
	// were that are listed.
	whole      bool
	deliveries []string
}

// selected is a selection that was looked through once, so that it is known how
// much there is, and where. Events are then gone through oldest first: with
// order_by, what is sent again must go in the order in which it was received.
type selected struct {
	runtime *relay.Runtime

	// filters are what to look for. An event may pass several of them.
	filters []queue.Filter
	// bounds cut the time from the oldest event to after the newest, such that
	// few events are between two of them; in nanoseconds since 1970, to be small
	// for any number of events.
	bounds []int64

	// named are the events that were chosen by ids, without what is stored.
	named []chosen
}

// lookThrough looks through a selection by its ids, or by filters, and calls
// count with each event and the filter that it passed.
func lookThrough(ctx context.Context, runtime *relay.Runtime, ids []string, filters []queue.Filter, count func(event *chosen, passed queue.Filter), progress func(Progress)) (*selected, error) {
	s := &selected{runtime: runtime, filters: filters}
	if len(ids) > 0 {
		return s, s.name(ctx, ids, count, progress)
	}
	oldest, newest := int64(math.MaxInt64), int64(math.MinInt64)
	for _, filter := range filters {
		events := 0
		for after, more := queue.Cursor(""), true; more; more = after != "" {
			page, err := runtime.Store().Page(ctx, filter, after, manyAgain)
			if err != nil {
				return nil, fmt.Errorf("counting events: %w", err)
			}
			for i := range page.Events {
				at := page.Events[i].Received.UnixNano()
				oldest, newest = min(oldest, at), max(newest, at)
				if events++; events%againAtOnce == 0 {
					s.bounds = append(s.bounds, at)
				}
				count(&chosen{Stored: queue.Stored{Summary: page.Events[i]}, whole: true}, filter)
			}
			after = page.Next
			progress(Progress{})
		}
	}
	if newest >= oldest {
		// Events that come meanwhile are not part of it.
		s.bounds = append(s.bounds, oldest, newest+int64(time.Microsecond))
	}
	slices.Sort(s.bounds)
	s.bounds = slices.Compact(s.bounds)
	return s, nil
}

// name finds what ids mean.
func (s *selected) name(ctx context.Context, ids []string, count func(*chosen, queue.Filter), progress func(Progress)) error {
	events := map[string]*chosen{}
	for _, id := range ids {
		history, err := s.runtime.Store().Find(ctx, id)
		if err != nil {
			return err
		}
		event := events[history.Summary.ID]
		if event == nil {
			event = &chosen{Stored: queue.Stored{Summary: history.Summary}}
			events[history.Summary.ID] = event
		}
		if err := event.choose(strings.ToLower(id)); err != nil {
			return err
		}
		progress(Progress{})
	}
	for _, id := range slices.Sorted(maps.Keys(events)) {
		event := events[id]
		count(event, queue.Filter{})
		// What is stored is read again when its turn comes.
		event.Summary = queue.Summary{ID: id, Received: event.Summary.Received}
		s.named = append(s.named, *event)
	}
	slices.SortStableFunc(s.named, inOrderOfReceipt)
	return nil
}

// choose notes what an id, or its beginning, means in the event.
func (c *chosen) choose(id string) error {
	if strings.HasPrefix(c.Summary.ID, id) {
		c.whole = true
		return nil
	}
	delivery, err := c.Summary.FindDelivery(id)
	if err != nil {
		return err
	}
	c.deliveries = append(c.deliveries, delivery)
	return nil
}

func inOrderOfReceipt(a, b chosen) int {
	return cmp.Or(a.Summary.Received.Compare(b.Summary.Received), cmp.Compare(a.Summary.ID, b.Summary.ID))
}

// walk calls do with some events at a time, as they are stored now, oldest
// first, each once. Nothing else is sent or decided again meanwhile. After each
// step it calls told, for which nobody else waits.
func (s *selected) walk(ctx context.Context, do func([]chosen) error, told func()) error {
	for named := range slices.Chunk(s.named, eventsAtOnce) {
		if err := s.step(ctx, do, func() ([]chosen, error) { return s.find(ctx, named) }); err != nil {
			return err
		}
		told()
	}
	for i := 1; i < len(s.bounds); i++ {
		if err := s.walkTime(ctx, do, told, s.bounds[i-1], s.bounds[i]); err != nil {
			return err
		}
	}
	return nil
}

// step reads some events and calls do with them.
func (s *selected) step(ctx context.Context, do func([]chosen) error, read func() ([]chosen, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.runtime.Amending().Lock()
	defer s.runtime.Amending().Unlock()
	events, err := read()
	if err != nil || len(events) == 0 {
		return err
	}
	return do(events)
}

// walkTime is walk for the events that were received in a time. It takes the
// time in halves if there is too much in it to be held.
func (s *selected) walkTime(ctx context.Context, do func([]chosen) error, told func(), since, until int64) error {
	err := s.step(ctx, do, func() ([]chosen, error) { return s.between(ctx, since, until) })
	if err == nil {
		told()
	}
	if !errors.Is(err, errTooMuch) {
		return err
	}
	half := since + (until-since)/2
	if err := s.walkTime(ctx, do, told, since, half); err != nil {
		return err
	}
	return s.walkTime(ctx, do, told, half, until)
}

var errTooMuch = errors.New("too much to be held at once")

// find reads events that were chosen by id. Those that were removed meanwhile
// are left out.
func (s *selected) find(ctx context.Context, named []chosen) ([]chosen, error) {
	events := make([]chosen, 0, len(named))
	for _, event := range named {
		history, err := s.runtime.Store().Find(ctx, event.Summary.ID)
		if errors.Is(err, queue.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		event.Stored = queue.Stored{Summary: history.Summary, Event: history.Event}
		events = append(events, event)
	}
	return events, nil
}

// between reads the events that pass one of the filters and were received in a
// time. It returns errTooMuch if that is better done in parts; the events of one
// request came at one time, and their bodies are bounded together.
func (s *selected) between(ctx context.Context, since, until int64) ([]chosen, error) {
	var events []chosen
	bytes := 0
	found := map[string]bool{}
	for _, filter := range s.filters {
		filter.Since, filter.Until = time.Unix(0, since), time.Unix(0, until)
		for after, more := queue.Cursor(""), true; more; more = after != "" {
			page, err := s.runtime.Store().Events(ctx, filter, after, eventsAtOnce)
			if err != nil {
				return nil, err
			}
			for _, event := range page.Events {
				if found[event.Summary.ID] {
					continue
				}
				found[event.Summary.ID] = true
				events = append(events, chosen{Stored: event, whole: true})
				if event.Event != nil {
					bytes += len(event.Event.RawBody)
				}
			}
			if bytes > againBytes && len(events) > 1 && until-since > int64(time.Microsecond) {
				return nil, errTooMuch
			}
			after = page.Next
		}
	}
	slices.SortFunc(events, inOrderOfReceipt)
	return events, nil
}

// amend stores amendments and returns which of them were. Events that retention
// has removed since they were read are left out, and so are those that cannot be
// added to: one of them would end every attempt to get at those behind it.
func amend(ctx context.Context, runtime *relay.Runtime, amendments []queue.Amendment) (stored []bool, err error) {
	// A caller that goes away must not leave it open what was done.
	ctx = context.WithoutCancel(ctx)
	stored = make([]bool, len(amendments))
	if err = runtime.Store().Amend(ctx, amendments); err == nil {
		for i := range stored {
			stored[i] = true
		}
		return stored, nil
	}
	if !errors.Is(err, queue.ErrNotFound) && !errors.Is(err, queue.ErrRefused) {
		return stored, err
	}
	for i := range amendments {
		switch err := runtime.Store().Amend(ctx, amendments[i:i+1]); {
		case err == nil:
			stored[i] = true
		case errors.Is(err, queue.ErrRefused):
			runtime.Logger().Error("an event was left out", zap.String("event", amendments[i].Event), zap.Error(err))
		case !errors.Is(err, queue.ErrNotFound):
			return stored, err
		}
	}
	return stored, nil
}
