package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWrongPathsAreNamed posts to where no mount is, as a sender does that was given a
// wrong address, with a Caddyfile and with its JSON.
func TestWrongPathsAreNamed(t *testing.T) {
	t.Parallel()
	for name, adapted := range map[string]bool{"Caddyfile": false, "JSON": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			machine := newInstallation(t)
			_, port, _ := strings.Cut(machine.site, ":")
			caddyfile := fmt.Sprintf(`{
	%s
	event_relay {
		queue sqlite %s
		source icfm {
			auth api_key query key icfm-key-of-the-test
		}
		source pbx pbxware {
			auth path pbx-token-of-the-test
		}
	}
}

http://events.studio.example:%[3]s {
	event_relay /listen.php
	handle_path /files/* {
		respond "files"
	}
	respond 404
}

http://:%[3]s {
	respond 421
}
`, machine.globals(), filepath.Join(machine.home, "queue"), port)
			start := func() *server {
				command := machine.command("run", "--config", machine.write(caddyfile), "--adapter", "caddyfile")
				if adapted {
					output, err := machine.command("adapt", "--config", machine.write(caddyfile), "--adapter", "caddyfile").Output()
					if err != nil {
						t.Fatal(err)
					}
					file := filepath.Join(machine.home, "caddy.json")
					if err := os.WriteFile(file, output, 0o600); err != nil {
						t.Fatal(err)
					}
					command = machine.command("run", "--config", file)
				}
				caddy := machine.serve(command)
				caddy.Serves()
				return caddy
			}
			caddy := start()
			post := func(host, path string, want int) {
				t.Helper()
				request, err := http.NewRequest(http.MethodPost, "http://"+machine.site+path, strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				request.Host = host
				response, err := newSender().Do(request)
				if err != nil {
					t.Fatal(err)
				}
				response.Body.Close()
				if response.StatusCode != want {
					t.Errorf("%s%s is answered %d, want %d", host, path, response.StatusCode, want)
				}
			}
			const own = "events.studio.example"
			// What others do, and what scanners do, is no reason to look.
			post(own, "/listen.php?key=icfm-key-of-the-test&event=job_saved", 200)
			post(own, "/files/upload", 200)
			post(own, "/wp-login.php", 404)
			post(own, "/listen.php", 401)
			machine.expect(0, "status", "2 requests in the last hour, as scanners send them")

			post(own, "/listen_php?key=icfm-key-of-the-test", 404)
			post(own, "/listen-php/incoming_call/pbx-token-of-the-test", 404)
			post("192.0.2.1", "/listen.php?key=icfm-key-of-the-test", 421)
			post(own, "/listen.php?key=a-mistyped-key", 401)
			check := func() {
				t.Helper()
				named := []string{
					"POST /listen_php from 127.0.0.1 (404)", "no mount has this path; mounts: /listen.php",
					"POST /listen-php/… from 127.0.0.1 (404)",
					"POST 192.0.2.1/listen.php from 127.0.0.1 (421)", "no site with a mount at this path has this host name; those that have one: events.studio.example",
					"1 request from 127.0.0.1 (401)", "the value of key in the query is not a key of any source",
				}
				shown := machine.expect(2, "status", named...)
				shown += machine.expect(0, "rejections", "POST /listen_php: no mount has this path; mounts: /listen.php", "POST /wp-login.php", "LAST USED")
				shown += machine.expect(0, "rejections --json")
				if strings.Contains(shown, "of-the-test") || strings.Contains(shown, "mistyped") {
					t.Errorf("a secret is shown: %s", shown)
				}
			}
			check()
			caddy.Stop()
			start()
			check()
			if shown := machine.expect(0, "rejections", "icfm"); strings.Count(shown, "not yet") != 1 {
				t.Errorf("the last use of the key is forgotten: %s", shown)
			}
		})
	}
}
