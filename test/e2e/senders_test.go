package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// fixtureDirectory holds a request of every kind of sender, and what must
// become of each.
const fixtureDirectory = "../../handlers/receive/testdata/senders"

// expectation is what a fixture must give.
type expectation struct {
	Refused    int
	Ping       bool
	Source     string
	Events     []string
	ParseError bool `json:"parse_error"`
	// Values are what expressions give for the first event; null is absent, and
	// "as received" a date or time that tells of the receipt.
	Values json.RawMessage
}

func (e expectation) values(t testing.TB) map[string]any {
	t.Helper()
	if e.Values == nil {
		return nil
	}
	values, err := event.DecodeJSON(string(e.Values))
	if err != nil {
		t.Fatal(err)
	}
	return values.(map[string]any)
}

func readExpectations(t testing.TB) map[string]expectation {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(fixtureDirectory, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]expectation
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// readFixtures returns the requests by name, as they are sent.
func readFixtures(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(fixtureDirectory, "*.http"))
	if err != nil || len(files) < 100 {
		t.Fatalf("found %d fixtures: %v", len(files), err)
	}
	all := make(map[string][]byte, len(files))
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".http")] = raw
	}
	return all
}

// sendersConfigured are the sources that the fixtures are posted to, with the
// settings that a sender needs beside its credential.
var sendersConfigured = []struct{ name, settings string }{
	{"icfm", "auth api_key query key icfm-key"},
	{"pbx pbxware", `auth bearer pbx-token
			auth basic pbx pa:ss
			auth api_key header X-Api-Key pbx-key
			auth api_key query api_key pbx-key
			auth path pbx-token`},
	{"aircall", "auth api_key body token aircall-token"},
	// The name is a number under "type": only one that is declared counts.
	{"yeastar", "auth api_key query key yeastar-key\n\t\t\tevent 30011\n\t\t\tevent 30016"},
	// The name is under "status", where only one that is declared counts.
	{"vonage", "auth api_key query key vonage-key\n\t\t\tevent ringing"},
	// The list of events is not at the top.
	{"shotgrid", "auth api_key query key shotgrid-key\n\t\t\tbatch `body.data.deliveries`"},
	{"sipgate", "auth api_key query key sipgate-key"},
	{"threecx", "auth api_key query key 3cx-key"},
	{"kazoo", "auth api_key query key kazoo-key"},
	{"linuxbox", "auth api_key query key linuxbox-key"},
	{"telnyx", "auth api_key query key telnyx-key"},
	{"printiq", "auth api_key query key printiq-key"},
	{"smartcode", "auth api_key query key smartcode-key"},
	{"wephone", "auth api_key query key wephone-key"},
	{"monema", "auth api_key query key monema-key"},
}

// observed gives the name of the field by which a source shows what an
// expression gives.
type observed map[string]map[string]string

// sendersSources writes the sources. What the expectations want to know of an
// event, and is no system parameter, becomes a field of its source.
func sendersSources(t testing.TB, expectations map[string]expectation) (sources string, fields observed) {
	t.Helper()
	fields = make(observed)
	for _, want := range expectations {
		for expression := range want.values(t) {
			if _, isParameter := event.ParameterByName(expression); isParameter || expression == "subject" {
				continue
			}
			if fields[want.Source] == nil {
				fields[want.Source] = make(map[string]string)
			}
			fields[want.Source][expression] = ""
		}
	}
	var written strings.Builder
	for _, source := range sendersConfigured {
		fmt.Fprintf(&written, "\t\tsource %s {\n\t\t\t%s\n", source.name, source.settings)
		name, _, _ := strings.Cut(source.name, " ")
		for i, expression := range slices.Sorted(maps.Keys(fields[name])) {
			fields[name][expression] = fmt.Sprintf("seen%d", i)
			fmt.Fprintf(&written, "\t\t\tfield seen%d `%s`\n", i, expression)
		}
		written.WriteString("\t\t}\n")
	}
	return written.String(), fields
}

// TestSendersOverTheWire posts every sample request to the binary, byte for
// byte, and reads back what became of it.
func TestSendersOverTheWire(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	expectations := readExpectations(t)
	sources, fields := sendersSources(t, expectations)
	_, port, _ := net.SplitHostPort(machine.site)
	// No host in the address: the samples are for a host of their own.
	caddy := machine.start(fmt.Sprintf("{\n\t%s\n\tevent_relay {\n%s\t}\n}\n\nhttp://:%s {\n\tbind 127.0.0.1\n\tevent_relay /listen.php\n\trespond 404\n}\n",
		machine.globals(), sources, port))

	requests := readFixtures(t)
	for name := range expectations {
		if _, there := requests[name]; !there {
			t.Errorf("%s: no request", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		want, listed := expectations[name]
		if !listed {
			t.Errorf("%s: no expectation", name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			before := caddy.newestID()
			status, answer := postRaw(t, machine.site, requests[name])
			switch {
			case want.Refused != 0 && status != want.Refused:
				t.Fatalf("it is answered %d %s, not %d", status, answer, want.Refused)
			case want.Refused == 0 && status != http.StatusOK:
				t.Fatalf("it is answered %d %s", status, answer)
			case want.Refused != 0 || want.Ping:
				if len(answer) > 0 || caddy.newestID() != before {
					t.Errorf("it is answered %q; the newest event before was %s, now %s", answer, before, caddy.newestID())
				}
				return
			}
			ids := answeredIDs(t, answer)
			if len(ids) != len(want.Events) {
				t.Fatalf("it gives %d events, not %q", len(ids), want.Events)
			}
			for i, id := range ids {
				stored := caddy.storedEvent(id)
				if stored.Event != want.Events[i] || stored.Source != want.Source {
					t.Errorf("event %d came as %q of %s, not %q of %s", i, stored.Event, stored.Source, want.Events[i], want.Source)
				}
				if (stored.ParseError != "") != want.ParseError {
					t.Errorf("event %d: parse error %q", i, stored.ParseError)
				}
				if i == 0 {
					checkValues(t, want.values(t), stored, fields[want.Source])
				}
			}
		})
	}
	if strings.Contains(caddy.Output.String(), "panic") {
		t.Errorf("there was a panic:\n%s", caddy.Output)
	}
	caddy.Stop()
}

// checkValues compares what was stored of an event with what is expected.
func checkValues(t *testing.T, values map[string]any, stored storedEvent, fields map[string]string) {
	t.Helper()
	received, err := time.Parse(time.RFC3339Nano, stored.Received)
	if err != nil {
		t.Fatal(err)
	}
	received = received.UTC()
	asReceived := map[string]any{
		"unix_time": received.Unix(), "date": received.Format(time.DateOnly), "time": received.Format(time.TimeOnly),
	}
	for expression, want := range values {
		if want == "as received" {
			want = asReceived[expression]
		}
		if expression == "subject" {
			// Without one of the preset, it is made of the fields of this test.
			if want != nil && stored.Subject != want {
				t.Errorf("the subject is %q, not %q", stored.Subject, want)
			}
			continue
		}
		got, isParameter := stored.Parameters[expression]
		if !isParameter {
			got = stored.Fields[fields[expression]]
		}
		if number, isInteger := want.(int64); isInteger {
			want = json.Number(fmt.Sprint(number))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, not %#v", expression, got, want)
		}
	}
}

// postRaw sends a request as it stands over a connection of its own and returns
// the answer. A body that waits for the server's consent waits.
func postRaw(t *testing.T, address string, request []byte) (status int, answer []byte) {
	t.Helper()
	connection, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	_ = connection.SetDeadline(time.Now().Add(patience))
	reader := bufio.NewReader(connection)
	method, _, _ := bytes.Cut(request, []byte(" "))
	about := &http.Request{Method: string(method)}

	head, body, _ := bytes.Cut(request, []byte("\r\n\r\n"))
	if bytes.Contains(bytes.ToLower(head), []byte("expect: 100-continue")) {
		if _, err := connection.Write(request[:len(request)-len(body)]); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(reader, about)
		if err != nil || response.StatusCode != http.StatusContinue {
			t.Fatalf("waiting for 100: %v %v", response, err)
		}
		request = body
	}
	if _, err := connection.Write(request); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(reader, about)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}
