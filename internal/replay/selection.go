package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
// take many times their size when decoded. They are read eventsAtOnce at a time where
// they are amended: others that want to amend wait until all are read. Where nothing is
// amended, all are read at once.
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

// selected is a selection of events, to be gone through oldest first: with
// order_by, what is sent again must go in the order in which it was received.
type selected struct {
	runtime *relay.Runtime

	// filter is what to look for if found says that it passes any events.
	filter queue.Filter
	found  bool

	// named are the events that were chosen by ids, without what is stored, and
	// few the ids if they are so few that each is read once, when its turn comes.
	named []chosen
	few   []string

	// reading says that nothing is amended, so that others may amend meanwhile.
	reading bool

	// cut says that the filter passes older events, which were left out.
	cut bool
}

// areFew reports whether what ids name can be read at once.
func areFew(ids []string) bool { return len(ids) > 0 && len(ids) <= eventsAtOnce }

// lookThrough looks through a selection by its ids, or by a filter, so that it is
// known how much there is. It calls count with each event, without what the rules
// see of it, and then looked, after each step. When looked says that it is enough,
// the selection ends there: what a filter passes is then without older events. Of a
// filter it looks at most at the newest events, as many as most says, 0 for all.
func lookThrough(ctx context.Context, runtime *relay.Runtime, ids []string, filter queue.Filter, most int, count func(event *chosen), looked func() (enough bool)) (*selected, error) {
	s := &selected{runtime: runtime, filter: filter}
	if len(ids) > 0 {
		var err error
		if s.named, err = name(ctx, runtime, ids, false, func() { looked() }); err != nil {
			return nil, err
		}
		for i := range s.named {
			event := &s.named[i]
			count(event)
			// What is stored is read again when its turn comes.
			event.Summary = queue.Summary{ID: event.Summary.ID, Received: event.Summary.Received}
		}
		return s, nil
	}
	var newest time.Time
	seen := 0
	for after, more := queue.Cursor(""), true; more; more = after != "" {
		n := manyAgain
		if most > 0 {
			n = min(n, most-seen)
		}
		page, err := runtime.Store().Page(ctx, filter, queue.NewestFirst, after, n)
		if err != nil {
			return nil, fmt.Errorf("counting events: %w", err)
		}
		for i := range page.Events {
			if at := page.Events[i].Received; at.After(newest) {
				newest = at
			}
			s.found = true
			count(&chosen{Stored: queue.Stored{Summary: page.Events[i]}, whole: true})
		}
		after = page.Next
		seen += len(page.Events)
		if enough := looked(); after != "" && (enough || most > 0 && seen >= most) {
			s.cut = true
			s.filter.Since = page.Reached
			if len(page.Events) > 0 && !page.Early {
				s.filter.Since = page.Events[len(page.Events)-1].Received
			}
			break
		}
	}
	// Events that come meanwhile are not part of it.
	s.filter.Until = newest.Add(time.Microsecond)
	return s, nil
}

// name returns the events that ids mean, in order of receipt: whole, or without
// what the rules see of them. It calls looked after each.
func name(ctx context.Context, runtime *relay.Runtime, ids []string, whole bool, looked func()) ([]chosen, error) {
	var events []chosen
	for _, id := range ids {
		history, err := runtime.Store().Find(ctx, id)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(events, func(e chosen) bool { return e.Summary.ID == history.Summary.ID })
		if at < 0 {
			at = len(events)
			events = append(events, chosen{Stored: queue.Stored{Summary: history.Summary}})
			if whole {
				events[at].Event = history.Event
			}
		}
		if err := events[at].choose(strings.ToLower(id)); err != nil {
			return nil, err
		}
		looked()
	}
	slices.SortFunc(events, inOrderOfReceipt)
	return events, nil
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

// exclusively is the name under which events are sent or decided again. Two
// callers that read an event, and then both added what it lacks, would add it
// twice.
const exclusively = "amend"

// walk calls do with some events at a time, as they are stored now, oldest
// first, each once. Nothing else is sent or decided again while do runs, unless the
// selection is only read. After
// each step it calls looked, which may take its time.
func (s *selected) walk(ctx context.Context, do func(context.Context, []chosen) error, looked func()) error {
	if len(s.few) > 0 {
		if err := s.step(ctx, do, func(ctx context.Context) ([]chosen, error) { return name(ctx, s.runtime, s.few, true, func() {}) }); err != nil {
			return err
		}
		looked()
	}
	for named := range slices.Chunk(s.named, eventsAtOnce) {
		if err := s.step(ctx, do, func(ctx context.Context) ([]chosen, error) { return s.find(ctx, named) }); err != nil {
			return err
		}
		looked()
	}
	for after, more := queue.Cursor(""), s.found; more; more = after != "" {
		if err := s.step(ctx, do, func(ctx context.Context) (events []chosen, err error) {
			events, after, err = s.next(ctx, after)
			return events, err
		}); err != nil {
			return err
		}
		looked()
	}
	return nil
}

// step reads some events and calls do with them.
func (s *selected) step(ctx context.Context, do func(context.Context, []chosen) error, read func(context.Context) ([]chosen, error)) error {
	readAndDo := func(ctx context.Context) error {
		events, err := read(ctx)
		if err != nil || len(events) == 0 {
			return err
		}
		return do(ctx, events)
	}
	if s.reading {
		return readAndDo(ctx)
	}
	return s.runtime.Store().Exclusive(ctx, exclusively, readAndDo)
}

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

// next reads events behind a cursor, and returns the cursor to go on from, empty
// at the end.
func (s *selected) next(ctx context.Context, after queue.Cursor) (events []chosen, end queue.Cursor, err error) {
	bytes, n := 0, eventsAtOnce
	if s.reading {
		n = againAtOnce
	}
	for len(events) < againAtOnce && bytes <= againBytes {
		page, err := s.runtime.Store().Events(ctx, s.filter, queue.OldestFirst, after, n)
		if err != nil {
			return nil, "", err
		}
		for _, event := range page.Events {
			events = append(events, chosen{Stored: event, whole: true})
			if event.Event != nil {
				bytes += len(event.Event.RawBody)
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	return events, after, nil
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
