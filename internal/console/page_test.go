package console

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/api"
)

// open asks a console for a path as a browser on its machine does.
func open(mount, method, path string, header ...string) *httptest.ResponseRecorder {
	handler := New(Options{
		Mount: mount, Find: func() (api.Running, error) { return api.Running{}, api.ErrNoRelay },
		Client: func(*http.Request) (netip.Addr, bool) { return netip.Addr{}, false },
	})
	request := httptest.NewRequest(method, "http://localhost:8090/", nil)
	request.URL.Path, request.RemoteAddr = path, near
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	return answer
}

func TestPageIsBelowItsMount(t *testing.T) {
	for _, test := range []struct {
		mount, path string
		want        string
	}{
		{"", "/", "page"},
		{"", "", "page"},
		{"", "/index.html", "page"},
		{"", "//index.html", "page"},
		{"", "/api/status", "api"},
		{"", "/api", "nothing"},
		{"", "/api/", "nothing in the api"},
		{"", "/assets/index.html", "nothing"},
		{"", "/../page.go", "nothing"},
		{"", "/index.html/", "nothing"},
		{"/console", "/console", "redirect"},
		{"/console", "/Console", "redirect"},
		{"/console", "/console/", "page"},
		{"/console", "/CONSOLE//", "page"},
		{"/console", "/console/index.html", "page"},
		{"/console", "/console/api/status", "api"},
		{"/console", "/console/x/../api/status", "api"},
		{"/console", "/elsewhere", "nothing"},
		{"/console", "/elsewhere/api/status", "nothing"},
		{"/a/b", "/a/b/api/status", "api"},
	} {
		answer := open(test.mount, http.MethodGet, test.path)
		got := "nothing"
		switch contentType := answer.Header().Get("Content-Type"); {
		case answer.Code == http.StatusFound:
			got = "redirect"
			if location := answer.Header().Get("Location"); location != "console/" {
				t.Errorf("%s redirects to %q", test.path, location)
			}
		case answer.Code == http.StatusOK && strings.HasPrefix(contentType, "text/html"):
			got = "page"
		case answer.Code == http.StatusServiceUnavailable:
			got = "api"
		case contentType == "application/json":
			got = "nothing in the api"
		case answer.Code != http.StatusNotFound:
			t.Errorf("%s on %s is answered with %d", test.path, test.mount, answer.Code)
		}
		if got != test.want {
			t.Errorf("%s on %q is %s, want %s", test.path, test.mount, got, test.want)
		}
	}
}

func TestEveryAnswerIsLockedUp(t *testing.T) {
	for _, path := range []string{"/", "/index.html", "/nothing", "/api/status", "/api/nothing"} {
		for _, header := range [][]string{nil, {"Origin", "http://evil.example"}, {"X-Forwarded-For", "1.2.3.4"}} {
			answer := open("", http.MethodGet, path, header...)
			policy := answer.Header().Get("Content-Security-Policy")
			if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self';") || strings.Contains(policy, "unsafe") {
				t.Errorf("%s %v: the policy is %q", path, header, policy)
			}
			for name, want := range securityHeaders {
				if got := answer.Header().Get(name); got != want {
					t.Errorf("%s %v: %s is %q, want %q", path, header, name, got, want)
				}
			}
			if strings.Contains(answer.Header().Get("Access-Control-Allow-Origin"), "*") {
				t.Errorf("%s is for every origin", path)
			}
		}
	}
}

func TestFilesAreAskedForAgain(t *testing.T) {
	first := open("", http.MethodGet, "/")
	tag := first.Header().Get("ETag")
	if tag == "" || first.Header().Get("Cache-Control") != "no-cache" {
		t.Fatalf("the page comes with %v", first.Header())
	}
	if again := open("", http.MethodGet, "/", "If-None-Match", tag); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("the same page is answered with %d and %d bytes", again.Code, again.Body.Len())
	}
	if other := open("", http.MethodGet, "/", "If-None-Match", `"x"`); other.Code != http.StatusOK {
		t.Errorf("another page is answered with %d", other.Code)
	}
	if head := open("", http.MethodHead, "/"); head.Code != http.StatusOK || head.Body.Len() > 0 {
		t.Errorf("HEAD is answered with %d and %d bytes", head.Code, head.Body.Len())
	}
	if post := open("", http.MethodPost, "/", "Sec-Fetch-Site", "same-origin"); post.Code != http.StatusMethodNotAllowed || post.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST is answered with %d %v", post.Code, post.Header())
	}
}

// TestRefusalsSayWhatToDo: as text to people, as JSON to the page.
func TestRefusalsSayWhatToDo(t *testing.T) {
	answer := open("", http.MethodGet, "/", "X-Forwarded-For", "1.2.3.4")
	if answer.Code != http.StatusForbidden || !strings.Contains(answer.Body.String(), "trusted_proxies") ||
		answer.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("the page is refused with %d %s", answer.Code, answer.Body)
	}
	answer = open("", http.MethodGet, "/api/status", "X-Forwarded-For", "1.2.3.4")
	if body := answer.Body.String(); answer.Code != http.StatusForbidden || !strings.HasPrefix(body, `{"error":`) || !strings.Contains(body, "trusted_proxies") {
		t.Errorf("api/status is answered with %d %s; want 403 and an error as JSON that says trusted_proxies", answer.Code, body)
	}
}

// TestFilesAreKnown keeps a file from being left out because nobody said what it
// is, and the page from needing what its policy forbids, and from what would make
// markup of an event's text.
func TestFilesAreKnown(t *testing.T) {
	files := assets()
	if _, there := files["index.html"]; !there {
		t.Fatal("there is no page")
	}
	forbidden := map[string]*regexp.Regexp{
		".html": regexp.MustCompile(`<script(?: type="module")?>|<style|\s(?:style|on[a-z]+)=|(?:src|href)="(?:[a-z]+:|//)`),
		".js":   regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc|\beval\(|new Function`),
		".css":  regexp.MustCompile(`@import|url\(["']?(?:[a-z]+:|//)`),
	}
	err := fs.WalkDir(embedded, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Base(name) == "LICENSE" {
			return err
		}
		file, known := files[strings.TrimPrefix(name, "assets/")]
		if !known || len(file.content) == 0 {
			t.Errorf("%s is left out, or empty", name)
		}
		if rule := forbidden[path.Ext(name)]; rule != nil && !strings.Contains(name, "/vendor/") {
			if found := rule.Find(file.content); found != nil {
				t.Errorf("%s has %s", name, found)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
