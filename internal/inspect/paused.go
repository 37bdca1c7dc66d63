package inspect

import (
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// SayPaused says of each pending delivery which switch keeps it waiting.
func SayPaused(runtime *relay.Runtime, events []queue.Summary) {
	for i := range events {
		for j := range events[i].Deliveries {
			if delivery := &events[i].Deliveries[j]; delivery.State == queue.Pending {
				delivery.Paused = relay.HeldBy(runtime, delivery.Action)
			}
		}
	}
}
