package sqlite

import (
	"slices"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Events of a tenant are found over stretches that have none.
func TestRareTenant(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	var want []string
	for _, n := range []int{0, tenantWindow - 2, 3 * tenantWindow, 5} {
		fill(t, db, n, "")
		for _, tenant := range []string{"rare", "other", "rare"} {
			e := benchEntry("")
			e.Event.Parameters[event.Tenant] = tenant
			mustPut(t, db, e)
			if tenant == "rare" {
				want = append(want, e.Event.ID)
			}
		}
	}
	fill(t, db, 2*tenantWindow, "")
	slices.Reverse(want)
	if got := pageAll(t, db, queue.Filter{Tenant: "rare"}); !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
	if got := pageAll(t, db, queue.Filter{Tenant: "none"}); len(got) > 0 {
		t.Errorf("found %v", got)
	}
}
