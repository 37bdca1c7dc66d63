package postman

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	actiontemplate "github.com/caddy-event-relay/event-relay/handlers/forward/template"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// golden is what Postman's engine sends for a collection: .ci/oracle records it.
type golden struct {
	Variables map[string]string
	Requests  []goldenRequest
}

type goldenRequest struct {
	N       int
	Item    string
	Error   string
	Scheme  string
	Method  string
	Target  string
	Host    string
	Headers [][2]string
	Body    string `json:"body_b64"`
}

// environment is the values that the oracle used for what collections leave
// open, as an environment of Postman's.
func (g *golden) environment(t *testing.T) *Environment {
	type entry struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	var values struct {
		Values []entry `json:"values"`
	}
	values.Values = []entry{}
	for _, name := range slices.Sorted(maps.Keys(g.Variables)) {
		values.Values = append(values.Values, entry{name, g.Variables[name]})
	}
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	environment, err := ReadEnvironment(data)
	if err != nil {
		t.Fatal(err)
	}
	return environment
}

// event has the oracle's values for the tags of the PBX.
func (g *golden) event() *event.Event {
	posted := &event.Event{ID: "e", Source: "pbx", Name: "incoming_call"}
	for _, p := range event.SystemParameters() {
		if value, given := g.Variables[p.String()]; given {
			posted.Parameters[p] = value
		}
	}
	return posted
}

func readGolden(t *testing.T, name string) (g golden) {
	data, err := os.ReadFile(filepath.Join("testdata/golden", name+".json"))
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func caseNames(t *testing.T) (names []string) {
	files, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no cases", err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file, ".environment.json") {
			names = append(names, strings.TrimSuffix(filepath.Base(file), ".json"))
		}
	}
	return names
}

func readCase(t *testing.T, name string) *Collection {
	data, err := os.ReadFile(filepath.Join("testdata/cases", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	collection, err := Read(data)
	if err != nil {
		t.Fatal(err)
	}
	return collection
}

// TestSendsWhatPostmanSends imports the cases, sends every action to a recorder
// and compares with what Postman's engine sends for the same values. Each
// difference must be one of those listed in differences_test.go, with its
// reason, and each of those must still exist.
func TestSendsWhatPostmanSends(t *testing.T) {
	recorder := newRecorder(t)
	compared, equal := 0, 0
	classes := map[string]int{}
	for _, name := range caseNames(t) {
		t.Run(name, func(t *testing.T) {
			g := readGolden(t, name)
			equalBefore := equal
			got := sendAll(t, recorder, readCase(t, name), &g)
			listed := maps.Clone(differences[name])
			if listed == nil {
				listed = map[int]string{}
			}
			for _, want := range g.Requests {
				number := want.N + 1
				compared++
				difference := compare(&want, got[number])
				class := listed[number]
				delete(listed, number)
				switch {
				case difference == "" && class == "":
					equal++
				case difference == "":
					t.Errorf("request %d, %q: sends the same, but the list says that it differs: %s", number, want.Item, class)
				case class == "":
					t.Errorf("request %d, %q:\n%s", number, want.Item, difference)
				default:
					classes[class]++
				}
			}
			t.Logf("%d of %d requests are equal", equal-equalBefore, len(g.Requests))
			for number := range listed {
				t.Errorf("request %d is in the list of differences and not in the golden file", number)
			}
		})
	}
	t.Logf("%d of %d requests are equal (%.1f %%)", equal, compared, 100*float64(equal)/float64(compared))
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		t.Logf("%4d %s", classes[class], class)
	}
}

// outcome is what came of a request of a collection.
type outcome struct {
	sent *wire
	// scheme is what would have been used.
	scheme string
	why    string
}

// sendAll imports a collection and sends all its actions.
func sendAll(t *testing.T, recorder *recorder, collection *Collection, g *golden) map[int]outcome {
	imported, err := collection.Import(Options{Environment: g.environment(t)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]outcome{}
	for _, finding := range imported.Findings {
		if finding.Kind == LeftOut {
			got[finding.Number] = outcome{why: "left out: " + finding.Text}
		}
	}
	definitions := language.Definitions{}
	for _, p := range imported.Parameters {
		definitions.Parameters = append(definitions.Parameters, config.Parameter{Name: p.Name, Value: p.Value})
	}
	language, err := language.New(definitions)
	if err != nil {
		t.Fatal(err)
	}
	actions := make([]config.Action, len(imported.Imported))
	for i, one := range imported.Imported {
		actions[i] = one.Action
	}
	prepared, err := actiontemplate.Compile(actions, language, actiontemplate.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range prepared {
		number := imported.Imported[i].Number
		rendered, err := p.Render(g.event(), "delivery")
		if err != nil {
			got[number] = outcome{why: "not rendered: " + err.Error()}
			continue
		}
		request := rendered.(*actiontemplate.Request)
		scheme := request.URL.Scheme
		sent, err := recorder.send(request)
		if err != nil {
			got[number] = outcome{why: "not sent: " + err.Error()}
			continue
		}
		got[number] = outcome{sent: &sent, scheme: scheme}
	}
	return got
}

// ownHeaders are those that the relay adds to every request.
var ownHeaders = []string{"idempotency-key", "x-event-id", "connection"}

// compare returns how a request differs from Postman's, "" if it does not.
func compare(want *goldenRequest, got outcome) string {
	if want.Error != "" || got.sent == nil {
		if want.Error != "" && got.sent == nil {
			return ""
		}
		return fmt.Sprintf("  Postman: %s%s %s\n  relay: %+v %s", want.Error, want.Method, want.Target, got.sent, got.why)
	}
	body, err := base64.StdEncoding.DecodeString(want.Body)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	differ := func(what, wanted, has string) {
		if wanted != has {
			fmt.Fprintf(&b, "  %s\n    Postman %q\n    relay   %q\n", what, wanted, has)
		}
	}
	for i := range want.Headers {
		want.Headers[i][1] = latin1(want.Headers[i][1])
	}
	headers, text := canonical(got.sent.headers, got.sent.body)
	wantHeaders, wantText := canonical(want.Headers, string(body))
	differ("method", want.Method, got.sent.method)
	differ("scheme", want.Scheme, got.scheme)
	differ("host", want.Host, got.sent.host)
	differ("target", want.Target, got.sent.target)
	differ("headers", wantHeaders, headers)
	differ("body", wantText, text)
	return b.String()
}

// canonical returns headers in a fixed order, without those that both sides add
// by themselves, and with the boundary of a form replaced.
func canonical(fields [][2]string, body string) (headers, text string) {
	var lines []string
	for _, field := range fields {
		name, value := strings.ToLower(field[0]), field[1]
		if slices.Contains(ownHeaders, name) || name == "user-agent" && value == "event-relay" {
			continue
		}
		if kind, parameters, err := mime.ParseMediaType(value); name == "content-type" && err == nil && parameters["boundary"] != "" {
			value = kind + "; boundary=BOUNDARY"
			body = strings.ReplaceAll(body, parameters["boundary"], "BOUNDARY")
		}
		lines = append(lines, name+": "+value)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), body
}

// latin1 returns the bytes that the oracle wrote down as characters.
func latin1(text string) string {
	raw := make([]byte, 0, len(text))
	for _, r := range text {
		raw = append(raw, byte(r))
	}
	return string(raw)
}
