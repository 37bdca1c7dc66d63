package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRotatingAKey follows the manual's recipe, and what it warns of.
func TestRotatingAKey(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	keys := t.TempDir()
	file := func(name string) string { return filepath.Join(keys, name) }
	write := func(name, key string) {
		t.Helper()
		if err := os.WriteFile(file(name), []byte(key+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := func(values string) string {
		return strings.Replace(machine.folders("http://127.0.0.1:1", "folder", `"Approved"`), "key icfm-key", "key "+values, 1)
	}
	caddy := func(arguments ...string) {
		t.Helper()
		if output, err := machine.run(append(arguments, "--address", machine.admin)...); err != nil {
			t.Fatalf("caddy %q: %v\n%s", arguments, err, output)
		}
	}
	answers := func(key string, want int) {
		t.Helper()
		// A reload closes connections that were kept open.
		http.DefaultClient.CloseIdleConnections()
		response, err := http.Post("http://"+machine.site+"/listen.php?key="+key, "application/json", strings.NewReader(`{"event":"job_saved"}`))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("the key %s is answered %d, want %d", key, response.StatusCode, want)
		}
	}
	one, two := "{file."+file("icfm-1")+"}", "{file."+file("icfm-2")+"}"
	write("icfm-1", "first")
	machine.start(config(one))
	machine.expect(0, "status")
	answers("first", http.StatusOK)

	// 1. The new key beside the old one.
	write("icfm-2", "second")
	answers("second", http.StatusUnauthorized)
	both := machine.write(config(two + " " + one))
	caddy("reload", "--config", both)
	answers("first", http.StatusOK)
	answers("second", http.StatusOK)

	// 2. The sender has the new one.
	machine.expect(0, "rejections", "api_key (line 1)")

	// 3. The old one off the line.
	caddy("reload", "--config", machine.write(config(two)))
	answers("first", http.StatusUnauthorized)
	answers("second", http.StatusOK)

	// What does not rotate a key: the same file with other content, without --force.
	write("icfm-2", "third")
	again := machine.write(config(two))
	caddy("reload", "--config", again)
	answers("third", http.StatusUnauthorized)
	machine.expect(2, "status", "WARNING", two+" has changed since the configuration was loaded", "caddy reload --force")
	machine.expect(0, "rejections", two+" has changed")
	caddy("reload", "--force", "--config", again)
	answers("third", http.StatusOK)
	// No secret is doubtful any more. That senders were refused is said for an hour.
	if shown := machine.expect(2, "status", "REFUSED", "is not a key of any source"); strings.Contains(shown, "WARNING") {
		t.Errorf("status warns: %s", shown)
	}

	// A key that is not in the environment of the process.
	caddy("reload", "--config", machine.write(config(two+" {env.EVENT_RELAY_NOT_SET}")))
	machine.expect(2, "status", "{env.EVENT_RELAY_NOT_SET} is empty and was left out", "restart Caddy")
	machine.expect(0, "rejections", "{env.EVENT_RELAY_NOT_SET} is empty")
	machine.expect(0, "check --config "+machine.write(config(two+" {env.EVENT_RELAY_NOT_SET}")), "Warning", "{env.EVENT_RELAY_NOT_SET} is empty")
}

// TestHostThatNoSiteNames sees the warning in the log, in status and in check, and
// that its lines end it.
func TestHostThatNoSiteNames(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	open := strings.Replace(machine.folders("http://127.0.0.1:1", "folder", `"Approved"`), "http://:", "http://localhost:", 1)
	const lines = "http://:PORT { bind 127.0.0.1; respond 421 }"
	want := strings.Replace(lines, ":PORT", port(machine.site), 1)
	caddy := machine.start(open)
	caddy.Ready(want)
	answered := func(want int) {
		t.Helper()
		// A reload closes connections that were kept open.
		http.DefaultClient.CloseIdleConnections()
		response, err := http.Post("http://"+machine.site+"/listen.php?key=icfm-key", "application/json", strings.NewReader(`{"event":"job_saved"}`))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("another Host is answered %d, want %d", response.StatusCode, want)
		}
	}
	answered(http.StatusOK) // and lost
	machine.expect(2, "status", "WARNING", want)
	machine.expect(0, "check --config "+machine.write(open), "Warning", want)
	closed := open + "\n" + strings.NewReplacer("{ ", "{\n\t", "; ", "\n\t", " }", "\n}").Replace(want) + "\n"
	if status, answer := caddy.load(closed); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	answered(http.StatusMisdirectedRequest)
	// The requests stay to be seen; the warning does not.
	if said := machine.expect(2, "status", "NO MOUNT", "(421)"); strings.Contains(said, "WARNING") {
		t.Errorf("status still warns:\n%s", said)
	}
}
