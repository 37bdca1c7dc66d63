package command

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/api"
)

// relayZone is the time zone of the relay that has answered, nil before. A process runs
// one command, which talks to one relay.
var relayZone atomic.Pointer[time.Location]

// zone returns the time zone in which times are shown and read: the relay's, in which
// its rules name them too, and the machine's as long as that is not known.
func zone() *time.Location {
	if known := relayZone.Load(); known != nil {
		return known
	}
	return time.Local
}

// learnZone takes the time zone from an answer. The zone of a relay whose machine does
// not name it has the name Local: then the command runs on that machine too.
func learnZone(answer *http.Response) {
	name := answer.Header.Get(api.TimezoneHeader)
	if name == "" || name == time.Local.String() {
		return
	}
	if known, err := time.LoadLocation(name); err == nil {
		relayZone.Store(known)
	}
}

// askZone asks the relay for its time zone, unless it is known. A relay of an earlier
// version does not tell it.
func (c *adminClient) askZone(ctx context.Context) *time.Location {
	if relayZone.Load() == nil {
		_, _ = c.get(ctx, "timezone", nil, new(api.Timezone)) // what is wrong shows in the next call
	}
	return zone()
}

// noteZone says in which zone the times are, if that is not the machine's.
func (i *invocation) noteZone() {
	_, here := time.Now().Zone()
	if name, there := time.Now().In(zone()).Zone(); here != there {
		fmt.Fprintf(i.report, "Times are in the relay's time zone, %s (%s now).\n", zone(), name)
	}
}

// clock is a moment to the minute.
func clock(t time.Time) string { return t.In(zone()).Format("2006-01-02 15:04") }

// second is a moment to the second.
func second(t time.Time) string { return t.In(zone()).Format("2006-01-02 15:04:05") }

// moment is a moment to the millisecond, and zonedMoment the same with its zone.
func moment(t time.Time) string      { return t.In(zone()).Format("2006-01-02 15:04:05.000") }
func zonedMoment(t time.Time) string { return t.In(zone()).Format("2006-01-02 15:04:05.000 MST") }

// shortMoment is a moment for a terminal: of today only the time, else without
// seconds.
func shortMoment(t, now time.Time) string {
	t, now = t.In(zone()), now.In(zone())
	if t.YearDay() == now.YearDay() && t.Year() == now.Year() {
		return t.Format("15:04:05")
	}
	return clock(t)
}
