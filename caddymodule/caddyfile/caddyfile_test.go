package caddyfile

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

var update = flag.Bool("update", false, "write what comes out into the second part of the fixtures")

// separator stands between the Caddyfile of a fixture and what it adapts to.
const separator = "----------"

const fixtures = "testdata/adapt"

func adapt(t testing.TB, config string) (string, error) {
	t.Helper()
	// Imports are relative to the Caddyfile.
	options := map[string]any{"filename": filepath.Join(fixtures, "Caddyfile")}
	result, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), options)
	if err != nil {
		return "", err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, result, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return pretty.String(), nil
}

// TestAdapt adapts the Caddyfile of each fixture. The second part of a fixture
// is the JSON that it must give, or, in those called error_*, the whole error.
func TestAdapt(t *testing.T) {
	for _, name := range fixtureNames(t) {
		t.Run(strings.TrimSuffix(name, ".caddyfiletest"), func(t *testing.T) {
			file := filepath.Join(fixtures, name)
			config, want := readFixture(t, file)
			got, err := adapt(t, config)
			if mustFail := strings.HasPrefix(name, "error_"); mustFail != (err != nil) {
				t.Fatalf("error: %v, but the name of the fixture says failing: %v", err, mustFail)
			}
			if err != nil {
				here, pathErr := filepath.Abs(fixtures)
				if pathErr != nil {
					t.Fatal(pathErr)
				}
				got = strings.NewReplacer(here+"/", "", fixtures+"/", "").Replace(err.Error())
			}
			if *update {
				if err := os.WriteFile(file, []byte(config+separator+"\n"+got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s\nIf the change is meant, run this test with -update.", got, want)
			}
		})
	}
}

// TestExamplesAreFormatted keeps examples as `caddy fmt` leaves them, because
// people run it over what they have copied.
func TestExamplesAreFormatted(t *testing.T) {
	found := false
	for _, name := range fixtureNames(t) {
		if !strings.HasPrefix(name, "example_") {
			continue
		}
		found = true
		config, _ := readFixture(t, filepath.Join(fixtures, name))
		if formatted := string(caddyfile.Format([]byte(config))); formatted != config {
			t.Errorf("%s is not formatted; formatted it is:\n%s", name, formatted)
		}
	}
	if !found {
		t.Fatal("no fixture is an example")
	}
}

// levels are all tables of settings. A fixture in which a setting is wrong is
// called error_PREFIX_SETTING; written is what stands before the setting in a
// Caddyfile, and page is where the manual has it.
var levels = []struct {
	prefix   string
	settings []string
	written  string
	page     string
}{
	{"relay", relayLevel.names(), "", "caddyfile-relay.md"},
	{"parameter", parameterLevel.names(), "", "caddyfile-relay.md"},
	{"source", sourceLevel.names(), "", "caddyfile-source.md"},
	{"action", actionLevel.names(), "", "caddyfile-action.md"},
	{"rule", ruleLevel.names(), "", "caddyfile-rule.md"},
	{"queue", queueEngines.names(), "queue ", "caddyfile-relay.md"},
	{"postgres", postgresLevel.names(), "", "caddyfile-relay.md"},
	{"auth", credentialKinds.names(), "auth ", "caddyfile-source.md"},
	{"action_auth", actionAuthKinds.names(), "auth ", "caddyfile-action.md"},
	{"hmac", hmacLevel.names(), "", "caddyfile-source.md"},
	{"standard_webhooks", standardWebhooksLevel.names(), "", "caddyfile-source.md"},
	{"body", bodyKinds.names(), "body ", "caddyfile-action.md"},
	{"mail", mailLevel.names(), "", "caddyfile-action.md"},
	{"handler", mountLevel.names(), "", "caddyfile-handler.md"},
	{"console", consoleLevel.names(), "", "console.md"},
}

// TestEverySettingHasFixtures asks for a fixture that uses each setting and
// for one in which it is wrong.
func TestEverySettingHasFixtures(t *testing.T) {
	var good []string
	names := fixtureNames(t)
	for _, name := range names {
		if !strings.HasPrefix(name, "error_") {
			config, _ := readFixture(t, filepath.Join(fixtures, name))
			good = append(good, config)
		}
	}
	for _, level := range levels {
		for _, setting := range level.settings {
			wrong := "error_" + level.prefix + "_" + setting
			if !slices.ContainsFunc(names, func(name string) bool {
				return name == wrong+".caddyfiletest" || strings.HasPrefix(name, wrong+"_")
			}) {
				t.Errorf("no fixture has %s wrong: add %s/%s_WHY.caddyfiletest with a Caddyfile and a line %s, and run TestAdapt with -update",
					setting, fixtures, wrong, separator)
			}
			use := "\t" + level.written + setting
			if !slices.ContainsFunc(good, func(config string) bool {
				return strings.Contains(config, use+" ") || strings.Contains(config, use+"\n")
			}) {
				t.Errorf("no fixture uses %s%s: add one to %s, with a Caddyfile and a line %s, and run TestAdapt with -update",
					level.written, setting, fixtures, separator)
			}
		}
	}
}

// TestEverySettingIsInTheManual asks for a place in the manual that shows how
// each setting is written.
func TestEverySettingIsInTheManual(t *testing.T) {
	for _, level := range levels {
		page, err := os.ReadFile(filepath.Join("../../docs", level.page))
		if err != nil {
			t.Fatal(err)
		}
		for _, setting := range level.settings {
			// In a table, at the beginning of a code span or after | in a list of
			// words, or at the beginning of a line of an example.
			shown := regexp.MustCompile("(?m)([`|]|^[ \t]*)" + regexp.QuoteMeta(level.written+setting) + `[^a-z_]`)
			if !shown.Match(page) {
				t.Errorf("docs/%s does not show how %s%s is written: add a row to its table", level.page, level.written, setting)
			}
		}
	}
}

// TestMountTakesWhatIsBelowIt sends paths through the routes that a site
// adapts to, to see which of them come to the relay.
func TestMountTakesWhatIsBelowIt(t *testing.T) {
	for _, test := range []struct {
		directive   string
		relay, rest []string
	}{
		{
			"event_relay /listen.php",
			[]string{"/listen.php", "/listen.php/", "/listen.php/incoming_call", "/listen.php/a/b", "/LISTEN.php/x", "//listen.php/x"},
			[]string{"/", "/other", "/listen.phpx", "/listen.ph", "/a/listen.php"},
		},
		{"event_relay /a/b/* icfm", []string{"/a/b", "/a/b/c"}, []string{"/a", "/a/bc"}},
		{"event_relay", []string{"/", "/other"}, nil},
		{"event_relay *", []string{"/", "/other"}, nil},
		{"event_relay / icfm", []string{"/", "/other"}, nil},
	} {
		t.Run(test.directive, func(t *testing.T) {
			// respond stands first to show that the order is the relay's own.
			got, err := adapt(t, ":8080 {\n\trespond 404\n\t"+test.directive+"\n}\n")
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range test.relay {
				if handler := handlerFor(t, got, path); handler != sites.RelayHandler {
					t.Errorf("%s comes to %s, not to the relay", path, handler)
				}
			}
			for _, path := range test.rest {
				if handler := handlerFor(t, got, path); handler != "static_response" {
					t.Errorf("%s comes to %s, not to respond", path, handler)
				}
			}
		})
	}
}

// handlerFor returns the name of the first handler that a request for a path
// meets in the server of an adapted configuration.
func handlerFor(t *testing.T, config, path string) string {
	t.Helper()
	var parsed struct {
		Apps struct {
			HTTP caddyhttp.App `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal([]byte(config), &parsed); err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, "http://localhost:8080"+path, nil)
	request = request.WithContext(context.WithValue(request.Context(), caddy.ReplacerCtxKey, caddy.NewReplacer()))
	for _, route := range parsed.Apps.HTTP.Servers["srv0"].Routes {
		matches := len(route.MatcherSetsRaw) == 0
		for _, set := range route.MatcherSetsRaw {
			var paths caddyhttp.MatchPath
			if err := json.Unmarshal(set["path"], &paths); err != nil {
				t.Fatal(err)
			}
			if err := paths.Provision(caddy.Context{}); err != nil {
				t.Fatal(err)
			}
			match, err := paths.MatchWithError(request)
			if err != nil {
				t.Fatal(err)
			}
			matches = matches || match
		}
		if matches {
			var handler struct{ Handler string }
			if err := json.Unmarshal(route.HandlersRaw[0], &handler); err != nil {
				t.Fatal(err)
			}
			return handler.Handler
		}
	}
	return "nothing"
}

// TestFormattedTemplateIsRecognised runs `caddy fmt` over templates without
// quotes and expects a message that tells what has happened.
func TestFormattedTemplateIsRecognised(t *testing.T) {
	for _, setting := range []string{
		"header X {{body.id}}",
		"get http://192.168.1.20/{{caller_id}}",
		"get {{studio_api}}/folders",
		"get http://192.168.1.20/x?n={{caller_id}}&m=2",
		"query number '{{caller_id}}'",
		"body raw text/plain {{body.text}} and more",
	} {
		config := "{\n\tevent_relay {\n\t\taction a {\n\t\t\t" + setting + "\n\t\t\ttimeout 5s\n\t\t}\n\t}\n}\n"
		if _, err := adapt(t, config); err == nil || !strings.Contains(err.Error(), "a template needs quotes") {
			t.Errorf("%s: the error is %v", setting, err)
		}
		formatted := string(caddyfile.Format([]byte(config + "\n:80 {\n\trespond 404\n}\n")))
		if _, err := adapt(t, formatted); err == nil || !strings.Contains(err.Error(), "put the template in quotes") {
			t.Errorf("%s, formatted: the error is %v\n%s", setting, err, formatted)
		}
	}
}

func FuzzOption(f *testing.F) {
	names, err := filepath.Glob(filepath.Join(fixtures, "*.caddyfiletest"))
	if err != nil || len(names) == 0 {
		f.Fatalf("no fixtures: %v", err)
	}
	for _, name := range names {
		config, _ := readFixture(f, name)
		if _, block, found := strings.Cut(config, sites.RelayHandler); found {
			f.Add(block)
		}
	}
	f.Fuzz(func(t *testing.T, block string) {
		tokens, err := caddyfile.Tokenize([]byte(sites.RelayHandler+" "+block), "Caddyfile")
		if err != nil {
			return
		}
		option, err := parseOption(caddyfile.NewDispenser(tokens), nil)
		if err != nil {
			if !strings.Contains(err.Error(), "Caddyfile:") {
				t.Errorf("the error names no place: %v", err)
			}
			return
		}
		value := option.(httpcaddyfile.App).Value
		var app config.Relay
		if err := caddy.StrictUnmarshalJSON(value, &app); err != nil {
			t.Fatalf("the JSON is not read back: %v\n%s", err, value)
		}
		again, err := json.Marshal(&app)
		if err != nil || !bytes.Equal(again, value) {
			t.Errorf("the JSON changes when it is read back: %v\n%s\n%s", err, value, again)
		}
	})
}

func fixtureNames(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir(fixtures)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ".caddyfiletest") {
			names = append(names, entry.Name())
		}
	}
	if len(names) == 0 {
		t.Fatal("there are no fixtures")
	}
	return names
}

func readFixture(t testing.TB, name string) (config, want string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	config, want, found := strings.Cut(strings.ReplaceAll(string(data), "\r\n", "\n"), separator)
	if !found && !*update {
		t.Fatalf("%s has no line %s", name, separator)
	}
	return strings.TrimSpace(config) + "\n", strings.TrimSpace(want)
}
