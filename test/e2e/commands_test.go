package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// relayCommand runs a command of the relay against the machine's Caddy, and
// returns what came on standard output, what came on standard error, and the
// exit status.
func (i *installation) relayCommand(arguments ...string) (output, report string, status int) {
	i.t.Helper()
	return i.read(i.command(append([]string{"event-relay", "--address", i.admin}, arguments...)...))
}

// read runs a command of the binary to its end, and returns what came on
// standard output, what came on standard error, and the exit status.
func (i *installation) read(command *exec.Cmd) (output, report string, status int) {
	i.t.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) {
			i.t.Fatal(err)
		}
	}
	return stdout.String(), stderr.String(), command.ProcessState.ExitCode()
}

// expect runs a command, which must end with a status and print these texts.
func (i *installation) expect(status int, arguments string, want ...string) string {
	i.t.Helper()
	output, report, got := i.relayCommand(strings.Fields(arguments)...)
	if got != status {
		i.t.Errorf("%s: exit status %d, want %d\n%s%s", arguments, got, status, output, report)
	}
	for _, text := range want {
		if !strings.Contains(output+report, text) {
			i.t.Errorf("%s: there is no %q in\n%s%s", arguments, text, output, report)
		}
	}
	return output
}

// post posts an event as iCFM would, and returns its id.
func (i *installation) post(body string) string {
	i.t.Helper()
	response, err := http.Post("http://"+i.site+"/listen.php?key=icfm-key", "application/json", strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		i.t.Fatalf("the relay answers %d %s (%v)", response.StatusCode, answer, err)
	}
	return answeredIDs(i.t, answer)[0]
}

// become waits until the newest delivery of an event is in a state.
func (i *installation) become(id, state string) {
	i.t.Helper()
	waitFor(i.t, "a delivery of "+id+" to be "+state, func() bool {
		output, _, _ := i.relayCommand("show", "--json", id)
		var event storedEvent
		if json.Unmarshal([]byte(output), &event) != nil || len(event.Deliveries) == 0 {
			return false
		}
		return event.Deliveries[len(event.Deliveries)-1].State == state
	})
}

// standIn is a service on the LAN: it remembers what it was asked.
type standIn struct {
	*httptest.Server
	mutex  sync.Mutex
	status int
	asked  []string
	keys   map[string]int
}

func newStandIn(t *testing.T) *standIn {
	s := &standIn{status: http.StatusOK, keys: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.asked = append(s.asked, fmt.Sprintf("%s %s test=%s", r.URL.Path, body, r.Header.Get("X-Event-Test")))
		s.keys[r.Header.Get("Idempotency-Key")]++
		w.WriteHeader(s.status)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *standIn) answer(status int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.status = status
}

// times returns how often it was asked for something with a text.
func (s *standIn) times(text string) (times int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, asked := range s.asked {
		if strings.Contains(asked, text) {
			times++
		}
	}
	return times
}

// folders is a configuration in which an approved project gets a folder.
func (i *installation) folders(target, action, states string) string {
	return "{\n\t" + i.globals() + `
	event_relay {
		queue sqlite ` + i.home + `/queue
		source icfm {
			auth api_key query key icfm-key
			field project_status ` + "`body.status`" + `
		}
		parameter folders ` + target + `
		action ` + action + ` {
			description "Make the folder"
			post "{{folders}}/` + action + `"
			body json <<JSON
				{"name": "{{body.name}}"}
				JSON
		}
		on project_created {
			when ` + "`project_status in [" + states + "]`" + `
			do ` + action + `
		}
	}
}
http://` + port(i.site) + ` {
	bind 127.0.0.1
	event_relay /listen.php
	respond 404
}
`
}

// port returns the port of an address, with the colon before it: the address of
// a site that takes requests with any Host.
func port(address string) string { return address[strings.LastIndexByte(address, ':'):] }

// following is an `activity --follow` on its way.
type following struct {
	*processtest.Process
	t      *testing.T
	output *processtest.Output
}

func (i *installation) follow(arguments ...string) *following {
	i.t.Helper()
	command := i.command(append([]string{"event-relay", "activity", "--follow", "--address", i.admin}, arguments...)...)
	output := new(processtest.Output)
	command.Stdout = output
	return &following{processtest.Start(i.t, command), i.t, output}
}

// sees waits until something was printed of an event.
func (f *following) sees(id string, texts ...string) {
	f.t.Helper()
	waitFor(f.t, fmt.Sprintf("the follower to show %s with %q; it shows\n%s%s", id, texts, f.output, f.Output), func() bool {
		for _, line := range strings.Split(f.output.String(), "\n") {
			if strings.Contains(line, id) && containsAll(line, texts) {
				return true
			}
		}
		return false
	})
}

func containsAll(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}

// interrupt presses Ctrl-C and returns the exit status.
func (f *following) interrupt() int {
	f.t.Helper()
	return f.End(syscall.SIGINT).ExitCode()
}

// TestFailedDeliveryIsFoundAndSentAgain is what an administrator does when a
// folder was not made because its service refused.
func TestFailedDeliveryIsFoundAndSentAgain(t *testing.T) {
	t.Parallel()
	machine, folders := newInstallation(t), newStandIn(t)
	machine.start(machine.folders(folders.URL, "folder", `"Approved"`))
	text, data := machine.follow(), machine.follow("--json", "--source", "icfm")

	folders.answer(http.StatusConflict)
	id := machine.post(`{"event":"project_created","status":"Approved","name":"Nordlicht"}`)
	machine.become(id, "failed")
	machine.post(`{"event":"job_saved","name":"Other"}`)
	text.sees(id, "icfm", "project_created", "action", "folder failed")
	data.sees(id, `"state":"failed"`)

	output := machine.expect(0, "activity --since 1h --state failed", id, "folder failed")
	if strings.Contains(output, "job_saved") {
		t.Errorf("the filter lets others pass:\n%s", output)
	}
	if output = machine.expect(0, "activity --text nordLICHT", id); strings.Contains(output, "job_saved") {
		t.Errorf("the filter lets others pass:\n%s", output)
	}
	machine.expect(0, "show "+id[:23], "Verdict    action", "answered 409")
	machine.expect(1, "activity --verdict perhaps", "verdict", "perhaps")

	// The event as a file, explained without the server.
	request := filepath.Join(t.TempDir(), "project.http")
	if err := os.WriteFile(request, []byte(machine.expect(0, "show --http "+id)), 0o600); err != nil {
		t.Fatal(err)
	}
	explanation, complaint, status := machine.explain(nil, "--config", filepath.Join(machine.home, "Caddyfile"), "--request", request, "--source", "icfm")
	if status != 0 || !strings.Contains(explanation, `"name": "Nordlicht"`) {
		t.Errorf("status %d:\n%s%s", status, explanation, complaint)
	}

	folders.answer(http.StatusOK)
	machine.expect(1, "resend", "or a filter")
	machine.expect(1, "resend --state failed", "1 delivery of 1 event to send again: folder 1", "not a terminal")
	machine.expect(0, "resend --state failed --dry-run", "1 delivery of 1 event to send again: folder 1")
	if folders.times("Nordlicht") != 1 {
		t.Error("a dry run sends")
	}
	machine.expect(0, "resend --since 1h --action folder --yes", "1 delivery of 1 event is being sent again: folder 1")
	machine.become(id, "delivered")
	machine.expect(0, "show "+id, "Repeats    ", "folder delivered")
	machine.expect(3, "resend --state expired --yes", "No delivery fits")
	if folders.times("Nordlicht") != 2 || len(folders.keys) != 2 {
		t.Errorf("the service was asked %q", folders.asked)
	}

	for name, follower := range map[string]*following{"text": text, "data": data} {
		follower.sees(id, "delivered")
		if status := follower.interrupt(); status != 0 {
			t.Errorf("%s: Ctrl-C gives status %d\n%s", name, status, follower.Output)
		}
	}
}

// TestMendedRuleDecidesAgain tries a mended rule on the past, loads it, and makes
// up for what was missed.
func TestMendedRuleDecidesAgain(t *testing.T) {
	t.Parallel()
	machine, folders := newInstallation(t), newStandIn(t)
	caddy := machine.start(machine.folders(folders.URL, "folder", `"Approved"`))
	done := machine.post(`{"event":"project_created","status":"Approved","name":"First"}`)
	missed := machine.post(`{"event":"project_created","status":"Confirmed","name":"Second"}`)
	machine.become(done, "delivered")

	mended := machine.folders(folders.URL, "folder", `"Confirmed"`)
	file := filepath.Join(t.TempDir(), "Caddyfile.new")
	if err := os.WriteFile(file, []byte(mended), 0o600); err != nil {
		t.Fatal(err)
	}
	machine.expect(0, "decide --since 1h --dry-run", "2 events looked at, none changes")
	output := machine.expect(2, "decide --since 1h --dry-run --config "+file,
		"Decided by "+file+": 2 events looked at, 2 change.", "Would newly fire: folder 1", "Would not fire any more: folder 1", missed, done)
	if strings.Contains(output, "icfm-key") {
		t.Errorf("a secret is shown:\n%s", output)
	}
	machine.expect(3, "decide --since 1h --event job_saved", "No event fits")
	machine.expect(1, "decide 0000000000", "not found")
	if folders.times("Second") != 0 {
		t.Fatal("a dry run sends")
	}

	if status, answer := caddy.load(mended); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	machine.expect(0, "decide --since 1h --yes", "Decided: 2 events changed; 1 action is being carried out.")
	machine.become(missed, "delivered")
	machine.expect(2, "explain --then --event "+missed, `project_status in ["Approved"]`, "Verdict    ignored")
	machine.expect(0, "explain --event "+missed, `project_status in ["Confirmed"]`, "Verdict    action")
	machine.expect(1, "explain --then --event "+missed+" --config "+file, "give one of them")
	machine.expect(0, "decide --since 1h --yes", "none changes")
	if folders.times("First") != 1 || folders.times("Second") != 1 {
		t.Errorf("the service was asked %q", folders.asked)
	}
}

// TestSwitchesHold pauses an action and disables an event over a reload and a
// restart, while a command follows the activity.
func TestSwitchesHold(t *testing.T) {
	t.Parallel()
	machine, folders := newInstallation(t), newStandIn(t)
	config := machine.folders(folders.URL, "folder", `"Approved"`)
	caddy := machine.start(config)
	machine.expect(0, "status", "Waiting        nothing")
	follower := machine.follow()

	machine.expect(1, "pause flder", "flder", "folder")
	machine.expect(0, "pause folder --for 2h --reason servicing", "action folder is paused until ", "its deliveries wait")
	machine.expect(0, "disable job_saved --reason noise", "event icfm:job_saved is disabled", "Switched off: action folder since ")
	first := machine.post(`{"event":"project_created","status":"Approved","name":"First"}`)
	disabled := machine.post(`{"event":"job_saved"}`)

	if status, answer := caddy.load(config + "\n# reloaded\n"); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	second := machine.post(`{"event":"project_created","status":"Approved","name":"Second"}`)
	caddy.Stop()
	machine.start(config)
	third := machine.post(`{"event":"project_created","status":"Approved","name":"Third"}`)
	for _, id := range []string{first, second, third} {
		machine.become(id, "pending")
		follower.sees(id, "folder pending")
	}
	machine.expect(2, "status", "action folder since ", ": servicing", "event icfm:job_saved since", ": noise", "3 deliveries for folder", "it is paused")
	machine.expect(0, "actions fold", "paused until", "(servicing)", "3", "Make the folder")
	machine.expect(0, "events job_saved", "off (noise)")
	machine.expect(0, "show "+disabled, "Verdict    disabled")
	if folders.times("folder") != 0 {
		t.Errorf("the service was asked %q", folders.asked)
	}

	machine.expect(0, "resume folder", "action folder is resumed", "Switched off: event icfm:job_saved")
	for _, id := range []string{first, second, third} {
		machine.become(id, "delivered")
		follower.sees(id, "folder delivered")
	}
	machine.expect(0, "enable job_saved", "event icfm:job_saved is enabled")
	machine.expect(0, "disable --for 1h", "everything is disabled until")
	fourth := machine.post(`{"event":"project_created","status":"Approved","name":"Fourth"}`)
	machine.expect(0, "show "+fourth, "Verdict    disabled")
	machine.expect(0, "enable", "everything is enabled")
	machine.expect(0, "decide --verdict disabled --event project_created --since 1h --yes", "1 event changed")
	machine.become(fourth, "delivered")
	machine.expect(0, "status", "Waiting        nothing")

	if status := follower.interrupt(); status != 0 || !strings.Contains(follower.Output.String(), "Connected again.") {
		t.Errorf("status %d\n%s", status, follower.Output)
	}
}

// TestDeliveriesOfARenamedAction are held, shown, moved and cancelled.
func TestDeliveriesOfARenamedAction(t *testing.T) {
	t.Parallel()
	machine, folders := newInstallation(t), newStandIn(t)
	caddy := machine.start(machine.folders(folders.URL, "folder", `"Approved"`))
	machine.expect(0, "pause folder", "until it is turned on by hand")
	moved := machine.post(`{"event":"project_created","status":"Approved","name":"Moved"}`)
	cancelled := machine.post(`{"event":"project_created","status":"Approved","name":"Cancelled"}`)
	machine.become(cancelled, "pending")
	if status, answer := caddy.load(machine.folders(folders.URL, "directory", `"Approved"`)); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	machine.expect(2, "status", "2 deliveries for folder", "there is no such action any more")

	var event struct{ Deliveries []struct{ ID string } }
	if err := json.Unmarshal([]byte(machine.expect(0, "show --json "+cancelled)), &event); err != nil {
		t.Fatal(err)
	}
	machine.expect(1, "cancel "+cancelled, event.Deliveries[0].ID+" (folder)")
	machine.expect(0, "cancel "+event.Deliveries[0].ID, "1 delivery cancelled.")
	machine.become(cancelled, "cancelled")
	machine.expect(1, "move folder nowhere", "nowhere")
	machine.expect(0, "move folder directory", "1 delivery moved to directory.")
	machine.become(moved, "delivered")
	machine.expect(1, "move folder directory", "unknown action folder")
	machine.expect(3, "cancel --action folder --yes", "Nothing waits for folder.")
	if folders.times("/directory") != 1 || folders.times("Cancelled") != 0 {
		t.Errorf("the service was asked %q", folders.asked)
	}
}

func TestTestEventsAreMarked(t *testing.T) {
	t.Parallel()
	machine, folders := newInstallation(t), newStandIn(t)
	machine.start(machine.folders(folders.URL, "folder", `"Approved"`))
	body := filepath.Join(t.TempDir(), "project.json")
	if err := os.WriteFile(body, []byte(`{"status":"Approved","name":"Trial"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	machine.expect(0, "send icfm project_created --wait 60s --body "+body, "Event      project_created from icfm (test)", "Delivery   folder delivered, answered 200")
	if folders.times(`"name": "Trial"} test=1`) != 1 {
		t.Errorf("the service was asked %q", folders.asked)
	}
	machine.expect(0, "activity", "action (test)")
	machine.expect(2, "send icfm project_created status=Pencil --wait 60s", "Verdict    ignored: ")
	machine.expect(1, "send icmf project_created", "icmf", "icfm")
	folders.answer(http.StatusConflict)
	machine.expect(2, "send icfm project_created --wait 60s --body "+body, "Delivery   folder failed")
	id := strings.TrimSpace(machine.expect(0, "send icfm job_saved name=x"))
	machine.expect(0, "show "+id, "Test       sent by an administrator", "job_saved")
}
