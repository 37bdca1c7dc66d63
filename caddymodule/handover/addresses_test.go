package handover

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// TestShutdownDelayIsForAddressesThatEnd reloads with a delay that no test waits
// for, once while the address goes on.
func TestShutdownDelayIsForAddressesThatEnd(t *testing.T) {
	delayed := object{"http": object{"shutdown_delay": "10m"}}
	server := object{"listen": []string{processtest.FreeAddress(t)}}
	load(t, configure(1, server, delayed))
	loaded := make(chan error, 1)
	go func() { loaded <- caddy.Load(configure(2, server, nil), true) }()
	select {
	case err := <-loaded:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(processtest.Patience):
		t.Fatal("the reload waits for shutdown_delay")
	}
}

// TestRedirectsNextToKeptServer has Caddy redirect from http to https for a kept
// server, by a server of its own and by a kept one that has the port already.
func TestRedirectsNextToKeptServer(t *testing.T) {
	plain, secure := processtest.FreeAddress(t), processtest.FreeAddress(t)
	port := func(address string) int {
		_, text, _ := net.SplitHostPort(address)
		number, _ := strconv.Atoi(text)
		return number
	}
	match := func(host string) []object {
		return []object{{"match": []object{{"host": []string{host}}}, "handle": []object{{"handler": "handover_site", "generation": 1}}}}
	}
	other := object{"listen": []string{plain}, "routes": match("other.example")}
	for _, test := range []struct {
		name  string
		other object
	}{{"its own server", nil}, {"kept server on the port", other}} {
		t.Run(test.name, func(t *testing.T) {
			apps := object{
				"http": object{"http_port": port(plain), "https_port": port(secure)},
				"tls":  object{"certificates": object{"load_pem": []object{certificate(t, "site.example")}}},
			}
			server := object{"listen": []string{secure}, "routes": match("site.example"), "automatic_https": object{}}
			for generation := range 3 {
				config := configure(generation, server, apps)
				if test.other != nil {
					var parsed object
					if err := json.Unmarshal(config, &parsed); err != nil {
						t.Fatal(err)
					}
					parsed["apps"].(object)["http"].(object)["servers"].(object)["other"] = test.other
					config, _ = json.Marshal(parsed)
				}
				load(t, config)
				if _, err := raw(tlsDialer(secure), true)(); err != nil {
					t.Errorf("generation %d, with TLS: %v", generation, err)
				}
				sender := &processtest.Sender{Dial: dialer("tcp", plain), Fresh: true}
				var status int
				var err error
				redirected := func() bool {
					status, _, err = sender.Post("site.example", "/", "")
					return err == nil && status == http.StatusPermanentRedirect
				}
				// A server that is left to Caddy may close a connection that meets the
				// listener of the configuration before.
				if !redirected() && (test.other != nil || !processtest.Becomes(redirected)) {
					t.Errorf("generation %d: the redirect was answered %d: %v", generation, status, err)
				}
				if test.other == nil {
					continue
				}
				if status, answer, err := sender.Post("other.example", "/", ""); err != nil || status != http.StatusOK || answer != "1" {
					t.Errorf("generation %d: the other site answered %d %s: %v", generation, status, answer, err)
				}
			}
		})
	}
}

// TestAddressOfTwoServersIsRefused has Caddy's own check of addresses, which
// cannot see that a kept server has the same one as another.
func TestAddressOfTwoServersIsRefused(t *testing.T) {
	address := processtest.FreeAddress(t)
	other := object{"listen": []string{address}, "automatic_https": object{"disable": true}}
	config := configure(1, object{"listen": []string{address}}, nil)
	var parsed object
	if err := json.Unmarshal(config, &parsed); err != nil {
		t.Fatal(err)
	}
	parsed["apps"].(object)["http"].(object)["servers"].(object)["other"] = other
	config, _ = json.Marshal(parsed)
	err := caddy.Load(config, true)
	t.Cleanup(func() { _ = caddy.Stop() })
	if supported && (err == nil || !strings.Contains(err.Error(), "listener address repeated")) {
		t.Errorf("two servers on one address: %v", err)
	}
}

// TestNothingIsLeftBehind counts goroutines and descriptors over reloads and
// addresses that come and go.
func TestNothingIsLeftBehind(t *testing.T) {
	before, files := 0, 0
	for generation := range 30 {
		server := object{"listen": []string{processtest.FreeAddress(t)}}
		load(t, configure(generation, server, nil))
		if generation == 5 {
			before, files = runtime.NumGoroutine(), openFiles(t)
		}
	}
	processtest.WaitFor(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	processtest.WaitFor(t, "sockets to be closed", func() bool { return openFiles(t) <= files })
	sockets.Lock()
	defer sockets.Unlock()
	if len(sockets.open) != 1 {
		t.Errorf("%d sockets are open", len(sockets.open))
	}
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
