package caddymodule

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// TestCommandsOverASocket asks a real admin API that listens on a Unix socket,
// with and without permissions in its address: reads, changes, and streams.
func TestCommandsOverASocket(t *testing.T) {
	// The path of a socket may have no more than about 100 characters.
	directory, err := os.MkdirTemp("", "er")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(directory) })
	t.Cleanup(func() { _ = caddy.Stop() })
	for _, permissions := range []string{"", "|0220"} {
		address := "unix/" + filepath.Join(directory, "admin"+strings.TrimPrefix(permissions, "|")+".sock") + permissions
		must(t, caddy.Load(fmt.Appendf(nil, `{"admin": {"listen": %q, "config": {"persist": false}}, "apps": {
			"event_relay": {"queue": {"directory": %q}, "sources": [{"name": "erp", "auth": [{"kind": "none"}], "events": [{"name": "paid"}]}]}}}`,
			address, filepath.Join(directory, "queue")), true))
		config := writeFile(t, "Caddyfile", "{\n\tadmin "+address+"\n}\n")
		for _, arguments := range []string{
			"status", "rejections", "activity", "events", "send erp paid", "disable paid --reason test", "enable paid",
			"backup " + filepath.Join(directory, "backup"+strings.TrimPrefix(permissions, "|")),
		} {
			for _, where := range [][]string{{"--address", address}, {"--config", config}} {
				if strings.HasPrefix(arguments, "backup") && where[0] == "--config" {
					continue // the file is there already
				}
				if out, report, status := runRoot("", append(strings.Fields(arguments), where...)...); status != 0 {
					t.Errorf("%s %q: status %d: %s%s", arguments, where, status, out, report)
				}
			}
		}
	}
}

// TestAdminOff names a configuration without an admin API. Another Caddy answers
// at the default address, and must not be taken for the one that is meant.
func TestAdminOff(t *testing.T) {
	other := newFakeRelay(t, map[string]string{
		"GET status": `{"switches":[],"backlog":[]}`, "GET activity": `{"events":[]}`, "POST switch": `{}`, "GET check": `{"database":[],"warnings":[]}`,
	})
	before := caddy.DefaultAdminListen
	caddy.DefaultAdminListen = strings.TrimPrefix(other.URL, "http://")
	t.Cleanup(func() { caddy.DefaultAdminListen = before })
	config := writeFile(t, "Caddyfile", "{\n\tadmin off\n\tevent_relay {\n\t\tqueue sqlite "+t.TempDir()+"\n\t\tsource icfm {\n\t\t\tauth bearer x\n\t\t}\n\t}\n}\n")
	for _, arguments := range []string{"status", "activity", "disable", "pause a", "resend --state failed --yes", "explain --event 0199f3c2-7d11-7cc3 --config " + config} {
		_, report, status := runRoot("", append(strings.Fields(arguments), "--config", config)...)
		if status != 1 || !strings.Contains(report, "this configuration has `admin off`") || !strings.Contains(report, config) {
			t.Errorf("%s: status %d: %s", arguments, status, report)
		}
	}
	out, report, status := runRoot("", "check", "--config", config)
	if status != 0 || !strings.Contains(out, "Not checked  database, rules against stored events: finding the admin API: this configuration has `admin off`") {
		t.Errorf("check: status %d: %s%s", status, out, report)
	}
	if len(other.asked) > 0 {
		t.Errorf("the other relay was asked %q", other.asked)
	}
	if _, report, status := runRoot("", "status", "--config", config, "--address", caddy.DefaultAdminListen); status != 0 {
		t.Errorf("with --address: status %d: %s", status, report)
	}
}
