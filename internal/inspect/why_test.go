package inspect

import (
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

func TestWhyExpired(t *testing.T) {
	for last, want := range map[string]string{
		"":                                    queue.ExpiredUnsent,
		"status 503":                          "status 503; " + queue.ExpiredUnsent,
		"status 503; " + queue.ExpiredBetween: "status 503; " + queue.ExpiredBetween,
	} {
		if got := whyExpired(last); got != want {
			t.Errorf("%q: %q, not %q", last, got, want)
		}
	}
}

// What expired while its action was paused says why, although nothing was tried.
func TestExpiredWhilePaused(t *testing.T) {
	target := relaytest.NewService(t)
	configuration := relaytest.Configuration(target, "/record")
	configuration.Actions[0].Expires = 1
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, configuration)
	turn := func(off bool) Turned {
		t.Helper()
		turned, err := Turn(t.Context(), runtime, queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: off}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return turned
	}
	turn(true)
	id := relaytest.Post(t, runtime, generation, relaytest.Approved)
	if m := turn(false).Meanwhile; m == nil || m.Deliveries != 1 || !m.Expires {
		t.Errorf("resuming says %+v", m)
	}
	var delivery DeliveryDetail
	processtest.WaitFor(t, "the end of the delivery", func() bool {
		detail, err := Show(t.Context(), runtime, id)
		if err != nil {
			t.Fatal(err)
		}
		delivery = detail.Deliveries[0]
		return delivery.State != queue.Pending
	})
	if delivery.State != queue.Expired || delivery.Error != queue.ExpiredUnsent || delivery.Attempts != 0 || target.Got() != "" {
		t.Errorf("%+v, and the target got %q", delivery, target.Got())
	}
}
