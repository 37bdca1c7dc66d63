package queuetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// cleaned is how a text looks in an engine that does not keep odd bytes.
func cleaned(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
}

// cleans is an engine that changes what it is given before it stores it.
type cleans struct {
	node
	entry      func(*queue.Entry)
	amendment  func(*queue.Amendment)
	settlement func(*queue.Settlement)
	turned     func(*queue.Switch)
	note       func(*queue.Note)
	thing      func(*queue.Thing)
	filter     func(*queue.Filter)
}

func (e *cleans) Put(ctx context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	entries = slices.Clone(entries)
	for i := range entries {
		event := *entries[i].Event
		entries[i].Event, entries[i].Deliveries = &event, slices.Clone(entries[i].Deliveries)
		if e.entry != nil {
			e.entry(&entries[i])
		}
	}
	return e.node.Put(ctx, entries)
}

func (e *cleans) Amend(ctx context.Context, amendments []queue.Amendment) error {
	amendments = slices.Clone(amendments)
	for i := range amendments {
		amendments[i].Deliveries = slices.Clone(amendments[i].Deliveries)
		if e.amendment != nil {
			e.amendment(&amendments[i])
		}
	}
	return e.node.Amend(ctx, amendments)
}

func (e *cleans) Settle(token queue.Token, settlement queue.Settlement) error {
	if e.settlement != nil && settlement.Attempt != nil {
		attempt := *settlement.Attempt
		settlement.Attempt = &attempt
		e.settlement(&settlement)
	}
	return e.node.Settle(token, settlement)
}

func (e *cleans) Change(ctx context.Context, change queue.Change) (queue.Changed, error) {
	if e.turned != nil && change.Switch != nil {
		turned := *change.Switch
		e.turned(&turned)
		change.Switch = &turned
	}
	return e.node.Change(ctx, change)
}

func (e *cleans) Note(ctx context.Context, note queue.Note) error {
	if e.note != nil {
		e.note(&note)
	}
	return e.node.Note(ctx, note)
}

func (e *cleans) Exist(ctx context.Context, things []queue.Thing) error {
	things = slices.Clone(things)
	for i := range things {
		if e.thing != nil {
			e.thing(&things[i])
		}
	}
	return e.node.Exist(ctx, things)
}

func (e *cleans) Page(ctx context.Context, filter queue.Filter, order queue.Order, after queue.Cursor, n int) (queue.Page, error) {
	if e.filter != nil {
		e.filter(&filter)
	}
	return e.node.Page(ctx, filter, order, after, n)
}

// refusesNUL fails a whole batch for one byte.
type refusesNUL struct{ node }

var errByte = errors.New("invalid byte sequence")

func (e refusesNUL) Put(ctx context.Context, entries []queue.Entry) ([]queue.Receipt, error) {
	for _, entry := range entries {
		if strings.Contains(entry.Event.Name, "\x00") {
			return nil, errByte
		}
	}
	return e.node.Put(ctx, entries)
}

func (e refusesNUL) Find(ctx context.Context, id string) (queue.Detail, error) {
	if strings.Contains(id, "\x00") {
		return queue.Detail{}, errByte
	}
	return e.node.Find(ctx, id)
}

// brokenText has for each test of odd text an engine that has its trouble with it, and
// what the suite says of it.
var brokenText = map[string]struct {
	breaks func(whole node) node
	said   string
}{
	"an event": {func(n node) node {
		return &cleans{node: n, entry: func(e *queue.Entry) { e.Event.RawBody = []byte(cleaned(string(e.Event.RawBody))) }}
	}, "storage: body is"},
	"one event among others": {func(n node) node { return refusesNUL{n} }, "Put of entry"},
	"what lists show, and are filtered by": {func(n node) node {
		return &cleans{node: n, filter: func(f *queue.Filter) { f.Event = cleaned(f.Event) }}
	}, "events of"},
	"order keys": {func(n node) node {
		return &cleans{node: n, entry: func(e *queue.Entry) { e.Deliveries[0].OrderKey = cleaned(e.Deliveries[0].OrderKey) }}
	}, "Take(x) after 2 of 3"},
	"dedupe keys": {func(n node) node {
		return &cleans{node: n, entry: func(e *queue.Entry) { e.DedupeKey = cleaned(e.DedupeKey) }}
	}, "duplicate with key"},
	"attempts": {func(n node) node {
		return &cleans{node: n, settlement: func(s *queue.Settlement) { s.Attempt.Response = cleaned(s.Attempt.Response) }}
	}, "response is"},
	"actions": {func(n node) node {
		return &cleans{node: n, entry: func(e *queue.Entry) { e.Deliveries[0].Action = cleaned(e.Deliveries[0].Action) }}
	}, "after 0 of 1"},
	"switches": {func(n node) node {
		return &cleans{node: n, turned: func(s *queue.Switch) { s.Name = cleaned(s.Name) }}
	}, "name is"},
	"notes": {func(n node) node {
		return &cleans{node: n, note: func(note *queue.Note) { note.Name = cleaned(note.Name) }}
	}, queue.ErrNotFound.Error()},
	"uses": {func(n node) node {
		return &cleans{node: n, thing: func(thing *queue.Thing) { thing.Name = cleaned(thing.Name) }}
	}, "Uses names"},
	"ids, cursors and names of turns": {func(n node) node { return refusesNUL{n} }, "Find gave"},
	"what is added": {func(n node) node {
		return &cleans{node: n, amendment: func(a *queue.Amendment) { a.Deliveries[0].OrderKey = cleaned(a.Deliveries[0].OrderKey) }}
	}, "order key is"},
}

func TestBrokenTextFails(t *testing.T) {
	t.Parallel()
	for name, test := range textTests {
		broken, ok := brokenText[name]
		if !ok {
			t.Errorf("no broken engine shows that the test %q can fail", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			blames(t, test, newStorage(t, each(broken.breaks)), broken.said)
		})
	}
}
