package command_test

import (
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/caddymodule/command"
)

const explainConfig = `{
	event_relay {
		source icfm {
			auth api_key query key icfm-key
		}
		source pbx pbxware {
			auth bearer pbx-token
		}
		parameter desk 100
		parameter token {env.EXPLAIN_TEST_TOKEN}
		action folder {
			post "http://127.0.0.1:9000/folders/{{body.id}}"
			header X-Token "{{token}}"
			header X-Note "{{body.note}}"
			body json <<JSON
				{"name": "{{body.name}}"}
				JSON
		}
		action tell {
			get "http://127.0.0.1:9000/tell"
			query who "{{caller_id}}"
		}
		on project_created project_status_change {
			description "Approved projects get a folder"
			when ` + "`body.status in [\"Approved\", \"Confirmed\"] and (body.vip or lower(body.depot ?? \"\") == \"ldn\")`" + `
			when ` + "`body.budget > 1000`" + `
			do folder
		}
		on project_* {
			active off
			do tell
		}
		on project_status_change {
			when ` + "`body.token == token`" + `
			do tell folder
		}
		on project_status_change {
			ignore "done with it"
		}
		on * {
			do tell
		}
		on incoming_call {
			do tell
		}
	}
}
http://a.example, http://*.b.example {
	event_relay /listen.php icfm
}
http://127.0.0.1:8080 {
	route /x* {
		event_relay /x/pbx pbx
	}
	event_relay /listen.php
}
`

// explained returns what explain prints about a request with a body, and its exit
// status.
func explained(t *testing.T, body string) (out string, status int) {
	t.Helper()
	t.Setenv("EXPLAIN_TEST_TOKEN", "very-s3cret")
	config := command.WriteFile(t, "Caddyfile", explainConfig)
	request := "POST /listen.php?key=icfm-key\nContent-Type: application/json\n\n" + body
	out, _, status = command.RunRoot(request, "explain", "--config", config, "--request", "-")
	return out, status
}

func TestExplanationText(t *testing.T) {
	for _, test := range []struct{ name, body, want string }{
		{"everything at once", `{"event":"project_status_change","id":7,"name":"A \"B\"","status":"Approved","depot":"LDN","budget":"5000","token":"very-s3cret"}`, `
Event      project_status_change from icfm
Subject    Project 7 A "B"
Verdict    rule_error: condition failed: evaluating ` + "`body.budget > 1000`" + ` compares text with a number; convert one of them with int(), float() or string(); body.budget is "5000", at Caddyfile:23 (Caddyfile:33)
Absent     body.vip

Rules      5 name this event; 1 names others only
  Caddyfile:23  on project_created project_status_change  →  error
    # Approved projects get a folder
    when body.status in ["Approved", "Confirmed"] and (body.vip or lower(body.depot ?? "") == "ldn")  →  true
           body.status in ["Approved", "Confirmed"]  →  true   (body.status = "Approved")
           body.vip or lower(body.depot ?? "") == "ldn"  →  true
             body.vip is absent
             lower(body.depot ?? "") == "ldn"  →  true   (lower(body.depot ?? "") → "ldn", body.depot ?? "" → "LDN", body.depot = "LDN")
    when body.budget > 1000  →  error: evaluating ` + "`body.budget > 1000`" + ` compares text with a number; convert one of them with int(), float() or string()   (body.budget = "5000")
    do   folder
  Caddyfile:29  on project_*  →  inactive: the rule is switched off (active off)
    do   tell
  Caddyfile:33  on project_status_change  →  applied
    when body.token == token  →  true   (body.token = "***", token = ***)
    do   tell, folder
  Caddyfile:37  on project_status_change  →  applied
    ignore: this ends the reading
  Caddyfile:40  on *  →  not read: the ignore at Caddyfile:37 ended the reading
    do   tell

Request    tell
           empty: caller_id
  GET http://127.0.0.1:9000/tell?who= HTTP/1.1
  Host: 127.0.0.1:9000
  Idempotency-Key: ID-OF-THE-DELIVERY
  User-Agent: event-relay/v1.2.3
  X-Event-Id: ID-OF-THE-EVENT

Request    folder
           empty: body.note
  POST http://127.0.0.1:9000/folders/7 HTTP/1.1
  Host: 127.0.0.1:9000
  Content-Type: application/json
  Idempotency-Key: ID-OF-THE-DELIVERY
  User-Agent: event-relay/v1.2.3
  X-Event-Id: ID-OF-THE-EVENT
  X-Note: 
  X-Token: ***

  {"name": "A \"B\""}
`},
		{"a request that cannot be made", `{"event":"project_created","status":"Approved","vip":true,"budget":5000}`, `
Event      project_created from icfm
Verdict    action: Approved projects get a folder (Caddyfile:23)

Rules      3 name this event; 3 name others only
  Caddyfile:23  on project_created project_status_change  →  applied
    # Approved projects get a folder
    when body.status in ["Approved", "Confirmed"] and (body.vip or lower(body.depot ?? "") == "ldn")  →  true
           body.status in ["Approved", "Confirmed"]  →  true   (body.status = "Approved")
           body.vip or lower(body.depot ?? "") == "ldn"  →  true
             body.vip  →  true
             lower(body.depot ?? "") == "ldn"  →  false, but not needed   (lower(body.depot ?? "") → "", body.depot ?? "" → "", body.depot is absent)
    when body.budget > 1000  →  true   (body.budget = 5000)
    do   folder
  Caddyfile:29  on project_*  →  inactive: the rule is switched off (active off)
    do   tell
  Caddyfile:40  on *  →  applied
    do   tell

Request    folder cannot be made, so nothing would be sent: url: {{body.id}} is absent or empty, and the path needs a value there; not sent

Request    tell
           empty: caller_id
  GET http://127.0.0.1:9000/tell?who= HTTP/1.1
  Host: 127.0.0.1:9000
  Idempotency-Key: ID-OF-THE-DELIVERY
  User-Agent: event-relay/v1.2.3
  X-Event-Id: ID-OF-THE-EVENT
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, status := explained(t, test.body)
			if status != 1 {
				t.Errorf("status %d", status)
			}
			if got != test.want[1:] {
				t.Errorf("got\n%s\nwant%s", got, test.want)
			}
		})
	}
}

// TestExplanationTextIsHarmless is about what comes from outside: it must not
// steer the terminal.
func TestExplanationTextIsHarmless(t *testing.T) {
	for _, event := range []string{"", "project_created"} {
		body := `{"event":"project_\u001b[2J","status":"\u001b[31m\u009b","id":"\u202e","budget":"\u0007"}`
		if event != "" {
			body = strings.Replace(body, `project_\u001b[2J`, event, 1)
		}
		if text, _ := explained(t, body); text == "" || strings.ContainsAny(text, "\x1b\u009b\u202e\a") {
			t.Errorf("it holds control characters: %q", text)
		}
	}
}

// TestExplainAt tries a rule for office hours on a request in a file and, by another
// configuration, on a stored event. Days are those of the relay's zone.
func TestExplainAt(t *testing.T) {
	config := command.WriteFile(t, "Caddyfile", `{
	event_relay {
		timezone Asia/Tokyo
		source pbx pbxware {
			auth bearer pbx-token
		}
		action tell {
			get http://127.0.0.1:9000/tell
		}
		on incoming_call {
			when `+"`time_between(received, \"08:00\", \"18:00\") and now() == received`"+`
			when `+"`not (weekday(received) in [\"Saturday\", \"Sunday\"])`"+`
			do tell
		}
	}
}
http://127.0.0.1:8080 {
	event_relay /pbx
}
`)
	const request = "POST /pbx/incoming_call\nAuthorization: Bearer pbx-token\n\n{}"
	for _, test := range []struct {
		at, want string
		status   int
	}{
		{"2026-07-17 17:59", "At         Friday 2026-07-17 17:59:00 +09:00, as if the event were received then\nEvent ", 0},
		{"2026-07-17T08:59:00Z", "At         Friday 2026-07-17 17:59:00 +09:00", 0},
		{"2026-07-17 18:00", "At         Friday 2026-07-17 18:00:00 +09:00", 2},
		{"saturday 10:00", "At         Saturday ", 2},
		{"2026-07-16T23:30:00Z", "At         Friday 2026-07-17 08:30:00 +09:00", 0},
	} {
		out, report, status := command.RunRoot(request, "explain", "--config", config, "--request", "-", "--at", test.at)
		if status != test.status || !strings.HasPrefix(out, test.want) {
			t.Errorf("at %s: status %d, %s%s", test.at, status, out, report)
		}
	}
	if out, report, status := command.RunRoot(request, "explain", "--config", config, "--request", "-", "--at", "noon"); status != 1 || !strings.Contains(report, `reading --at: "noon" is not a time: write an age`) {
		t.Errorf("status %d, %s%s", status, out, report)
	}

	relay := command.NewFakeRelay(t, map[string]string{
		"GET explain/01": `{"outcome":"ignored","at":"2026-07-17T22:30:00+01:00","events":[]}`,
		"GET stored/01":  `{"id":"01","source":"pbx","event":"incoming_call","received":"2026-07-18T01:00:00Z","record":{}}`,
	})
	if out, report, status := relay.Run("explain", "--event", "01", "--at", "friday 22:30"); status != 2 || !strings.HasPrefix(out, "At         Friday 2026-07-17 22:30:00 +01:00") {
		t.Errorf("a stored event: status %d, %s%s", status, out, report)
	}
	if want := "GET explain/01 at=friday+22%3A30"; len(relay.Asked) != 1 || relay.Asked[0] != want {
		t.Errorf("the relay was asked %q, want %s", relay.Asked, want)
	}
	if out, report, status := relay.Run("explain", "--event", "01", "--config", config, "--at", "2026-07-17 10:00"); status != 0 || !strings.Contains(out, "tell") {
		t.Errorf("a stored event by another configuration: status %d, %s%s", status, out, report)
	}
	if out, report, status := relay.Run("explain", "--event", "01", "--then", "--at", "22:30"); status != 1 || !strings.Contains(report, "give --then or --at") {
		t.Errorf("then and at: status %d, %s%s", status, out, report)
	}
}
