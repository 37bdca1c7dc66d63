package postgres

import (
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// A taker gets fewer deliveries than it asked for if their events are large, and the
// others afterwards, in order.
func TestALookIsBoundedByTheSizeOfEvents(t *testing.T) {
	const size, most = 10_000, 100_000
	_, b := nodesOf(t, func(o *Options) { o.limits.lookBytes = most })
	ids := putOn(t, b, "x", "", 20)
	if _, err := b.pool.Exec(nodePatience(t), "UPDATE events SET body = convert_to(repeat('x', $1), 'UTF8'), checksum = NULL", size); err != nil {
		t.Fatal(err)
	}
	for len(ids) > 0 {
		leases, err := b.Take(nodePatience(t), "x", 20)
		if err != nil {
			t.Fatal(err)
		}
		bytes := int64(0)
		for i, taken := range leases {
			if taken.Delivery.ID != ids[i] || taken.Event == nil {
				t.Fatalf("delivery %s is taken, want %s with its event", taken.Delivery.ID, ids[i])
			}
			if bytes > most {
				t.Errorf("%d deliveries are taken at once", len(leases))
			}
			bytes += taken.Token.(*lease).size
		}
		for _, lease := range leases {
			if err := b.Settle(lease.Token, queue.Settlement{State: queue.Delivered}); err != nil {
				t.Fatal(err)
			}
		}
		ids = ids[len(leases):]
	}
	nothingOn(t, b, "x")
}
