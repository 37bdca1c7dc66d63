package caddyfile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	_ "github.com/caddy-event-relay/event-relay/caddymodule" // the app, which loads what was read
	relayfile "github.com/caddy-event-relay/event-relay/caddymodule/caddyfile"
	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile/printer"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/postman"
)

const postmanCases = "../../internal/postman/testdata/cases"

// adaptImported adapts a Caddyfile whose event_relay block imports a text.
func adaptImported(t testing.TB, directory, text string) (*config.Relay, error) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(directory, "imported.caddy"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return adapted(t, "{\n\tevent_relay {\n\t\timport imported.caddy\n\t}\n}\n", directory)
}

// adapted adapts a Caddyfile in a directory, and returns the relay's part. Places
// are left out, because they are another's after a round trip.
func adapted(t testing.TB, text, directory string) (*config.Relay, error) {
	t.Helper()
	options := map[string]any{"filename": filepath.Join(directory, "Caddyfile")}
	whole, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), options)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Apps struct {
			Relay json.RawMessage `json:"event_relay"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(whole, &parsed); err != nil {
		t.Fatal(err)
	}
	relay := new(config.Relay)
	if parsed.Apps.Relay == nil {
		return relay, nil
	}
	if err := caddy.StrictUnmarshalJSON(parsed.Apps.Relay, relay); err != nil {
		t.Fatal(err)
	}
	for i := range relay.Actions {
		relay.Actions[i].Place = ""
	}
	for i := range relay.Parameters {
		relay.Parameters[i].Place = ""
	}
	return relay, nil
}

// differs reports how what was read differs from what was written.
func differs(relay *config.Relay, parameters []config.Parameter, actions []config.Action) string {
	got, err := json.Marshal([]any{relay.Parameters, relay.Actions})
	if err != nil {
		return err.Error()
	}
	want, err := json.Marshal([]any{parameters, actions})
	if err != nil {
		return err.Error()
	}
	if !bytes.Equal(got, want) {
		return fmt.Sprintf(" got %s\nwant %s", got, want)
	}
	return ""
}

// checkImport writes an import as text and reads it: it is formatted, it is read
// as what was written, and it loads.
func checkImport(t *testing.T, directory string, imported *postman.Import) {
	t.Helper()
	text, err := imported.Caddyfile()
	if err != nil {
		t.Fatal(err)
	}
	if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
		t.Fatalf("the text is not formatted:\n%s\nformatted it is:\n%s", text, formatted)
	}
	relay, err := adaptImported(t, directory, text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var parameters []config.Parameter
	for _, p := range imported.Parameters {
		parameters = append(parameters, config.Parameter{Name: p.Name, Value: p.Value})
	}
	var actions []config.Action
	for _, one := range imported.Imported {
		actions = append(actions, one.Action)
	}
	if difference := differs(relay, parameters, actions); difference != "" {
		t.Fatalf("%s\n%s", difference, text)
	}
	part, err := json.Marshal(relay)
	if err != nil {
		t.Fatal(err)
	}
	whole := &caddy.Config{AppsRaw: caddy.ModuleMap{"event_relay": part}, Admin: &caddy.AdminConfig{Disabled: true}}
	if err := caddy.Validate(whole); err != nil {
		t.Fatalf("loading: %v\n%s", err, text)
	}
}

func readPostmanCase(t testing.TB, file string) *postman.Collection {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	collection, err := postman.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	return collection
}

// TestImportedTextLoads imports every case, with and without its environment,
// and loads the text.
func TestImportedTextLoads(t *testing.T) {
	t.Setenv("guid", "from the environment")
	files, err := filepath.Glob(postmanCases + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no cases", err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, ".environment.json") {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		collection := readPostmanCase(t, file)
		for _, options := range []postman.Options{{}, {Prefix: "crm_"}} {
			t.Run(name+options.Prefix, func(t *testing.T) {
				imported, err := collection.Import(options)
				if err != nil {
					t.Fatal(err)
				}
				checkImport(t, t.TempDir(), imported)
			})
		}
		data, err := os.ReadFile(strings.TrimSuffix(file, ".json") + ".environment.json")
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		environment, err := postman.ReadEnvironment(data)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name+" with its environment", func(t *testing.T) {
			imported, err := collection.Import(postman.Options{Environment: environment})
			if err != nil {
				t.Fatal(err)
			}
			checkImport(t, t.TempDir(), imported)
		})
	}
}

// FuzzImportedTextLoads puts any text into every part of a collection.
func FuzzImportedTextLoads(f *testing.F) {
	for _, text := range awkward {
		f.Add(text, text, "q")
		f.Add("a", text, text)
	}
	f.Fuzz(func(t *testing.T, name, text, variable string) {
		if !utf8.ValidString(name + text + variable) {
			t.Skip("JSON holds no other texts")
		}
		type object map[string]any
		one := object{"key": text, "value": text + "{{" + variable + "}}" + name}
		request := func(body object) object {
			return object{"name": name, "request": object{"method": "POST", "url": object{
				"protocol": "http", "host": []string{"h", text}, "path": []string{text, ":id"}, "query": []object{one, {"key": "k", "value": text}},
				"variable": []object{{"key": "id", "value": text}},
			}, "header": []object{one, {"key": "X-A", "value": text}}, "description": text, "body": body,
				"auth": object{"type": "basic", "basic": object{"username": text, "password": text}}}}
		}
		plain := func(body object) object {
			return object{"name": text, "request": object{"method": "PUT", "url": "{{" + variable + "}}/" + text, "body": body,
				"auth": object{"type": "apikey", "apikey": object{"key": text, "value": text, "in": "query"}}}}
		}
		raw := object{"mode": "raw", "raw": text + "{{" + variable + "}}"}
		data, err := json.Marshal(object{
			"info": object{"name": name}, "variable": []object{{"key": variable, "value": text}, {"key": text, "value": "{{" + variable + "}}"}},
			"item": []object{
				request(raw), plain(raw), {"name": name, "item": []object{request(object{"mode": "urlencoded", "urlencoded": []object{one}})}},
				plain(object{"mode": "formdata", "formdata": []object{one, {"key": "a", "value": text, "contentType": text}}}),
				plain(object{"mode": "raw", "raw": `{"a": "` + text + `{{` + variable + `}}"}`, "options": object{"raw": object{"language": "json"}}}),
				plain(object{"mode": "graphql", "graphql": object{"query": text + "{{" + variable + "}}"}}),
				{"name": text, "request": "http://h.example/" + text},
				{"name": text, "request": text},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		collection, err := postman.Read(data)
		if err != nil {
			t.Fatal(err)
		}
		imported, err := collection.Import(postman.Options{})
		if err != nil {
			t.Fatal(err)
		}
		checkImport(t, t.TempDir(), imported)
	})
}

// awkward are texts that mean something to Caddy, to `caddy fmt` or to the
// relay.
var awkward = []string{
	"", " ", "a", "{$HOME}", "{{$HOME}}", "{$", "{$}", "{{", "}}", "{", "}", "{}", "{{}}", "{{{a}}}", "{a}}", "{ a }}", "{env.HOME}", "{file./etc/passwd}",
	"{args[0]}", "{args[:]}", "{args.0}", "{block}", "{blocks.a}", `\{a\}`, `\\{`, `\`, `\\`, `\\\`, `"`, `\"`, `a\"b`, "`", "`\"", "`\\\"`", "`\\", "``\r\n\\\"",
	"<<END\na\nEND", "<<", "END", "#a", "# a", "a\r\nb", "\r", "\n", "\n\n\n", "\t", "import", "import x", "{host}", "{path}", strings.Repeat("{", 120),
	strings.Repeat("{", 120) + "\\}", strings.Repeat("{a", 101) + "}", "\x00", "\x01\x7f", "\ufeff", "\u2028", "ünïcödé", "日本🎉", "caller_id", "tenant", "$guid", "loop", "a b",
	"http://a", "https://h.example/x?y=1#z", "://", "?", "#", "@", ":", "/", "//", "%zz", "a&b=c", "'", "{{'{'}}", "{'a", "body", "()", "(a)", ",", "=",
}

// TestWrittenTextIsRead writes awkward texts as they are, and reads them.
func TestWrittenTextIsRead(t *testing.T) {
	directory := t.TempDir()
	for _, text := range awkward {
		checkWritten(t, directory, text)
	}
}

func FuzzWrittenTextIsRead(f *testing.F) {
	for _, text := range awkward {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkWritten(t, t.TempDir(), text) })
}

// checkWritten writes a text where anything may stand. Whatever it is, it is
// read as the same, or it is refused.
func checkWritten(t *testing.T, directory, text string) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Skip("a Caddyfile holds no other texts")
	}
	actions := []config.Action{{Name: "a", Description: text, Method: "GET", URL: "http://127.0.0.1/"}}
	written, err := printer.Actions(nil, actions)
	if err != nil {
		if !strings.Contains(text, "`") {
			t.Fatalf("%q: %v", text, err)
		}
		return
	}
	if formatted := caddyfile.Format([]byte(written)); !bytes.Equal(formatted, []byte(written)) {
		t.Fatalf("%q is not formatted:\n%s\nformatted it is:\n%s", text, written, formatted)
	}
	relay, err := adaptImported(t, directory, written)
	if err != nil {
		t.Fatalf("%q: %v in\n%s", text, err, written)
	}
	if difference := differs(relay, nil, actions); difference != "" {
		t.Fatalf("%q: %s\n%s", text, difference, written)
	}
}

// fragments are what random texts are made of.
var fragments = []string{
	"{", "}", "{{", "}}", "$", "{$", "\\", "\"", "`", "'", "<", "<<", "#", " ", "\t", "\n", "\r\n", "a", "é", "=", "&", "?", "/", ":", "@", "%", "import", "block", "args[0]",
	"env.HOME", "file.x", "caller_id", "v1", "{{v1}}", "{{v2}}", "{{caller_id}}", "END", "//", "[", "]", ",", ".", "-", "0",
}

func randomText(random *rand.Rand) string {
	var b strings.Builder
	for range random.IntN(12) {
		b.WriteString(fragments[random.IntN(len(fragments))])
	}
	return b.String()
}

// TestRandomTextIsRead writes many random texts into one file and reads it.
func TestRandomTextIsRead(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var actions []config.Action
	for i := range 3000 {
		action := config.Action{Name: fmt.Sprint("a", i), Description: randomText(random), Method: "GET", URL: "http://127.0.0.1/"}
		if _, err := printer.Actions(nil, []config.Action{action}); err == nil {
			actions = append(actions, action)
		}
	}
	if len(actions) < 2900 {
		t.Errorf("only %d of 3000 texts can be written", len(actions))
	}
	text, err := printer.Actions(nil, actions)
	if err != nil {
		t.Fatal(err)
	}
	if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
		t.Error("the text is not formatted")
	}
	relay, err := adaptImported(t, t.TempDir(), text)
	if err != nil {
		t.Fatal(err)
	}
	if difference := differs(relay, nil, actions); difference != "" {
		t.Error(difference)
	}
}

// TestRandomCollectionsLoad imports collections that are full of random texts,
// and loads what comes of them.
func TestRandomCollectionsLoad(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	text := func() string { return randomText(random) }
	type object map[string]any
	imported := 0
	for range 20 {
		fields := func() (list []object) {
			for range random.IntN(4) {
				list = append(list, object{"key": text(), "value": text()})
			}
			return list
		}
		var items []object
		for range 40 {
			mode := []string{"raw", "urlencoded", "formdata", "graphql"}[random.IntN(4)]
			items = append(items, object{"name": text(), "request": object{
				"method": []string{"POST", "put", "DELETE", "GET"}[random.IntN(4)], "description": text(),
				"url":    []any{"http://h.example/" + text(), "{{v1}}/" + text(), object{"protocol": "http", "host": "h", "path": []string{text()}, "query": fields()}}[random.IntN(3)],
				"header": fields(),
				"body":   object{"mode": mode, "raw": text(), "urlencoded": fields(), "formdata": fields(), "graphql": object{"query": text(), "variables": ""}},
				"auth": []object{{"type": "basic", "basic": object{"username": text(), "password": text()}}, {"type": "bearer", "bearer": object{"token": text()}},
					{"type": "apikey", "apikey": object{"key": text(), "value": text(), "in": []string{"query", "header"}[random.IntN(2)]}}, {}}[random.IntN(4)],
			}})
		}
		data, err := json.Marshal(object{"info": object{"name": text()}, "variable": []object{{"key": "v1", "value": text()}, {"key": "v2", "value": text()}}, "item": items})
		if err != nil {
			t.Fatal(err)
		}
		collection, err := postman.Read(data)
		if err != nil {
			t.Fatal(err)
		}
		result, err := collection.Import(postman.Options{})
		if err != nil {
			t.Fatal(err)
		}
		imported += len(result.Imported)
		checkImport(t, t.TempDir(), result)
	}
	t.Logf("%d of 800 requests were imported", imported)
	if imported < 200 {
		t.Error("too few are imported to show anything")
	}
}

// withoutPlaces returns the JSON of a configuration without the places of what it
// has, which are others after a round trip.
func withoutPlaces(t testing.TB, relay config.Relay) string {
	t.Helper()
	relay.Place = ""
	if relay.Queue != nil {
		relay.Queue.Place = ""
	}
	for i := range relay.Parameters {
		relay.Parameters[i].Place = ""
	}
	for i := range relay.Sources {
		relay.Sources[i].Place = ""
	}
	for i := range relay.Actions {
		relay.Actions[i].Place = ""
	}
	for i := range relay.Rules {
		relay.Rules[i].Place = ""
	}
	text, err := json.MarshalIndent(relay, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// adaptFixtures returns the configurations of the fixtures that have no mistake, by
// their names.
func adaptFixtures(t *testing.T) map[string]*config.Relay {
	t.Helper()
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	configurations := make(map[string]*config.Relay)
	for _, name := range files {
		if strings.HasPrefix(filepath.Base(name), "error_") {
			continue
		}
		fixture, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		written, _, _ := strings.Cut(string(fixture), "----------")
		if configurations[name], err = adapted(t, written, "testdata/adapt"); err != nil {
			t.Fatal(err)
		}
	}
	return configurations
}

// TestPrintedConfigurationsAreRead prints every configuration among the fixtures,
// and reads it: it is the same.
func TestPrintedConfigurationsAreRead(t *testing.T) {
	printed := 0
	for name, relay := range adaptFixtures(t) {
		printed++
		text, err := printer.Relay(relay)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
			t.Errorf("%s: the text is not formatted:\n%s", name, text)
		}
		again, err := adapted(t, "{\n"+text+"}\n", t.TempDir())
		if err != nil {
			t.Errorf("%s: %v in\n%s", name, err, text)
			continue
		}
		direct, whole, err := relayfile.Read(text, "text")
		if got, want := withoutPlaces(t, direct), withoutPlaces(t, *again); err != nil || !whole || got != want {
			t.Errorf("%s: read without a file it is another configuration: %v\n got %s\nwant %s\n%s", name, err, got, want, text)
		}
		if got, want := withoutPlaces(t, *again), withoutPlaces(t, *relay); got != want {
			t.Errorf("%s, printed and read again, is another configuration. Is a setting missing in the printer?\n got %s\nwant %s\n%s", name, got, want, text)
		}
	}
	if printed < 50 {
		t.Fatalf("only %d fixtures have a configuration", printed)
	}
}

// TestPrintedActionsAreRead prints the actions and parameters of every
// configuration among the fixtures, and reads them: they are the same.
func TestPrintedActionsAreRead(t *testing.T) {
	printed := 0
	for name, relay := range adaptFixtures(t) {
		if len(relay.Actions)+len(relay.Parameters) == 0 {
			continue
		}
		printed++
		text, err := printer.Actions(relay.Parameters, relay.Actions)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
			t.Errorf("%s: the text is not formatted:\n%s", name, text)
		}
		again, err := adaptImported(t, t.TempDir(), text)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, text)
		}
		if difference := differs(again, relay.Parameters, relay.Actions); difference != "" {
			t.Errorf("%s, printed and read again, is another action. Is a setting missing in config.DeliverySettings?\n%s", name, difference)
		}
	}
	if printed < 20 {
		t.Fatalf("only %d fixtures have actions or parameters", printed)
	}
}
