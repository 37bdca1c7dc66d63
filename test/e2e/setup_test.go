package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// setupCaddyfile has a source for each way in which the PBX can prove itself,
// each with a handler of its own, and sources that have to sign.
const setupCaddyfile = `{
	%s
	event_relay {
		source pbx-bearer pbxware {
			auth bearer {env.SETUP_TOKEN}
		}
		source pbx-basic pbxware {
			auth hmac X-Signature sha256 {env.SETUP_TOKEN}
			auth basic pbx {env.SETUP_TOKEN}
		}
		source pbx-header pbxware {
			auth api_key header X-Api-Key {env.SETUP_TOKEN}
		}
		source pbx-query pbxware {
			auth api_key query "api key" {env.SETUP_TOKEN}
		}
		source pbx-body pbxware {
			auth api_key body token {env.SETUP_TOKEN}
		}
		source pbx-path pbxware {
			auth path {env.SETUP_TOKEN}
		}
		source pbx-open pbxware {
			auth none
		}
		source icfm {
			auth api_key query key {env.SETUP_TOKEN}
		}
		source erp {
			auth hmac X-Signature sha512 {env.SETUP_TOKEN} {
				timestamp X-Time
			}
			name_from ` + "`body.data.type`" + `
			event order_paid
		}
		source shop {
			auth standard_webhooks whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
			event order_paid
		}
	}
}

http://%s {
	event_relay /pbx-bearer pbx-bearer
	event_relay /pbx-basic pbx-basic
	event_relay /pbx-header pbx-header
	event_relay /pbx-query pbx-query
	event_relay /pbx-body pbx-body
	event_relay /pbx-path pbx-path
	event_relay /pbx-open pbx-open
	event_relay /icfm icfm
	event_relay /erp erp
	event_relay /shop shop
	respond 404
}
`

// setupToken has what could be lost on the way through a shell, a URL, a form or
// a header.
const setupToken = `To/k"en+=~&%41 'x'#?:$HOME`

// TestSetupGivesWhatWorks takes what the command writes for each source, does
// with it what the other side would, and looks at the events that come of it.
func TestSetupGivesWhatWorks(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	machine.set("SETUP_TOKEN", setupToken)
	caddyfile := fmt.Sprintf(setupCaddyfile, machine.globals(), machine.site)
	caddy := machine.start(caddyfile)

	for _, kind := range []string{"bearer", "basic", "header", "query", "body", "path", "open"} {
		t.Run(kind, func(t *testing.T) {
			source := "pbx-" + kind
			document, notes := machine.setup(t, source)
			if kind != "open" && !strings.Contains(notes, "holds a secret") {
				t.Errorf("there is no warning:\n%s", notes)
			}
			actions := readCollection(t, document)
			if len(actions) != 5 {
				t.Fatalf("the collection has %d actions", len(actions))
			}
			missing := maps.Clone(managerEventNames)
			for name, tags := range tagValues {
				for _, escape := range []func(string) string{url.QueryEscape, escapeLikePostman} {
					for _, action := range actions {
						answer := send(t, action.request(t, tags, escape))
						stored := caddy.storedEvent(answeredIDs(t, answer)[0])
						if stored.Source != source || action.name != "Event Relay "+managerEventNames[stored.Event] {
							t.Errorf("%s: %s came as %s of %s", name, action.name, stored.Event, stored.Source)
						}
						if stored.ParseError != "" {
							t.Errorf("%s: %s", name, stored.ParseError)
						}
						checkTags(t, name, tags, stored)
						delete(missing, stored.Event)
					}
				}
			}
			if len(missing) > 0 {
				t.Errorf("no action gives %v", missing)
			}
		})
	}

	t.Run("icfm", func(t *testing.T) {
		document, _ := machine.setup(t, "icfm")
		found := regexp.MustCompile(`(?m)^    (http://\S+)$`).FindStringSubmatch(document)
		if found == nil {
			t.Fatalf("there is no URL in\n%s", document)
		}
		request, err := http.NewRequest(http.MethodPost, found[1], strings.NewReader(`{"event":"job_saved"}`))
		if err != nil {
			t.Fatal(err)
		}
		if stored := caddy.storedEvent(answeredIDs(t, send(t, request))[0]); stored.Source != "icfm" || stored.Event != "job_saved" {
			t.Errorf("it came as %s of %s", stored.Event, stored.Source)
		}
	})

	for _, source := range []string{"erp", "shop"} {
		t.Run(source, func(t *testing.T) {
			document, _ := machine.setup(t, source)
			needTools(t, "sh", "curl", "openssl")
			_, script, found := strings.Cut(document, "An example:\n\n")
			if !found {
				t.Fatalf("there is no example in\n%s", document)
			}
			shell := exec.Command("sh", "-eu", "-c", script)
			shell.Stderr = os.Stderr
			answer, err := shell.Output()
			if err != nil {
				t.Fatalf("running the example: %v", err)
			}
			if stored := caddy.storedEvent(answeredIDs(t, answer)[0]); stored.Source != source || stored.Event != "order_paid" {
				t.Errorf("it came as %s of %s", stored.Event, stored.Source)
			}
		})
	}
	caddy.Stop()
}

// TestSetupWithoutServer has the command find the public URL by itself, and say
// what it lacks.
func TestSetupWithoutServer(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	machine.set("SETUP_TOKEN", "pbx-token")
	const block = "{\n\tevent_relay {\n\t\tsource pbx pbxware {\n\t\t\tauth bearer {env.%s}\n\t\t}\n\t\tsource icfm {\n\t\t\tauth bearer {env.NOT_SET}\n\t\t}\n\t}\n}\n"
	for name, c := range map[string]struct {
		sites string
		token string
		flags []string
		want  string
	}{
		"site":               {sites: "events.studio.example {\n event_relay /listen.php\n}", want: "URL    https://events.studio.example/listen.php\n"},
		"port":               {sites: "events.studio.example:8443 {\n event_relay /listen.php\n}", want: "URL    https://events.studio.example:8443/listen.php\n"},
		"http":               {sites: "http://events.studio.example {\n event_relay /listen.php\n}", want: "URL    http://events.studio.example/listen.php\n"},
		"public goes before": {sites: "http://localhost:8080, http://a.example, https://b.example {\n event_relay /listen.php pbx\n}", want: "URL    https://b.example/listen.php\n"},
		"another source's":   {sites: "a.example {\n event_relay /a icfm\n}\nb.example {\n event_relay /b pbx\n}", want: "URL    https://b.example/b\n"},
		"stripped prefix":    {sites: "a.example {\n handle_path /in/* {\n event_relay /b\n}\n}", want: "URL    https://a.example/in/b\n"},
		"whole site":         {sites: "a.example {\n event_relay\n}", want: "URL    https://a.example/\n"},
		"given host":         {sites: ":8080 {\n event_relay /listen.php\n}", flags: []string{"--url", "https://c.example/"}, want: "URL    https://c.example/listen.php\n"},
		"given URL":          {sites: ":8080 {\n event_relay /listen.php\n}", flags: []string{"--url", "https://c.example/d"}, want: "URL    https://c.example/d\n"},
		"no host":            {sites: ":8080 {\n event_relay /listen.php\n}", want: "give the URL with --url"},
		"wildcard":           {sites: "*.example.com {\n event_relay /listen.php\n}", want: "give the URL with --url"},
		"no handler":         {sites: "a.example {\n event_relay /a icfm\n}", want: "no site has an event_relay handler for it"},
		"empty secret":       {token: "NOT_SET_EITHER", sites: "a.example {\n event_relay /a\n}", want: "every value is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.token == "" {
				c.token = "SETUP_TOKEN"
			}
			file := machine.write(fmt.Sprintf(block, c.token) + c.sites + "\n")
			output, _ := machine.run(append([]string{"event-relay", "setup", "pbx", "--config", file, "--adapter", "caddyfile"}, c.flags...)...)
			if !strings.Contains(output, c.want) {
				t.Errorf("there is no %q in\n%s", c.want, output)
			}
		})
	}

	file := machine.write(fmt.Sprintf(block, "SETUP_TOKEN") + "a.example {\n event_relay /a\n}\n")
	output, err := machine.run("event-relay", "setup", "pxb", "--config", file, "--adapter", "caddyfile")
	if err == nil || !strings.Contains(output, "did you mean pbx?") {
		t.Errorf("an unknown source: %v\n%s", err, output)
	}
}

// setup runs the command and returns what it wrote to a file, which no other user
// may read, and what it said beside it.
func (i *installation) setup(t *testing.T, source string) (document, notes string) {
	t.Helper()
	output := filepath.Join(i.home, source+".txt")
	// The file exists already, with a mode that lets others read it.
	if err := os.WriteFile(output, []byte(strings.Repeat("old ", 10_000)), 0o644); err != nil {
		t.Fatal(err)
	}
	notes, err := i.run("event-relay", "setup", source, "--config", filepath.Join(i.home, "Caddyfile"), "--adapter", "caddyfile", "--output", output)
	if err != nil {
		t.Fatalf("setup %s: %v\n%s", source, err, notes)
	}
	raw, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(output); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has mode %v (%v)", info.Mode(), err)
	}
	return string(raw), notes
}

// managerEventNames are the Event Manager's events as its pages call them.
var managerEventNames = map[string]string{
	"incoming_call": "Incoming Call", "answered_call": "Answered Call", "unanswered_call": "Unanswered Call",
	"hangup": "Hangup", "ringing": "Ringing",
}

// tagValues are what the PBX may put in place of its tags. One that it does not
// know is left as it is.
var tagValues = map[string]map[string]string{
	"ordinary": {
		"called_number": "100", "caller_id": "02079460123", "calling_name": "Alex Example", "call_cost": "0.42",
		"call_id": "1773398700.201", "call_rating_duration": "47", "date": "2026-03-13", "direction": "inbound",
		"duration": "47", "extension": "100", "tenant": "200", "time": "11:46:47", "unix_time": "1773398807",
	},
	"hostile": {
		"called_number": "*123", "caller_id": "+44 20 7946 0123", "calling_name": `A&B=C "quoted" {"event":"hangup"} <x> %41+;'\ ` + "Zoë\r\nX: 1",
		"call_id": "1773398700.201&event=ringing", "direction": "/../..", "extension": "PJSIP/100", "tenant": "200#?",
		"date": "2026-03-13", "time": "11:46:47", "unix_time": "1773398807", "duration": "0", "call_cost": "0", "call_rating_duration": "0",
	},
	"empty": {
		"called_number": "", "caller_id": "", "calling_name": "", "call_cost": "", "call_id": "", "call_rating_duration": "",
		"date": "2026-03-13", "direction": "", "duration": "", "extension": "", "tenant": "", "time": "11:46:47", "unix_time": "1773398807",
	},
	"unknown": {"tenant": "200", "date": "2026-03-13", "time": "11:46:47", "unix_time": "1773398807"},
}

// checkTags checks that an event has the values that were put in place of the
// tags, and no others.
func checkTags(t *testing.T, name string, tags map[string]string, stored storedEvent) {
	t.Helper()
	want := map[string]any{"tenant": ""}
	for tag, value := range tags {
		parameter, _ := event.ParameterByName(tag)
		switch {
		case value == "":
		case parameter.Numeric():
			want[tag] = json.Number(value)
		default:
			want[tag] = value
		}
	}
	if !reflect.DeepEqual(stored.Parameters, want) {
		t.Errorf("%s: the parameters are\n%v\nnot\n%v", name, stored.Parameters, want)
	}
}

// collectedAction is one request of a Postman collection, with what Postman
// sends of it.
type collectedAction struct {
	name, method, url string
	auth              map[string]string
	pairs             [][2]string
}

// readCollection reads a collection as Postman does: the parts of a URL count
// and not its raw form, and what is not of the format is an error here.
func readCollection(t *testing.T, document string) []collectedAction {
	t.Helper()
	type pair struct{ Key, Value, Type string }
	var collection struct {
		Info struct{ Name, Description, Schema string }
		Item []struct {
			Name    string
			Request struct {
				Method      string
				Description string
				Header      []pair
				Auth        map[string]json.RawMessage
				Body        struct {
					Mode       string
					Urlencoded []pair
				}
				URL struct {
					Raw, Protocol, Port string
					Host, Path          []string
				}
			}
			Response []any
		}
	}
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&collection); err != nil {
		t.Fatalf("reading the collection: %v", err)
	}
	var actions []collectedAction
	for _, item := range collection.Item {
		request := item.Request
		action := collectedAction{name: item.Name, method: request.Method}
		address := strings.Join(request.URL.Host, ".")
		if request.URL.Port != "" {
			address += ":" + request.URL.Port
		}
		action.url = request.URL.Protocol + "://" + address + "/" + strings.Join(request.URL.Path, "/")
		if action.url != request.URL.Raw || request.Body.Mode != "urlencoded" || len(request.Header) > 0 {
			t.Fatalf("%s: URL %s or %s, body %s, %d headers", item.Name, action.url, request.URL.Raw, request.Body.Mode, len(request.Header))
		}
		var kind string
		if err := json.Unmarshal(request.Auth["type"], &kind); err != nil {
			t.Fatalf("%s: %v", item.Name, err)
		}
		action.auth = map[string]string{"type": kind}
		var settings []pair
		if raw, there := request.Auth[kind]; there {
			if err := json.Unmarshal(raw, &settings); err != nil {
				t.Fatalf("%s: %v", item.Name, err)
			}
		}
		for _, setting := range settings {
			action.auth[setting.Key] = setting.Value
		}
		for _, p := range request.Body.Urlencoded {
			action.pairs = append(action.pairs, [2]string{p.Key, p.Value})
		}
		actions = append(actions, action)
	}
	return actions
}

// request makes the HTTP request that the PBX would.
func (a collectedAction) request(t *testing.T, tags map[string]string, escape func(string) string) *http.Request {
	t.Helper()
	replace := func(text string) string {
		return regexp.MustCompile(`\{\{([^{}]*)\}\}`).ReplaceAllStringFunc(text, func(tag string) string {
			if value, known := tags[strings.Trim(tag, "{}")]; known {
				return value
			}
			return tag
		})
	}
	var body bytes.Buffer
	for i, pair := range a.pairs {
		if i > 0 {
			body.WriteByte('&')
		}
		body.WriteString(escape(pair[0]) + "=" + escape(replace(pair[1])))
	}
	address := replace(a.url)
	if a.auth["type"] == "apikey" && a.auth["in"] == "query" {
		address += "?" + escape(a.auth["key"]) + "=" + escape(a.auth["value"])
	}
	request, err := http.NewRequest(a.method, address, &body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	switch a.auth["type"] {
	case "bearer":
		request.Header.Set("Authorization", "Bearer "+a.auth["token"])
	case "basic":
		request.SetBasicAuth(a.auth["username"], a.auth["password"])
	case "apikey":
		if a.auth["in"] == "header" {
			request.Header.Set(a.auth["key"], a.auth["value"])
		}
	case "noauth":
	default:
		t.Fatalf("%s: unknown auth %v", a.name, a.auth)
	}
	return request
}

// escapeLikePostman escapes as Postman does in urlencoded bodies.
func escapeLikePostman(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// send makes a request that must be answered 200, and returns the answer.
func send(t *testing.T, request *http.Request) []byte {
	t.Helper()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s was answered %d %s (%v)", request.Method, request.URL, response.StatusCode, answer, err)
	}
	return answer
}
