package history_test

import (
	"context"
	"slices"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/history"
)

// Events of a tenant are found over stretches that have none.
func TestRareTenant(t *testing.T) {
	q := open(t)
	var want []string
	for _, n := range []int{0, history.TenantWindow - 2, 3 * history.TenantWindow, 5} {
		var others []queue.Entry
		for range n {
			others = append(others, entry())
		}
		put(t, q, others...)
		for _, tenant := range []string{"rare", "other", "rare"} {
			e := entry()
			e.Event.Parameters[event.Tenant] = tenant
			put(t, q, e)
			if tenant == "rare" {
				want = append(want, e.Event.ID)
			}
		}
	}
	for range 2 {
		others := make([]queue.Entry, history.TenantWindow)
		for i := range others {
			others[i] = entry()
		}
		put(t, q, others...)
	}
	slices.Reverse(want)
	if got := all(t, q, queue.Filter{Tenant: "rare"}); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if got := all(t, q, queue.Filter{Tenant: "none"}); len(got) > 0 {
		t.Errorf("found %v", got)
	}
}

// all returns the ids of all events that a filter passes, newest first.
func all(t *testing.T, q queue.Engine, filter queue.Filter) (ids []string) {
	t.Helper()
	for after := queue.Cursor(""); ; {
		page, err := q.Page(context.Background(), filter, queue.NewestFirst, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			ids = append(ids, e.ID)
		}
		if after = page.Next; after == "" {
			return ids
		}
	}
}
