package command

import (
	"strings"
	"testing"
	"time"
)

// at is a moment that the answers below hold, as it is printed.
func at(text string) string {
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return clock(moment)
}

func TestLists(t *testing.T) {
	relay := NewFakeRelay(t, map[string]string{
		"GET catalogue": `[{"source":"icfm","events":[
			{"name":"project_created","description":"A project was created","active":true,"used":{"count":1204,"first":"2026-01-02T08:00:00Z","last":"2026-03-14T10:41:00Z","since":"2026-01-01T00:00:00Z"},"rules":[
				{"place":"Caddyfile:82","do":["folder","mail"]},{"place":"Caddyfile:90","do":["folder"]}]},
			{"name":"dmg_started","active":false,"used":{"count":0,"since":"2026-01-01T00:00:00Z"},"rules":[{"place":"Caddyfile:99","ignore":true}]},
			{"name":"job_saved","active":false,"switch":{"kind":"event","name":"icfm:job_saved","off":true,"until":"2026-03-14T10:41:00Z","reason":"too \u001b[31mmany"}},
			{"name":"job_done","active":false}]}]`,
		"GET actions": `[{"name":"folder","description":"Make it","method":"POST","url":"http://192.168.1.20/folders?key=***","targets":["http://192.168.1.20:80"],
				"used_by":["Caddyfile:82"],"settings":[["timeout","10s"]],"backlog":{"action":"folder","count":12},"switch":{"kind":"action","off":true,"reason":"SAN"},"used":{"count":1204,"first":"2026-01-02T08:00:00Z","last":"2026-03-14T10:41:00Z","since":"2026-01-01T00:00:00Z"},"ended":{"delivered":1199,"failed":2,"expired":1}},
			{"name":"pop","method":"GET","url":"{{crm}}/pop","targets":[],"used_by":[],"settings":[],"down":{"since":"2026-03-14T10:41:00Z"}}]`,
		"GET actions/folder/example": `{"action":"folder","request":"POST http://192.168.1.20/folders HTTP/1.1\nX-Key: ***\n\n{}","event_id":"0199f3c2-7d11"}`,
		"GET rules": `[{"id":"a1","place":"Caddyfile:82","events":["project_created"],"description":"Folders","do":["folder","mail"],"used":{"count":1204,"first":"2026-01-02T08:00:00Z","last":"2026-03-14T10:41:00Z","since":"2026-01-01T00:00:00Z"}},
			{"id":"a2","place":"Caddyfile:90","events":["project_*","hangup"],"do":["folder"],"used":{"count":0,"since":"2026-03-14T10:41:00Z"},"last_event":"2026-03-14T10:41:00Z","idle":"not_held"},
			{"id":"a3","place":"Caddyfile:99","events":["dmg_*"],"ignore":true,"used":{"count":0,"since":"2026-03-14T10:41:00Z"},"idle":"no_event"},
			{"id":"a4","place":"Caddyfile:101","events":["x"],"do":["mail"],"inactive":true}]`,
		"GET parameters": `[{"name":"caller_id","kind":"system","description":"Number of the caller","used_by":["pop"]},
			{"name":"token","kind":"custom","value":"sesame","secret":true,"used_by":["folder"]},
			{"undefined":true,"name":"crm","kind":"custom","value":"http://crm.invalid","used_by":[]},
			{"undefined":true,"name":"empty","kind":"custom","used_by":["pop"]},
			{"name":"lan","kind":"custom","value":"http://10.0.0.1","tenants":{"200":"http://10.0.2.1"},"used_by":["Caddyfile:82"]}]`,
	})
	until := at("2026-03-14T10:41:00Z")
	tests := []struct{ name, command, want string }{
		{"events", "events", `
SOURCE  EVENT            STATE                                  CAME  LAST          ACTIONS       RULES                       DESCRIPTION
icfm    project_created  on                                     1204  ` + until + `  folder, mail  Caddyfile:82, Caddyfile:90  A project was created
icfm    dmg_started      -                                      0     -             -             Caddyfile:99 (ignore)       -
icfm    job_saved        off until ` + until + ` (too �[31mmany)  -     -             -             -                           -
icfm    job_done         -                                      -     -             -             -                           -
`},
		{"events that are used", "events --used", `
SOURCE  EVENT            STATE  CAME  LAST          ACTIONS       RULES                       DESCRIPTION
icfm    project_created  on     1204  ` + until + `  folder, mail  Caddyfile:82, Caddyfile:90  A project was created
icfm    dmg_started      -      0     -             -             Caddyfile:99 (ignore)       -
`},
		{"events that lead to an action", "events MAIL", `
SOURCE  EVENT            STATE  CAME  LAST          ACTIONS       RULES                       DESCRIPTION
icfm    project_created  on     1204  ` + until + `  folder, mail  Caddyfile:82, Caddyfile:90  A project was created
`},
		{"rules", "rules", `
RULE           EVENTS             LEADS TO      HELD  LAST          NOTE                                                    DESCRIPTION
Caddyfile:82   project_created    folder, mail  1204  ` + until + `  -                                                       Folders
Caddyfile:90   project_*, hangup  folder        0     -             never held since ` + until + `, last event ` + until + `  -
Caddyfile:99   dmg_*              ignore        0     -             no event of its since ` + until + `                       -
Caddyfile:101  x                  mail          -     -             inactive                                                -
`},
		{"rules that have never held", "rules FOLDER --idle", `
RULE          EVENTS             LEADS TO  HELD  LAST  NOTE                                                    DESCRIPTION
Caddyfile:90  project_*, hangup  folder    0     -     never held since ` + until + `, last event ` + until + `  -
`},
		{"actions", "actions", `
ACTION  METHOD  URL                                 STATE                              WAITING  DELIVERIES  FAILED  LAST          USED BY       DESCRIPTION
folder  POST    http://192.168.1.20/folders?key=***  paused (SAN)                       12       1204        3       ` + until + `  Caddyfile:82  Make it
pop     GET     {{crm}}/pop                          target down since ` + until + `  -        -           -       -             unused        -
`},
		{"an example", "actions folder --example", `
Action     folder
           Make it
State      paused (SAN)
Used by    Caddyfile:82
Deliveries 1204 since ` + at("2026-01-01T00:00:00Z") + `, the last ` + until + `, 1199 delivered, 2 failed, 1 expired
Targets    http://192.168.1.20:80
  timeout              10s
For event  0199f3c2-7d11

Request    folder
  POST http://192.168.1.20/folders HTTP/1.1
  X-Key: ***

  {}
`},
		{"parameters", "parameters", `
PARAMETER  KIND    VALUE                                  USED BY       DESCRIPTION
caller_id  system  of the event                           pop           Number of the caller
token      custom  ***                                    folder        -
crm        custom  undefined: http://crm.invalid          unused        -
empty      custom  undefined                              pop           -
lan        custom  http://10.0.0.1, 200: http://10.0.2.1  Caddyfile:82  -
`},
		{"parameters of a tenant", "parameters 10.0.2", `
PARAMETER  KIND    VALUE                                  USED BY       DESCRIPTION
lan        custom  http://10.0.0.1, 200: http://10.0.2.1  Caddyfile:82  -
`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			out, report, status := relay.Run(strings.Fields(test.command)...)
			// How far columns are apart is tested with the table.
			if status != 0 || squeezed(out) != squeezed(test.want[1:]) {
				t.Errorf("status %d: %sgot\n%swant%s", status, report, out, test.want)
			}
		})
	}
	for _, secret := range []string{"sesame", "parameters sesame"} {
		out, report, _ := relay.Run("parameters", secret)
		if !strings.Contains(report, "No parameters have") || out != "" {
			t.Errorf("a secret can be searched: %s%s", out, report)
		}
	}
	if out, _, _ := relay.Run("parameters", "--json", "crm"); !strings.HasPrefix(out, "[\n  {\n    \"name\": \"crm\"") {
		t.Error(out)
	}
}

func squeezed(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = strings.Join(strings.Fields(line), " ")
	}
	return strings.Join(lines, "\n")
}

func TestStatus(t *testing.T) {
	fine := NewFakeRelay(t, map[string]string{"GET status": `{"version":"event-relay","started":"2026-03-13T10:41:00Z","loaded":"2026-03-14T10:41:00Z",
		"switches":[],"backlog":[],"down":[],"quiet":[],"last_hour":{"failed":1,"ignored":3,"action":2,"delivered":0},
		"queue":{"directory":"/srv/relay","bytes":1572864,"free":-1},"retention_seconds":2592000,"retention_bytes":2147483648}`})
	out, report, status := fine.Run("status")
	want := "Relay          event-relay, running since " + at("2026-03-13T10:41:00Z") + "\n" +
		"Configuration  loaded " + at("2026-03-14T10:41:00Z") + `
Waiting        nothing
Last hour      action 2, ignored 3, failed 1
Queue          /srv/relay: 1.5 MiB used, unknown free
History        kept for 30d, up to 2.0 GiB
`
	if status != 0 || out != want {
		t.Errorf("status %d: %sgot\n%swant\n%s", status, report, out, want)
	}
	failed := NewFakeRelay(t, map[string]string{"GET status": `{"failed":[{"action":"folder","count":2,"last":"2026-03-14T10:41:00Z"},{"action":"mail","count":1,"more":true,"last":"2026-03-13T10:41:00Z"}]}`})
	if out, report, status := failed.Run("status"); status != 2 ||
		!strings.Contains(out, "FAILED         2 deliveries of folder, the last "+at("2026-03-14T10:41:00Z")+": caddy event-relay activity --state failed --action folder\n") ||
		!strings.Contains(out, "FAILED         at least 1 delivery of mail, ") {
		t.Errorf("status %d: %s%s", status, out, report)
	}
	for text, server := range map[string][]string{
		`{"host":"db1:5432,db2:5432","database":"relay","schema":"event_relay"}`: {"Queue          db1:5432,db2:5432, database relay, schema event_relay\n"},
		`{"host":"db1:5432","database":"relay","schema":"event_relay","version":"PostgreSQL 15.8"}`: {
			"Queue          db1:5432, database relay, schema event_relay, PostgreSQL 15.8: 1.5 MiB used\n", "on this server alone: there is no synchronous standby\n"},
		`{"version":"PostgreSQL 15.8","synchronous_standbys":"ANY 1 (b, c)","oldest_transaction":{"since":"2026-03-13T10:41:00Z","by":"pg_dump of backup"}}`: {
			"on a synchronous standby too: ANY 1 (b, c)\n", "open since " + at("2026-03-13T10:41:00Z") + " (pg_dump of backup): until it ends"},
	} {
		out, report, status := NewFakeRelay(t, map[string]string{"GET status": `{"queue":{"bytes":1572864,"free":-1,"server":` + text + `}}`}).Run("status")
		for _, want := range server {
			if status != 0 || !strings.Contains(out, want) || strings.Contains(out, "free") {
				t.Errorf("status %d: there is no %q in\n%s%s", status, want, out, report)
			}
		}
	}
	nodes := NewFakeRelay(t, map[string]string{"GET status": `{"receive_only":true,"nodes":[
		{"name":"a","version":"v1.2.0","configuration":"0a1b2c3d4e5f","delivers":false,"started":"2026-03-13T10:41:00Z","seen":"2026-03-14T10:41:00Z","lives":true,"self":true},
		{"name":"b","configuration":"ffffffffffff","delivers":true,"started":"2026-03-13T10:41:00Z","seen":"2026-03-14T10:41:00Z","lives":true,"differs":true},
		{"name":"c","seen":"2026-03-14T10:41:00Z","vanished":true},{"name":"d","seen":"2026-03-14T10:41:00Z","closed":true}],
		"backlog":[{"action":"new","count":2,"oldest":"2026-03-13T10:41:00Z","carriers":["b"]}]}`})
	out, report, status = nodes.Run("status")
	for _, want := range []string{
		"Node           a (this one), v1.2.0, configuration 0a1b2c3d4e5f, only receives, running since " + at("2026-03-13T10:41:00Z") + ", last sign of life " + at("2026-03-14T10:41:00Z") + "\n",
		"Node           b, built without a revision, configuration ffffffffffff (another than this node's), running since ",
		"VANISHED       c, last sign of life " + at("2026-03-14T10:41:00Z") + "\n",
		"Node           d, ended " + at("2026-03-14T10:41:00Z") + "\n",
		"Delivers       nothing: this node only receives (deliver off)\n",
		"; the configuration of this node does not have it, they are carried out by b\n",
	} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("status %d: there is no %q in\n%s%s", status, want, out, report)
		}
	}
	quiet := NewFakeRelay(t, map[string]string{"GET status": `{"probes":17,"timezone":"UTC","timezone_doubt":"this machine names no time zone"}`})
	if out, report, status := quiet.Run("status"); status != 0 || !strings.Contains(out, "17 requests in the last hour, as scanners send them") ||
		!strings.Contains(out, "Relay          built without a revision, running since ") ||
		!strings.Contains(out, "Time zone      UTC, where it is ") || !strings.Contains(out, ": this machine names no time zone") {
		t.Errorf("status %d: %s%s", status, out, report)
	}
	for name, part := range map[string]string{
		"everything, by the configuration (active off)":                                                                                                                               `"off":true`,
		"action pop since " + at("2026-03-13T10:41:00Z") + " until " + at("2026-03-14T10:41:00Z") + ": CRM�":                                                                          `"switches":[{"kind":"action","name":"pop","off":true,"since":"2026-03-13T10:41:00Z","until":"2026-03-14T10:41:00Z","reason":"CRM\u001b"}]`,
		"everything since " + at("2026-03-13T10:41:00Z") + " until it is turned on by hand":                                                                                           `"switches":[{"kind":"all","off":true,"since":"2026-03-13T10:41:00Z"}]`,
		"http://10.0.0.1:80 since " + at("2026-03-13T10:41:00Z") + " (pop): refused":                                                                                                  `"down":[{"target":"http://10.0.0.1:80","action":"pop","since":"2026-03-13T10:41:00Z","error":"refused"}]`,
		"NO MOUNT       POST /listen_php (2 times) from 203.0.113.9 (404), since " + at("2026-03-13T10:41:00Z") + ", last " + at("2026-03-14T10:41:00Z") + ": no mount has this path": `"refused":[{"recent":2,"recent_since":"2026-03-13T10:41:00Z","last":"2026-03-14T10:41:00Z","address":"203.0.113.9","status":404,"request":"POST /listen_php","reason":"no mount has this path"}]`,
		"REFUSED        1 request from 203.0.113.9 (401), " + at("2026-03-14T10:41:00Z") + ": wrong":                                                                                  `"refused":[{"recent":1,"last":"2026-03-14T10:41:00Z","address":"203.0.113.9","status":401,"reason":"wrong"}]`,
		"REFUSED        and 2 other lines":                                                             `"refused":[{},{},{},{},{},{},{}]`,
		"icfm, last event " + at("2026-03-13T10:41:00Z"):                                               `"quiet":[{"source":"icfm","last":"2026-03-13T10:41:00Z"}]`,
		"12 deliveries for old, the oldest since " + at("2026-03-13T10:41:00Z") + "; there is no such": `"backlog":[{"action":"old","count":12,"oldest":"2026-03-13T10:41:00Z","unknown":true}]`,
	} {
		relay := NewFakeRelay(t, map[string]string{"GET status": "{" + part + "}"})
		if out, report, status := relay.Run("status"); status != 2 || !strings.Contains(out, name) {
			t.Errorf("status %d: there is no %q in\n%s%s", status, name, out, report)
		}
	}
}
