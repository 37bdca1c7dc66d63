package receive_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// queryKey is the credential that the senders of the fixtures use unless they
// cannot.
func queryKey(value string) config.Credential {
	return config.Credential{Kind: auth.APIKey, In: auth.InQuery, Name: "key", Values: []string{value}}
}

// senders are the sources that the fixtures are posted to, all on one URL. The
// presets need a credential only; what another sender needs beyond it is its
// configuration.
func senders() []config.Source {
	sources := []config.Source{
		{Name: "icfm", Preset: "icfm", Auth: []config.Credential{queryKey("icfm-key")}},
		{Name: "pbx", Preset: "pbxware", Auth: []config.Credential{
			{Kind: auth.Bearer, Values: []string{"pbx-token"}},
			{Kind: auth.Basic, User: "pbx", Password: "pa:ss"},
			{Kind: auth.APIKey, In: auth.InHeader, Name: "X-Api-Key", Values: []string{"pbx-key"}},
			{Kind: auth.APIKey, In: auth.InQuery, Name: "api_key", Values: []string{"pbx-key"}},
			{Kind: auth.Path, Values: []string{"pbx-token"}},
		}},
		{Name: "aircall", Auth: []config.Credential{
			{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: []string{"aircall-token"}},
		}},
		// The name is a number under "type": only one that is declared counts.
		{Name: "yeastar", Events: []config.EventType{{Name: "30011"}, {Name: "30016"}}},
		// The name is under "status", where only one that is declared counts.
		{Name: "vonage", Events: []config.EventType{{Name: "ringing"}}},
		// The list of events is not at the top.
		{Name: "shotgrid", Batch: "body.data.deliveries"},
	}
	for _, name := range []string{"sipgate", "threecx", "kazoo", "linuxbox", "telnyx", "printiq", "smartcode", "wephone", "monema"} {
		sources = append(sources, config.Source{Name: name})
	}
	for i, s := range sources {
		if s.Auth == nil {
			sources[i].Auth = []config.Credential{queryKey(strings.Replace(s.Name, "threecx", "3cx", 1) + "-key")}
		}
	}
	return sources
}

// want is what a fixture must give. The file of these is read by the tests of
// the binary too.
type want struct {
	Refused int
	Ping    bool
	Source  string
	Events  []string
	// ParseError says that the body does not parse.
	ParseError bool `json:"parse_error"`
	// Values are what expressions give for the first event; null is absent, and
	// "as received" a date or time that tells of the receipt.
	Values json.RawMessage
}

func fixtures(t *testing.T) map[string]want {
	t.Helper()
	var all map[string]want
	if err := json.Unmarshal(must(os.ReadFile("testdata/senders/expected.json")), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// asReceived is what system parameters are that tell of the receipt.
var asReceived = map[string]any{"unix_time": now.Unix(), "date": now.Format(time.DateOnly), "time": now.Format(time.TimeOnly)}

// TestSenders posts every sample request to one handler that takes all sources.
func TestSenders(t *testing.T) {
	r := newRelay(t, receive.Options{}, senders()...)
	files, err := filepath.Glob("testdata/senders/*.http")
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	table := fixtures(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".http")
		w, listed := table[name]
		if !listed {
			t.Errorf("%s: testdata/senders/expected.json does not say what it is read as", name)
			continue
		}
		delete(table, name)
		t.Run(name, func(t *testing.T) { checkFixture(t, r, w, string(must(os.ReadFile(file)))) })
	}
	for name := range table {
		t.Errorf("%s is in expected.json: testdata/senders/%s.http is missing", name, name)
	}
}

func checkFixture(t *testing.T, r relay, w want, text string) {
	received, err := r.Receive(parse(t, text), origin)
	if status(err) != w.Refused || err != nil && w.Refused == 0 {
		t.Fatalf("got %v, want status %d", err, w.Refused)
	}
	if err != nil {
		return
	}
	if received.Source != w.Source || received.Ping != w.Ping || received.Respond != http.StatusOK {
		t.Errorf("got source %s, ping %v, status %d", received.Source, received.Ping, received.Respond)
	}
	var names []string
	for _, e := range received.Events {
		names = append(names, e.Name)
		if (e.ParseError != "") != w.ParseError {
			t.Errorf("parse error %q", e.ParseError)
		}
		checkEvent(t, e)
	}
	if !reflect.DeepEqual(names, w.Events) {
		t.Fatalf("got events %q, want %q", names, w.Events)
	}
	if w.Values == nil {
		return
	}
	for expression, expected := range must(event.DecodeJSON(string(w.Values))).(map[string]any) {
		if expected == "as received" {
			expected = asReceived[expression]
		}
		if got := r.value(t, received.Events[0], expression); !reflect.DeepEqual(got, expected) {
			t.Errorf("%s is %#v, want %#v", expression, got, expected)
		}
	}
}

// checkEvent checks what must hold for every event.
func checkEvent(t testing.TB, e *event.Event) {
	t.Helper()
	for _, p := range []event.Parameter{event.Tenant, event.Date, event.Time, event.UnixTime} {
		if e.Parameters[p] == nil {
			t.Errorf("%v is absent", p)
		}
	}
	if e.Name == "" || len(e.Name) > 256 || len(e.ID) != 36 {
		t.Errorf("name %q, id %q", e.Name, e.ID)
	}
	if e.BodyIsRaw {
		if body, err := event.DecodeJSON(string(e.RawBody)); err != nil || !reflect.DeepEqual(body, e.Body) {
			t.Errorf("raw body %q is not %#v", e.RawBody, e.Body)
		}
	}
	restored, err := event.DecodeRecord(e.Record(), e.RawBody)
	if err != nil {
		t.Fatalf("record cannot be read: %v", err)
	}
	if e.Subject != event.Line(e.Subject) || e.SubjectError != "" {
		t.Errorf("subject %q, error %q", e.Subject, e.SubjectError)
	}
	restored.ID, restored.Source, restored.Name, restored.Received, restored.Subject = e.ID, e.Source, e.Name, e.Received, e.Subject
	if restored.RawBody == nil {
		restored.RawBody = e.RawBody
	}
	if !reflect.DeepEqual(restored, e) {
		t.Errorf("stored and read again, the event is\n%#v\nnot\n%#v", restored, e)
	}
}
