package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-event-relay/event-relay/caddymodule" // what a configuration names
	"github.com/caddy-event-relay/event-relay/caddymodule/command"
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
		err := caddy.Load(fmt.Appendf(nil, `{"admin": {"listen": %q, "config": {"persist": false}}, "apps": {
			"event_relay": {"queue": {"directory": %q}, "sources": [{"name": "erp", "auth": [{"kind": "none"}], "events": [{"name": "paid"}]}]}}}`,
			address, filepath.Join(directory, "queue")), true)
		if err != nil {
			t.Fatal(err)
		}
		config := command.WriteFile(t, "Caddyfile", "{\n\tadmin "+address+"\n}\n")
		for _, arguments := range []string{
			"status", "rejections", "activity", "events", "send erp paid", "disable paid --reason test", "enable paid",
			"backup " + filepath.Join(directory, "backup"+strings.TrimPrefix(permissions, "|")),
		} {
			for _, where := range [][]string{{"--address", address}, {"--config", config}} {
				if strings.HasPrefix(arguments, "backup") && where[0] == "--config" {
					continue // the file is there already
				}
				if out, report, status := command.RunRoot("", append(strings.Fields(arguments), where...)...); status != 0 {
					t.Errorf("%s %q: status %d: %s%s", arguments, where, status, out, report)
				}
			}
		}
	}
}

// TestAdminOff names a configuration without an admin API. Another Caddy answers
// at the default address, and must not be taken for the one that is meant.
func TestAdminOff(t *testing.T) {
	other := command.NewFakeRelay(t, map[string]string{
		"GET status": `{"switches":[],"backlog":[]}`, "GET activity": `{"events":[]}`, "POST switch": `{}`, "GET check": `{"database":[],"warnings":[]}`,
	})
	before := caddy.DefaultAdminListen
	caddy.DefaultAdminListen = strings.TrimPrefix(other.URL, "http://")
	t.Cleanup(func() { caddy.DefaultAdminListen = before })
	config := command.WriteFile(t, "Caddyfile", "{\n\tadmin off\n\tevent_relay {\n\t\tqueue sqlite "+t.TempDir()+"\n\t\tsource icfm {\n\t\t\tauth bearer x\n\t\t}\n\t}\n}\n")
	for _, arguments := range []string{"status", "activity", "disable", "pause a", "resend --state failed --yes", "explain --event 0199f3c2-7d11-7cc3 --config " + config} {
		_, report, status := command.RunRoot("", append(strings.Fields(arguments), "--config", config)...)
		if status != 1 || !strings.Contains(report, "this configuration has `admin off`") || !strings.Contains(report, config) {
			t.Errorf("%s: status %d: %s", arguments, status, report)
		}
	}
	out, report, status := command.RunRoot("", "check", "--config", config)
	if status != 0 || !strings.Contains(out, "Not checked  database, rules against stored events: finding the admin API: this configuration has `admin off`") {
		t.Errorf("check: status %d: %s%s", status, out, report)
	}
	if len(other.Asked) > 0 {
		t.Errorf("the other relay was asked %q", other.Asked)
	}
	if _, report, status := command.RunRoot("", "status", "--config", config, "--address", caddy.DefaultAdminListen); status != 0 {
		t.Errorf("with --address: status %d: %s", status, report)
	}
}

func TestDecide(t *testing.T) {
	difference := `{"result":{"events":9,"changed":1,"fires":{"folder":1},"stops":{"old\u202e":1},"groups":[
		{"action":"folder","source":"icfm","event":"project_created","rule":"Caddyfile:9","fires":1,"example":"0199f3c2-7d11-7cc3-98c4-dc0c0c07398f"},
		{"action":"old\u202e","source":"icfm","event":"project_created","rule":"Caddyfile:4","stops":1,"example":"0199f3c2-7d11-7cc3-98c4-dc0c0c07398f"}],"differences":[
		{"id":"0199f3c2-7d11-7cc3-98c4-dc0c0c07398f","source":"icfm","event":"project_created","subject":"Project 4711 Salt\u202emarsh","received":"2026-03-13T10:41:57Z",
		"before":"ignored","after":"action","reason":"all conditions of a rule held","rule":"Caddyfile:9","fires":["folder"],"stops":["old\u202e"]}]}}`
	file := command.WriteFile(t, "Caddyfile.new", "{\n\tevent_relay {\n\t\tsource icfm {\n\t\t\tauth bearer {env.DECIDE_TOKEN}\n\t\t}\n\t}\n}\n")
	relay := command.NewFakeRelay(t, map[string]string{"POST decide": difference, "GET status": `{"loaded":"2026-03-13T10:41:57Z"}`})
	out, report, status := relay.Run("decide", "--since", "2h", "--config", file, "--dry-run")
	if status != 2 {
		t.Errorf("status %d: %s", status, report)
	}
	for _, want := range []string{"Decided by " + file + ": 9 events looked at, 1 changes.", "Would newly fire: folder 1", "Would not fire any more: old� 1",
		"CHANGE  TIMES  ACTION  EVENT                 RULE\nfires   1      folder  icfm:project_created  Caddyfile:9\nstops   1      old�    icfm:project_created  Caddyfile:4\n",
		"project_created  Project 4711 Salt�marsh  ignored  action  folder  old�   all conditions of a rule held (Caddyfile:9)  0199f3c2-7d11-7cc3-98c4-dc0c0c07398f"} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q in\n%s", want, out)
		}
	}
	if len(relay.Asked) != 1 || !strings.Contains(relay.Asked[0], `"configuration":{"sources":[{`) || !strings.Contains(relay.Asked[0], "{env.DECIDE_TOKEN}") {
		t.Errorf("it asked %q", relay.Asked)
	}

	out, report, status = relay.Run("decide", "--since", "2h", "--yes", "--only", "folder", "--only", "old")
	if status != 0 || !strings.Contains(report, "Decided: 1 event changed; 1 action is being carried out.") || len(relay.Asked) != 4 || strings.Contains(relay.Asked[3], "dry_run") ||
		!strings.Contains(relay.Asked[2], `"only":["folder","old"]`) || !strings.Contains(relay.Asked[3], `"only":["folder","old"]`) {
		t.Errorf("status %d: %s%q", status, report, relay.Asked)
	}
	loaded := time.Date(2026, 3, 13, 10, 41, 57, 0, time.UTC).Local().Format("2006-01-02 15:04:05")
	if want := "Decided by the configuration that runs since " + loaded + ": 9 events looked at, 1 changes."; !strings.Contains(out, want) {
		t.Errorf("there is no %q in\n%s", want, out)
	}
	if _, report, status = relay.Run("decide", "--since", "2h"); status != 1 || !strings.Contains(report, "not a terminal") {
		t.Errorf("status %d: %s", status, report)
	}
	none := command.NewFakeRelay(t, map[string]string{"POST decide": `{"result":{"events":0,"changed":0,"differences":[]}}`, "GET status": `{}`})
	if _, report, status = none.Run("decide", "--since", "2h"); status != 3 {
		t.Errorf("status %d: %s", status, report)
	}
	same := command.NewFakeRelay(t, map[string]string{"POST decide": `{"result":{"events":9,"changed":0,"differences":[]}}`, "GET status": `{}`})
	for _, how := range []string{"--yes", "--dry-run"} {
		if out, report, status = same.Run("decide", "--since", "2h", how); status != 0 || out != "Decided by the running configuration: 9 events looked at, none changes.\n" {
			t.Errorf("%s: status %d: %s%s", how, status, out, report)
		}
	}
}

func TestCheck(t *testing.T) {
	good := command.WriteFile(t, "Caddyfile", "{\n\tadmin off\n\tevent_relay {\n\t\tqueue sqlite "+t.TempDir()+"\n\t\tsource icfm {\n\t\t\tauth bearer x\n\t\t}\n\t}\n}\n")
	bad := command.WriteFile(t, "Caddyfile.bad", "{\n\tadmin off\n\tevent_relay {\n\t\tsource icfm {\n\t\t\tauth bearer {env.NOT_SET_ANYWHERE}\n\t\t}\n\t}\n}\n")
	relay := command.NewFakeRelay(t, map[string]string{"GET check": `{"database":[],"warnings":["action old is not used by any rule\u001b"]}`})
	fine := command.NewFakeRelay(t, map[string]string{"GET check": `{"database":[],"warnings":[]}`})
	faulty := command.NewFakeRelay(t, map[string]string{"GET check": `{"database":["page 7 is never used"],"warnings":[]}`})
	for _, test := range []struct {
		name   string
		run    func(...string) (string, string, int)
		config string
		status int
		want   []string
	}{
		{"all is well", relay.Run, good, 0, []string{"Checked      configuration " + good, "Checked      relay at 127.0.0.1:", "Warning      action old is not used by any rule�\n"}},
		{"nothing at all", fine.Run, good, 0, []string{"Nothing is wrong.\n"}},
		{"no relay", func(arguments ...string) (string, string, int) { return command.RunRoot("", arguments...) }, good, 0, []string{"Not checked  database", "\nNothing else was found.\n"}},
		{"a broken database", faulty.Run, good, 1, []string{"FAULT        database: page 7 is never used"}},
		{"a broken configuration", relay.Run, bad, 1, []string{"FAULT        reading " + bad, "NOT_SET_ANYWHERE"}},
		{"no file", relay.Run, "nowhere", 1, []string{"FAULT", "nowhere"}},
	} {
		out, report, status := test.run("check", "--config", test.config)
		if status != test.status {
			t.Errorf("%s: status %d: %s%s", test.name, status, out, report)
		}
		for _, want := range test.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: there is no %q in\n%s%s", test.name, want, out, report)
			}
		}
	}
	t.Chdir(t.TempDir())
	out, _, status := faulty.Run("check")
	if status != 1 || !strings.Contains(out, "Not checked  a configuration file: there is no Caddyfile here") {
		t.Errorf("status %d: %s", status, out)
	}
	faulty.Close()
	if out, _, status = faulty.Run("check", "--config", good); status != 1 || !strings.Contains(out, "FAULT        asking the relay at") {
		t.Errorf("status %d: %s", status, out)
	}
}

// TestEnvironmentFilesOfCommands reads a configuration whose secret and admin
// address are in a file of --envfile, with every command that there is. A command
// that only talks to a relay must find the address there.
func TestEnvironmentFilesOfCommands(t *testing.T) {
	config := command.WriteFile(t, "Caddyfile", `{
	admin {$EVENT_RELAY_TEST_ADMIN}
	event_relay {
		source icfm {
			auth api_key query key {env.EVENT_RELAY_TEST_KEY}
		}
		source app {
			auth bearer b
		}
		action {$EVENT_RELAY_TEST_ACTION} {
			get http://127.0.0.1/a
		}
		on icfm:* {
			do {$EVENT_RELAY_TEST_ACTION}
		}
	}
}
http://:8123 {
	event_relay /listen.php
	respond 404
}
`)
	request := command.WriteFile(t, "request.http", "POST /listen.php?key=from-the-file\n\n{\"event\":\"project_created\"}")
	relay := command.NewFakeRelay(t, map[string]string{"GET check": `{"database":[],"warnings":[]}`})
	environment := command.WriteFile(t, "event-relay.env",
		"EVENT_RELAY_TEST_KEY=from-the-file\nEVENT_RELAY_TEST_ACTION=a\nEVENT_RELAY_TEST_ADMIN="+strings.TrimPrefix(relay.URL, "http://")+"\n")
	unset := func() {
		t.Helper()
		for _, name := range []string{"EVENT_RELAY_TEST_KEY", "EVENT_RELAY_TEST_ACTION", "EVENT_RELAY_TEST_ADMIN"} {
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(unset)
	// What each command needs beside --config. Those in reading succeed without a
	// relay, the others ask one.
	reading := map[string][]string{
		"explain":        {"--request", request},
		"check":          nil,
		"test":           {command.WriteFile(t, "case.http", "# expect: action a\nPOST /listen.php?key=from-the-file\n\n{\"event\":\"project_created\"}")},
		"setup":          {"icfm", "--url", "https://events.studio.example", "--output", command.WriteFile(t, "letter.txt", "")},
		"export-actions": nil,
	}
	asking := map[string][]string{
		"status": nil, "activity": nil, "rejections": nil, "events": nil, "rules": nil, "actions": nil, "parameters": nil,
		"show": {"0199f3c2-7d11"}, "send": {"icfm", "project_created"}, "resend": {"0199f3c2-7d11", "--dry-run"},
		"decide": {"0199f3c2-7d11", "--dry-run"}, "pause": {"a"}, "resume": {"a"}, "disable": nil, "enable": nil,
		"cancel": {"0199f3c2-7d11", "--yes"}, "move": {"a", "b"}, "backup": {filepath.Join(t.TempDir(), "copy.db")},
		"try": {"http://192.168.1.20"}, "restore": {command.WriteFile(t, "copy.db", ""), "--history"},
	}
	for _, name := range command.Names() {
		arguments, reads := reading[name]
		if !reads {
			var asks bool
			if arguments, asks = asking[name]; !asks {
				if name != "import-postman" && name != "import" { // which read no configuration of Caddy, or need a database
					t.Errorf("this test does not know the command %s", name)
				}
				continue
			}
		}
		arguments = append([]string{name, "--config", config}, arguments...)
		unset()
		relay.Asked = nil
		if out, report, status := command.RunRoot("", arguments...); status != 1 || len(relay.Asked) > 0 {
			t.Errorf("%q without the file: status %d: %s%s", arguments, status, out, report)
		}
		out, report, status := command.RunRoot("", append(arguments, "--envfile", environment)...)
		if reads && status != 0 || !reads && len(relay.Asked) == 0 {
			t.Errorf("%q: status %d: %s%s", arguments, status, out, report)
		}
	}
	if _, report, status := command.RunRoot("", "explain", "--config", config, "--request", request, "--envfile", "nowhere.env"); status != 1 ||
		!strings.Contains(report, "reading --envfile: open nowhere.env") {
		t.Errorf("status %d: %s", status, report)
	}
}
func TestExportActionsCommand(t *testing.T) {
	file := command.WriteFile(t, "Caddyfile", "{\n\tevent_relay {\n\t\tparameter token {env.UNSET_TOKEN}\n\t\taction a {\n\t\t\tget \"http://127.0.0.1/\"\n\t\t\tauth bearer \"{{token}}\"\n\t\t}\n\t\taction b {\n\t\t\tget \"http://127.0.0.1/b\"\n\t\t}\n\t}\n}\n")
	out, report, status := command.RunRoot("", "export-actions", "--config", file, "a")
	want := "# Actions, to be imported into the event_relay block.\n\nparameter token \"{env.UNSET_TOKEN}\"\n\naction a {\n\tget http://127.0.0.1/\n\tauth bearer \"{{token}}\"\n}\n"
	if status != 0 || out != want {
		t.Errorf("status %d: %s%s", status, out, report)
	}
	target := filepath.Join(t.TempDir(), "all.caddy")
	if _, report, status := command.RunRoot("", "export-actions", "--config", file, "--output", target); status != 0 {
		t.Fatal(report)
	}
	if text, err := os.ReadFile(target); err != nil || !strings.Contains(string(text), "action b {") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, report, status := command.RunRoot("", "export-actions", "--config", file, "c"); status != 1 || !strings.Contains(report, "unknown action c") {
		t.Errorf("status %d: %s", status, report)
	}
	if _, report, status := command.RunRoot("", "export-actions", "--config", command.WriteFile(t, "Caddyfile", ":80\n")); status != 1 || !strings.Contains(report, "there is no event_relay block") {
		t.Errorf("status %d: %s", status, report)
	}
}
