package forward

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

func TestBackoff(t *testing.T) {
	const first, limit = time.Second, 5 * time.Minute
	for attempts, bound := range map[int]time.Duration{1: 2e9, 2: 4e9, 3: 8e9, 8: 256e9, 9: limit, 10: limit, 100: limit, 1e6: limit} {
		lowest, highest := limit, time.Duration(0)
		for range 2000 {
			pause := backoff(&config.RetryInterval{First: config.Duration(first), Cap: config.Duration(limit)}, attempts, rand.Float64())
			lowest, highest = min(lowest, pause), max(highest, pause)
		}
		if lowest < first || highest > bound {
			t.Errorf("after %d attempts the pause is between %s and %s", attempts, lowest, highest)
		}
		// The whole of the range is used.
		if span := bound - first; lowest > first+span/10 || highest < bound-span/10 {
			t.Errorf("after %d attempts the pause is only between %s and %s", attempts, lowest, highest)
		}
	}
	if got := backoff(&config.RetryInterval{First: config.Duration(time.Second), Cap: config.Duration(time.Second)}, 1e6, 0.99); got != time.Second {
		t.Errorf("first and cap equal: %s", got)
	}
	if got := backoff(&config.RetryInterval{First: config.Duration(time.Hour), Cap: 1<<63 - 1}, 1e6, 0.99); got < time.Hour {
		t.Errorf("a huge cap: %s", got)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"120": 120 * time.Second, " 1 ": time.Second, "120.6": 120600 * time.Millisecond,
		"Wed, 02 Jan 2030 03:04:35 GMT":     30 * time.Second,
		"Wednesday, 02-Jan-30 03:04:35 GMT": 30 * time.Second,
		"99999999999999999999":              1e6 * time.Second,
		"1e300":                             1e6 * time.Second,
		"":                                  0, "0": 0, "-5": 0, "NaN": 0, "soon": 0, "120s": 0, "Wed, 02 Jan 2030": 0,
		"Wed, 02 Jan 2030 03:04:05 GMT": 0, "Wed, 02 Jan 2019 03:04:05 GMT": 0,
	} {
		got, ok := retryAfter(text, now)
		if got != want || ok != (want > 0) {
			t.Errorf("%q: %s, %v", text, got, ok)
		}
	}
}

// A target names a time by its own clock, which need not be that of the relay.
func TestRetryAfterByTheClockOfTheTarget(t *testing.T) {
	p := prepare(t, config.Action{URL: "http://h/", RetryFor: config.Duration(24 * time.Hour), RetryInterval: &config.RetryInterval{First: config.Duration(time.Second), Cap: config.Duration(time.Minute)}})
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		there := now.Add(ahead)
		result := send.Result{Status: 503, RetryAfter: there.Add(2 * time.Minute).Format(http.TimeFormat), Date: there}
		if got := p.judge(result, 1, now, now, time.Time{}, 0).again.Sub(now); got != 2*time.Minute {
			t.Errorf("a target whose clock is %v ahead is asked again after %v", ahead, got)
		}
	}
	// One that does not say what its clock shows is believed.
	if got := p.judge(send.Result{Status: 503, RetryAfter: now.Add(2 * time.Minute).Format(http.TimeFormat)}, 1, now, now, time.Time{}, 0).again.Sub(now); got != 2*time.Minute {
		t.Errorf("a target without a Date is asked again after %v", got)
	}
}

// When the next attempt is made, and when none is.
func TestJudgeTime(t *testing.T) {
	p := prepare(t, config.Action{URL: "http://h/", RetryFor: config.Duration(time.Hour), RetryInterval: &config.RetryInterval{First: config.Duration(time.Second), Cap: config.Duration(time.Minute)}})
	first := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	cases := []struct {
		name       string
		after      time.Duration // since the first attempt
		retryAfter string
		want       time.Duration // until the next, 0 for none
	}{
		{"soon", 0, "", time.Second},
		{"asked for more", 0, "600", 10 * time.Minute},
		{"asked for too much", time.Minute, "86400", 59 * time.Minute},
		{"near the end", time.Hour - 2*time.Second, "10", 2 * time.Second},
		{"too near the end", time.Hour - time.Second/2, "", 0},
		{"at the end", time.Hour, "", 0},
		{"long after the end", 100 * time.Hour, "", 0},
		{"clock went back", -time.Hour, "", time.Second},
	}
	for _, c := range cases {
		now := first.Add(c.after)
		got := p.judge(send.Result{Status: 503, RetryAfter: c.retryAfter}, 3, first, now, time.Time{}, 0)
		if c.want == 0 {
			if got.state != queue.Failed {
				t.Errorf("%s: %+v", c.name, got)
			}
		} else if got.state != queue.Pending || got.again.Sub(now) != c.want {
			t.Errorf("%s: %s, again after %s", c.name, got.state, got.again.Sub(now))
		}
	}
}
