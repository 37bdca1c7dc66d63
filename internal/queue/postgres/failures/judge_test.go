//go:build unix

package failures

import (
	"slices"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// failure is a time in which something did not work.
type failure struct {
	node        string // empty: all
	from, until time.Time
	// paused says that the node did not run then.
	paused bool
}

// stored is what the database has of a delivery.
type stored struct {
	id, action string
	key        string // the action and the order key, if there is one
	state      queue.State
}

// slack is how long before a failure what was delivered may not have been noted, and
// how long after it a node may still be about to find out.
const slack = 5 * time.Second

// explains reports whether the failure explains that an attempt was not noted.
func (f *failure) explains(a *attempt) bool {
	return (f.node == "" || f.node == a.node) && a.ended.After(f.from.Add(-slack)) && a.began.Before(f.until.Add(slack))
}

// mayBeLate reports whether a request may be one that left its node only as that went
// on after a pause: its worker had seen before that its lease lasts. The sender has no
// remedy for that, and it is the only way in which an order can break.
func (f *failure) mayBeLate(a *attempt) bool {
	return f.paused && f.node == a.node && a.began.After(f.until.Add(-slack)) && a.began.Before(f.until.Add(slack))
}

// verdict is how many deliveries or attempts are not as they should be.
type verdict struct {
	lost        int // acknowledged, and not stored
	twice       int // stored twice
	unfinished  int // stored, and not delivered in the end
	undelivered int // and the target never took it
	disorder    int // attempts that began after a later one of their key had begun
	overlapping int // attempts that began before another of their key had ended
	late        int // of those two, what can only be so after a pause
	repeated    int // taken by the target again
	unexplained int // of those, where no failure was
}

// judge compares what was acknowledged with what is stored, in the order of receipt,
// and with the attempts at each delivery, in the order in which they began.
func judge(all []stored, acknowledged map[string]bool, attempts func(delivery string) []*attempt, failures []failure) (v verdict) {
	known := make(map[string]bool)
	byKey := make(map[string][]string)
	for _, d := range all {
		if known[d.id] {
			v.twice++
			continue
		}
		known[d.id] = true
		if d.key != "" {
			byKey[d.key] = append(byKey[d.key], d.id)
		}
		if d.state != queue.Delivered {
			v.unfinished++
		}
		taken := slices.DeleteFunc(slices.Clone(attempts(d.id)), func(a *attempt) bool { return !a.ok })
		if len(taken) == 0 {
			v.undelivered++
			continue
		}
		for i, a := range taken[1:] {
			v.repeated++
			if !slices.ContainsFunc(failures, func(f failure) bool { return f.explains(taken[i]) || f.mayBeLate(a) }) {
				v.unexplained++
			}
		}
	}
	for id := range acknowledged {
		if !known[id] {
			v.lost++
		}
	}
	for _, ids := range byKey {
		v.judgeKey(ids, attempts, failures)
	}
	return v
}

// judgeKey looks at the deliveries of one key.
func (v *verdict) judgeKey(ids []string, attempts func(string) []*attempt, failures []failure) {
	type placed struct {
		*attempt
		place int
	}
	var all []placed
	for place, id := range ids {
		for _, a := range attempts(id) {
			all = append(all, placed{a, place})
		}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return a.began.Compare(b.began) })
	wrong := func(number *int, a, b placed) {
		if slices.ContainsFunc(failures, func(f failure) bool { return f.mayBeLate(a.attempt) || f.mayBeLate(b.attempt) }) {
			number = &v.late
		}
		*number++
	}
	for i, now := range all {
		if i == 0 {
			continue
		}
		newest, longest := all[0], all[0] // of those before
		for _, before := range all[:i] {
			if before.place > newest.place {
				newest = before
			}
			if before.ended.After(longest.ended) {
				longest = before
			}
		}
		switch {
		case now.place < newest.place:
			wrong(&v.disorder, now, newest)
		case now.began.Before(longest.ended):
			wrong(&v.overlapping, now, longest)
		}
	}
}

// TestJudge holds the judge to cases that are plain.
func TestJudge(t *testing.T) {
	at := func(second int) time.Time { return time.Date(2026, 1, 1, 0, 0, second, 0, time.UTC) }
	// each has attempts at the deliveries a and b of one key, as node, begin, end.
	type tries []*attempt
	try := func(node string, began, ended int, ok bool) *attempt {
		return &attempt{node: node, began: at(began), ended: at(ended), ok: ok}
	}
	for name, test := range map[string]struct {
		a, b     tries
		failures []failure
		want     verdict
	}{
		"in order":              {tries{try("n", 1, 2, true)}, tries{try("m", 2, 3, true)}, nil, verdict{}},
		"refused first":         {tries{try("n", 1, 2, false), try("m", 3, 4, true)}, tries{try("m", 4, 5, true)}, nil, verdict{}},
		"out of order":          {tries{try("n", 3, 4, true)}, tries{try("m", 1, 2, true)}, nil, verdict{disorder: 1}},
		"again after the next":  {tries{try("n", 1, 2, false), try("n", 4, 5, true)}, tries{try("m", 2, 3, true)}, nil, verdict{disorder: 1}},
		"at once":               {tries{try("n", 1, 3, true)}, tries{try("m", 2, 4, true)}, nil, verdict{overlapping: 1}},
		"one at once":           {tries{try("n", 1, 3, false), try("m", 2, 4, true)}, tries{try("m", 5, 6, true)}, nil, verdict{overlapping: 1}},
		"again without reason":  {tries{try("n", 1, 2, true), try("m", 3, 4, true)}, tries{try("m", 5, 6, true)}, nil, verdict{repeated: 1, unexplained: 1}},
		"again after a kill":    {tries{try("n", 1, 2, true), try("m", 3, 4, true)}, tries{try("m", 5, 6, true)}, []failure{{node: "n", from: at(2), until: at(2)}}, verdict{repeated: 1}},
		"a kill of another":     {tries{try("n", 1, 2, true), try("m", 3, 4, true)}, tries{try("m", 5, 6, true)}, []failure{{node: "m", from: at(2), until: at(2)}}, verdict{repeated: 1, unexplained: 1}},
		"long before a kill":    {tries{try("n", 1, 2, true), try("m", 3, 4, true)}, tries{try("m", 5, 6, true)}, []failure{{node: "n", from: at(30), until: at(30)}}, verdict{repeated: 1, unexplained: 1}},
		"late after a pause":    {tries{try("m", 20, 21, true), try("n", 30, 31, true)}, tries{try("m", 22, 23, true)}, []failure{{node: "n", from: at(10), until: at(30), paused: true}}, verdict{late: 1, repeated: 1}},
		"not late, after a cut": {tries{try("m", 20, 21, false), try("n", 30, 31, true)}, tries{try("m", 22, 23, true)}, []failure{{node: "n", from: at(10), until: at(30)}}, verdict{disorder: 1}},
		"never delivered":       {tries{try("n", 1, 2, true)}, nil, nil, verdict{undelivered: 1}},
	} {
		all := []stored{{"a", "x", "x k", queue.Delivered}, {"b", "x", "x k", queue.Delivered}}
		attempts := func(id string) []*attempt {
			if id == "a" {
				return test.a
			}
			return test.b
		}
		if got := judge(all, map[string]bool{"a": true}, attempts, test.failures); got != test.want {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
		}
	}
	none := func(string) []*attempt { return nil }
	got := judge([]stored{{"a", "x", "", queue.Pending}, {"a", "x", "", queue.Pending}}, map[string]bool{"a": true, "gone": true}, none, nil)
	if want := (verdict{lost: 1, twice: 1, unfinished: 1, undelivered: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
