package command

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/api"
)

func TestEveryCommandHasHelpWithExamples(t *testing.T) {
	root := &cobra.Command{Use: "event-relay"}
	addCommands(root, "v1.2.3")
	for _, command := range root.Commands() {
		if command.Example == "" || command.Short == "" {
			t.Errorf("%s has no example or no short text", command.Name())
		}
		if command.Args == nil && !slices.Contains([]string{"resend", "decide", "export-actions"}, command.Name()) {
			t.Errorf("%s takes any arguments", command.Name())
		}
		for text, most := range map[string]int{command.Long: 80, command.Example: 100} {
			for _, line := range strings.Split(text, "\n") {
				if len([]rune(line)) > most {
					t.Errorf("%s: a line of the help is too long for a terminal: %s", command.Name(), line)
				}
			}
		}
	}
}

func TestErrorsOfTheAdminAPI(t *testing.T) {
	relay := NewFakeRelay(t, map[string]string{
		"GET activity": `{"error":"reading filter verdict: \"maybe\" is not one of action\u001b[2J","field":"verdict"}`,
	})
	_, report, status := relay.Run("activity", "--verdict", "maybe")
	if status != 1 || !strings.Contains(report, `reading filter verdict: "maybe" is not one of action�[2J`) || strings.Contains(report, "{") {
		t.Errorf("status %d: %q", status, report)
	}
	_, report, status = relay.Run("status")
	if status != 1 || !strings.Contains(report, "the Caddy there has no /event_relay/status") {
		t.Errorf("status %d: %q", status, report)
	}
	relay.Close()
	_, report, status = relay.Run("status")
	if status != 1 || !strings.Contains(report, "nothing answers there; is Caddy running?") || !strings.Contains(report, "--address HOST:PORT") {
		t.Errorf("status %d: %q", status, report)
	}
	_, report, status = RunRoot("", "status", "--address", "unix/"+filepath.Join(t.TempDir(), "none.sock|0222"))
	if status != 1 || !strings.Contains(report, "nothing answers there") {
		t.Errorf("status %d: %q", status, report)
	}
	_, report, status = RunRoot("", "status", "--address", "localhost:1-9")
	if status != 1 || !strings.Contains(report, "is not an address such as localhost:2019") {
		t.Errorf("status %d: %q", status, report)
	}
}

// TestFilterTimesAreInTheZoneOfTheRelay also asks a relay of an earlier version, which
// names no zone: then they are in the machine's.
func TestFilterTimesAreInTheZoneOfTheRelay(t *testing.T) {
	for _, zone := range []*time.Location{time.Local, zoneOf(t, "Pacific/Auckland"), zoneOf(t, "America/St_Johns")} {
		t.Run(zone.String(), func(t *testing.T) { filterTimesAreIn(t, zone) })
	}
}

func zoneOf(t *testing.T, name string) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func filterTimesAreIn(t *testing.T, zone *time.Location) {
	relay := NewFakeRelay(t, map[string]string{"GET activity": `{"events":[{"id":"0199f3c2-0000-7000-8000-000000000002","event":"b","received":"2026-03-13T10:41:57Z"}]}`})
	if zone != time.Local {
		relay.Zone = zone.String()
	}
	out, report, status := relay.Run("activity", "--since", "2026-03-13 11:40", "--until", "2026-03-14", "--tenant", "200", "--text", "a b")
	if status != 0 {
		t.Fatalf("status %d: %s", status, report)
	}
	if want := time.Date(2026, 3, 13, 10, 41, 57, 0, time.UTC).In(zone).Format("2006-01-02 15:04:05.000"); !strings.Contains(out, want) {
		t.Errorf("there is no %s in %s", want, out)
	}
	if named := strings.Contains(report, "Times are in the relay's time zone, "+zone.String()); named != (zone != time.Local) {
		t.Errorf("reported is %q", report)
	}
	_, asked, _ := strings.Cut(relay.Asked[len(relay.Asked)-1], " activity ")
	query, err := url.ParseQuery(asked)
	if err != nil {
		t.Fatal(err)
	}
	want := url.Values{
		"since": {time.Date(2026, 3, 13, 11, 40, 0, 0, zone).Format(time.RFC3339)},
		"until": {time.Date(2026, 3, 14, 0, 0, 0, 0, zone).Format(time.RFC3339)}, "tenant": {"200"}, "text": {"a b"}, "n": {"20"},
	}
	if !reflect.DeepEqual(query, want) {
		t.Errorf("it asked %v, want %v", query, want)
	}
	for _, word := range []string{"tuesday", "yesterday", "3d"} {
		if _, report, status := relay.Run("activity", "--since", word); status != 0 {
			t.Errorf("%s: status %d: %s", word, status, report)
		}
	}
	if _, report, status = relay.Run("activity", "--since", "someday"); status != 1 || !strings.Contains(report, "reading --since: \"someday\" is not a time") {
		t.Errorf("status %d: %s", status, report)
	}
}

func TestActivitySearchesOn(t *testing.T) {
	pages := []string{
		`{"events":[{"id":"0199f3c2-0000-7000-8000-000000000002","event":"b"}],"next":"p2","early":true,"reached":"2026-03-13T10:41:57Z"}`,
		`{"events":[{"id":"0199f3c2-0000-7000-8000-000000000001","event":"a"}]}`,
	}
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if after := r.URL.Query().Get("after"); after != []string{"", "p2"}[asked] {
			t.Errorf("page %d is after %q", asked, after)
		}
		io.WriteString(w, pages[asked])
		asked++
	}))
	defer server.Close()
	out, report, status := RunRoot("", "activity", "--json", "--text", "x", "--address", strings.TrimPrefix(server.URL, "http://"))
	var list api.ActivityPage
	if err := json.Unmarshal([]byte(out), &list); err != nil || status != 0 || len(list.Events) != 2 || list.Early {
		t.Errorf("status %d, %v: %s%s", status, err, out, report)
	}
	var table, remarks strings.Builder
	_ = writeActivity(&table, &remarks, api.ActivityPage{Early: true, Next: "p2", Reached: time.Date(2026, 3, 13, 10, 41, 57, 0, time.Local)}, nil, 0)
	if !strings.Contains(remarks.String(), `it looked back to 2026-03-13 10:41:57.000. Go on with --until "2026-03-13 10:41:57"`) {
		t.Error(remarks.String())
	}
}

func TestActivityOfNothing(t *testing.T) {
	relay := NewFakeRelay(t, map[string]string{"GET activity": `{"events":[]}`})
	for arguments, want := range map[string]string{
		"activity":             "No events. Is the sender's URL right",
		"activity --source no": "No event fits the filters. Is the sender's URL right",
		"activity --since 2h":  "No event fits the filters. Is the sender's URL right",

		"activity --state failed":             "No event fits the filters.\n",
		"activity --verdict action":           "No event fits the filters.\n",
		"activity --text x --source no":       "No event fits the filters.\n",
		"activity --action folder --since 2h": "No event fits the filters.\n",
	} {
		out, report, status := relay.Run(strings.Fields(arguments)...)
		if out != "" || !strings.HasPrefix(report, want) || status != 0 {
			t.Errorf("%s gave status %d, %q and %q on standard error, want %q there", arguments, status, out, report, want)
		}
	}
}

func TestMissingArguments(t *testing.T) {
	for command, want := range map[string]string{
		"pause":     "write: caddy event-relay pause <action>",
		"send icfm": "write: caddy event-relay send <source> <event>",
		"show a b":  "write: caddy event-relay show <",
	} {
		if _, report, status := RunRoot("", strings.Fields(command)...); status != 1 || !strings.Contains(report, want) {
			t.Errorf("%s: status %d and %q, want %q", command, status, report, want)
		}
	}
}

func TestResend(t *testing.T) {
	counted := `{"progress":{"done":1,"total":3}}
{"result":{"events":2,"deliveries":3,"actions":{"screen_pop":1,"folder":2},"arrived":1,"unknown":1}}
`
	tests := []struct {
		name      string
		answer    string
		arguments []string
		status    int
		report    []string
		asked     int
	}{
		{"everything", counted, nil, 1, []string{"give ids, or a filter such as --since 2h"}, 0},
		{"ids and a filter", counted, []string{"0199f3c2", "--state", "failed"}, 1, []string{"give either ids or a filter", "--since 2h --state failed"}, 0},
		{"only counting", counted, []string{"--state", "failed", "--dry-run"}, 0,
			[]string{"3 deliveries of 2 events to send again: folder 2, screen_pop 1", "1 of them arrived before: the target gets the same request a second time", "Left out: 1 delivery of actions that are not configured any more"}, 1},
		{"nobody to ask", counted, []string{"--state", "failed"}, 1, []string{"folder 2", "standard input is not a terminal; give --yes"}, 1},
		{"for real", counted, []string{"0199f3c2", "--yes"}, 0, []string{"3 deliveries of 2 events are being sent again: folder 2"}, 1},
		{"nothing fits", `{"result":{"events":0,"deliveries":0,"actions":{}}}`, []string{"--state", "failed", "--yes"}, 3, []string{"No delivery fits"}, 1},
		{"an error on the way", "{\"progress\":{\"done\":1}}\n{\"error\":\"storing deliveries: queue is full\"}\n", []string{"--state", "failed", "--yes"}, 1,
			[]string{"storing deliveries: queue is full"}, 1},
		{"broken off", `{"progress":{"done":1}}`, []string{"--state", "failed", "--yes"}, 1, []string{"it ended before the work was done"}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			relay := NewFakeRelay(t, map[string]string{"POST resend": test.answer})
			_, report, status := relay.Run(append([]string{"resend"}, test.arguments...)...)
			if status != test.status || len(relay.Asked) != test.asked {
				t.Errorf("status %d, want %d; asked %q", status, test.status, relay.Asked)
			}
			for _, want := range test.report {
				if !strings.Contains(report, want) {
					t.Errorf("there is no %q in\n%s", want, report)
				}
			}
			for n, asked := range relay.Asked {
				var request struct {
					Filter map[string]string
					Dry    bool `json:"dry_run"`
				}
				_, body, _ := strings.Cut(asked, "{")
				if err := json.Unmarshal([]byte("{"+body), &request); err != nil || request.Dry == slices.Contains(test.arguments, "--yes") {
					t.Errorf("whether call %d only counts, %v: %s", n, err, asked)
				}
				// What comes after the count is not sent.
				if request.Filter != nil && request.Filter["until"] == "" {
					t.Errorf("the filter has no end: %s", asked)
				}
			}
		})
	}
}

func TestAskYes(t *testing.T) {
	for answer, want := range map[string]bool{"y\n": true, "YES\n": true, " yes": true, "\n": false, "n\n": false, "": false, "yesterday\n": false} {
		var out strings.Builder
		if err := askYes(strings.NewReader(answer), &out, "Sure?"); (err == nil) != want || out.String() != "Sure? [y/N] " {
			t.Errorf("%q: %v, %q", answer, err, out.String())
		}
	}
}

func TestTry(t *testing.T) {
	for answer, want := range map[string]int{
		`{"deliveries":1,"says":["It is due now\u0007."]}`: 0, `{"deliveries":0,"says":["It is due now\u0007."]}`: 3, `{"deliveries":0,"tested":["http://a"],"says":["It is due now\u0007."]}`: 0,
	} {
		relay := NewFakeRelay(t, map[string]string{"POST try": answer})
		for argument, request := range map[string]string{"0199f3c2-7d11": `{"delivery":"0199f3c2-7d11"}`, "http://192.168.1.20": `{"target":"http://192.168.1.20"}`} {
			relay.Asked = nil
			out, report, status := relay.Run("try", argument)
			if status != want || out != "It is due now\uFFFD.\n" || relay.Asked[0] != "POST try  "+request {
				t.Errorf("%s: status %d, %q, %q, %q", argument, status, out, report, relay.Asked)
			}
		}
	}
}

// What gathered while something was off is said with the command that deals with it.
func TestSwitchedOnAgain(t *testing.T) {
	for answer, want := range map[string][]string{
		`{"kind":"action","name":"a","off":false,"meanwhile":{"events":0,"deliveries":3,"expires":true}}`: {"action a is resumed.", "3 deliveries that waited go out now.\nWhat is older than its expires ends as expired instead.\n"},
		`{"kind":"event","name":"icfm:a","off":false,"meanwhile":{"events":2,"more":true,"decide":"caddy event-relay decide --since X","deliveries":0}}`: {
			"event icfm:a is enabled.", "At least 2 events came meanwhile and had nothing done.", "\n  caddy event-relay decide --since X --dry-run\n  caddy event-relay decide --since X\n"},
		`{"kind":"all","off":false,"meanwhile":{"events":0,"deliveries":0}}`: {"everything is enabled.", "No delivery goes out because of it.", "No event came meanwhile."},
	} {
		relay := NewFakeRelay(t, map[string]string{"POST switch": answer, "GET status": `{}`})
		out, report, status := relay.Run("enable")
		for _, text := range want {
			if status != 0 || !strings.Contains(out, text) {
				t.Errorf("%s: status %d, %q, %q: no %q", answer, status, out, report, text)
			}
		}
	}
}

func TestSwitches(t *testing.T) {
	relay := NewFakeRelay(t, map[string]string{
		"POST switch": `{"kind":"action","name":"screen_pop","off":true,"since":"2026-03-13T10:41:57Z","until":"2026-03-14T10:41:57Z","reason":"CRM moves"}`,
		"GET status":  `{"switches":[{"kind":"action","name":"screen_pop","off":true},{"kind":"event","name":"icfm:a","off":true,"since":"2026-03-13T10:41:57Z","reason":"test\u0007"}]}`,
	})
	out, report, status := relay.Run("pause", "screen_pop", "--for", "24h", "--reason", "CRM moves")
	if status != 0 || relay.Asked[0] != `POST switch  {"kind":"action","name":"screen_pop","off":true,"for":"24h","reason":"CRM moves"}` {
		t.Errorf("status %d: %s%q", status, report, relay.Asked)
	}
	if !strings.Contains(out, "action screen_pop is paused until 2026-03-14") || !strings.Contains(out, "Switched off: event icfm:a since 2026-03-13") ||
		!strings.Contains(out, "test�") || strings.Count(out, "screen_pop") != 1 {
		t.Error(out)
	}
	for _, test := range []struct{ arguments, request string }{
		{"resume screen_pop", `{"kind":"action","name":"screen_pop","off":false}`},
		{"disable", `{"kind":"all","off":true}`},
		{"disable icfm:a", `{"kind":"event","name":"icfm:a","off":true}`},
		{"enable a", `{"kind":"event","name":"a","off":false}`},
		{"enable", `{"kind":"all","off":false}`},
	} {
		relay.Asked = nil
		if _, report, status := relay.Run(strings.Fields(test.arguments)...); status != 0 || relay.Asked[0] != "POST switch  "+test.request {
			t.Errorf("%s: status %d: %s%q", test.arguments, status, report, relay.Asked)
		}
	}
	relay.Asked = nil
	if _, report, status := relay.Run("pause", "screen_pop", "--for", "soon"); status != 1 || !strings.Contains(report, "is not a length of time such as 30m") || relay.Asked != nil {
		t.Errorf("status %d: %s%q", status, report, relay.Asked)
	}
}

func TestCancelAndMove(t *testing.T) {
	const detail = `{"id":"0199f3c2-0000-7000-8000-000000000001","deliveries":[
		{"id":"0199f3c2-0000-7000-8000-0000000000d1","action":"folder","state":"delivered"},
		{"id":"0199f3c2-0000-7000-8000-0000000000d2","action":"pop","state":"pending"}]}`
	relay := NewFakeRelay(t, map[string]string{
		"GET events/0199f3c2-0000-7000-8000-0000000000d2": detail,
		"GET events/0199f3c2-0000-7000-8000-000000000001": detail,
		"GET backlog": `[{"action":"old","count":4}]`, "POST cancel": `{"deliveries":1}`, "POST move": `{"deliveries":0}`,
	})
	tests := []struct {
		arguments string
		status    int
		out       string
		request   string
	}{
		{"cancel", 1, "either the id of a delivery or --action NAME", ""},
		{"cancel 0199f3c2-0000-7000-8000-0000000000d2", 0, "1 delivery cancelled.", `POST cancel  {"delivery":"0199f3c2-0000-7000-8000-0000000000d2"}`},
		{"cancel 0199f3c2-0000-7000-8000-000000000001", 1, "is an event; its unfinished deliveries are 0199f3c2-0000-7000-8000-0000000000d2 (pop)", ""},
		{"cancel --action old", 1, "not a terminal", ""},
		{"cancel --action old --yes", 0, "1 delivery cancelled.", `POST cancel  {"action":"old"}`},
		{"cancel --action new --yes", 3, "Nothing waits for new.", ""},
		{"move old new", 3, "0 deliveries moved to new.", `POST move  {"from":"old","to":"new"}`},
	}
	for _, test := range tests {
		relay.Asked = nil
		out, report, status := relay.Run(strings.Fields(test.arguments)...)
		posted := slices.DeleteFunc(relay.Asked, func(asked string) bool { return strings.HasPrefix(asked, "GET") })
		if status != test.status || !strings.Contains(out+report, test.out) || strings.Join(posted, "\n") != test.request {
			t.Errorf("%s: status %d, posted %q\n%s%s", test.arguments, status, posted, out, report)
		}
	}
}

// TestShowSaysWhatADeliveryWaitsFor has the first of an order key, and one behind it.
func TestShowSaysWhatADeliveryWaitsFor(t *testing.T) {
	for delivery, want := range map[string]string{
		`"due":"2026-03-13T10:41:58Z"`: "Next       ",
		`"due":"2026-03-13T10:41:58Z","behind":"0199f3c2-0000-7000-8000-0000000000d1"`: "Waits      for the delivery 0199f3c2-0000-7000-8000-0000000000d1 of",
		`"due":"2026-03-13T10:41:58Z","down":"http://192.168.1.20:8080"`:               "Waits      for the target http://192.168.1.20:8080, which is down",
	} {
		relay := NewFakeRelay(t, map[string]string{"GET events/0199f3c2": `{"deliveries":[{"action":"pop","state":"pending",` + delivery + `}]}`})
		out, report, status := relay.Run("show", "0199f3c2")
		if status != 0 || !strings.Contains(out, want) || strings.Contains(out, "Next") == strings.Contains(out, "Waits") {
			t.Errorf("%s: status %d\n%s%s", delivery, status, out, report)
		}
	}
}

func TestBackupIsWholeOrNotThere(t *testing.T) {
	relay := NewFakeRelay(t, map[string]string{"GET backup": "all of it"})
	file := filepath.Join(t.TempDir(), "backup.db")
	out, report, status := relay.Run("backup", file)
	written, err := os.ReadFile(file)
	if status != 0 || err != nil || string(written) != "all of it" || !strings.Contains(out, "9 B") {
		t.Fatalf("status %d, %v, %q\n%s%s", status, err, written, out, report)
	}
	if about, err := os.Stat(file); err != nil || about.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", about.Mode(), err)
	}
	if _, report, status = relay.Run("backup", file); status != 1 || !strings.Contains(report, "never replaces a file") {
		t.Errorf("status %d: %s", status, report)
	}

	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "the beginning")
	}))
	defer cut.Close()
	for name, address := range map[string]string{"cut off": cut.URL, "nobody there": "http://127.0.0.1:1"} {
		missing := filepath.Join(t.TempDir(), "backup.db")
		_, report, status = RunRoot("", "backup", missing, "--address", strings.TrimPrefix(address, "http://"))
		if _, err := os.Stat(missing); status != 1 || !os.IsNotExist(err) {
			t.Errorf("%s: status %d, the file is there (%v): %s", name, status, err, report)
		}
	}
}

func TestSend(t *testing.T) {
	relay := NewFakeRelay(t, map[string]string{"POST send": `{"ids":["0199f3c2-0000-7000-8000-000000000001"]}`})
	body := WriteFile(t, "body.json", `{"a":1}`)
	out, report, status := relay.Run("send", "icfm", "project_created", "name=a=b", "empty=", "--body", body, "--content-type", "application/json")
	if status != 0 || out != "0199f3c2-0000-7000-8000-000000000001\n" ||
		relay.Asked[0] != `POST send  {"source":"icfm","event":"project_created","values":{"empty":"","name":"a=b"},"body":"{\"a\":1}","content_type":"application/json"}` {
		t.Errorf("status %d: %q%s%q", status, out, report, relay.Asked)
	}
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{[]string{"novalue"}, `"novalue" is not as in caller_id=`},
		{[]string{"a=1", "a=2"}, "a is given twice"},
		{[]string{"--content-type", "text/plain"}, "give one with --body"},
		{[]string{"--body", "nowhere.json"}, "reading the body: open nowhere.json"},
		{[]string{"--body", WriteFile(t, "binary", "\xff\xfe")}, "is not text in UTF-8"},
	} {
		if _, report, status := relay.Run(append([]string{"send", "icfm", "x"}, test.arguments...)...); status != 1 || !strings.Contains(report, test.want) {
			t.Errorf("%q: status %d: %s", test.arguments, status, report)
		}
	}
}

func TestUnknownCommand(t *testing.T) {
	if _, report, status := RunRoot("", "resned", "--state", "failed"); status != 1 {
		t.Errorf("status %d: %s", status, report)
	}
	if _, report, status := RunRoot("", "resned"); status != 1 || !strings.Contains(report, `unknown command "resned"; did you mean resend?`) {
		t.Errorf("status %d: %s", status, report)
	}
	if out, report, status := RunRoot(""); status != 0 || !strings.Contains(out, "Available Commands") {
		t.Errorf("status %d: %s%s", status, out, report)
	}
}

func TestMomentsOfToday(t *testing.T) {
	now := time.Date(2026, 3, 13, 11, 40, 57, 0, time.Local)
	for moment, want := range map[time.Time]string{
		now: "11:40:57", now.Add(-24 * time.Hour): "2026-03-12 11:40", now.AddDate(-1, 0, 0): "2025-03-13 11:40",
		time.Date(2026, 3, 13, 0, 0, 0, 0, time.Local): "00:00:00",
	} {
		if got := shortMoment(moment, now); got != want {
			t.Errorf("%v is %q, want %q", moment, got, want)
		}
	}
}
