package command_test

import (
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/caddymodule/command"
)

// TestActivitySaysWhy reads the reasons in the list: of a condition with its value,
// of what was absent, of a repetition, and those that were stored before there were
// places.
func TestActivitySaysWhy(t *testing.T) {
	relay := command.NewFakeRelay(t, map[string]string{"GET activity": `{"events":[
		{"id":"0199f3c2-0000-7000-8000-000000000001","source":"icfm","event":"a","verdict":{"decision":"ignored","reason":"` + "`body.status == \\\"Won\\\"`" + ` did not hold: body.status is \"won\" (differs only in letter case)","not_held":"Caddyfile:12"}},
		{"id":"0199f3c2-0000-7000-8000-000000000002","source":"icfm","event":"b","verdict":{"decision":"ignored","reason":"` + "`body.n > 1`" + ` did not hold: body.n is absent","not_held":"Caddyfile:12","absent":["body.n","body.statuss"]}},
		{"id":"0199f3c2-0000-7000-8000-000000000003","source":"icfm","event":"c","verdict":{"decision":"action","reason":"Make it","rule":"Caddyfile:20","absent":["body.x"]}},
		{"id":"0199f3c2-0000-7000-8000-000000000004","source":"icfm","event":"d","duplicate_of":"0199f3c2-0000-7000-8000-000000000001","verdict":{"decision":"ignored"}},
		{"id":"0199f3c2-0000-7000-8000-000000000005","source":"icfm","event":"e","verdict":{"decision":"ignored","reason":"no condition held","absent":["body.x"]}}]}`})
	out, report, status := relay.Run("activity")
	if status != 0 {
		t.Fatalf("status %d: %s", status, report)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, want := range []string{
		"REASON",
		"`body.status == \"Won\"` did not hold: body.status is \"won\" (differs only in letter case) (Caddyfile:12)",
		"`body.n > 1` did not hold: body.n is absent; absent: body.statuss (Caddyfile:12)",
		"Make it (Caddyfile:20)",
		"repeats 0199f3c2-0000-7000-8000-000000000001",
		"no condition held; absent: body.x",
	} {
		if i >= len(lines) || !strings.HasSuffix(lines[i], "  "+want) {
			t.Errorf("line %d does not end with %s:\n%s", i, want, out)
		}
	}
}

func TestShow(t *testing.T) {
	relay := command.NewFakeRelay(t, map[string]string{"GET events/0199f3c2": `{"id":"0199f3c2-0000-7000-8000-000000000001","source":"icfm","event":"project_created","subject":"Project 7 Moon\u001b","received":"2026-03-13T10:41:57Z",
		"verdict":{"decision":"ignored","reason":"` + "`body.n > 1`" + ` did not hold: body.n is 1","not_held":"Caddyfile:12"},
		"request":{"method":"POST","path":"/listen.php","body":"{\"n\":1.0,\"project\":{\"name\":\"Moon\\u001b[2J\"},\"n\":9007199254740993}"},
		"values":[{"path":"body.n","value":"1"},{"path":"body.project.name","value":"\"Moon\u001b\""}]}`})
	out, report, status := relay.Run("show", "0199f3c2")
	if status != 0 {
		t.Fatalf("status %d: %s", status, report)
	}
	want := `
Event      project_created from icfm
Subject    Project 7 Moon�
Id         0199f3c2-0000-7000-8000-000000000001
Received   ` + time.Date(2026, 3, 13, 10, 41, 57, 0, time.UTC).Local().Format("2006-01-02 15:04:05.000 MST") + `
Verdict    ignored: ` + "`body.n > 1`" + ` did not hold: body.n is 1 (Caddyfile:12)

Request    POST /listen.php

  {
    "n": 1.0,
    "project": {
      "name": "Moon\u001b[2J"
    },
    "n": 9007199254740993
  }

Values     as tags for templates; conditions name them without {{ }}
  {{body.n}}            = 1
  {{body.project.name}} = "Moon�"
`
	if out != want[1:] {
		t.Errorf("got\n%s\nwant%s", out, want)
	}
}

// TestWhyNotSent reads why a delivery was not sent, or is not yet: the same everywhere.
func TestWhyNotSent(t *testing.T) {
	const (
		all     = `"paused":{"kind":"all","off":true,"reason":"moving"}`
		action  = `"paused":{"kind":"action","name":"pop","off":true,"reason":"moving"}`
		expired = "it had expired when its turn came (expires); not sent"
	)
	for _, test := range []struct{ delivery, held, activity, show, status, send string }{
		{`"state":"pending","attempts":0,` + all, `"held":{"kind":"all","off":true}`,
			"pop pending (everything is switched off)", "Waits      everything is switched off (moving)", "; everything is switched off\n",
			"pending, not tried yet: everything is switched off (moving)\n"},
		{`"state":"pending","attempts":0,` + action, `"paused":true,"held":{"kind":"action","name":"pop","off":true}`,
			"pop pending (paused)", "Waits      action pop is paused (moving)", "; it is paused\n",
			"pending, not tried yet: action pop is paused (moving)\n"},
		{`"state":"expired","attempts":0,"error":"` + expired + `"`, `"unknown":false`,
			"pop expired", ".000: " + expired, "2026-03-13 10:41\n", "expired: " + expired + "\n"},
		{`"state":"expired","attempts":1,"error":"status 503; ` + expired + `","history":[{"error":"status 503"}]`, `"unknown":false`,
			"pop expired", ".000: " + expired, "2026-03-13 10:41\n", "expired after 1 attempt: status 503; " + expired + "\n"},
	} {
		event := `{"id":"0199f3c2-0000-7000-8000-000000000001","source":"icfm","event":"a","verdict":{"decision":"action","reason":"do"},"deliveries":[{"id":"d","action":"pop",` + test.delivery + `}]}`
		relay := command.NewFakeRelay(t, map[string]string{
			"GET activity":        `{"events":[` + event + `]}`,
			"GET events/0199f3c2": event,
			"GET status":          `{"backlog":[{"action":"pop","count":1,"oldest":"2026-03-13T10:41:57Z",` + test.held + `}]}`,
			"POST send":           `{"ids":["0199f3c2"]}`,
			"GET live":            ``,
		})
		for arguments, want := range map[string]string{
			"activity": test.activity, "show 0199f3c2": test.show, "status": test.status, "send icfm a --wait 1ms": test.send,
		} {
			if out, report, _ := relay.Run(strings.Fields(arguments)...); !strings.Contains(out, want) {
				t.Errorf("%s of %s: no %q in\n%s%s", arguments, test.delivery, want, out, report)
			}
		}
	}
}

// TestShowMended reads the word that lists and filters have for a delivery which is
// mended, and how it had ended.
func TestShowMended(t *testing.T) {
	relay := command.NewFakeRelay(t, map[string]string{"GET events/0199f3c2": `{"id":"0199f3c2-0000-7000-8000-000000000001","source":"icfm","event":"a","verdict":{"decision":"action"},
		"deliveries":[{"id":"D1","action":"folder","state":"failed","mended_by":"D2"},{"id":"D2","action":"folder","of":"D1","state":"delivered"}]}`})
	out, report, status := relay.Run("show", "0199f3c2")
	if status != 0 {
		t.Fatalf("status %d: %s", status, report)
	}
	for _, want := range []string{"Delivery   folder mended\n", "Mended     it had ended as failed; it was sent again as D2 and arrived\n", "Delivery   folder delivered\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}
