package postman

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRefusesWhatIsNoCollection(t *testing.T) {
	for _, test := range []struct{ name, data, want string }{
		{"nothing", "", "the file is empty"},
		{"blanks", " \n", "the file is empty"},
		{"a byte order mark", "\xef\xbb\xbf", "the file is empty"},
		{"YAML", "$kind: collection\n", "the file is no JSON object; export the collection from Postman as Collection v2.1"},
		{"a list", "[]", "the file is no JSON object"},
		{"half a file", "{\"info\": {},\n\"item\": [", "the file is no JSON, or not all of it: line 2"},
		{"no JSON", "{\"a\": x}", "the file is no JSON, or not all of it: line 1"},
		{"other JSON", "{}", "this is no Postman collection: it has no list called item"},
		{"items that are none", `{"item": {"a": 1}}`, "it has no list called item"},
		{"version 1", `{"id": "x", "name": "n", "order": [], "requests": [{"url": "http://h/"}]}`, "this is a collection of version 1; export"},
		{"version 1, wrapped", `{"collection": {"requests": []}}`, "this is a collection of version 1; export"},
		{"an environment", `{"name": "e", "values": []}`, "this is an environment and no collection"},
		{"a backup", `{"version": 1, "collections": []}`, "this is a backup of several collections"},
		{"OpenAPI", `{"openapi": "3.0.0", "paths": {}}`, "this is an OpenAPI description"},
		{"HAR", `{"log": {"entries": []}}`, "this is a HAR file"},
		{"folders without end", `{"item": [` + strings.Repeat(`{"item": [`, 100) + strings.Repeat("]}", 101), "folders stand in one another more than 64 deep"},
		{"JSON without end", `{"item": [` + strings.Repeat(`{"item": [`, 20_000), "the file is no JSON"},
		{"too many requests", `{"item": [` + strings.Repeat("{},", 30_000) + "{}]}", "there are more than 20000 requests"},
		{"too large", strings.Repeat(" ", MaxSize+1), "the file is larger than 32 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := Read([]byte(test.data)); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

func TestReadsEnvelopes(t *testing.T) {
	for name, data := range map[string]string{
		"plain":           `{"item": [{"name": "a", "request": "http://h/"}]}`,
		"byte order mark": "\xef\xbb\xbf" + `{"item": [{"name": "a", "request": "http://h/"}]}`,
		"UTF-16":          "\xff\xfe" + strings.Join(strings.Split(`{"item": [{"name": "a", "request": "http://h/"}]}`, ""), "\x00") + "\x00",
		"UTF-16, no mark": strings.Join(strings.Split(`{"item": [{"name": "a", "request": "http://h/"}]}`, ""), "\x00") + "\x00",
		"cloud API":       `{"collection": {"info": {"name": 5, "description": {"content": "x"}}, "item": [{"name": "a", "request": {"url": "http://h/"}}]}}`,
		"odd shapes": `{"info": [], "auth": "x", "event": {}, "variable": {"a": 1}, "protocolProfileBehavior": [],
			"item": [{"name": "a", "event": "x", "request": {"url": "http://h/", "header": 5, "auth": [], "body": 7, "method": null}}]}`,
	} {
		collection, err := Read([]byte(data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := Request{Number: 1, Name: "a", Method: "GET", URL: "http://h/"}
		if requests := collection.Requests(); len(requests) != 1 || requests[0] != want {
			t.Errorf("%s: got %+v", name, requests)
		}
	}
}

func TestReadsEnvironments(t *testing.T) {
	collection, err := Read([]byte(`{"variable": [{"key": "a", "value": "collection"}, {"key": "b", "value": "collection"}],
		"item": [{"name": "r", "request": "http://h/{{a}}/{{b}}"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{
		`{"name": "e", "values": [{"key": "a", "value": "environment", "enabled": true}, {"key": "b", "value": "off", "enabled": false}]}`,
		"\xef\xbb\xbf" + `{"environment": {"values": [{"key": "a", "value": "environment"}]}}`,
	} {
		environment, err := ReadEnvironment([]byte(data))
		if err != nil {
			t.Fatal(err)
		}
		imported, err := collection.Import(Options{Environment: environment})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(imported.Parameters); got != "[{a environment a false} {b collection b false}]" {
			t.Error(got)
		}
	}
	for data, want := range map[string]string{
		`{"item": []}`:                        "this is a collection",
		`{"collection": {"item": []}}`:        "this is a collection",
		`{"name": "e"}`:                       "it has no list called values",
		`no`:                                  "the file is no JSON object",
		`{"environment": {"values": "none"}}`: "it has no list called values",
	} {
		if _, err := ReadEnvironment([]byte(data)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", data, err)
		}
	}
}

// FuzzRead imports any file. What is imported has been compiled by then, so that
// only crashes, endless work and text that cannot be written remain to be found.
func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/cases/*.json")
	if err != nil || len(files) == 0 {
		f.Fatal("there are no cases", err)
	}
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && len(data) < 1000 {
			f.Add(data)
		}
	}
	for _, request := range []string{
		`{"method": "post", "url": {"protocol": "http", "host": ["{{h}}"], "port": "1", "path": ["a", ":b.c"], "query": [{"key": "k", "value": "v"}], "variable": [{"key": "b", "value": "x"}]}}`,
		`{"method": "PUT", "url": "{{u}}/a?b=c&d#e", "header": "A: b\r\nC: {{d}}", "body": {"mode": "raw", "raw": "{\"a\": {{n}}} // c", "options": {"raw": {"language": "json"}}}}`,
		`{"method": "POST", "url": "http://u:p@h/", "header": [{"key": "A", "value": null}], "body": {"mode": "urlencoded", "urlencoded": [{"key": "a", "value": 1}]}}`,
		`{"method": "POST", "url": "http://h/", "auth": {"type": "apikey", "apikey": {"key": "k", "value": "v", "in": "query"}}, "body": {"mode": "formdata", "formdata": [{"key": "a", "type": "file"}]}}`,
		`{"method": "PATCH", "url": "http://h/", "auth": {"type": "basic", "basic": [{"key": "username", "value": "a:b"}]}, "body": {"mode": "graphql", "graphql": {"query": "q", "variables": "{}"}}}`,
	} {
		f.Add([]byte(`{"variable": [{"key": "h", "value": "x"}], "item": [{"name": "a", "request": ` + request + `}]}`))
	}
	f.Add([]byte(`{"variable": [{"key": "a", "value": "{{b}}{{b}}"}, {"key": "b", "value": "{{a}}"}], "item": [{"request": "{{a}}"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		collection, err := Read(data)
		if err != nil {
			return
		}
		imported, err := collection.Import(Options{Prefix: "p_"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := imported.Caddyfile(); err != nil {
			t.Fatal(err)
		}
	})
}
