package inspect

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/config/configtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
	"github.com/caddy-event-relay/event-relay/rules"
)

func request(method, uri, body string) *http.Request {
	r := httptest.NewRequest(method, uri, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return r
}

func TestExplainRequest(t *testing.T) {
	target := relaytest.NewService(t)
	configured := relaytest.Configuration(target, "/record/{{body.id}}")
	configured.Parameters = configtest.Resolved(config.Parameter{Name: "token", Value: "{env.very-s3cret}"})
	configured.Actions[0].Headers = []config.NameValue{{Name: "X-Token", Value: "{{token}}"}, {Name: "X-Echo", Value: "{{body.echo}}"}}
	configured.Rules[0].When = append(configured.Rules[0].When, `body.echo == token or body.id != 0`)
	configured.Sources[0].Allow = []string{"203.0.113.0/24"}
	generation := relaytest.Compile(t, configured)

	for _, test := range []struct {
		name, method, uri, body, source string
		outcome                         Outcome
		status                          int
		decisions                       string
	}{
		{"an action", "POST", "/l?key=icfm-key", `{"event":"job_saved","id":1,"status":"Approved","echo":"very-s3cret"}`, "", OutcomeAction, 200, "action"},
		{"ignored", "POST", "/l?key=icfm-key", `{"event":"job_saved","id":1,"status":"Pencil"}`, "", OutcomeIgnored, 200, "ignored"},
		{"a condition that fails", "POST", "/l?key=icfm-key", `{"event":"job_saved","id":1,"status":5}`, "", OutcomeError, 200, "rule_error"},
		{"a path without a value", "POST", "/l?key=icfm-key", `{"event":"job_saved","status":"Approved","echo":"very-s3cret"}`, "", OutcomeError, 200, "action"},
		{"a batch with an action", "POST", "/l?key=icfm-key", `[{"event":"dmg_work_started"},{"event":"job_saved","id":1,"status":"Approved"},{"event":"job_saved"}]`, "", OutcomeAction, 200, "ignored action ignored"},
		{"a batch with an error", "POST", "/l?key=icfm-key", `[{"event":"job_saved","status":5},{"event":"job_saved","id":1,"status":"Approved"}]`, "", OutcomeError, 200, "rule_error action"},
		{"a ping", "GET", "/l?key=icfm-key", "", "", OutcomeIgnored, 200, ""},
		{"a wrong credential", "POST", "/l?key=wrong", `{"event":"job_saved"}`, "", OutcomeError, 401, ""},
		{"a wrong method", "OPTIONS", "/l?key=icfm-key", "", "", OutcomeError, 405, ""},
		{"as a source", "POST", "/l?key=wrong", `{"event":"job_saved","id":1,"status":"Approved"}`, "icfm", OutcomeAction, 200, "action"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := ExplainRequest(generation, request(test.method, test.uri, test.body),
				receive.Origin{Mount: "/l", Client: netip.MustParseAddr("203.0.113.9")}, test.source)
			if err != nil {
				t.Fatal(err)
			}
			var decisions []string
			for _, event := range got.Events {
				decisions = append(decisions, string(event.Verdict.Decision))
				if len(event.Requests) != len(event.Verdict.Actions) {
					t.Errorf("%d requests for %d actions", len(event.Requests), len(event.Verdict.Actions))
				}
			}
			if got.Outcome != test.outcome || got.Status != test.status || strings.Join(decisions, " ") != test.decisions ||
				(got.Refused != "") != (test.status >= 400) {
				t.Errorf("got %s, status %d, %v, %s", got.Outcome, got.Status, decisions, got.Refused)
			}
			encoded, err := json.Marshal(got)
			if err != nil || strings.Contains(string(encoded), "s3cret") || strings.Contains(string(encoded), "icfm-key") {
				t.Errorf("%v; a secret is shown: %s", err, encoded)
			}
		})
	}

	if got, err := ExplainRequest(generation, request("POST", "/l?key=icfm-key", "{}"), receive.Origin{}, ""); err != nil || got.Status != http.StatusForbidden {
		t.Errorf("from nowhere: status %d, %v", got.Status, err)
	}
	if _, err := ExplainRequest(generation, request("POST", "/l", "{}"), receive.Origin{}, "icmf"); err == nil || !strings.Contains(err.Error(), "did you mean icfm?") {
		t.Errorf("no such source: %v", err)
	}
	if got := target.Got(); got != "" {
		t.Errorf("a dry run sent %s", got)
	}
}

func TestExplainWhenSwitchedOff(t *testing.T) {
	off := relaytest.Configuration(relaytest.NewService(t), "/record")
	off.Disabled = true
	got, err := ExplainRequest(relaytest.Compile(t, off), request("POST", "/l?key=icfm-key", `{"event":"job_saved","status":"Approved"}`), receive.Origin{Mount: "/l"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if event := got.Events[0]; got.Outcome != OutcomeIgnored || event.Verdict.Decision != rules.Disabled || len(event.Requests) > 0 ||
		event.Rules[0].Outcome != rules.RuleApplied {
		t.Errorf("got %+v", got)
	}
}

// TestExplainStoredEvent asks for the same event in the relay that has it and
// elsewhere.
func TestExplainStoredEvent(t *testing.T) {
	target := relaytest.NewService(t)
	runtime := relaytest.Open(t, t.TempDir())
	generation := relaytest.Push(t, runtime, relaytest.Configuration(target, "/record"))
	for _, body := range []string{
		`{"event":"job_saved","id":4823400000000000001,"status":"Pencil"}`,
		`{"event":"job_saved","id":3,"status":"Pen"cil"}`,
		"{\"event\":\"job_saved\",\"id\":4,\"status\":\"Pencil\",\"name\":\"\xff\"}",
	} {
		id := relaytest.Post(t, runtime, generation, body)
		relaytest.Summary(t, runtime, id)
		here, err := Explain(t.Context(), runtime, id, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := Stored(t.Context(), runtime, id[:23])
		if err != nil {
			t.Fatal(err)
		}
		carried, err := json.Marshal(stored)
		if err != nil {
			t.Fatal(err)
		}
		var arrived StoredEvent
		if err := json.Unmarshal(carried, &arrived); err != nil {
			t.Fatal(err)
		}
		there, err := ExplainStored(generation, arrived)
		if err != nil || !reflect.DeepEqual(here, there) {
			t.Errorf("%v: here %+v\nthere %+v", err, here, there)
		}
		if here.Events[0].ID != id || len(here.Events[0].Rules) != 1 {
			t.Errorf("got %+v", here)
		}
		// By other rules it would be another matter.
		other := relaytest.Configuration(target, "/record")
		other.Rules[0].When = nil
		if got, err := ExplainStored(relaytest.Compile(t, other), arrived); err != nil || got.Outcome != OutcomeAction {
			t.Errorf("by other rules: %+v, %v", got, err)
		}
	}
	if _, err := Explain(t.Context(), runtime, "0195903e-0000-7000-8000-000000000000", time.Time{}); !errors.Is(err, queue.ErrNotFound) {
		t.Errorf("an event that there is not: %v", err)
	}
	if got := target.Got(); got != "" {
		t.Errorf("a dry run sent %s", got)
	}
}

// TestExplainAt places an event at another time: received and now() are then, and so
// are date and time if they were those of the receipt.
func TestExplainAt(t *testing.T) {
	london, err := config.Timezone("Europe/London")
	if err != nil {
		t.Fatal(err)
	}
	configured := relaytest.Configuration(relaytest.NewService(t), "/record/{{now().Hour()}}/{{received.Hour()}}/{{time}}")
	configured.Zone = london
	configured.Rules[0].When = []string{`time_between(received, "18:00", "08:00")`, `now() - received == duration("0s")`}
	generation := relaytest.Compile(t, configured)
	at := time.Date(2026, 7, 17, 20, 30, 0, 0, time.UTC)
	night, err := generation.At(at)
	if err != nil {
		t.Fatal(err)
	}
	day, err := generation.At(at.Add(-6 * time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	const own = `,"date":"2026-07-01","time":"09:00:00"`
	for _, test := range []struct {
		g       *relay.Generation
		own     string
		outcome Outcome
		target  string
	}{
		{night, "", OutcomeAction, "/record/21/21/21%3A30%3A00"},
		{night, own, OutcomeAction, "/record/21/21/09%3A00%3A00"},
		{day, "", OutcomeIgnored, ""},
	} {
		body := `{"event":"job_saved","id":1,"status":"Approved"` + test.own + "}"
		asked, err := ExplainRequest(test.g, request("POST", "/l?key=icfm-key", body), receive.Origin{Mount: "/l"}, "icfm")
		if err != nil {
			t.Fatal(err)
		}
		// The same event, stored at a time of its own.
		received, err := generation.Receiver.ReceiveAs("icfm", request("POST", "/l?key=icfm-key", body), receive.Origin{Mount: "/l"})
		if err != nil {
			t.Fatal(err)
		}
		e := received.Events[0]
		before := e.Received
		there, err := ExplainStored(test.g, StoredEvent{ID: "1", Source: e.Source, Event: e.Name, Received: before, Record: e.Record(), RawBody: e.RawBody})
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []Explanation{asked, there} {
			planned := ""
			if len(got.Events[0].Requests) > 0 {
				planned = got.Events[0].Requests[0].Request
			}
			if got.Outcome != test.outcome || !got.At.Equal(test.g.Configuration.At) || got.At.Location() != london || !strings.Contains(planned, test.target) {
				t.Errorf("at %s, with%s: %s, %s", got.At, test.own, got.Outcome, planned)
			}
		}
		if e.Received != before {
			t.Error("the event itself was changed")
		}
	}
}
