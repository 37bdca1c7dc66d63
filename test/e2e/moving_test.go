package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// publicHost is the name under which senders know the relay.
const publicHost = "events.studio.example"

// TestMovingToAnotherServer follows the manual's recipe while events keep coming:
// none is lost, and none is done twice.
func TestMovingToAnotherServer(t *testing.T) {
	t.Parallel()
	before, after, folders := newInstallation(t), newInstallation(t), newStandIn(t)
	config := strings.Replace(before.folders(folders.URL, "folder", `"Approved"`), "http://:", "http://localhost:", 1)
	config = strings.Replace(config, "http://localhost:", "http://"+publicHost+port(before.site)+", http://127.0.0.1:", 1)
	old := before.start(config)
	before.expect(0, "pause folder --reason moving", "is paused")
	waiting := before.post(`{"event":"project_created","status":"Approved","name":"waiting"}`)

	sender := startSender(t, before.site)
	sender.wait(20)

	// 1. New server up.
	after.start(after.folders(folders.URL, "folder", `"Approved"`))
	after.expect(0, "check", "Checked      relay at "+after.admin)
	trial := filepath.Join(t.TempDir(), "trial.json")
	if err := os.WriteFile(trial, []byte(`{"status":"Approved","name":"trial"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	after.expect(0, "send icfm project_created --wait 60s --body "+trial, "folder delivered")

	// 2. Old site hands over. It has the public host name; the extra site of the new
	// server has none.
	handler := "event_relay /listen.php\n"
	if !strings.Contains(config, handler) {
		t.Fatal("the configuration is not as the test takes it to be")
	}
	handing := strings.Replace(config, handler, "handle /listen.php* {\n\t\treverse_proxy "+after.site+" {\n\t\t\tlb_try_duration 30s\n\t\t}\n\t}\n", 1)
	if status, answer := old.load(handing); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	sender.wait(20)

	// 3. Old queue drains.
	before.expect(2, "status", "deliveries for folder", "it is paused")
	before.expect(0, "resume folder", "is resumed")
	waitFor(t, "the old queue to drain", func() bool {
		output, _, _ := before.relayCommand("status")
		return strings.Contains(output, "Waiting        nothing")
	})
	accepted := sender.stop()
	waitFor(t, "the new queue to drain", func() bool {
		output, _, _ := after.relayCommand("status")
		return strings.Contains(output, "Waiting        nothing")
	})

	// 5. History.
	backup := filepath.Join(t.TempDir(), "old.db")
	before.expect(0, "backup "+backup, "Wrote "+backup)
	output := after.expect(0, "restore --history "+backup, "Added ")
	if strings.Contains(output, "Added 0 events") {
		t.Error(output)
	}
	after.expect(0, "restore --history "+backup, "Added 0 events")

	// 6. Old server off.
	old.Stop()
	after.expect(0, "show "+waiting, "folder delivered")
	var history struct {
		Events []struct {
			ID         string
			Deliveries []struct{ State string }
		}
	}
	output = after.expect(0, fmt.Sprintf("activity --json --number %d", len(accepted)+1000), waiting)
	if err := json.Unmarshal([]byte(output), &history); err != nil {
		t.Fatal(err)
	}
	delivered := map[string]bool{}
	for _, event := range history.Events {
		if delivered[event.ID] {
			t.Errorf("%s is in the history twice", event.ID)
		}
		delivered[event.ID] = len(event.Deliveries) == 1 && event.Deliveries[0].State == "delivered"
	}
	for name, id := range accepted {
		if times := folders.times(`"name": "` + name + `"}`); times != 1 {
			t.Errorf("%s was done %d times", name, times)
		}
		if !delivered[id] {
			t.Errorf("%s (%s) is not in the history of the new server as delivered", name, id)
		}
	}
	for key, times := range folders.keys {
		if times != 1 {
			t.Errorf("delivery %s came %d times", key, times)
		}
	}
}

// TestLostMachineComesBack puts a backup into the place of a queue.
func TestLostMachineComesBack(t *testing.T) {
	t.Parallel()
	before, after, folders := newInstallation(t), newInstallation(t), newStandIn(t)
	lost := before.start(before.folders(folders.URL, "folder", `"Approved"`))
	done := before.post(`{"event":"project_created","status":"Approved","name":"done"}`)
	before.become(done, "delivered")
	before.expect(0, "pause folder", "is paused")
	waiting := before.post(`{"event":"project_created","status":"Approved","name":"waiting"}`)
	backup := filepath.Join(t.TempDir(), "relay.db")
	before.expect(0, "backup "+backup, "Wrote "+backup)
	before.expect(1, "backup "+backup, "never replaces a file")
	lost.Kill()

	config := after.folders(folders.URL, "folder", `"Approved"`)
	file := after.write(config)
	after.expect(1, "restore "+filepath.Join(after.home, "none.db")+" --config "+file, "none.db")
	after.expect(1, "restore "+file+" --config "+file)
	after.expect(0, "restore "+backup+" --config "+file, "Restored to "+filepath.Join(after.home, "queue"))
	after.expect(1, "restore "+backup+" --dir "+filepath.Join(after.home, "queue"))
	after.start(config)
	after.expect(1, "restore "+backup+" --config "+file)
	after.expect(0, "show "+done, "folder delivered")
	after.expect(2, "status", "1 delivery for folder", "it is paused")
	after.expect(0, "resume folder", "is resumed")
	after.become(waiting, "delivered")
	if folders.times("done") != 1 || folders.times("waiting") != 1 {
		t.Errorf("the service was asked %q", folders.asked)
	}
}

// sender posts event after event until it is told to stop. What is not answered
// it leaves and goes on with the next.
type sender struct {
	t     *testing.T
	end   chan struct{}
	ended chan struct{}
	count atomic.Int64
	// accepted are the ids of the events that were answered 200, by name.
	accepted map[string]string
}

func startSender(t *testing.T, site string) *sender {
	s := &sender{t: t, end: make(chan struct{}), ended: make(chan struct{}), accepted: map[string]string{}}
	go func() {
		defer close(s.ended)
		// A steady stream, and not as much as the machine can bear.
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for n := 0; ; n++ {
			select {
			case <-s.end:
				return
			case <-pace.C:
				s.post(site, fmt.Sprintf("project-%d", n))
			}
		}
	}()
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *sender) post(site, name string) {
	request, err := http.NewRequest(http.MethodPost, "http://"+site+"/listen.php?key=icfm-key",
		strings.NewReader(`{"event":"project_created","status":"Approved","name":"`+name+`"}`))
	if err != nil {
		s.t.Error(err)
		return
	}
	request.Host = publicHost
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return // at the moment of a reload Caddy may close a connection
	}
	defer response.Body.Close()
	var answer struct{ ID string }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		s.t.Errorf("%s is answered %d (%v)", name, response.StatusCode, err)
		return
	}
	s.accepted[name] = answer.ID
	s.count.Add(1)
}

// wait lets the sender post so many more events.
func (s *sender) wait(n int64) {
	s.t.Helper()
	begun := s.count.Load()
	waitFor(s.t, "more events to be accepted", func() bool { return s.count.Load() >= begun+n })
}

// stop ends the sender and returns the ids of what was accepted, by name.
func (s *sender) stop() map[string]string {
	select {
	case <-s.ended:
	default:
		close(s.end)
		<-s.ended
	}
	return s.accepted
}
