package command

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
)

func TestParseRequest(t *testing.T) {
	for _, test := range []struct {
		name, raw, line, body string
		headers               []string // name: value
	}{
		{"as on the wire", "POST /l?k=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "POST a/l?k=1", "abc", nil},
		{"by hand", "POST /l\nX-Y: z\n\nabc\n", "POST /l", "abc", []string{"X-Y: z"}},
		{"lines end both ways", "POST /l HTTP/1.1\r\nX-Y: z\n\r\na\r\nb\r\n", "POST /l", "a\r\nb", []string{"X-Y: z"}},
		{"the length counts the last line end", "POST /l\nContent-Length: 4\n\nabc\n", "POST /l", "abc\n", nil},
		{"the length does not count it", "POST /l\nContent-Length: 3\n\nabc\n\n", "POST /l", "abc", nil},
		{"the length is too small", "POST /l\nContent-Length: 1\n\nabc", "POST /l", "abc", nil},
		{"the length is too large", "POST /l\nContent-Length: 10\n\nabc\n", "POST /l", "abc", nil},
		{"the length is none", "POST /l\nContent-Length: many\n\nabc\n", "POST /l", "abc", nil},
		{"no body", "GET /l?a=b HTTP/1.1\nHost: a", "GET a/l?a=b", "", nil},
		{"a blank line in the body", "POST /l\n\na\n\nb", "POST /l", "a\n\nb", nil},
		{"blank lines before it", "\ufeff\n\nPOST /l\n\na", "POST /l", "a", nil},
		{"HTTP/2", "POST /l HTTP/2\r\nhost: a\r\nx-y: z\r\n\r\na", "POST a/l", "a", []string{"X-Y: z"}},
		{"HTTP/2.0", "POST /l HTTP/2.0\n\na", "POST /l", "a", nil},
		{"HTTP/3", "GET /l HTTP/3\n\n", "GET /l", "", nil},
		{"HTTP/1.0", "POST /l HTTP/1.0\n\na", "POST /l", "a", nil},
		{"UTF-16 with a mark", "\xff\xfe" + wide("POST /l HTTP/2\r\nContent-Length: 99\r\n\r\nä\r\n"), "POST /l", "ä", nil},
		{"UTF-16 without one", wide("POST /l\n\nä"), "POST /l", "ä", nil},
		{"a whole URL", "POST http://a:81/l\n\na", "POST a:81/l", "a", nil},
		{"in chunks", "POST /l HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "POST /l", "abc", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			request, err := ParseRequest([]byte(test.raw))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(request.Body)
			if err != nil {
				t.Fatal(err)
			}
			if line := request.Method + " " + request.Host + request.URL.RequestURI(); line != test.line || string(body) != test.body {
				t.Errorf("got %s with body %q, want %s with %q", line, body, test.line, test.body)
			}
			if request.ContentLength != int64(len(body)) {
				t.Errorf("it says that the body has %d bytes, which has %d", request.ContentLength, len(body))
			}
			for _, header := range test.headers {
				name, value, _ := strings.Cut(header, ": ")
				if got := request.Header.Get(name); got != value {
					t.Errorf("header %s is %q, want %q", name, got, value)
				}
			}
		})
	}
	for name, raw := range map[string]string{
		"empty":           "",
		"no request line": "{\"event\":\"x\"}\n",
		"an answer":       "HTTP/1.1 200 OK\n\n",
		"no header":       "POST /l\nnonsense\n\na",
		"no chunks":       "POST /l\nTransfer-Encoding: chunked\n\nabc",
		"no path":         "POST l HTTP/1.1\n\n",
		"no version":      "POST /l HTTP/two\n\n",
		"another program": "POST /l RTSP/1.0\n\n",
	} {
		if _, err := ParseRequest([]byte(raw)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// wide is a text of Latin-1 as UTF-16, little endian.
func wide(text string) string {
	var b strings.Builder
	for _, r := range text {
		b.WriteByte(byte(r))
		b.WriteByte(0)
	}
	return b.String()
}

// TestParseRequestReadsWhatServersRead compares with the parser of Go's server,
// for files that it reads.
func TestParseRequestReadsWhatServersRead(t *testing.T) {
	files, err := filepath.Glob("../../handlers/receive/testdata/senders/*.http")
	if err != nil || len(files) < 100 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			t.Fatal(err)
		}
		wantBody, err := io.ReadAll(want.Body)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readRequest(file, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		gotBody, _ := io.ReadAll(got.Body)
		want.Header.Del("Content-Length")
		if got.Method != want.Method || got.URL.String() != want.URL.String() || got.Host != want.Host ||
			!reflect.DeepEqual(got.Header, want.Header) || !bytes.Equal(gotBody, wantBody) {
			t.Errorf("%s: got %s %s %v %q\nwant %s %s %v %q", filepath.Base(file),
				got.Method, got.URL, got.Header, gotBody, want.Method, want.URL, want.Header, wantBody)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add([]byte("POST /l?k=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"))
	f.Add([]byte("POST /l\nTransfer-Encoding: chunked\n\n1\na\n0\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		request, err := ParseRequest(raw)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil || int64(len(body)) != request.ContentLength {
			t.Errorf("body of %d bytes, said to be %d: %v", len(body), request.ContentLength, err)
		}
	})
}

func TestExplainFindsTheHandler(t *testing.T) {
	mounts := []sites.Mount{
		{Hosts: []string{"a.example", "*.b.example"}, Path: "/listen.php", Sources: []string{"icfm"}},
		{Hosts: []string{"127.0.0.1"}, Path: "/x/pbx", Sources: []string{"pbx"}},
		{Hosts: []string{"127.0.0.1"}, Stripped: "/hooks", Path: "/erp", Sources: []string{"pbx"}},
		{Hosts: []string{"127.0.0.1"}, Path: "/listen.php"},
	}
	for _, test := range []struct{ host, path, mount, sources, left string }{
		{"a.example", "/listen.php", "/listen.php", "icfm", "/listen.php"},
		{"c.b.example:443", "/Listen.php/incoming_call", "/listen.php", "icfm", "/Listen.php/incoming_call"},
		{"127.0.0.1", "//listen.php", "/listen.php", "", "//listen.php"},
		{"a.example", "/x/pbx/incoming_call/token", "/x/pbx", "pbx", "/x/pbx/incoming_call/token"},
		{"elsewhere.example", "/x/pbx", "/x/pbx", "pbx", "/x/pbx"},
		{"127.0.0.1", "/Hooks/erp/incoming_call", "/hooks/erp", "pbx", "/erp/incoming_call"},
		{"127.0.0.1", "/hooks/x", "", "", ""},
		{"a.example", "/listen.phpx", "", "", ""},
		{"a.example", "/x", "", "", ""},
	} {
		request, err := ParseRequest([]byte("GET " + test.path + "\nHost: " + test.host + "\n\n"))
		if err != nil {
			t.Fatal(err)
		}
		mount, err := mountFor(request, mounts)
		if mount.WholePath() != test.mount || strings.Join(mount.Sources, " ") != test.sources || (err != nil) != (test.mount == "") {
			t.Errorf("%s%s: got %s for %v, %v", test.host, test.path, mount.WholePath(), mount.Sources, err)
		}
		if err != nil {
			continue
		}
		if stripPath(request, mount); request.URL.Path != test.left {
			t.Errorf("%s%s: the handler gets the path %s, want %s", test.host, test.path, request.URL.Path, test.left)
		}
	}
}
