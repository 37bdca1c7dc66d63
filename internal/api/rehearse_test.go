package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// rehearsalBody is the body of a request about a text.
func rehearsalBody(t *testing.T, members map[string]any) string {
	t.Helper()
	body, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestRehearsal begins with the running configuration, changes it, checks it and tries
// it. Nothing changes, and no secret is shown.
func TestRehearsal(t *testing.T) {
	b := newBench(t)
	id := b.post("", `{"event":"job_saved","id":1,"status":"Pencil"}`)
	var running ConfigurationText
	b.read("rehearse", &running)
	if !running.Masked || strings.Contains(running.Text, "icfm-key") || running.Missing != "" || len(running.Rules) != 1 ||
		!strings.HasPrefix(running.Text, "event_relay {\n") || !strings.Contains(running.Text, running.Rules[0].Events[0]) {
		t.Fatalf("the running configuration is %+v", running)
	}
	if rule := running.Rules[0]; rule.Number != 1 || rule.Place != "Caddyfile:1" || rule.Text != "on job_saved {\n\twhen `body.status == \"Approved\"`\n\tdo record\n}\n" {
		t.Errorf("the rule is %+v", rule)
	}
	changed := strings.Replace(running.Rules[0].Text, "Approved", "Pencil", 1)
	replacing := map[string]any{"number": 1, "place": "Caddyfile:1"}
	for _, test := range []struct {
		name    string
		members map[string]any
		checked string
		fires   int
	}{
		{"what runs", map[string]any{"text": running.Text}, "true 1 []", 0},
		{"the whole", map[string]any{"text": strings.Replace(running.Text, "Approved", "Pencil", 1)}, "true 1 []", 1},
		{"a rule more", map[string]any{"text": changed}, "false 1 []", 1},
		{"a rule in place of another", map[string]any{"text": changed, "replace": replacing}, "false 1 []", 1},
	} {
		var checked Checked
		b.change("rehearse/check", rehearsalBody(t, test.members), &checked)
		if got := fmt.Sprint(checked.Whole, checked.Rules, checked.Mistakes); got != test.checked {
			t.Errorf("%s is checked as %s", test.name, got)
		}
		test.members["filter"] = map[string]string{"since": "1h"}
		var tried replay.Decided
		b.result("rehearse", rehearsalBody(t, test.members), &tried)
		if tried.Events != 1 || tried.Fires["record"] != test.fires || tried.Differences == nil || tried.Groups == nil {
			t.Errorf("%s: %+v", test.name, tried)
		}
		if test.fires > 0 && (tried.Groups[0].Example != id || !strings.HasPrefix(tried.Groups[0].Rule, "rehearsal:")) {
			t.Errorf("%s: the groups are %+v", test.name, tried.Groups)
		}
	}
	var detail inspect.Detail
	if b.read("events/"+id, &detail); len(detail.Deliveries) != 0 || !detail.Verdict.Decided.IsZero() {
		t.Errorf("a rehearsal changed %+v", detail)
	}
}

// TestRehearsalMistakes names all mistakes of a text with their lines, and tries none
// that has any.
func TestRehearsalMistakes(t *testing.T) {
	t.Setenv("EVENT_RELAY_REHEARSED", "must not be read")
	b := newBench(t)
	for _, test := range []struct {
		name    string
		members map[string]any
		// want are the mistakes: LINE PLACE: a word.
		want  []string
		field string
	}{
		{"form", map[string]any{"text": "on job_saved {\n\twen `true`\n\tdo record\n}\non job_saved {\n\twhen `body.status = 1`\n\tdo record\n}"}, []string{"2 : unknown setting wen", "6 : =="}, "text"},
		{"meaning", map[string]any{"text": "on job_savd {\n\tdo record\n}\n\non job_saved {\n\twhen `bodi.status`\n\tdo recrod\n}"}, []string{"1 : job_savd", "5 : bodi", "5 : recrod"}, "configuration"},
		{"a file", map[string]any{"text": "import /etc/passwd\non job_saved {\n\tdo record\n}"}, []string{"1 : no other file"}, "text"},
		{"a variable", map[string]any{"text": "on job_saved {\n\tdo {$EVENT_RELAY_REHEARSED}\n}"}, []string{"2 : no variable"}, "text"},
		{"a secret in a condition", map[string]any{"text": "parameter code {env.EVENT_RELAY_REHEARSED}\non job_saved {\n\twhen `body.status == code`\n\tdo record\n}"},
			[]string{"2 : parameter code, which is a secret"}, "configuration"},
		{"a heredoc without end", map[string]any{"text": "action a {\n\tpost http://10.0.0.1\n\tbody raw <<X\nY"}, []string{"4 : heredoc"}, "text"},
		{"nothing", map[string]any{"text": ""}, []string{"0 : nothing to read"}, "text"},
		{"a rule that is elsewhere", map[string]any{"text": "on job_saved {\n\tdo record\n}", "replace": map[string]any{"number": 2, "place": "Caddyfile:1"}}, []string{"0 : choose the rule once more"}, "replace"},
		{"a whole in place of a rule", map[string]any{"text": "event_relay {\n\tsource icfm {\n\t\tauth none\n\t}\n}", "replace": map[string]any{"number": 1, "place": "Caddyfile:1"}}, []string{"0 : only rules"}, "text"},
		{"no rule in place of one", map[string]any{"text": "parameter a b", "replace": map[string]any{"number": 1, "place": "Caddyfile:1"}}, []string{"0 : no rule"}, "text"},
	} {
		var checked Checked
		answer := b.do(http.MethodPost, "rehearse/check", rehearsalBody(t, test.members))
		if err := json.Unmarshal(answer.Body.Bytes(), &checked); err != nil || answer.Code != http.StatusOK || strings.Contains(answer.Body.String(), "must not be read") {
			t.Fatalf("%s is answered with %d %s", test.name, answer.Code, answer.Body)
		}
		if len(checked.Mistakes) != len(test.want) {
			t.Errorf("%s: %+v, want %q", test.name, checked.Mistakes, test.want)
			continue
		}
		for i, want := range test.want {
			at, says, _ := strings.Cut(want, ": ")
			if m := checked.Mistakes[i]; fmt.Sprintf("%d %s", m.Line, m.Place) != at || !strings.Contains(m.Text, says) || strings.Contains(m.Text, "rehearsal:") {
				t.Errorf("%s: %+v, want %s", test.name, m, want)
			}
		}
		test.members["filter"] = map[string]string{}
		checkFailure(t, test.name, b.do(http.MethodPost, "rehearse", rehearsalBody(t, test.members)), http.StatusBadRequest, test.field, strings.SplitN(test.want[0], ": ", 2)[1])
	}
	for _, test := range []struct {
		uri, body      string
		status         int
		field, problem string
	}{
		{"rehearse", `{"text":"on job_saved {\n\tdo record\n}"}`, http.StatusBadRequest, "ids", "give ids, or else a filter"},
		{"rehearse", `{"text":"x","filter":{},"dry_run":false}`, http.StatusBadRequest, "dry_run", "no member"},
		{"rehearse/check", `{"text":"x","filter":{}}`, http.StatusBadRequest, "filter", "leave ids and filter out"},
		{"rehearse/check", `{"text":"` + strings.Repeat("x", smallBody) + `"}`, http.StatusRequestEntityTooLarge, "", "larger"},
	} {
		checkFailure(t, test.uri, b.do(http.MethodPost, test.uri, test.body), test.status, test.field, test.problem)
	}
}
