package queuetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

var activityTests = map[string]func(*fixture){
	"pages hold all events, newest first": func(f *fixture) {
		var want []string
		for range 23 {
			want = append(want, f.put(f.entry("x")).Event.ID)
		}
		slices.Reverse(want)
		for _, n := range []int{1, 5, 22, 23, 24, 100} {
			equalIDs(f, fmt.Sprintf("pages of %d", n), eventIDs(f.all(queue.Filter{}, n)), want)
		}
		slices.Reverse(want)
		for _, n := range []int{1, 5, 22, 23, 24, 100} {
			equalIDs(f, fmt.Sprintf("pages of %d, oldest first", n), eventIDs(f.inOrder(queue.Filter{}, queue.OldestFirst, n)), want)
		}
	},

	"a cursor stays where it is while events come": func(f *fixture) {
		var want []string
		for range 6 {
			want = append(want, f.put(f.entry()).Event.ID)
		}
		slices.Reverse(want)
		page, err := f.Page(f.patient(), queue.Filter{}, queue.NewestFirst, "", 2)
		if err != nil {
			f.Fatal(err)
		}
		got := eventIDs(page.Events)
		for page.Next != "" {
			f.put(f.entry())
			if page, err = f.Page(f.patient(), queue.Filter{}, queue.NewestFirst, page.Next, 2); err != nil {
				f.Fatal(err)
			}
			got = append(got, eventIDs(page.Events)...)
		}
		equalIDs(f, "events", got, want)
	},

	"oldest first meets what comes meanwhile": func(f *fixture) {
		want := []string{f.put(f.entry()).Event.ID, f.put(f.entry()).Event.ID}
		page, err := f.Page(f.patient(), queue.Filter{}, queue.OldestFirst, "", 1)
		if err != nil {
			f.Fatal(err)
		}
		want = append(want, f.put(f.entry()).Event.ID)
		got := eventIDs(page.Events)
		for page.Next != "" {
			if page, err = f.Page(f.patient(), queue.Filter{}, queue.OldestFirst, page.Next, 1); err != nil {
				f.Fatal(err)
			}
			got = append(got, eventIDs(page.Events)...)
		}
		equalIDs(f, "events", got, want)
	},

	"an empty activity": func(f *fixture) {
		equal(f, "number of events", len(f.all(queue.Filter{}, 10)), 0)
		if b, err := f.Backlog(f.patient()); err != nil || len(b) != 0 {
			f.Errorf("Backlog is %v and %v", b, err)
		}
	},

	"bad cursors and sizes are refused": func(f *fixture) {
		for _, order := range []queue.Order{queue.NewestFirst, queue.OldestFirst} {
			if _, err := f.Page(f.patient(), queue.Filter{}, order, "nonsense", 10); !errors.Is(err, queue.ErrCursor) {
				f.Errorf("the cursor \"nonsense\" gave %v, want ErrCursor", err)
			}
		}
		if _, err := f.Page(f.patient(), queue.Filter{}, queue.NewestFirst, "", 0); err == nil {
			f.Error("a page of 0 was given")
		}
	},

	"filters": testFilters,

	"what became of deliveries": func(f *fixture) {
		e := f.put(f.entry("delivered", "failed", "expired", "waiting", "retried"))
		at := f.Now()
		f.deliver(f.take("delivered", 1)[0])
		f.settle(f.take("failed", 1)[0], queue.Settlement{State: queue.Failed, Attempt: f.attempt(422, "refused")})
		f.settle(f.take("expired", 1)[0], queue.Settlement{State: queue.Expired})
		f.again(f.take("retried", 1)[0], f.Lease())
		for i, want := range []queue.DeliveryState{
			{Action: "delivered", State: queue.Delivered, Attempts: 1, Ended: at, Status: 200},
			{Action: "failed", State: queue.Failed, Attempts: 1, Ended: at, Status: 422, Error: "refused"},
			{Action: "expired", State: queue.Expired, Ended: at},
			{Action: "waiting", State: queue.Pending, Due: at},
			{Action: "retried", State: queue.Pending, Attempts: 1, Due: at.Add(f.Lease()), Status: 503, Error: "no room"},
		} {
			id := e.Deliveries[i].ID
			f.eventually(want.Action, func() bool {
				d := f.find(id).Summary.Deliveries[i]
				return d.State == want.State && d.Attempts == want.Attempts
			})
			got := f.find(id).Summary.Deliveries[i]
			equal(f, "id", got.ID, id)
			f.near(want.Action+": due", got.Due, want.Due)
			f.near(want.Action+": ended", got.Ended, want.Ended)
			want.ID, want.Due, want.Ended = got.ID, got.Due, got.Ended
			equal(f, want.Action, got, want)
		}
		// A list says the same.
		equal(f, "states in the list", fmt.Sprint(f.all(queue.Filter{}, 1)[0].Deliveries), fmt.Sprint(f.find(e.Event.ID).Summary.Deliveries))
	},

	"attempts are kept in full": func(f *fixture) {
		id := f.put(f.entry("x")).Deliveries[0].ID
		want := []queue.Attempt{
			{Began: f.Now(), Took: 10 * time.Second, Error: "no answer within 10s", Request: "POST /x\n\n{}", Empty: []string{"caller_id", "body.x"}},
			{Began: f.Now().Add(time.Second), Took: 5 * time.Millisecond, Status: 204, Request: "POST /x\n\n{}", Response: "thänks"},
		}
		f.settle(f.one("x", id), queue.Settlement{State: queue.Pending, Attempt: &want[0]})
		f.settle(f.one("x", id), queue.Settlement{State: queue.Pending}) // given back: no attempt
		f.settle(f.one("x", id), queue.Settlement{State: queue.Delivered, Attempt: &want[1]})
		f.state(id, queue.Delivered)
		f.reopen()
		h := f.find(id)
		got := h.Attempts[id]
		if len(h.Attempts) != 1 || len(got) != len(want) {
			f.Fatalf("attempts are %+v, want %+v", h.Attempts, want)
		}
		for i := range want {
			equalTime(f, "began", got[i].Began, want[i].Began)
			equalIDs(f, "empty tags", got[i].Empty, want[i].Empty)
			got[i].Began = want[i].Began
			equal(f, "attempt", fmt.Sprintf("%+v", got[i]), fmt.Sprintf("%+v", want[i]))
		}
	},

	"an event is found by its id, its deliveries' and beginnings": func(f *fixture) {
		a, b := f.entry("x", "y"), f.entry("x")
		a.Event.ID = "01890000-1111-7000-8000-000000000001"
		a.Deliveries[0].ID = "01890000-1112-7000-8000-000000000002"
		a.Deliveries[1].ID = "0189aaaa-1113-7000-8000-000000000003"
		b.Event.ID = "01890001-2222-7000-8000-000000000004"
		b.Deliveries[0].ID = "01890001-2222-7000-8000-000000000005"
		c := f.entry()
		c.Event.ID = "01890001-2222-7000-8000-0000000000ff"
		f.putAll(a, b, c)
		for _, id := range []string{a.Event.ID, a.Deliveries[0].ID, a.Deliveries[1].ID, "01890000", "01890000-1112", "0189aaaa", strings.ToUpper("0189aaaa-11")} {
			equal(f, "event found by "+id, f.find(id).Event.ID, a.Event.ID)
		}
		equal(f, "event found by its delivery", f.find(b.Deliveries[0].ID).Event.ID, b.Event.ID)
		for _, id := range []string{
			"01890001", "01890001-2222-7000-8000-0000000000", // two events
			"0189000", "0189", "", // too short
			newID(), "01890000-1111-7000-8000-000000000001x", "nonsense!", "01890000_1111", "%%%%%%%%", // none
		} {
			if h, err := f.Find(f.patient(), id); !errors.Is(err, queue.ErrNotFound) {
				f.Errorf("Find(%q) gave %s and %v, want ErrNotFound", id, h.Summary.ID, err)
			}
		}
	},

	"the backlog": func(f *fixture) {
		oldest := f.put(f.entry("x")).Event.Received
		f.Advance(f.Lease() / 10)
		f.putAll(f.entry("x", "y"), f.entry("x"))
		f.again(f.take("x", 1)[0], f.Lease()) // its age counts from when it was received
		f.deliver(f.take("y", 1)[0])
		f.change(queue.Change{Switch: off("x")})
		var backlog []queue.Backlog
		f.eventually("the backlog of y is gone", func() bool {
			var err error
			if backlog, err = f.Backlog(f.patient()); err != nil {
				f.Fatal(err)
			}
			return len(backlog) == 1
		})
		b := backlog[0]
		equalTime(f, "oldest", b.Oldest, oldest)
		b.Oldest = time.Time{}
		equal(f, "backlog", b, queue.Backlog{Action: "x", Count: 3, Paused: true})
		f.reopen()
		again, err := f.Backlog(f.patient())
		if err != nil || len(again) != 1 || again[0].Count != 3 || !again[0].Paused {
			f.Errorf("the backlog after reopening is %+v and %v", again, err)
		}
		f.change(queue.Change{CancelAction: "x"})
		if backlog, err = f.Backlog(f.patient()); err != nil || len(backlog) != 0 {
			f.Errorf("the backlog after cancelling is %+v and %v", backlog, err)
		}
	},
}

// near compares times that may differ by what the test took.
func (f *fixture) near(what string, got, want time.Time) {
	f.Helper()
	if want.IsZero() != got.IsZero() || got.Sub(want) > f.Lease()/2 || want.Sub(got) > f.Lease()/2 {
		f.Errorf("%s is %v, want %v", what, got, want)
	}
}

// testFilters puts events of all kinds and compares what filters pass with
// what they should.
func testFilters(f *fixture) {
	type stored struct {
		queue.Entry
		states []queue.State
	}
	var all []stored
	begin := f.Now()
	decisions := []rules.Decision{rules.Act, rules.Ignored, rules.RuleError, rules.Disabled}
	outcomes := []queue.State{queue.Pending, queue.Delivered, queue.Failed, queue.Expired, queue.Cancelled}
	for i := range 120 {
		var actions []string
		if i%4 == 0 || i%4 == 2 {
			actions = [][]string{{"x"}, {"y"}, {"x", "y"}}[i%3]
		}
		e := f.entry(actions...)
		e.Event.Source = []string{"pbx", "icfm"}[i%2]
		e.Event.Name = []string{"call", "project", "unknown"}[i/7%3]
		e.Verdict.Decision = decisions[i%4]
		f.put(e)
		s := stored{Entry: e}
		for j, d := range e.Deliveries {
			lease := f.one(d.Action, d.ID)
			state := outcomes[(i/4+j)%len(outcomes)]
			settlement := queue.Settlement{State: state, Attempt: f.attempt(200, "")}
			if state == queue.Pending {
				settlement.Again = f.Now().Add(100 * f.Lease())
			}
			f.settle(lease, settlement)
			s.states = append(s.states, state)
		}
		all = append(all, s)
		f.Advance(f.Lease() / 100)
	}
	f.reopen() // so that all settlements are written

	third, second := all[40].Event.Received, all[80].Event.Received
	var filters []queue.Filter
	for _, times := range [][2]time.Time{{}, {third, second}, {second, {}}, {{}, third}, {begin.Add(-f.Lease()), begin}} {
		for _, source := range []string{"", "icfm", "none"} {
			for _, event := range []string{"", "project"} {
				for _, decision := range []rules.Decision{"", rules.Act, rules.Ignored} {
					filters = append(filters, queue.Filter{Since: times[0], Until: times[1], Source: source, Event: event, Decision: decision})
				}
			}
		}
		for _, action := range []string{"", "x", "none"} {
			for _, states := range [][]queue.State{nil, {queue.Pending}, {queue.Delivered}, {queue.Failed}, {queue.Expired}, {queue.Cancelled},
				{queue.Failed, queue.Expired, queue.Cancelled}, {queue.Cancelled, queue.Pending}, {queue.Delivered, queue.Failed}} {
				filters = append(filters, queue.Filter{Since: times[0], Until: times[1], Action: action, States: states},
					queue.Filter{Since: times[0], Until: times[1], Source: "pbx", Event: "call", Decision: rules.Act, Action: action, States: states})
			}
		}
	}
	for _, filter := range filters {
		var want []string
		for _, s := range all {
			if !filter.Since.IsZero() && s.Event.Received.Before(filter.Since) || !filter.Until.IsZero() && !s.Event.Received.Before(filter.Until) ||
				filter.Source != "" && s.Event.Source != filter.Source || filter.Event != "" && s.Event.Name != filter.Event ||
				filter.Decision != "" && s.Verdict.Decision != filter.Decision {
				continue
			}
			delivery := filter.Action == "" && len(filter.States) == 0
			for i, d := range s.Deliveries {
				delivery = delivery || (filter.Action == "" || filter.Action == d.Action) && (len(filter.States) == 0 || slices.Contains(filter.States, s.states[i]))
			}
			if delivery {
				want = append(want, s.Event.ID)
			}
		}
		equalIDs(f, fmt.Sprintf("%+v, oldest first", filter), eventIDs(f.inOrder(filter, queue.OldestFirst, 7)), want)
		slices.Reverse(want)
		equalIDs(f, fmt.Sprintf("%+v", filter), eventIDs(f.all(filter, 7)), want)
	}
}

var pruneTests = map[string]func(*fixture){
	"by age": func(f *fixture) {
		old := []queue.Entry{f.put(f.entry()), f.put(f.entry("x")), f.put(f.entry("y"))}
		f.deliver(f.take("x", 1)[0])
		f.state(old[1].Deliveries[0].ID, queue.Delivered)
		f.Advance(f.Lease())
		limit := f.Now()
		young := f.put(f.entry())
		equal(f, "number", f.prune(limit, 0), 2)
		// The one with an unfinished delivery stays.
		equalIDs(f, "events", eventIDs(f.all(queue.Filter{}, 10)), []string{young.Event.ID, old[2].Event.ID})
		for _, e := range old[:2] {
			if _, err := f.Find(f.patient(), e.Event.ID); !errors.Is(err, queue.ErrNotFound) {
				f.Errorf("finding a pruned event gave %v, want ErrNotFound", err)
			}
		}
		lease := f.one("y", old[2].Deliveries[0].ID)
		equal(f, "event of the delivery that stayed", lease.Event.ID, old[2].Event.ID)
		f.deliver(lease)
		f.state(old[2].Deliveries[0].ID, queue.Delivered)
		equal(f, "number after its end", f.prune(limit, 0), 1)
		f.reopen()
		equalIDs(f, "events after reopening", eventIDs(f.all(queue.Filter{}, 10)), []string{young.Event.ID})
	},

	"only when all deliveries are finished": func(f *fixture) {
		e := f.put(f.entry("x", "y"))
		f.deliver(f.take("x", 1)[0])
		f.state(e.Deliveries[0].ID, queue.Delivered)
		f.Advance(f.Lease())
		equal(f, "number", f.prune(f.Now(), 0), 0)
		f.again(f.take("y", 1)[0], f.Lease())
		equal(f, "number while one waits for its next attempt", f.prune(f.Now(), 0), 0)
		f.change(queue.Change{CancelAction: "y"})
		equal(f, "number in the end", f.prune(f.Now(), 0), 1)
	},

	"by size, oldest first": func(f *fixture) {
		body := []byte(strings.Repeat("x", 10_000))
		var stored []string
		for range 300 {
			var entries []queue.Entry
			for range 4 {
				e := f.entry()
				e.Event.RawBody = body
				entries = append(entries, e)
				stored = append(stored, e.Event.ID)
			}
			f.putAll(entries...)
		}
		waiting := f.put(f.entry("x")).Event.ID
		stored = append(stored, waiting)
		const size = 4 << 20
		removed := f.prune(time.Time{}, size)
		left := eventIDs(f.all(queue.Filter{}, 500))
		equal(f, "number", removed, len(stored)-len(left))
		if n := len(left) * len(body); n > size || n < size/4 {
			f.Errorf("%d events with %d bytes are left, want nearly %d", len(left), n, size)
		}
		slices.Reverse(left)
		equalIDs(f, "events", left, stored[len(stored)-len(left):])
		// A size that cannot be reached ends with what must stay.
		f.prune(time.Time{}, 1)
		equalIDs(f, "events", eventIDs(f.all(queue.Filter{}, 500)), []string{waiting})
	},

	"any size and no age": func(f *fixture) {
		f.put(f.entry())
		equal(f, "number", f.prune(time.Time{}, 0), 0)
	},
}

func (f *fixture) prune(before time.Time, size int64) int {
	f.Helper()
	n, err := f.Prune(f.patient(), before, size)
	if err != nil {
		f.Fatalf("Prune: %v", err)
	}
	return n
}
