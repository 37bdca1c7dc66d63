package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/rules"
)

const senders = "../../handlers/receive/testdata/senders"

// explain runs the command as a script does, and returns what came on standard
// output, what came on standard error, and the exit status.
func (i *installation) explain(environment []string, arguments ...string) (output, complaint string, status int) {
	i.t.Helper()
	command := i.command(append([]string{"event-relay", "explain"}, arguments...)...)
	command.Env = append(command.Env, environment...)
	return i.read(command)
}

// exampleFor is the example of the README with other credentials.
func exampleFor(t *testing.T, replacements ...string) string {
	t.Helper()
	example, err := os.ReadFile("../../Caddyfile.example")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer(replacements...).Replace(string(example))
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(string(example), replacements[i]) {
			t.Fatalf("the example does not hold %q any more", replacements[i])
		}
	}
	return config
}

func TestExplainRequestInFile(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	config := machine.write(exampleFor(t, "demo-icfm-key", "{env.ICFM_KEY}", "demo-pbx-token", "pbx-token",
		"parameter lan http://127.0.0.1:9000", "parameter lan http://127.0.0.1:9000\n\t\tparameter lan_token {env.LAN_TOKEN}",
		`header X-Project "{{project_id}}"`, `header X-Lan-Token "{{lan_token}}"`))
	environment := []string{"ICFM_KEY=icfm-key", "LAN_TOKEN=very-s3cret"}
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "request.http")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fixture := func(name string) string { return filepath.Join(senders, name+".http") }
	project := func(key, status string) string {
		return file("POST /listen.php?key=" + key + "\nContent-Type: application/json\n\n" +
			`{"event":"project_status_change","project_id":7,"project_name":"Nordlicht","status":` + status + "}\n")
	}
	for _, test := range []struct {
		name      string
		arguments []string
		status    int
		want      []string
	}{
		{"an action", []string{"--request", project("icfm-key", `"Approved"`)}, 0, []string{
			"Verdict    action: all conditions of a rule held (Caddyfile:",
			`when project_status in ["Approved", "Confirmed"]  →  true   (project_status = "Approved")`,
			"POST http://127.0.0.1:9000/folders HTTP/1.1",
			"X-Lan-Token: ***",
			`"name": "Nordlicht"`,
		}},
		{"not approved yet", []string{"--request", project("icfm-key", `"Pencil"`)}, 2, []string{
			"Verdict    ignored: `project_status in [\"Approved\", \"Confirmed\"]` did not hold: project_status is \"Pencil\" (Caddyfile:",
			`when project_status in ["Approved", "Confirmed"]  →  false   (project_status = "Pencil")`,
		}},
		{"a field is absent", []string{"--request", project("icfm-key", `""`)}, 2, []string{
			"Absent     project_status",
			"→  unknown, because project_status is absent   (a field of the source, as read when the event came)\n",
		}},
		{"types that do not compare", []string{"--request", project("icfm-key", "5")}, 1, []string{
			"Verdict    rule_error: condition failed: evaluating ",
			"(project_status = 5)",
		}},
		{"a wrong key", []string{"--request", project("icfm-kee", `"Approved"`)}, 1, []string{
			"Refused    401 Unauthorized: the value of key in the query is not a key of any source",
		}},
		{"a wrong key that is not looked at", []string{"--source", "icfm", "--request", project("icfm-kee", `"Approved"`)}, 0, []string{"Verdict    action"}},
		{"a file with its own line ends and length", []string{"--request", fixture("icfm-plausible-json-flat")}, 2, []string{"project_created from icfm"}},
		{"a chunked file", []string{"--request", fixture("pbxware-publisher-chunked")}, 2, []string{"event_call_finished from pbx"}},
		{"a batch", []string{"--request", fixture("icfm-plausible-batch-array")}, 2, []string{
			"1 of 3\nEvent      dmg_work_started from icfm", "ignore: this ends the reading", "3 of 3\nEvent      job_completed from icfm",
		}},
		{"a ping", []string{"--request", fixture("icfm-plausible-ping-get")}, 2, []string{"Ping       answered 200"}},
		{"a call", []string{"--request", fixture("pbxware-manager-get-raw-json")}, 0, []string{"Event      incoming_call from pbx", "GET http://127.0.0.1:9000/pop?number="}},
		{"a path that no handler takes", []string{"--request", file("GET /other?key=icfm-key\n\n")}, 1, []string{"no event_relay of the configuration takes the path /other; there are: /listen.php"}},
		{"no such source", []string{"--source", "icmf", "--request", project("icfm-key", "5")}, 1, []string{"did you mean icfm?"}},
		{"no such file", []string{"--request", "nowhere.http"}, 1, []string{"reading the request: open nowhere.http"}},
		{"nothing to explain", nil, 1, []string{"either --request FILE or --event ID"}},
		{"no such flag", []string{"--requset", "x"}, 1, []string{"unknown flag: --requset"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			output, complaint, status := machine.explain(environment, append(test.arguments, "--config", config)...)
			if status != test.status {
				t.Errorf("exit status %d, want %d", status, test.status)
			}
			for _, want := range test.want {
				if !strings.Contains(output+complaint, want) {
					t.Errorf("there is no %q in\n%s%s", want, output, complaint)
				}
			}
			if strings.Contains(output+complaint, "very-s3cret") || strings.Contains(output, "icfm-key") {
				t.Errorf("a secret is shown:\n%s%s", output, complaint)
			}
			if strings.Contains(complaint, "exiting with status") {
				t.Errorf("a status that is no error is reported as one:\n%s", complaint)
			}
		})
	}

	t.Run("as data", func(t *testing.T) {
		output, _, status := machine.explain(environment, "--json", "--config", config, "--request", project("icfm-key", `"Approved"`))
		var got inspect.Explanation
		if err := json.Unmarshal([]byte(output), &got); err != nil || status != 0 {
			t.Fatalf("status %d, %v:\n%s", status, err, output)
		}
		if got.Outcome != inspect.OutcomeAction || got.Events[0].Verdict.Decision != rules.Act || got.Events[0].Requests[0].Action != "create_project_folder" ||
			got.Events[0].Rules[0].When[0].Parts[0].Value != `"Approved"` {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("a configuration that does not compile", func(t *testing.T) {
		_, complaint, status := machine.explain(nil, "--config", config, "--request", project("icfm-key", `"Approved"`))
		if status != 1 || !strings.Contains(complaint, "{env.ICFM_KEY}") {
			t.Errorf("status %d:\n%s", status, complaint)
		}
	})
	t.Run("an address", func(t *testing.T) {
		config := machine.write(exampleFor(t, "auth api_key query key demo-icfm-key", "auth api_key query key icfm-key\n\t\t\tallow 203.0.113.0/24",
			"auth bearer demo-pbx-token", "auth bearer pbx-token\n\t\t\tallow 203.0.113.0/24"))
		request := project("icfm-key", `"Approved"`)
		for from, want := range map[string]int{"": 0, "203.0.113.9": 0, "198.51.100.1": 1, "x": 1} {
			if output, complaint, status := machine.explain(nil, "--config", config, "--request", request, "--from", from); status != want {
				t.Errorf("from %q: status %d, want %d:\n%s%s", from, status, want, output, complaint)
			}
		}
	})
}

func TestExplainStoredEvent(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	site := func(status string) string {
		return "{\n\t" + machine.globals() + `
	event_relay {
		source icfm {
			auth api_key query key icfm-key
			field project_status ` + "`body.status`" + `
		}
		action tell {
			post "http://` + freeAddress(t) + `/{{project_status}}"
			body forward
		}
		on project_created {
			when ` + "`project_status == \"" + status + "\"`" + `
			do tell
		}
	}
}
http://` + machine.site + ` {
	event_relay /listen.php
}
`
	}
	machine.start(site("Approved"))
	// A body that has to be recovered is not what its bytes say.
	response, err := http.Post("http://"+machine.site+"/listen.php?key=icfm-key", "application/json",
		strings.NewReader(`{"event":"project_created","status":"Pencil","name":"Bob "B" Lee"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct{ ID string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}

	output, complaint, status := machine.explain(nil, "--address", machine.admin, "--event", answer.ID)
	if status != 2 || !strings.Contains(output, `→  false   (project_status = "Pencil")`) || !strings.Contains(output, "Body error") {
		t.Errorf("status %d:\n%s%s", status, output, complaint)
	}
	// The same event by a configuration that is not running.
	other := filepath.Join(t.TempDir(), "Caddyfile.new")
	if err := os.WriteFile(other, []byte(site("Pencil")), 0o600); err != nil {
		t.Fatal(err)
	}
	output, complaint, status = machine.explain(nil, "--event", answer.ID[:13], "--config", other, "--adapter", "caddyfile")
	if status != 0 || !strings.Contains(output, "/Pencil HTTP/1.1") || !strings.Contains(output, `"name":"Bob "B" Lee"`) || !strings.Contains(output, "X-Event-Id: "+answer.ID) {
		t.Errorf("status %d:\n%s%s", status, output, complaint)
	}
	for _, arguments := range [][]string{
		{"--event", "0195903e-0000-7000-8000-000000000000"},
		{"--event", answer.ID, "--source", "icfm"},
	} {
		if output, _, status := machine.explain(nil, append(arguments, "--address", machine.admin)...); status != 1 || output != "" {
			t.Errorf("%v: status %d:\n%s", arguments, status, output)
		}
	}
	// A dry run leaves nothing behind.
	listed, err := machine.run("event-relay", "activity", "--address", machine.admin, "--json")
	if err != nil || strings.Count(listed, answer.ID) != 1 || strings.Contains(listed, `"action":"tell"`) {
		t.Errorf("%v:\n%s", err, fmt.Sprint(listed))
	}
}
