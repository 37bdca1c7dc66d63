package relay_test

import (
	"slices"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// TestClockOfANodeIsWrong: a node whose clock is wrong lets deliveries expire when a node
// whose clock is right does, and both know by whose clock a switch ends.
func TestClockOfANodeIsWrong(t *testing.T) {
	for name, wrong := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shared, target := relaytest.NewNodes(t), relaytest.NewService(t)
			shared.SetClock("b", wrong)
			configuration := relaytest.Configuration(target, "/record")
			configuration.Actions[0].Expires = config.Duration(30 * time.Minute)
			runtimes, generations := openNodes(t, shared, configuration, "a", "b")
			// Of both, the clock shows the same here: so what the wrong one receives now was, by
			// the clock of the storage, received an hour ago or will be in an hour.
			accept := func(node int, received time.Time) string {
				e := relaytest.Event("job_saved", relaytest.Approved)
				e.Received = received
				relaytest.Accept(t, runtimes[node], generations[node], e)
				relaytest.WaitEnded(t, runtimes[0])
				return string(relaytest.Summary(t, runtimes[0], e.ID).Deliveries[0].State)
			}
			byItsClock := time.Now().Add(wrong)
			for deliverer := range runtimes {
				// The other one only receives.
				for i := range runtimes {
					only := configuration
					if i != deliverer {
						only.Queue = &config.Queue{ReceiveOnly: true}
					}
					generations[i] = relaytest.Push(t, runtimes[i], only)
				}
				for receiver, now := range []time.Time{time.Now(), byItsClock} {
					age := 40 * time.Minute
					if deliverer == 1 {
						// This one believes that it is later, or earlier, than it is by its clock.
						now = now.Add(-wrong)
					}
					if got := accept(receiver, now); got != string(queue.Delivered) {
						t.Errorf("an event that %d received now, and %d carries out, is %s", receiver, deliverer, got)
					}
					if got := accept(receiver, now.Add(-age)); got != string(queue.Expired) {
						t.Errorf("an event that %d received too long ago, and %d carries out, is %s", receiver, deliverer, got)
					}
				}
			}

			until := relaytest.Turn(t, runtimes[1], queue.Switch{Kind: queue.SwitchAction, Name: "record", Off: true}, 10*time.Minute).Until
			if left := time.Until(until) + wrong; (left - 10*time.Minute).Abs() > time.Minute {
				t.Errorf("a switch that is to be off for 10 minutes is off for %v", left)
			}
			nodes, err := relay.Nodes(t.Context(), runtimes[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := []int64{nodes[0].Ahead, nodes[1].Ahead}; !slices.Equal(got, []int64{0, int64(wrong / time.Second)}) {
				t.Errorf("the clocks are %v seconds ahead", got)
			}
			shared.SetClock("b", 0)
			processtest.WaitFor(t, "the others to hear that the clock is right again", func() bool {
				nodes, err := relay.Nodes(t.Context(), runtimes[0])
				return err == nil && nodes[1].Ahead == 0
			})
		})
	}
}
