package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// change asks for a change that must be made.
func (b *bench) change(uri, body string, into any) {
	b.t.Helper()
	answer := b.do(http.MethodPost, uri, body)
	if err := json.Unmarshal(answer.Body.Bytes(), into); err != nil || answer.Code != http.StatusOK {
		b.t.Fatalf("POST %s %s is answered with %d %s (%v)", uri, body, answer.Code, answer.Body, err)
	}
}

// result returns the result of a long call.
func (b *bench) result(uri, body string, into any) {
	b.t.Helper()
	answer := b.do(http.MethodPost, uri, body)
	lines := strings.Split(strings.TrimSpace(answer.Body.String()), "\n")
	last := struct{ Result any }{into}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || answer.Code != http.StatusOK || last.Result == nil {
		b.t.Fatalf("POST %s %s is answered with %d %s (%v)", uri, body, answer.Code, answer.Body, err)
	}
}

func TestSwitches(t *testing.T) {
	b := newBench(t)
	var turned queue.Switch
	b.change("switch", `{"kind":"action","name":"record","off":true,"for":"1d","reason":"repairs"}`, &turned)
	if !turned.Off || turned.Reason != "repairs" || turned.Until.Sub(turned.Since).Hours() < 23 {
		t.Errorf("the switch is %+v", turned)
	}
	var now inspect.Status
	b.read("status", &now)
	if len(now.Switches) != 1 || now.Switches[0].Name != "record" {
		t.Errorf("the status has the switches %+v", now.Switches)
	}
	b.change("switch", `{"kind":"action","name":"record","off":false}`, &turned)
	if b.read("status", &now); turned.Off || len(now.Switches) != 0 {
		t.Errorf("after turning it on it is %+v, and the status has %+v", turned, now.Switches)
	}
}

func TestWaitingDeliveriesAreCancelled(t *testing.T) {
	b := newBench(t)
	var turned queue.Switch
	b.change("switch", `{"kind":"action","name":"record","off":true}`, &turned)
	var sent replay.Sent
	b.change("send", `{"source":"icfm","event":"job_saved","body":"{\"status\":\"Approved\"}","content_type":"application/json"}`, &sent)
	if len(sent.IDs) != 1 {
		t.Fatalf("sent %+v", sent)
	}
	waitFor(t, "the delivery to wait", func() bool {
		var waiting []queue.Backlog
		b.read("backlog", &waiting)
		return len(waiting) == 1 && waiting[0].Count == 1 && waiting[0].Paused
	})
	var changed Changed
	b.change("cancel", `{"action":"record"}`, &changed)
	if changed.Deliveries != 1 {
		t.Errorf("cancelled %d", changed.Deliveries)
	}
}

func TestEventsAreSentAndDecidedAgain(t *testing.T) {
	b := newBench(t)
	id := b.post("", `{"event":"job_saved","id":1,"status":"Approved"}`)
	for _, body := range []string{`{"ids":["` + id + `"],"dry_run":true}`, `{"filter":{"state":"delivered","since":"1h"},"dry_run":true}`, `{"ids":["` + id + `"]}`} {
		var resent replay.Resent
		if b.result("resend", body, &resent); resent.Deliveries != 1 || resent.Actions["record"] != 1 {
			t.Errorf("%s resends %+v", body, resent)
		}
	}
	waitFor(t, "the second delivery", func() bool {
		var detail inspect.Detail
		b.read("events/"+id, &detail)
		return len(detail.Deliveries) == 2
	})
	var decided replay.Decided
	if b.result("decide", `{"filter":{},"dry_run":true}`, &decided); decided.Events != 1 || decided.Changed != 0 || decided.Differences == nil {
		t.Errorf("decided %+v", decided)
	}
}

func TestListsShowWhatIsConfigured(t *testing.T) {
	b := newBench(t)
	id := b.post("", `{"event":"job_saved","id":1,"status":"Approved"}`)
	var listed []inspect.ActionListed
	if b.read("actions", &listed); len(listed) != 1 || listed[0].Name != "record" {
		t.Errorf("the actions are %+v", listed)
	}
	var example inspect.ExampleRequest
	if b.read("actions/record/example", &example); example.EventID != id || !strings.HasPrefix(example.Request, "POST http://") {
		t.Errorf("the example is %+v", example)
	}
	var sources []inspect.SourceEvents
	if b.read("catalogue", &sources); !slices.ContainsFunc(sources, func(s inspect.SourceEvents) bool { return s.Source == "icfm" && len(s.Events) > 0 }) {
		t.Errorf("the catalogue is %+v", sources)
	}
	var seen inspect.FieldsSeen
	if b.read("fields?source=icfm&event=job_saved", &seen); seen.Events != 1 || len(seen.Fields) == 0 {
		t.Errorf("the fields are %+v", seen)
	}
	var named []inspect.ParameterListed
	if b.read("parameters", &named); len(named) < 13 {
		t.Errorf("there are %d parameters", len(named))
	}
	var counted Series
	if b.read("series?since=1h&n=10", &counted); counted.StepSeconds < 60 || len(counted.Points) == 0 || counted.Notes == nil {
		t.Errorf("the series is %+v", counted)
	}
}

// TestStrangersAreNoFault: what does not exist is the caller's mistake, never
// the relay's.
func TestStrangersAreNoFault(t *testing.T) {
	b := newBench(t)
	b.post("", `{"event":"job_saved","id":1,"status":"Approved"}`)
	for _, test := range []struct{ method, uri, body string }{
		{"GET", "actions/nobody/example", ""},
		{"GET", "snapshots/99999999", ""},
		{"GET", "snapshots/-1", ""},
		{"GET", "explain/00000000?by=then", ""},
		{"POST", "switch", `{"kind":"action","name":"nobody","off":true}`},
		{"POST", "switch", `{"kind":"event","name":"nobody:x","off":true}`},
		{"POST", "switch", `{"kind":"event","name":"","off":true}`},
		{"POST", "switch", `{"kind":"all","name":"x","off":true}`},
		{"POST", "cancel", `{"delivery":"00000000"}`},
		{"POST", "move", `{"from":"record","to":"nobody"}`},
		{"POST", "send", `{}`},
		{"POST", "send", `{"source":"nobody","event":"x"}`},
		{"POST", "resend", `{"ids":["00000000"]}`},
		{"POST", "resend", `{"ids":["x"]}`},
		{"POST", "decide", `{"ids":["00000000"],"dry_run":true}`},
	} {
		if answer := b.do(test.method, test.uri, test.body); answer.Code < 400 || answer.Code >= 500 {
			t.Errorf("%s %s %s is answered with %d %s", test.method, test.uri, test.body, answer.Code, answer.Body)
		}
	}
}
