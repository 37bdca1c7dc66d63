package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestFullQueueRefusesAndRecovers reaches both limits of the queue and lifts
// them by a reload: what cannot be stored is refused, and nothing else changes.
func TestFullQueueRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	machine, service := newInstallation(t), newLANService(t)
	directory := filepath.Join(t.TempDir(), "queue")
	with := func(setting, target string) string {
		return strings.Replace(queueCaddyfile(machine, directory, target), "source icfm {", setting+"\n\t\tsource icfm {", 1)
	}
	dead := "http://" + freeAddress(t)
	caddy := machine.start(with("max_pending 2", dead))
	reload := func(caddyfile string) {
		t.Helper()
		if status, answer := caddy.load(caddyfile); status != http.StatusOK {
			t.Fatalf("reloading: %d %s", status, answer)
		}
	}
	sender := newSender()
	expect := func(id, want int) {
		t.Helper()
		var response *http.Response
		waitFor(t, "an answer", func() bool {
			var err error
			response, err = sender.Post("http://"+machine.site+"/listen.php?key=icfm-key", "application/json",
				strings.NewReader(fmt.Sprintf(`{"event":"project_status_change","id":"%d"}`, id)))
			return err == nil
		})
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("event %d was answered %d, want %d", id, response.StatusCode, want)
		}
		if want == http.StatusServiceUnavailable && response.Header.Get("Retry-After") == "" {
			t.Errorf("event %d was refused without Retry-After", id)
		}
	}

	expect(1, http.StatusOK)
	expect(2, http.StatusOK)
	expect(3, http.StatusServiceUnavailable)
	reload(with("max_pending 3", dead))
	expect(4, http.StatusOK)

	// More than any disk has free.
	reload(with("min_free 7EiB", service.URL))
	expect(5, http.StatusServiceUnavailable)
	waitFor(t, "deliveries to go on while nothing new is stored", func() bool { return service.missing([]int{1, 2, 4}) == 0 })
	reload(with("min_free off", service.URL))
	expect(6, http.StatusOK)
	waitFor(t, "the delivery after the recovery", func() bool { return service.missing([]int{6}) == 0 })
	if missing := service.missing([]int{3, 5}); missing != 2 {
		t.Errorf("%d of 2 refused events were delivered", 2-missing)
	}
}
