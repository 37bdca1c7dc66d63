package inspect

import (
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// SayWhy adds to deliveries what the history does not keep: which switch, or else which
// target that is down, keeps a pending one waiting, and that one expired before it was
// attempted (again).
func SayWhy(runtime *relay.Runtime, events []queue.Summary) {
	for i := range events {
		for j := range events[i].Deliveries {
			switch delivery := &events[i].Deliveries[j]; delivery.State {
			case queue.Pending:
				delivery.Paused = relay.HeldBy(runtime, delivery.Action)
				if delivery.Paused != nil {
					continue
				}
				if down := relay.DownFor(runtime, delivery.Action, events[i].Tenant); down != nil {
					delivery.Down = down.Target
				}
			case queue.Expired:
				delivery.Error = whyExpired(delivery.Error)
			}
		}
	}
}

// whyExpired returns why a delivery expired, by the error of its last attempt. Its last
// attempt says so itself if it is what ended the delivery.
func whyExpired(last string) string {
	switch {
	case last == "":
		return queue.ExpiredUnsent
	case strings.HasSuffix(last, queue.ExpiredBetween):
		return last
	}
	return last + "; " + queue.ExpiredUnsent
}
