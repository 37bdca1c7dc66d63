package command

import (
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/inspect"
)

// TestRequestFilesAreReadBack: what show --http writes, explain --request reads.
func TestRequestFilesAreReadBack(t *testing.T) {
	for name, request := range map[string]inspect.Request{
		"JSON": {
			Method: "POST", Path: "/listen.php/incoming_call",
			Headers: map[string][]string{"Content-Type": {"application/json"}, "X-Request-Id": {"1", "2"}},
			Body:    `{"name":"Bob \"B\" Lee"}`,
		},
		"a query":            {Method: "GET", Path: "/listen.php", Query: map[string][]string{"user[]": {"1", "2"}, "name": {"A & B=ü\r\nX: y"}, "empty": {""}}},
		"an odd path":        {Method: "PUT", Path: "/a b/%2f/ü?x#y//z"},
		"two slashes":        {Method: "POST", Path: "/listen.php//x"},
		"line ends at ends":  {Method: "POST", Path: "/", Body: "\r\n\nx\r\n\r\n"},
		"a body like a head": {Method: "POST", Path: "/", Body: "GET / HTTP/1.1\nHost: evil\n\n"},
		"a binary body":      {Method: "POST", Path: "/", Binary: []byte{0, 1, 0xff, '\n', 0xfe, '\n'}},
	} {
		t.Run(name, func(t *testing.T) { readBack(t, request) })
	}
}

// TestRequestFilesHoldNoMoreThanTheEvent: what an event brought cannot add a
// header or a request.
func TestRequestFilesHoldNoMoreThanTheEvent(t *testing.T) {
	file := string(api.RequestFile(inspect.Request{
		Method: "POST / HTTP/1.1\r\nX-Evil: 1\r\n\r\n", Path: "x\r\nX-Evil: 2",
		Query: map[string][]string{"a\nX-Evil: 3": {"b\r\n\r\nX-Evil: 4"}},
		Headers: map[string][]string{
			"X-Good": {"1\r\nX-Evil: 5", "2\nX-Evil: 6"}, "X\r\nX-Evil: 7": {"x"}, "": {"x"}, "X Evil": {"x"},
			"Transfer-Encoding": {"chunked"}, "Content-Length": {"3"}, "Host": {"evil.example"},
		},
		Body: "body",
	}))
	request, err := ParseRequest([]byte(file))
	if err != nil {
		t.Fatalf("%v in\n%s", err, file)
	}
	if len(request.Header) != 1 || len(request.Header["X-Good"]) != 2 || request.Method != "POST" || request.Host != "localhost" {
		t.Errorf("%s is read as %s for %s with %v", file, request.Method, request.Host, request.Header)
	}
	if body, _ := io.ReadAll(request.Body); string(body) != "body" {
		t.Errorf("the body is %q", body)
	}
}

// readBack writes a request and compares what is read back.
func readBack(t *testing.T, request inspect.Request) {
	t.Helper()
	file := api.RequestFile(request)
	got, err := ParseRequest(file)
	if err != nil {
		t.Fatalf("%v in\n%s", err, file)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := request.Body + string(request.Binary)
	if string(body) != want || got.ContentLength != int64(len(want)) {
		t.Errorf("the body %q is read back as %q", want, body)
	}
	if got.Method != request.Method || got.URL.Path != request.Path || got.URL.Host != "" {
		t.Errorf("%s %q is read back as %s %q of host %q", request.Method, request.Path, got.Method, got.URL.Path, got.URL.Host)
	}
	if query := got.URL.Query(); len(query)+len(request.Query) > 0 && !reflect.DeepEqual(query, url.Values(request.Query)) {
		t.Errorf("the query %q is read back as %q", request.Query, query)
	}
	if header := got.Header; len(header)+len(request.Headers) > 0 && !reflect.DeepEqual(header, http.Header(request.Headers)) {
		t.Errorf("the headers %q are read back as %q", request.Headers, header)
	}
}

func FuzzRequestFile(f *testing.F) {
	f.Add("/listen.php/x", "a", "b", "value", []byte(`{"a":1}`))
	f.Add("//x/../%00", "a\r\n", "&=", " \tx\r\ny\x00", []byte("\r\n\r\n\xff"))
	f.Fuzz(func(t *testing.T, path, key, value, header string, body []byte) {
		file := api.RequestFile(inspect.Request{
			Method: "POST", Path: path, Query: map[string][]string{key: {value}},
			Headers: map[string][]string{"X-Value": {header}}, Binary: body,
		})
		got, err := ParseRequest(file)
		if err != nil {
			t.Fatalf("%v in %q", err, file)
		}
		read, err := io.ReadAll(got.Body)
		if err != nil || string(read) != string(body) {
			t.Errorf("the body %q is read back as %q (%v)", body, read, err)
		}
		if want := "/" + strings.TrimPrefix(path, "/"); got.URL.Path != want || got.URL.Query().Get(key) != value || len(got.URL.Query()) != 1 {
			t.Errorf("%q ? %q = %q is read back as %s", path, key, value, got.URL)
		}
		if len(got.Header) != 1 || len(got.Header["X-Value"]) != 1 {
			t.Errorf("the header %q is read back as %q", header, got.Header)
		}
	})
}
