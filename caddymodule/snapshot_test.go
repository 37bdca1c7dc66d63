package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-event-relay/event-relay/caddymodule/command"
	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// secretsEverywhere has a secret, called HIDDEN with a number, in every place
// that can hold one.
const secretsEverywhere = `
	queue postgres postgres://relay:HIDDEN45@db1,db2/relay?sslmode=require&sslpassword=HIDDEN46
	source bearer pbxware {
		auth bearer HIDDEN1 {env.EVENT_RELAY_SECRET}
		auth basic somebody HIDDEN2
		auth api_key query key HIDDEN3
		auth path HIDDEN4
		auth hmac X-Signature sha256 HIDDEN5 {file./run/secrets/hmac}
		auth standard_webhooks SElEREVONiBISURERU42
	}
	parameter crm_token HIDDEN7
	parameter by_use HIDDEN8
	parameter held_by_it HIDDEN9
	parameter holder "Token HIDDEN10 {{held_by_it}}"
	parameter of_tenants {
		default HIDDEN11
		tenant 101 HIDDEN12
		tenant 102 {env.EVENT_RELAY_SECRET}
	}
	parameter from_outside {env.EVENT_RELAY_SECRET}
	parameter with_user http://user:HIDDEN13@10.0.0.1/x
	parameter in_url "http://10.0.0.1/x?token=HIDDEN14&page=2"
	parameter plain http://10.0.0.1
	action basic {
		post "{{plain}}/x?api_key=HIDDEN15&number={{caller_id}}"
		query password HIDDEN16
		query page 3
		header X-Auth-Token "HIDDEN17 {{crm_token}}"
		header Cookie "session=HIDDEN18"
		auth basic HIDDEN19 ""
		body json <<JSON
			{"number": "{{caller_id}}", "password": "HIDDEN20", "Secret-Key" : "HIDDEN\"21", "page": "kept"}
			JSON
		sign SElEREVOMjIgSElEREVOMjI=
	}
	action bearer {
		post "{{plain}}/x"
		auth bearer "{{ lower(by_use) }}"
		body xml "<call><Password>HIDDEN23</Password><page>kept</page></call>"
	}
	action key {
		post "{{plain}}/x"
		auth api_key header X-Key "{{holder}}{{of_tenants}}"
		body urlencoded {
			client_secret HIDDEN24
			page kept
		}
	}
	action literal {
		post "{{plain}}/x"
		auth bearer "HIDDEN25 {{ 'HIDDEN26' }}"
		body raw "number={{caller_id}}&password=HIDDEN27"
	}
	parameter in_query HIDDEN28
	parameter in_json HIDDEN29
	parameter at_sign "http://user:HI@HIDDEN31@10.0.0.1"
	action unusual {
		post "http://user:p@HIDDEN32@10.0.0.1/x?token={{in_query}}&pass=HIDDEN33&{{caller_id}}"
		header X-Auth HIDDEN34
		header X-Functions-Key HIDDEN35
		header X-Proof "Bearer HIDDEN36"
		query pass HIDDEN37
		body json <<JSON
			{"password": "{{in_json}}", "pin": "HIDDEN30", "token": 45000.38, "secret": "a{HIDDEN39", "api_key": "{{ 'HIDDEN40' }}", "page": "{kept}"}
			JSON
	}
	action attributes {
		post "{{plain}}/x"
		body xml "<call token='HIDDEN41' page='kept' key='HIDDEN42'><pin>HIDDEN43</pin></call>"
	}
	action lines {
		post "{{plain}}/x"
		body raw <<TEXT
			number={{caller_id}}
			pwd=HIDDEN'44
			TEXT
	}
	on incoming_call {
		when ` + "`caller_id != \"1\" && duration > 5`" + `
		do basic bearer key literal unusual attributes lines
	}
`

func TestSnapshotHoldsNoSecret(t *testing.T) {
	t.Setenv("EVENT_RELAY_SECRET", "HIDDEN28")
	app := fromCaddyfile(t, secretsEverywhere)
	before, err := json.Marshal(app)
	if err != nil {
		t.Fatal(err)
	}
	// The secrets that are base64 are looked for as they are written.
	hidden := regexp.MustCompile(`HIDDEN[^A-Za-z]*\d*|SElEREVO[^"]*|45000`)
	if found := hidden.FindAll(before, -1); len(found) != 46 {
		t.Fatalf("the configuration has %d secrets: %q", len(found), found)
	}
	snapshot, err := resolve.Snapshot(app.Relay)
	if err != nil {
		t.Fatal(err)
	}
	if found := hidden.FindAll(snapshot, -1); len(found) > 0 {
		t.Errorf("the snapshot holds %q:\n%s", found, snapshot)
	}
	for _, kept := range []string{
		"postgres://relay:***@db1,db2/relay?sslmode=require&sslpassword=***",
		"{env.EVENT_RELAY_SECRET}", "{file./run/secrets/hmac}", `"somebody"`, "http://***@10.0.0.1/x", "token=***&page=2",
		"{{plain}}/x?api_key=***&number={{caller_id}}", `***{{crm_token}}`, `***{{held_by_it}}`, `{{holder}}{{of_tenants}}`,
		`caller_id != \"1\" && duration > 5`, `\"password\": \"***\"`, `\"page\": \"kept\"`, "<page>kept</page>", "password=***",
		`"http://10.0.0.1"`, "http://***@10.0.0.1/x?token={{in_query}}&pass=***&{{caller_id}}", `\"pin\": \"***\", \"token\": \"***\"`,
		`\"page\": \"{kept}\"`, "page='kept'", `number={{caller_id}}\npwd=***`,
	} {
		if !strings.Contains(string(snapshot), kept) {
			t.Errorf("the snapshot does not say %s:\n%s", kept, snapshot)
		}
	}
	if again, err := resolve.Snapshot(app.Relay); err != nil || !bytes.Equal(again, snapshot) {
		t.Errorf("a second snapshot of the same is another: %v", err)
	}
	if after, err := json.Marshal(app); err != nil || !bytes.Equal(after, before) {
		t.Errorf("taking a snapshot has changed the configuration: %v", err)
	}
	if _, err := new(relay.Generation).DryRun(snapshot); err != nil {
		t.Errorf("the snapshot does not compile: %v", err)
	}
}

// TestSnapshotsExplainAlike compares what each example does about its requests
// with what a snapshot of it does.
func TestSnapshotsExplainAlike(t *testing.T) {
	compared := 0
	for _, example := range exampleConfigurations(t) {
		t.Run(example.file, func(t *testing.T) {
			setEnvironment(t, filepath.Join(filepath.Dir(example.file), "demo.env"))
			config, err := os.ReadFile(example.file)
			if err != nil {
				t.Fatal(err)
			}
			adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(config, map[string]any{"filename": example.file})
			if err != nil {
				t.Fatal(err)
			}
			var parsed struct {
				Apps struct {
					Relay json.RawMessage `json:"event_relay"`
					HTTP  sites.Sites     `json:"http"`
				} `json:"apps"`
			}
			must(t, json.Unmarshal(adapted, &parsed))
			mounts := parsed.Apps.HTTP.Mounts()
			app := fromJSON(t, string(parsed.Apps.Relay))
			snapshot, err := resolve.Snapshot(app.Relay)
			if err != nil {
				t.Fatal(err)
			}
			for i := range app.Sources {
				app.Sources[i].Allow = nil
			}
			generation, err := app.compile(nil, sites.Sites{})
			if err != nil {
				t.Fatal(err)
			}
			fromSnapshot, err := new(relay.Generation).DryRun(snapshot)
			if err != nil {
				t.Fatalf("%v\n%s", err, snapshot)
			}
			for _, request := range example.requests {
				for _, stored := range storedBy(t, generation, mounts, request) {
					compared++
					want, err := inspect.ExplainStored(generation, stored)
					if err != nil {
						t.Fatal(err)
					}
					got, err := inspect.ExplainStored(fromSnapshot, stored)
					if err != nil || !reflect.DeepEqual(got, want) {
						t.Errorf("%v; the snapshot says of %s:\n%+v\nand the configuration:\n%+v", err, stored.Event, got, want)
					}
					if len(want.Events) != 1 {
						t.Errorf("%d events are explained", len(want.Events))
					}
				}
			}
		})
	}
	if compared < 15 {
		t.Errorf("only %d events were compared", compared)
	}
}

// exampleConfiguration is an example with the requests to try it with.
type exampleConfiguration struct {
	file     string
	requests []string
}

func exampleConfigurations(t *testing.T) []exampleConfiguration {
	t.Helper()
	files, err := filepath.Glob("../examples/*/Caddyfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	senders, err := filepath.Glob("../examples/senders/*.caddy")
	if err != nil || len(senders) == 0 {
		t.Fatalf("no examples of senders: %v", err)
	}
	var examples []exampleConfiguration
	for _, file := range append(files, senders...) {
		requests := filepath.Join(filepath.Dir(file), "request.http")
		if filepath.Base(file) != "Caddyfile" {
			requests = strings.TrimSuffix(file, ".caddy") + ".http"
		}
		raw, err := os.ReadFile(requests)
		if err != nil {
			t.Fatal(err)
		}
		example := exampleConfiguration{file: file}
		for i, text := range strings.Split("\n"+string(raw), "\n### ") {
			if _, after, found := strings.Cut(text, "\n"); found && i > 0 {
				text = after
			}
			if i > 0 || !strings.Contains(string(raw), "### ") {
				example.requests = append(example.requests, text)
			}
		}
		examples = append(examples, example)
	}
	return examples
}

// storedBy returns the events of a request as they would be stored.
func storedBy(t *testing.T, generation *relay.Generation, mounts []sites.Mount, text string) []inspect.StoredEvent {
	t.Helper()
	request, err := command.ParseRequest([]byte(text))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	at := slices.IndexFunc(mounts, func(m sites.Mount) bool { return strings.HasPrefix(request.URL.Path, m.WholePath()) })
	if at < 0 {
		t.Fatalf("no mount takes %s", request.URL.Path)
	}
	mount := mounts[at]
	received, err := generation.Receiver.Receive(request, receive.Origin{Mount: mount.Path, Sources: mount.Sources})
	if refusal := (*receive.Refusal)(nil); errors.As(err, &refusal) {
		return nil // some of the examples show that
	} else if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	var stored []inspect.StoredEvent
	for _, event := range received.Events {
		stored = append(stored, inspect.StoredEvent{
			ID: event.ID, Source: event.Source, Event: event.Name, Received: event.Received,
			Record: event.Record(), RawBody: slices.Clone(event.RawBody),
		})
	}
	return stored
}

// setEnvironment sets what an environment file holds.
func setEnvironment(t *testing.T, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found && !strings.HasPrefix(name, "#") {
			t.Setenv(name, value)
		}
	}
}
