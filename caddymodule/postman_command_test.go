package caddymodule

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/spf13/cobra"
)

// runCommand runs a command as `caddy event-relay` does, and returns what it
// prints and the error that decides its exit status.
func runCommand(command *cobra.Command, arguments ...string) (out, report string, err error) {
	var stdout, stderr bytes.Buffer
	command.Flags().Bool("json", false, "")
	command.SetOut(&stdout)
	command.SetErr(&stderr)
	command.SetArgs(arguments)
	command.SilenceUsage = true
	err = command.Execute()
	return stdout.String(), stderr.String(), err
}

const smallCollection = `{"info": {"name": "CRM"}, "item": [
	{"name": "Tickets", "item": [
		{"name": "Open", "request": {"method": "POST", "url": "{{crm}}/tickets", "body": {"mode": "raw", "raw": "{\"from\": \"{{caller_id}}\"}", "options": {"raw": {"language": "json"}}}}},
		{"name": "Old", "request": {"method": "OPTIONS", "url": "{{crm}}/tickets"}}]},
	{"name": "Ping", "request": "http://127.0.0.1/ping?token={{to-ken}}"}]}`

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestImportPostmanLists(t *testing.T) {
	file := writeFile(t, "crm.json", smallCollection)
	out, _, err := runCommand(importPostmanCommand(), file, "--list")
	if err != nil {
		t.Fatal(err)
	}
	want := `NUMBER  FOLDER   NAME  METHOD   URL
1       Tickets  Open  POST     {{crm}}/tickets
2       Tickets  Old   OPTIONS  {{crm}}/tickets
3       -        Ping  GET      http://127.0.0.1/ping?token={{to-ken}}
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	out, _, err = runCommand(importPostmanCommand(), file, "--list", "--json")
	var list []struct{ Number int }
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil || len(list) != 3 || list[2].Number != 3 {
		t.Error(out, err)
	}
}

func TestImportPostmanWrites(t *testing.T) {
	file := writeFile(t, "crm.json", smallCollection)
	environment := writeFile(t, "lan.json", `{"values": [{"key": "to-ken", "value": "{{secret}}", "enabled": true}]}`)
	target := filepath.Join(t.TempDir(), "crm.caddy")
	out, report, err := runCommand(importPostmanCommand(), file, "--environment", environment, "--output", target, "--prefix", "crm_")
	if err == nil || !strings.Contains(report, "2 requests imported, 1 left out; 2 parameters, of which 2 have no value yet\n") {
		t.Fatalf("%v\n%s", err, report)
	}
	if out != "" {
		t.Errorf("it printed the text too:\n%s", out)
	}
	if !strings.Contains(report, `left out  2 "Old": an action cannot have the method "OPTIONS"`) {
		t.Error(report)
	}
	text, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	want := `# From the Postman collection CRM, to be imported into the event_relay block.

# Undefined: the collection gives these no value. Fill them in before a rule
# does one of the actions; what stands here only lets the configuration load.
parameter crm_crm http://crm-crm.invalid
parameter crm_secret ""

action crm_open {
	description "Tickets / Open"
	post "{{crm_crm}}/tickets"
	body json ` + "`" + `{"from": "{{caller_id}}"}` + "`" + `
}

action crm_ping {
	description Ping
	get http://127.0.0.1/ping
	query token "{{crm_secret}}"
}
`
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if !bytes.Equal(caddyfile.Format(text), text) {
		t.Error("the text is not formatted")
	}
	// The file may have been filled in by now.
	if _, _, err := runCommand(importPostmanCommand(), file, "--output", target); err == nil || !strings.Contains(err.Error(), "there is such a file already") {
		t.Error(err)
	}
}

func TestImportPostmanChooses(t *testing.T) {
	file := writeFile(t, "crm.json", smallCollection)
	out, _, err := runCommand(importPostmanCommand(), file, "--select", "ping", "1", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Actions   []struct{ Action string }
		LeftOut   int `json:"left_out"`
		Caddyfile string
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.Actions) != 2 || answer.LeftOut != 0 || !strings.Contains(answer.Caddyfile, "action ping {") {
		t.Error(out, err)
	}
	for _, test := range []struct {
		arguments []string
		want      string
	}{
		{[]string{file, "1"}, "to choose requests write --select"},
		{[]string{file, "--select", "Tickts"}, "did you mean"},
		{[]string{file, "--prefix", "a-b"}, "cannot begin the name of a parameter"},
		{[]string{t.TempDir()}, "as Postman 12 keeps collections (v3)"},
		{[]string{file + "x"}, "no such file"},
		{[]string{file, "--environment", file}, "this is a collection"},
		{[]string{writeFile(t, "v1.json", `{"requests": []}`)}, "this is a collection of version 1"},
	} {
		if _, _, err := runCommand(importPostmanCommand(), test.arguments...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v: got %v, want %s", test.arguments, err, test.want)
		}
	}
}

func TestExportActionsCommand(t *testing.T) {
	file := writeFile(t, "Caddyfile", "{\n\tevent_relay {\n\t\tparameter token {env.UNSET_TOKEN}\n\t\taction a {\n\t\t\tget \"http://127.0.0.1/\"\n\t\t\tauth bearer \"{{token}}\"\n\t\t}\n\t\taction b {\n\t\t\tget \"http://127.0.0.1/b\"\n\t\t}\n\t}\n}\n")
	out, _, err := runCommand(exportActionsCommand(), "--config", file, "a")
	want := "# Actions, to be imported into the event_relay block.\n\nparameter token \"{env.UNSET_TOKEN}\"\n\naction a {\n\tget http://127.0.0.1/\n\tauth bearer \"{{token}}\"\n}\n"
	if err != nil || out != want {
		t.Errorf("%v\n%s", err, out)
	}
	target := filepath.Join(t.TempDir(), "all.caddy")
	if _, _, err := runCommand(exportActionsCommand(), "--config", file, "--output", target); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(target); err != nil || !strings.Contains(string(text), "action b {") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, _, err := runCommand(exportActionsCommand(), "--config", file, "c"); err == nil || !strings.Contains(err.Error(), "unknown action c") {
		t.Error(err)
	}
	if _, _, err := runCommand(exportActionsCommand(), "--config", writeFile(t, "Caddyfile", ":80\n")); err == nil || !strings.Contains(err.Error(), "there is no event_relay block") {
		t.Error(err)
	}
}
