package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mounted mounts a small file system of its own. Only root may do that.
func mounted(t *testing.T, options string) string {
	t.Helper()
	directory := t.TempDir()
	if err := mount(t, directory, options); err != nil {
		t.Skipf("mounting a file system is not allowed here (%v): a full and a read-only file system were not tried", err)
	}
	return directory
}

// mount does so, or says why it cannot.
func mount(t *testing.T, directory, options string) error {
	t.Helper()
	if err := syscall.Mount("tmpfs", directory, "tmpfs", 0, options); err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(directory, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return nil
}

func remount(t *testing.T, directory string, flags uintptr, options string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", directory, "tmpfs", syscall.MS_REMOUNT|flags, options); err != nil {
		t.Fatal(err)
	}
}

// fill takes all that is free on a file system.
func fill(t *testing.T, directory string) (free func()) {
	t.Helper()
	path := filepath.Join(directory, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size >= 1; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

const otherSite = `
http://%s {
	respond /other "still here"
}
`

// unavailableQueue is a Caddy whose queue cannot be used, beside another site.
type unavailableQueue struct {
	*installation
	other, directory string
	service          *lanService
}

func newUnavailableQueue(t *testing.T, directory string) *unavailableQueue {
	return &unavailableQueue{installation: newInstallation(t), other: freeAddress(t), directory: directory, service: newLANService(t)}
}

func (q *unavailableQueue) caddyfile(target string, settings ...string) string {
	text := queueCaddyfile(q.installation, q.directory, target)
	text = strings.Replace(text, "source icfm {", strings.Join(append(settings, "min_free off", "source icfm {"), "\n\t\t"), 1)
	return text + fmt.Sprintf(otherSite, q.other)
}

// post posts an event and returns the status of the answer.
func (q *unavailableQueue) post(id int, filling string) int {
	q.t.Helper()
	response, err := newSender().Post("http://"+q.site+"/listen.php?key=icfm-key", "application/json",
		strings.NewReader(fmt.Sprintf(`{"event":"project_status_change","id":"%d","filling":%q}`, id, filling)))
	if err != nil {
		q.t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusServiceUnavailable && response.Header.Get("Retry-After") == "" {
		q.t.Error("an event is refused without Retry-After")
	}
	return response.StatusCode
}

// refusing checks that events are refused, that all else works, and that the
// reason can be read.
func (q *unavailableQueue) refusing(p *server, reason string) {
	q.t.Helper()
	if status := q.post(999, ""); status != http.StatusServiceUnavailable {
		q.t.Errorf("an event is answered with %d, want 503", status)
	}
	q.says(p, reason)
}

// says checks that all but the queue works, and that the reason why it does not can be
// read.
func (q *unavailableQueue) says(p *server, reason string) {
	q.t.Helper()
	response, err := http.Get("http://" + q.other + "/other")
	if err != nil {
		q.t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK || string(body) != "still here" {
		q.t.Errorf("the other site answers %d %q", response.StatusCode, body)
	}
	said, err := q.run("event-relay", "status", "--address", q.admin)
	if err == nil || !strings.Contains(said, "REFUSING") || !strings.Contains(said, reason) {
		q.t.Errorf("status says %v, and lacks REFUSING or %q:\n%s", err, reason, said)
	}
	p.Ready(reason)
}

func (q *unavailableQueue) recovers(id int) {
	q.t.Helper()
	waitFor(q.t, "events to be taken again without a restart", func() bool { return q.post(id, "") == http.StatusOK })
	// That a request was refused stays to be seen for a while: its sender may not
	// have tried again.
	waitFor(q.t, "status to say that events are not refused any more", func() bool {
		said, _ := q.run("event-relay", "status", "--address", q.admin)
		return strings.Contains(said, "running since") && strings.Contains(said, "(503)") && !strings.Contains(said, "REFUSING")
	})
	waitFor(q.t, "the delivery of an event", func() bool { return q.service.missing([]int{id}) == 0 })
}

// TestStartOnAFullDisk: a crash leaves a write-ahead log, and the disk fills up.
// Caddy starts all the same, delivers what it accepted, refuses events, and takes
// them again when there is room.
func TestStartOnAFullDisk(t *testing.T) {
	t.Parallel()
	q := newUnavailableQueue(t, filepath.Join(mounted(t, "size=8m"), "queue"))
	dead := "http://" + freeAddress(t)
	caddy := q.start(q.caddyfile(dead))
	var accepted []int
	for id := 1; id <= 25; id++ {
		if status := q.post(id, strings.Repeat("x", 5000)); status != http.StatusOK {
			t.Fatalf("event %d is answered with %d", id, status)
		}
		accepted = append(accepted, id)
	}
	caddy.Kill()
	if info, err := os.Stat(filepath.Join(q.directory, "events.db-wal")); err != nil || info.Size() == 0 {
		t.Fatalf("the crash left no write-ahead log (%v): this shows nothing", err)
	}
	free := fill(t, filepath.Dir(q.directory))
	caddy = q.start(q.caddyfile(q.service.URL))
	waitFor(t, "a delivery of what was accepted", func() bool { return q.service.missing(accepted) < len(accepted) })
	q.refusing(caddy, "full")
	free()
	q.recovers(1000)
	waitFor(t, "all that was accepted to be delivered", func() bool { return q.service.missing(accepted) == 0 })
	caddy.Stop()
}

func TestStartWithoutInodes(t *testing.T) {
	t.Parallel()
	directory := mounted(t, "size=8m,nr_inodes=1")
	q := newUnavailableQueue(t, filepath.Join(directory, "queue"))
	caddy := q.start(q.caddyfile(q.service.URL))
	q.refusing(caddy, "no space left on device")
	remount(t, directory, 0, "nr_inodes=1000")
	q.recovers(1)
	caddy.Stop()
}

func TestStartOnAReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	directory := mounted(t, "size=8m")
	q := newUnavailableQueue(t, filepath.Join(directory, "queue"))
	caddy := q.start(q.caddyfile("http://" + freeAddress(t)))
	if status := q.post(1, ""); status != http.StatusOK {
		t.Fatalf("an event is answered with %d", status)
	}
	caddy.Kill()
	remount(t, directory, syscall.MS_RDONLY, "")
	// Those who prefer so get no Caddy without a queue.
	strict := q.launch(q.caddyfile(q.service.URL, "queue_required on"))
	<-strict.Exited
	if strict.State().ExitCode() == 0 || !strings.Contains(strict.Output.String(), "read-only file system") {
		t.Errorf("with queue_required on, Caddy ended with %s:\n%s", strict.State(), strict.Output)
	}
	caddy = q.start(q.caddyfile(q.service.URL))
	q.refusing(caddy, "read-only file system")
	// A command says why it cannot do what it is asked.
	if said, err := q.run("event-relay", "activity", "--address", q.admin); err == nil || !strings.Contains(said, "queue unavailable: ") {
		t.Errorf("activity says %v:\n%s", err, said)
	}
	if said, err := q.run("event-relay", "check", "--address", q.admin, "--config", filepath.Join(q.home, "Caddyfile")); err == nil || !strings.Contains(said, "queue unavailable: ") {
		t.Errorf("check says %v:\n%s", err, said)
	}
	// A reload that insists on a queue fails, and the configuration stays.
	if status, answer := caddy.load(q.caddyfile(q.service.URL, "queue_required on")); status == http.StatusOK || !strings.Contains(answer, "queue_required on") {
		t.Errorf("a reload with queue_required on is answered with %d %s", status, answer)
	}
	if status, answer := caddy.load(q.caddyfile(q.service.URL, "max_pending 50")); status != http.StatusOK {
		t.Errorf("a reload is answered with %d %s", status, answer)
	}
	remount(t, directory, 0, "size=8m")
	waitFor(t, "what was accepted to be delivered", func() bool { return q.service.missing([]int{1}) == 0 })
	q.recovers(2)
	caddy.Stop()
}
