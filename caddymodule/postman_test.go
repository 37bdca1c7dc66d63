package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/postman"
)

const postmanCases = "../internal/postman/testdata/cases"

// adaptImported adapts a Caddyfile whose event_relay block imports a text.
func adaptImported(t testing.TB, directory, text string) (*App, error) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(directory, "imported.caddy"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	config := "{\n\tevent_relay {\n\t\timport imported.caddy\n\t}\n}\n"
	options := map[string]any{"filename": filepath.Join(directory, "Caddyfile")}
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), options)
	if err != nil {
		return nil, err
	}
	var parsed struct {
		Apps struct {
			Relay json.RawMessage `json:"event_relay"`
		} `json:"apps"`
	}
	app := new(App)
	if err := json.Unmarshal(adapted, &parsed); err != nil {
		t.Fatal(err)
	}
	if parsed.Apps.Relay == nil {
		return app, nil
	}
	if err := caddy.StrictUnmarshalJSON(parsed.Apps.Relay, app); err != nil {
		t.Fatal(err)
	}
	app.logger = caddy.Log()
	return app, nil
}

// same reports how what was read differs from what was written.
func differs(app *App, parameters []postman.Parameter, actions []forward.Action) string {
	if len(app.Actions) != len(actions) || len(app.Parameters) != len(parameters) {
		return "there are not as many actions or parameters"
	}
	for i, p := range parameters {
		if got := app.Parameters[i]; got.Name != p.Name || got.Value != p.Value || !reflect.DeepEqual(got.Tenants, p.Tenants) {
			return "parameter " + p.Name + " is " + got.Value + " and not " + p.Value
		}
	}
	for i := range actions {
		want, got := plainJSON(actions[i]), plainJSON(asWritten(&app.Actions[i]))
		if got != want {
			return "action " + actions[i].Name + "\n got " + got + "\nwant " + want
		}
	}
	return ""
}

// plainJSON writes an action such that absent and empty lists are the same.
func plainJSON(action forward.Action) string {
	action.Place = ""
	if len(action.Query) == 0 {
		action.Query = nil
	}
	if len(action.Headers) == 0 {
		action.Headers = nil
	}
	encoded, err := json.Marshal(action)
	if err != nil {
		return err.Error()
	}
	return string(encoded)
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
	app, err := adaptImported(t, directory, text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	actions := make([]forward.Action, len(imported.Imported))
	for i, one := range imported.Imported {
		actions[i] = one.Action
	}
	if difference := differs(app, imported.Parameters, actions); difference != "" {
		t.Fatalf("%s\n%s", difference, text)
	}
	if _, err := app.compile(nil, sites.Sites{}); err != nil {
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
	actions := []forward.Action{{Name: "a", Description: text, Method: "GET", URL: "http://127.0.0.1/"}}
	written, err := postman.Caddyfile(nil, actions)
	if err != nil {
		if !strings.Contains(text, "`") {
			t.Fatalf("%q: %v", text, err)
		}
		return
	}
	if formatted := caddyfile.Format([]byte(written)); !bytes.Equal(formatted, []byte(written)) {
		t.Fatalf("%q is not formatted:\n%s\nformatted it is:\n%s", text, written, formatted)
	}
	app, err := adaptImported(t, directory, written)
	if err != nil {
		t.Fatalf("%q: %v in\n%s", text, err, written)
	}
	if difference := differs(app, nil, actions); difference != "" {
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
	var actions []forward.Action
	for i := range 3000 {
		action := forward.Action{Name: fmt.Sprint("a", i), Description: randomText(random), Method: "GET", URL: "http://127.0.0.1/"}
		if _, err := postman.Caddyfile(nil, []forward.Action{action}); err == nil {
			actions = append(actions, action)
		}
	}
	if len(actions) < 2900 {
		t.Errorf("only %d of 3000 texts can be written", len(actions))
	}
	text, err := postman.Caddyfile(nil, actions)
	if err != nil {
		t.Fatal(err)
	}
	if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
		t.Error("the text is not formatted")
	}
	app, err := adaptImported(t, t.TempDir(), text)
	if err != nil {
		t.Fatal(err)
	}
	if difference := differs(app, nil, actions); difference != "" {
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

// TestExportIsImport exports the actions of every configuration among the
// fixtures and imports them: they are the same.
func TestExportIsImport(t *testing.T) {
	exported := 0
	files, err := filepath.Glob("caddyfile/testdata/adapt/*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasPrefix(filepath.Base(name), "error_") {
			continue
		}
		fixture, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		written, _, _ := strings.Cut(string(fixture), "----------")
		adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(written), map[string]any{"filename": "caddyfile/testdata/adapt/Caddyfile"})
		if err != nil {
			t.Fatal(err)
		}
		var whole struct {
			Apps struct {
				Relay *App `json:"event_relay"`
			} `json:"apps"`
		}
		if err := json.Unmarshal([]byte(adapted), &whole); err != nil {
			t.Fatal(err)
		}
		if whole.Apps.Relay == nil || len(whole.Apps.Relay.Actions) == 0 {
			continue
		}
		exported++
		text, err := exportedActions(t, string(adapted))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if formatted := string(caddyfile.Format([]byte(text))); formatted != text {
			t.Errorf("%s: the text is not formatted:\n%s", name, text)
		}
		app, err := adaptImported(t, t.TempDir(), text)
		if err != nil {
			t.Fatalf("%s: %v in\n%s", name, err, text)
		}
		for i := range app.Actions {
			app.Actions[i].Place = whole.Apps.Relay.Actions[i].Place
		}
		got, _ := json.Marshal(app.Actions)
		want, _ := json.Marshal(whole.Apps.Relay.Actions)
		if !bytes.Equal(got, want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		for _, p := range app.Parameters {
			i := slices.IndexFunc(whole.Apps.Relay.Parameters, func(q config.Parameter) bool { return q.Name == p.Name })
			if i < 0 || whole.Apps.Relay.Parameters[i].Value != p.Value || !reflect.DeepEqual(whole.Apps.Relay.Parameters[i].Tenants, p.Tenants) {
				t.Errorf("%s: parameter %s is another", name, p.Name)
			}
		}
	}
	if exported < 20 {
		t.Fatalf("only %d fixtures have actions", exported)
	}
}

func exportedActions(t *testing.T, config string, names ...string) (string, error) {
	t.Helper()
	var parsed struct {
		Apps struct {
			Relay App `json:"event_relay"`
		} `json:"apps"`
	}
	if err := json.Unmarshal([]byte(config), &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed.Apps.Relay.ExportActions(names)
}

func TestExportTakesTheParametersThatAreUsed(t *testing.T) {
	config := `{"apps": {"event_relay": {
		"parameters": [{"name": "base", "value": "http://{{host}}/v1"}, {"name": "host", "value": "127.0.0.1"}, {"name": "unused", "value": "x"},
			{"name": "token", "value": "{env.TOKEN}"}, {"name": "key", "tenants": {"100": "a", "200": "{file./run/key}"}}],
		"actions": [{"name": "a", "url": "{{base}}/x", "auth": {"kind": "bearer", "value": "{{token}}"}, "order_by": "key"},
			{"name": "b", "url": "http://127.0.0.1/", "retry_for": -1}]}}}`
	text, err := exportedActions(t, config, "a")
	if err != nil {
		t.Fatal(err)
	}
	want := `# Actions, to be imported into the event_relay block.

parameter base "http://{{host}}/v1"
parameter host 127.0.0.1
parameter token "{env.TOKEN}"
parameter key {
	tenant 100 a
	tenant 200 "{file./run/key}"
}

action a {
	post "{{base}}/x"
	auth bearer "{{token}}"
	order_by key
}
`
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if _, err := exportedActions(t, config, "c"); err == nil || !strings.Contains(err.Error(), "unknown action c") {
		t.Error(err)
	}
	if _, err := exportedActions(t, `{"apps": {"event_relay": {"actions": [{"name": "a", "url": "x", "rate": {"count": 1, "per": "90s"}}]}}}`); err == nil ||
		!strings.Contains(err.Error(), "writing rate of action a: a Caddyfile counts by the second, minute or hour, not by 1m30s") {
		t.Error(err)
	}
}
