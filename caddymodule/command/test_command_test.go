package command_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/caddymodule/command"
)

const testedConfig = `{
	event_relay {
		timezone Europe/London
		source icfm {
			auth api_key query key icfm-key
			allow 203.0.113.0/24
		}
		action folder {
			post "http://127.0.0.1:9000/folders/{{body.id}}"
			auth bearer very-s3cret
		}
		on project_created {
			when ` + "`body.status == \"Approved\"`" + `
			do folder
		}
		on job_saved {
			when ` + "`received.Hour() >= 20`" + `
			do folder
		}
	}
}
http://127.0.0.1:8080 {
	event_relay /listen.php
}
`

const project = "POST /listen.php?key=icfm-key\nContent-Type: application/json\n\n{\"event\":\"project_created\",\"id\":7,\"status\":\"Approved\"}\n"

// TestTestCommand runs a case each, and looks for what is wrong with it, or for
// nothing.
func TestTestCommand(t *testing.T) {
	config := command.WriteFile(t, "Caddyfile", testedConfig)
	pencil := strings.Replace(project, "Approved", "Pencil", 1)
	job := strings.Replace(project, "project_created", "job_saved", 1)
	for name, test := range map[string]struct{ lines, request, wrong string }{
		"all":              {"# A comment: free\n\n# given: from 203.0.113.7\n# expect: status 200\n# expect: event project_created\n# expect: verdict action\n# expect: action folder\n# expect: request folder POST http://127.0.0.1:9000/folders/7\n", project, ""},
		"ignored":          {"# expect: verdict ignored\n", pencil, ""},
		"refused":          {"# given: from 192.0.2.1\n# expect: status 403\n", project, ""},
		"no key":           {"# expect: status 401\n", "POST /listen.php\n\n{}", ""},
		"source":           {"# given: source icfm\n# expect: action folder\n", strings.Replace(project, "?key=icfm-key", "", 1), ""},
		"local time":       {"# given: time 2026-07-13 20:30\n# expect: action folder\n", job, ""},
		"instant":          {"# given: time 2026-07-13T18:30:00Z\n# expect: verdict ignored\n", job, ""},
		"batch":            {"# expect: verdict action\n# expect: verdict ignored\n# expect: action folder\n", "POST /listen.php?key=icfm-key\n\n[{\"event\":\"project_created\",\"id\":7,\"status\":\"Approved\"},{\"event\":\"rs_added\"}]", ""},
		"another verdict":  {"# expect: verdict action\n", pencil, "verdict ignored (`body.status == \"Approved\"` did not hold: body.status is \"Pencil\"), expected action"},
		"no such action":   {"# expect: action folder\n", pencil, "actions none (`body.status == \"Approved\"` did not hold: body.status is \"Pencil\"), expected folder"},
		"action too many":  {"# expect: action mail\n", project, "actions folder (all conditions of a rule held), expected mail"},
		"another event":    {"# expect: event job_saved\n", project, "event project_created, expected job_saved"},
		"another request":  {"# expect: request folder folders/8\n", project, "the request of folder has no folders/8"},
		"no request":       {"# expect: request mail x\n", project, "no request of mail, expected one with x"},
		"was refused":      {"# expect: verdict action\n", "POST /listen.php\n\n{}", "refused with status 401"},
		"another status":   {"# expect: status 403\n", project, "status 200, expected 403"},
		"misspelt":         {"# expect: acton folder\n", project, "line 1: unknown expectation acton; did you mean action?"},
		"unknown":          {"# expect: colour red\n", project, "unknown expectation colour. What exists: event, verdict, action, request, status"},
		"misspelt line":    {"# expct: action folder\n", project, "unknown line expct; did you mean expect?"},
		"misspelt given":   {"# given: tme 2026-03-13\n", project, "unknown given tme; did you mean time?"},
		"misspelt verdict": {"# expect: verdict ignore\n", project, "unknown verdict ignore; did you mean ignored?"},
		"no value":         {"# expect: action\n", project, "expect action has no value"},
		"no time":          {"# given: time soon\n", project, `"soon" is not a time`},
		"no address":       {"# given: from here\n", project, `"here" is not an IP address`},
		"unknown source":   {"# given: source icmf\n# expect: verdict action\n", project, "did you mean icfm?"},
		"nothing expected": {"# given: source icfm\n", project, "it expects nothing"},
		"no request line":  {"# expect: verdict action\n", "nonsense", "the first line is"},
	} {
		t.Run(name, func(t *testing.T) {
			file := command.WriteFile(t, "case.http", test.lines+test.request)
			out, report, status := command.RunRoot("", "test", file, "--config", config)
			if want := 1; test.wrong == "" && (status != 0 || !strings.Contains(out, "1 passed, 0 failed")) ||
				test.wrong != "" && (status != want || !strings.Contains(out, test.wrong)) {
				t.Errorf("status %d: %s%s, want %q", status, out, report, test.wrong)
			}
			if strings.Contains(out, "very-s3cret") {
				t.Errorf("it shows a secret: %s", out)
			}
		})
	}
}

// TestTestResults compares the forms of the results.
func TestTestResults(t *testing.T) {
	config := command.WriteFile(t, "Caddyfile", testedConfig)
	directory := t.TempDir()
	for name, lines := range map[string]string{"a.http": "# expect: action folder\n", "b.http": "# expect: verdict ignored\n", "c.txt": "no case"} {
		if err := os.WriteFile(filepath.Join(directory, name), []byte(lines+project), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for flag, want := range map[string]string{
		"--json=false": "ok    DIR/a.http\nFAIL  DIR/b.http\n      verdict action (all conditions of a rule held), expected ignored\n\n1 passed, 1 failed\n",
		"--tap":        "TAP version 13\n1..2\nok 1 - DIR/a.http\nnot ok 2 - DIR/b.http\n# verdict action (all conditions of a rule held), expected ignored\n",
		"--json":       `"case": "DIR/b.http",` + "\n    \"passed\": false",
	} {
		out, report, status := command.RunRoot("", "test", directory, "--config", config, flag)
		if got := strings.ReplaceAll(out, filepath.ToSlash(directory), "DIR"); status != 1 || flag != "--json" && got != want || !strings.Contains(got, want) {
			t.Errorf("%s: status %d: %s%s", flag, status, got, report)
		}
	}
	for _, arguments := range [][]string{{filepath.Join(directory, "none")}, {t.TempDir()}, {directory, "--tap", "--json"}, {directory, directory}} {
		if out, _, status := command.RunRoot("", append([]string{"test", "--config", config}, arguments...)...); status != 1 || out != "" && !strings.Contains(out, "Usage") {
			t.Errorf("%q: status %d: %s", arguments, status, out)
		}
	}
}

// TestShowWritesACase: what show --http --expect writes of an event, test runs.
func TestShowWritesACase(t *testing.T) {
	relay := command.NewFakeRelay(t, map[string]string{
		"GET events/0199f3c2":      `{"source":"icfm","event":"project_created","received":"2026-03-13T11:40:00Z","verdict":{"decision":"action","actions":[{"action":"folder"}]}}`,
		"GET events/0199f3c2/http": strings.Replace(project, "?key=icfm-key", "", 1),
	})
	out, report, status := relay.Run("show", "0199f3c2", "--http", "--expect")
	if status != 0 || !strings.HasPrefix(out, "# given: source icfm\n# given: time 2026-03-13T11:40:00Z\n# expect: event project_created\n# expect: verdict action\n# expect: action folder\nPOST ") {
		t.Fatalf("status %d: %s%s", status, out, report)
	}
	config := command.WriteFile(t, "Caddyfile", testedConfig)
	if out, report, status := command.RunRoot("", "test", command.WriteFile(t, "case.http", out), "--config", config); status != 0 {
		t.Errorf("status %d: %s%s", status, out, report)
	}
	if _, report, status := relay.Run("show", "0199f3c2", "--expect"); status != 1 || !strings.Contains(report, "--expect goes with --http") {
		t.Errorf("status %d: %s", status, report)
	}
}
