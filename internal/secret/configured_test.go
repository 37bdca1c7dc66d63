package secret

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestNamed(t *testing.T) {
	for _, name := range []string{"Authorization", "X-API-Key", "api_key", "token", "studio_token", "password", "pwd", "client_secret", "pin", "door-pin", "sig", "key", "sort_key", "Cookie", "jwt", "sessionid"} {
		if !Named(name) {
			t.Errorf("%s is no name of a secret", name)
		}
	}
	for _, name := range []string{"", "name", "monkey", "spin", "keyboard", "author", "Content-Type", "id"} {
		if Named(name) {
			t.Errorf("%s is the name of a secret", name)
		}
	}
	for value, want := range map[string]bool{"Bearer x": true, " basic eA==": true, "bearer": false, "x": false, "{{token}}": false} {
		if Proves(value) != want {
			t.Errorf("%q: %v", value, !want)
		}
	}
}

func TestLiteralAndHeader(t *testing.T) {
	for in, want := range map[string]string{"": "", "x": "***", "{env.KEY}": "{env.KEY}", "{file./run/key}": "{file./run/key}", "a{env.KEY}": "***", "{env.A}{env.B}": "***", "{http.x}": "***"} {
		if got := Literal(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	for _, test := range [][3]string{
		{"Authorization", "Bearer abc", "Bearer ***"}, {"authorization", "abc", "***"}, {"Cookie", "a=b", "***"}, {"X-Name", "abc", "abc"},
	} {
		if got := Header(test[0], test[1]); got != test[2] {
			t.Errorf("%s: %s becomes %s", test[0], test[1], got)
		}
	}
	for in, want := range map[string]string{"https://u:p@h/a@b": "https://***@h/a@b", "http://{{user}}:x@h": "http://***@h", "http://h/u@x": "http://h/u@x", "{{api}}/a": "{{api}}/a"} {
		if got := URL(in); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, test := range []struct{ in, want, names string }{
		{"http://u:pass@h/{{id}}?token=abc&a=b", "http://***@h/{{id}}?token=***&a=b", ""},
		{"{{base}}/a?api_key={{key}}", "{{base}}/a?api_key={{key}}", "key"},
		{`{"password": "abc", "name": "{{body.name}}", "pin": 1234}`, `{"password": "***", "name": "{{body.name}}", "pin": "***"}`, ""},
		{"<a><password>abc</password><b token='x'/></a>", "<a><password>***</password><b token='***'/></a>", ""},
		{`{"secret": "x{{ upper(word) }}"}`, `{"secret": "***"}`, "upper word"},
		{"nothing to hide", "nothing to hide", ""},
	} {
		names := map[string]bool{}
		got := Within(test.in, names)
		if found := strings.Join(slices.Sorted(maps.Keys(names)), " "); got != test.want || found != test.names {
			t.Errorf("%s becomes %s with %q, want %s with %q", test.in, got, found, test.want, test.names)
		}
		if again := Within(got, names); again != got {
			t.Errorf("%s becomes %s the second time", got, again)
		}
	}
	if got := Template("Bearer {{token}}{{ 'x' + y }}", map[string]bool{}); got != "***{{token}}***" {
		t.Errorf("got %s", got)
	}
	if got := Template("{env.TOKEN}", nil); got != "{env.TOKEN}" {
		t.Errorf("got %s", got)
	}
}
