package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/rules"
)

// past is what happened at the studio before its relay is started: it is
// written through the queue, as a relay of that time would have.
type past struct {
	s      *studio
	db     *sqlite.DB
	random *rand.Rand
	clock  atomic.Int64 // nanoseconds since 1970
	number int
	// waiting counts the deliveries that are not carried out yet, by action.
	waiting map[string]int
}

// outages are the times, in minutes before now, in which a target could not be
// reached. What waits then is delivered afterwards.
var outages = map[string][2]int{
	"book_room":    {215, 180},
	"archive_item": {41, -1},
}

// remember gives the studio a past of some hours, ending now.
func (s *studio) remember(hours int) {
	s.t.Helper()
	p := &past{s: s, random: rand.New(rand.NewPCG(2026, 3)), waiting: make(map[string]int)}
	now := time.Now()
	begin := now.Add(-time.Duration(hours) * time.Hour).Truncate(time.Minute)
	p.clock.Store(begin.UnixNano())
	p.open()
	for minute := begin; minute.Add(time.Minute).Before(now); minute = minute.Add(time.Minute) {
		ago := int(now.Sub(minute) / time.Minute)
		if ago == 300 {
			// A restart, such as after an update.
			p.close()
			p.open()
		}
		p.live(minute, ago)
	}
	p.close()
}

func (p *past) open() {
	p.s.t.Helper()
	var err error
	p.db, err = sqlite.Open(sqlite.Options{
		Dir: p.s.queueDirectory(), MinFree: -1, Lease: 24 * time.Hour,
		Clock: func() time.Time { return time.Unix(0, p.clock.Load()) },
	})
	if err != nil {
		p.s.t.Fatal(err)
	}
}

func (p *past) close() {
	p.s.t.Helper()
	if err := p.db.Close(); err != nil {
		p.s.t.Fatal(err)
	}
}

// live lives through a minute.
func (p *past) live(minute time.Time, ago int) {
	p.s.t.Helper()
	// Mornings are busy, and there is always some time between two calls.
	n := p.random.IntN(4)
	if ago%60 > 20 {
		n += p.random.IntN(4)
	}
	var seconds []int
	for range n {
		seconds = append(seconds, p.random.IntN(60_000))
	}
	slices.Sort(seconds)
	var entries []queue.Entry
	for _, after := range seconds {
		entries = append(entries, p.entry(minute.Add(time.Duration(after)*time.Millisecond)))
	}
	if len(entries) > 0 {
		if _, err := p.db.Put(context.Background(), entries); err != nil {
			p.s.t.Fatal(err)
		}
	}
	p.clock.Store(minute.Add(time.Minute).UnixNano())
	for _, action := range slices.Sorted(maps.Keys(deliveredIn)) {
		if outage, down := outages[action]; down && ago <= outage[0] && ago > outage[1] {
			continue
		}
		p.deliver(action)
	}
	waitFor(p.s.t, "what was carried out to be written", func() bool {
		backlog, err := p.db.Backlog(context.Background())
		if err != nil {
			p.s.t.Fatal(err)
		}
		for _, line := range backlog {
			if line.Count != p.waiting[line.Action] {
				return false
			}
		}
		return true
	})
	if err := p.db.Sample(context.Background()); err != nil {
		p.s.t.Fatal(err)
	}
}

// deliveredIn is how many milliseconds an attempt of an action takes, at least.
var deliveredIn = map[string]int{
	"create_project_folder": 140, "screen_pop": 18, "missed_call_ticket": 35, "book_room": 60, "archive_item": 25,
}

// deliver carries out what waits for an action.
func (p *past) deliver(action string) {
	p.s.t.Helper()
	now := p.clock.Load()
	defer p.clock.Store(now)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for p.waiting[action] > 0 {
		leases, err := p.db.Take(ctx, action, p.waiting[action])
		if err != nil {
			p.s.t.Fatal(err)
		}
		p.waiting[action] -= len(leases)
		for _, lease := range leases {
			began := lease.Event.Received.Add(2 * time.Millisecond)
			if time.Unix(0, now).Sub(began) > 2*time.Minute {
				// It has waited for its target.
				began = time.Unix(0, now).Add(-time.Duration(p.random.IntN(20_000)) * time.Millisecond)
			}
			took := time.Duration(float64(deliveredIn[action])*(1+p.random.ExpFloat64()/2)) * time.Millisecond
			settlement := queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{
				Began: began, Took: took, Status: 200,
				Request: "POST /" + action + " HTTP/1.1\r\n\r\n", Response: `{"done": true}`,
			}}
			if p.random.IntN(40) == 0 {
				settlement.State, settlement.Attempt.Status = queue.Failed, 422
				settlement.Attempt.Error = "the target answered 422 Unprocessable Entity, which is not tried again"
				settlement.Attempt.Response = `{"error": "no volume has room"}`
			}
			p.clock.Store(began.Add(took).UnixNano())
			if err := p.db.Settle(lease.Token, settlement); err != nil {
				p.s.t.Fatal(err)
			}
		}
		p.clock.Store(now)
	}
}

var (
	projects = []string{"Harbour Lights", "Paper Boats", "Saltmarsh", "Kestrel", "Low Tide", "The Quiet Mile"}
	statuses = []string{"Pitched", "Quoted", "Approved", "Confirmed", "Completed"}
	callers  = []string{"Greenroom", "Front desk", "Grading 2", "Mix stage", "Courier", "Edit 4"}
	rooms    = []string{"Grading 1", "Grading 2", "Mix stage", "Edit 4", "Screening"}
)

// entry is an event of that time with what the studio's rules say of it.
func (p *past) entry(received time.Time) queue.Entry {
	p.number++
	r := p.random
	call := phoneCall(fmt.Sprintf("%d.%d", received.Unix(), p.number), fmt.Sprintf("+44 1632 960%03d", r.IntN(1000)),
		callers[r.IntN(len(callers))], []string{"201", "202"}[r.IntN(2)])
	switch n := r.IntN(100); {
	case n < 24:
		return p.acts(received, "pbx", "incoming_call", call, "screen_pop")
	case n < 42:
		return p.ignores(received, "pbx", []string{"answered_call", "hangup", "ringing"}[r.IntN(3)], call, "no rule names this event", "")
	case n < 50:
		return p.acts(received, "pbx", "unanswered_call", call, "missed_call_ticket")
	case n < 62:
		status := statuses[r.IntN(len(statuses))]
		body := project(4000+p.number, projects[r.IntN(len(projects))], status)
		if status == "Approved" || status == "Confirmed" {
			return p.acts(received, "icfm", "project_status_change", body, "create_project_folder")
		}
		return p.ignores(received, "icfm", "project_status_change", body,
			fmt.Sprintf("`project_status in [\"Approved\", \"Confirmed\"]` did not hold: project_status is %q", status), "")
	case n < 74:
		body := fmt.Sprintf(`{"id":"b-%d","booking":{"id":%d,"room":%q,"hours":%d}}`, p.number, p.number, rooms[r.IntN(len(rooms))], 1+r.IntN(9))
		return p.acts(received, "icfm", []string{"rs_added", "rs_modified"}[r.IntN(2)], body, "book_room")
	case n < 80:
		return p.acts(received, "icfm", "library_item_created", fmt.Sprintf(`{"id":"l-%d","item":{"barcode":"LTO%05d"}}`, p.number, p.number), "archive_item")
	case n < 82:
		entry := p.ignores(received, "icfm", "job_completed", fmt.Sprintf(`{"id":"j-%d","job":{"id":%d,"hours":"eleven"}}`, p.number, p.number), "", "")
		entry.Verdict = rules.Verdict{
			Decision: rules.RuleError, Reason: "a condition could not be evaluated", Rule: p.place("job_completed"),
			Errors: []string{`comparing text with a number: body.job.hours > 10`},
		}
		return entry
	default:
		return p.ignores(received, "icfm", []string{"dmg_work_started", "dmg_work_stopped", "dmg_output_added"}[r.IntN(3)],
			fmt.Sprintf(`{"id":"d-%d","job":%d}`, p.number, 900+r.IntN(80)), "media tasks are not automated", "dmg_*")
	}
}

// place returns where the rule for an event stands in the studio's Caddyfile.
func (p *past) place(event string) string {
	before, _, _ := strings.Cut(p.s.caddyfile(), "\t\ton "+event)
	return fmt.Sprintf("Caddyfile:%d", 1+strings.Count(before, "\n"))
}

func (p *past) acts(received time.Time, source, event, body, action string) queue.Entry {
	call := rules.ActionCall{Action: action, Rule: p.place(map[string]string{"project_status_change": "project_created", "rs_modified": "rs_added"}[event])}
	if _, _, known := strings.Cut(p.s.caddyfile(), "\t\ton "+event); known {
		call.Rule = p.place(event)
	}
	p.waiting[action]++
	verdict := rules.Verdict{Decision: rules.Act, Reason: "all conditions of a rule held", Rule: call.Rule, Actions: []rules.ActionCall{call}}
	return queue.Entry{
		Event: p.event(received, source, event, body), Verdict: verdict,
		Deliveries: []queue.Delivery{{ID: p.id(received), Action: action}},
	}
}

func (p *past) ignores(received time.Time, source, event, body, reason, rule string) queue.Entry {
	verdict := rules.Verdict{Decision: rules.Ignored, Reason: reason}
	if rule != "" {
		verdict.Rule = p.place(rule)
	}
	return queue.Entry{Event: p.event(received, source, event, body), Verdict: verdict}
}

// id makes an id of that time.
func (p *past) id(at time.Time) string {
	random := p.random.Uint64()
	return fmt.Sprintf("%08x-%04x-7%03x-8%03x-%012x", at.UnixMilli()>>16, at.UnixMilli()&0xffff, random&0xfff, random>>12&0xfff, random>>24&0xffff_ffff_ffff)
}

func (p *past) event(received time.Time, source, name, body string) *event.Event {
	p.s.t.Helper()
	decoded, err := event.DecodeJSON(body)
	if err != nil {
		p.s.t.Fatal(err)
	}
	e := &event.Event{
		ID: p.id(received), Source: source, Name: name, Received: received,
		Method: "POST", Path: "/listen.php/" + name, IP: "203.0.113.20",
		Headers: map[string][]string{"Content-Type": {"application/json"}, "User-Agent": {"studio-sender/1.4"}},
		RawBody: []byte(body), Body: decoded, BodyIsRaw: true,
	}
	e.Parameters[event.Tenant] = ""
	e.Parameters[event.Date], e.Parameters[event.Time] = received.Format(time.DateOnly), received.Format(time.TimeOnly)
	e.Parameters[event.UnixTime] = received.Unix()
	if members, ok := decoded.(map[string]any); ok && source == "pbx" {
		for _, parameter := range event.SystemParameters() {
			if value, known := members[parameter.String()]; known {
				e.Parameters[parameter] = value
			}
		}
	}
	return e
}

// present makes what has just happened: one of everything that can become of an
// event.
func (s *studio) present() {
	s.t.Helper()
	s.folders.answers(func(_ int, r received) (int, string) {
		if strings.Contains(r.body, "4711") {
			return 422, `{"error": "no volume has room for project 4711", "volumes": ["SAN-A", "SAN-B"]}`
		}
		return 201, `{"made": 14}`
	})
	// The desk's system has a bad moment.
	s.crm.answers(func(n int, r received) (int, string) {
		if strings.HasPrefix(r.path, "/tickets") && n < 3 {
			return 500, `{"error": "database is locked"}`
		}
		return 200, `{"done": true}`
	})
	s.icfm("dmg_output_added", `{"id":"dmg-9","job":931,"output":{"kind":"ProRes 4444","minutes":52}}`)
	s.pbx("answered_call", phoneCall("1773398517.112", "+44 1632 960112", "Greenroom", "202"))
	s.icfm("library_item_created", `{"id":"lib-77","item":{"barcode":"LTO00077","title":"Kestrel, reel 3"}}`)
	s.icfm("job_completed", `{"id":"job-5","job":{"id":5,"hours":"eleven"}}`)
	s.icfm("invoice_printed", `{"id":"inv-1","invoice":{"id":20391}}`)
	s.icfm("project_created", project(4710, "Low Tide", "Pitched"))
	s.icfm("project_status_change", project(4709, "Saltmarsh", "Confirmed"))
	s.icfm("project_status_change", project(4709, "Saltmarsh", "Confirmed"))
	s.icfm("rs_added", `{"id":"b-1","booking":{"id":8812,"room":"Mix stage","hours":4}}`)
	s.pbx("unanswered_call", `{"call_id":"1773398517.114","caller_id":"+44 1632 960114","calling_name":"Bob "B" Lee","direction":"inbound","tenant":"201"}`)
	s.pbx("incoming_call", phoneCall("1773398517.113", "+44 1632 960113", "Saltmarsh Pictures", "201"))
	s.icfm("project_status_change", project(4711, "Harbour Lights", "Approved"))
	s.post("?key=a-mistyped-key&event=job_saved", "application/json", "", "{}")
	s.post("/hangup", "application/json", "last-years-token", "{}")
	s.post("/hangup", "application/json", "last-years-token", "{}")
	s.folders.awaits(s.t, "/folders", 2)
	s.crm.awaits(s.t, "/tickets", 2)
	s.calendar.awaits(s.t, "/bookings", 1)
}
