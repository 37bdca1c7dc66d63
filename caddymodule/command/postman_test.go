package command

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

const smallCollection = `{"info": {"name": "CRM"}, "item": [
	{"name": "Tickets", "item": [
		{"name": "Open", "request": {"method": "POST", "url": "{{crm}}/tickets", "body": {"mode": "raw", "raw": "{\"from\": \"{{caller_id}}\"}", "options": {"raw": {"language": "json"}}}}},
		{"name": "Old", "request": {"method": "OPTIONS", "url": "{{crm}}/tickets"}}]},
	{"name": "Ping", "request": "http://127.0.0.1/ping?token={{to-ken}}"}]}`

func TestImportPostmanLists(t *testing.T) {
	file := WriteFile(t, "crm.json", smallCollection)
	out, report, status := RunRoot("", "import-postman", file, "--list")
	if status != 0 {
		t.Fatal(report)
	}
	want := `NUMBER  FOLDER   NAME  METHOD   URL
1       Tickets  Open  POST     {{crm}}/tickets
2       Tickets  Old   OPTIONS  {{crm}}/tickets
3       -        Ping  GET      http://127.0.0.1/ping?token={{to-ken}}
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	out, _, _ = RunRoot("", "import-postman", file, "--list", "--json")
	var list []struct{ Number int }
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 3 || list[2].Number != 3 {
		t.Error(out, err)
	}
}

func TestImportPostmanWrites(t *testing.T) {
	file := WriteFile(t, "crm.json", smallCollection)
	environment := WriteFile(t, "lan.json", `{"values": [{"key": "to-ken", "value": "{{secret}}", "enabled": true}]}`)
	target := filepath.Join(t.TempDir(), "crm.caddy")
	out, report, status := RunRoot("", "import-postman", file, "--environment", environment, "--output", target, "--prefix", "crm_")
	if status != exitLeftOut || !strings.Contains(report, "2 requests imported, 1 left out; 2 parameters, of which 2 have no value yet\n") {
		t.Fatalf("status %d: %s", status, report)
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
	if _, report, status := RunRoot("", "import-postman", file, "--output", target); status != 1 || !strings.Contains(report, "there is such a file already") {
		t.Errorf("status %d: %s", status, report)
	}
}

func TestImportPostmanChooses(t *testing.T) {
	file := WriteFile(t, "crm.json", smallCollection)
	out, report, status := RunRoot("", "import-postman", file, "--select", "ping", "1", "--json")
	if status != 0 {
		t.Fatalf("status %d: %s", status, report)
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
		{[]string{WriteFile(t, "v1.json", `{"requests": []}`)}, "this is a collection of version 1"},
	} {
		if _, report, status := RunRoot("", append([]string{"import-postman"}, test.arguments...)...); status != 1 || !strings.Contains(report, test.want) {
			t.Errorf("%v: status %d: %s, want %s", test.arguments, status, report, test.want)
		}
	}
}
