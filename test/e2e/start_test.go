package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// queueCaddyfile keeps its queue in a directory of the test's choice.
func queueCaddyfile(machine *installation, directory, target string) string {
	// Without a host, so that no request gets Caddy's empty 200: status warns of that.
	host, port, _ := strings.Cut(machine.site, ":")
	return fmt.Sprintf(`{
	%s
	event_relay {
		queue sqlite %q
		source icfm {
			auth api_key query key icfm-key
		}
		action record {
			post "%s/record"
			query id "{{body.id}}"
			retry_interval 10ms 50ms
		}
		on project_status_change {
			do record
		}
	}
}

http://:%s {
	bind %s
	event_relay /listen.php
	respond 404
}
`, machine.globals(), directory, target, port, host)
}

// postEvent posts one event and returns the answer's status.
func postEvent(t *testing.T, machine *installation, id int) int {
	t.Helper()
	status, err := tryEvent(machine, id)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// tryEvent is postEvent for any goroutine.
func tryEvent(machine *installation, id int) (status int, err error) {
	response, err := http.Post("http://"+machine.site+"/listen.php?key=icfm-key", "application/json",
		strings.NewReader(fmt.Sprintf(`{"event":"project_status_change","id":"%d"}`, id)))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return response.StatusCode, nil
}

// TestStartNamesWhatIsWrongWithTheQueue: an administrator must be able to act
// on the message alone.
func TestStartNamesWhatIsWrongWithTheQueue(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		prepare func(t *testing.T, directory string)
		says    []string
	}{
		{"the directory is a file", func(t *testing.T, directory string) {
			if err := os.WriteFile(directory, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"is a file", "queue sqlite DIR"}},
		{"the database is garbage", func(t *testing.T, directory string) {
			if err := os.MkdirAll(directory, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(directory, "events.db"), []byte(strings.Repeat("garbage ", 4096)), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"events.db", "move"}},
		{"another process has it", func(t *testing.T, directory string) {
			other := newInstallation(t)
			other.start(queueCaddyfile(other, directory, "http://127.0.0.1:1"))
		}, []string{"in use by process", "queue sqlite"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			machine := newInstallation(t)
			directory := filepath.Join(t.TempDir(), "queue")
			test.prepare(t, directory)
			caddy := machine.launch(strings.Replace(queueCaddyfile(machine, directory, "http://127.0.0.1:1"),
				"source icfm {", "queue_required on\n\t\tsource icfm {", 1))
			<-caddy.Exited
			for _, says := range append(test.says, directory) {
				if !strings.Contains(caddy.Output.String(), says) {
					t.Errorf("the message does not say %q:\n%s", says, caddy.Output)
				}
			}
		})
	}
}

// TestValidateBesideALiveServer: checking a file must not touch the queue that
// the server has open.
func TestValidateBesideALiveServer(t *testing.T) {
	t.Parallel()
	machine, service := newInstallation(t), newLANService(t)
	directory := filepath.Join(t.TempDir(), "queue")
	caddyfile := queueCaddyfile(machine, directory, service.URL)
	machine.start(caddyfile)
	if output, err := machine.run("validate", "--config", machine.write(caddyfile), "--adapter", "caddyfile"); err != nil {
		t.Errorf("validating: %v\n%s", err, output)
	}
	wrong := strings.Replace(caddyfile, "do record", "do recrod", 1)
	output, err := machine.run("validate", "--config", machine.write(wrong), "--adapter", "caddyfile")
	if err == nil || !strings.Contains(output, "did you mean record?") {
		t.Errorf("validating a wrong file: %v\n%s", err, output)
	}
	if status := postEvent(t, machine, 1); status != http.StatusOK {
		t.Errorf("the server answered %d after a validation beside it", status)
	}
	waitFor(t, "the delivery", func() bool { return service.missing([]int{1}) == 0 })
}

// TestValidateMakesNothing: the queue's directory belongs to the server.
func TestValidateMakesNothing(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	directory := filepath.Join(t.TempDir(), "queue")
	caddyfile := queueCaddyfile(machine, directory, "http://127.0.0.1:1")
	if output, err := machine.run("validate", "--config", machine.write(caddyfile), "--adapter", "caddyfile"); err != nil {
		t.Fatalf("validating: %v\n%s", err, output)
	}
	if _, err := os.Stat(directory); !os.IsNotExist(err) {
		t.Errorf("validating made %s (%v)", directory, err)
	}
}

// TestQueueIsNotLeftBehind changes the queue's directory while a delivery
// waits for a dead target, and again when nothing waits.
func TestQueueIsNotLeftBehind(t *testing.T) {
	t.Parallel()
	machine, service := newInstallation(t), newLANService(t)
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	caddy := machine.start(queueCaddyfile(machine, first, "http://"+freeAddress(t)))
	if status := postEvent(t, machine, 1); status != http.StatusOK {
		t.Fatalf("answered %d", status)
	}
	status, answer := caddy.load(queueCaddyfile(machine, second, service.URL))
	if status == http.StatusOK || !strings.Contains(answer, "unfinished deliveries of record (1)") || !strings.Contains(answer, "queue sqlite "+first) {
		t.Errorf("changing the queue while a delivery waits was answered %d %s", status, answer)
	}
	if status, answer := caddy.load(queueCaddyfile(machine, first, service.URL)); status != http.StatusOK {
		t.Fatalf("mending the action: %d %s", status, answer)
	}
	waitFor(t, "the delivery that waited", func() bool { return service.missing([]int{1}) == 0 })
	waitFor(t, "the queue to be empty and the change accepted", func() bool {
		status, _ := caddy.load(queueCaddyfile(machine, second, service.URL))
		return status == http.StatusOK
	})
	if status := postEvent(t, machine, 2); status != http.StatusOK {
		t.Errorf("after the change: answered %d", status)
	}
	waitFor(t, "the delivery by the new queue", func() bool { return service.missing([]int{2}) == 0 })
}

// TestRefusals checks the answers that the outside gets, through Caddy.
func TestRefusals(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	machine.start(fmt.Sprintf(`{
	%s
	event_relay {
		source icfm {
			auth api_key query key icfm-key
		}
		source away pbxware {
			auth bearer token
			allow 203.0.113.0/24
		}
	}
}

http://%s {
	event_relay /listen.php icfm
	event_relay /away away
	respond 404
}
`, machine.globals(), machine.site))
	for _, test := range []struct {
		name, method, path string
		body               io.Reader
		status             int
	}{
		{"stored", "POST", "/listen.php?key=icfm-key", strings.NewReader(`{"event":"job_saved"}`), 200},
		{"below the mount", "POST", "/listen.php/job_saved?key=icfm-key", nil, 200},
		{"a ping", "GET", "/listen.php?key=icfm-key", nil, 200},
		{"beside the mount", "POST", "/listen.phpx?key=icfm-key", nil, 404},
		{"wrong key", "POST", "/listen.php?key=wrong", nil, 401},
		{"no key", "POST", "/listen.php", nil, 401},
		{"another's address", "POST", "/away", nil, 403},
		{"another method", "OPTIONS", "/listen.php?key=icfm-key", nil, 405},
		{"too large", "POST", "/listen.php?key=icfm-key", strings.NewReader(strings.Repeat("x", 1<<20+1)), 413},
		{"too large, length unknown", "POST", "/listen.php?key=icfm-key",
			io.MultiReader(strings.NewReader(strings.Repeat("x", 1<<20)), strings.NewReader("x")), 413},
	} {
		t.Run(test.name, func(t *testing.T) {
			request, err := http.NewRequest(test.method, "http://"+machine.site+test.path, test.body)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			answer, _ := io.ReadAll(response.Body)
			if response.StatusCode != test.status {
				t.Errorf("answered %d, want %d", response.StatusCode, test.status)
			}
			if response.StatusCode != http.StatusOK && len(answer) > 0 {
				t.Errorf("a refusal says more than its status: %q", answer)
			}
		})
	}
}

// TestSlowBodyIsCutOff waits for the relay's own limit (30s) through Caddy's
// wrapped writers: a sender that stops in mid-body must not hold a connection
// for ever.
func TestSlowBodyIsCutOff(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	machine.start(queueCaddyfile(machine, filepath.Join(t.TempDir(), "queue"), "http://127.0.0.1:1"))
	connection, err := net.Dial("tcp", machine.site)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	body := `{"event":"job_saved"`
	if _, err := fmt.Fprintf(connection, "POST /listen.php?key=icfm-key HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s",
		machine.site, len(body)+100, body); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(connection)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") {
		t.Errorf("answered %q, %v; want a 408", answer, err)
	}
}
