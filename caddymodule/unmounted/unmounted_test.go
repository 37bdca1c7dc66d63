package unmounted

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// TestReports says which requests are reported, and what is said of them.
func TestReports(t *testing.T) {
	listen := sites.Mount{Hosts: []string{"events.studio.example"}, Path: "/listen.php", Sure: true}
	mounts := []sites.Mount{listen, {Hosts: []string{"events.studio.example"}, Path: "/erp/in", Sure: true}}
	whole := []sites.Mount{{Hosts: []string{"events.studio.example"}, Sure: true}}
	behind := []sites.Mount{{Path: "/listen.php"}} // a matcher before it
	const own = "http://events.studio.example"
	for _, test := range []struct {
		name        string
		mounts      []sites.Mount
		method, url string
		status      int // 0: no handler answers
		// want is what is said of the request, "" if it is not reported.
		want, reason string
		near         bool
	}{
		{"a misspelt path", mounts, "POST", own + "/listen_php?key=secret", 404, "POST /listen_php", "no mount has this path; mounts: /listen.php, /erp/in", true},
		{"a cut path", mounts, "POST", own + "/listen", 404, "POST /listen", "no mount has this path", true},
		{"a path with more at its end", mounts, "POST", own + "/listen.phpx", 404, "POST /listen.phpx", "no mount has this path", true},
		{"behind another path", mounts, "POST", own + "/hooks/listen.php/token", 404, "POST /hooks/listen.php/…", "no mount has this path", true},
		{"an event and a token below a misspelt path", mounts, "POST", own + "/listen-php/incoming_call/token", 404, "POST /listen-php/incoming_call/…", "no mount has this path", true},
		{"a scanner", mounts, "POST", own + "/wp-login.php", 404, "POST /wp-login.php", "no mount has this path", false},
		{"the root", mounts, "POST", own + "/", 404, "POST /", "no mount has this path", false},
		{"another host", mounts, "POST", "http://192.0.2.1/listen.php", 421, "POST 192.0.2.1/listen.php", "no site with a mount at this path has this host name; those that have one: events.studio.example", true},
		{"another host, all paths", whole, "POST", "http://192.0.2.1/token", 421, "POST 192.0.2.1/…", "has this host name", false},
		{"a matcher before the mount", behind, "POST", own + "/listen.php", 404, "POST /listen.php", "a mount has this path, but a matcher before it", true},
		{"no answer of any handler", mounts, "POST", own + "/listen_php", 0, "POST /listen_php", "Caddy answered it with an empty 200, which a sender takes for success", true},
		{"a GET with a query", mounts, "GET", own + "/listen_php?event=x", 404, "GET /listen_php", "no mount has this path", true},

		{"a page", mounts, "GET", own + "/favicon.ico", 404, "", "", false},
		{"a HEAD", mounts, "HEAD", own + "/listen_php?x=y", 404, "", "", false},
		{"answered by another handler", mounts, "POST", own + "/upload", 200, "", "", false},
		{"refused by another handler", mounts, "POST", own + "/upload", 401, "", "", false},
		{"a mount that is sure", mounts, "POST", own + ":8443/listen.php/x", 404, "", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var reported []relay.Unmounted
			w := &watch{site: new(caddyhttp.Server), mounts: test.mounts, report: func(u relay.Unmounted) { reported = append(reported, u) }}
			w.next = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				r.URL.Path = "/rewritten"
				if test.status != 0 {
					rw.WriteHeader(test.status)
				}
			})
			r := httptest.NewRequest(test.method, test.url, nil)
			r.RemoteAddr = "203.0.113.9:1234"
			w.ServeHTTP(httptest.NewRecorder(), r)
			if test.want == "" {
				if len(reported) > 0 {
					t.Errorf("reported is %+v", reported)
				}
				return
			}
			if len(reported) != 1 {
				t.Fatalf("reported is %+v", reported)
			}
			got := reported[0]
			if got.Request != test.want || !strings.Contains(got.Reason, test.reason) || got.Near != test.near || got.Client.String() != "203.0.113.9" {
				t.Errorf("reported is %+v", got)
			}
			if want := max(test.status, 200); got.Status != want {
				t.Errorf("the status is %d, want %d", got.Status, want)
			}
		})
	}
}

// TestAnswersOfOthersAreNotTouched goes through what handlers do with a response writer.
func TestAnswersOfOthersAreNotTouched(t *testing.T) {
	for name, answers := range map[string]func(w http.ResponseWriter){
		"Write":    func(w http.ResponseWriter) { io.WriteString(w, "text") },
		"ReadFrom": func(w http.ResponseWriter) { io.Copy(w, strings.NewReader("text")) },
		"Flush":    func(w http.ResponseWriter) { w.(http.Flusher).Flush(); io.WriteString(w, "text") },
		"a proxied": func(w http.ResponseWriter) {
			w.Header().Set("Via", "1.1 Caddy")
			w.WriteHeader(404)
			io.WriteString(w, "text")
		},
		"controller": func(w http.ResponseWriter) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				panic(err)
			}
			io.WriteString(w, "text")
		},
		"early hints": func(w http.ResponseWriter) { w.WriteHeader(103); w.WriteHeader(201); io.WriteString(w, "text") },
		"the relay's, by way of handle_errors": func(w http.ResponseWriter) {
			Taken(&caddyhttp.ResponseWriterWrapper{ResponseWriter: w})
			w.WriteHeader(404)
			io.WriteString(w, "text")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &watch{site: new(caddyhttp.Server), mounts: []sites.Mount{{Path: "/listen.php"}}, report: func(u relay.Unmounted) { t.Errorf("reported is %+v", u) }}
			w.next = http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { answers(rw) })
			server := httptest.NewServer(w)
			defer server.Close()
			response, err := http.Post(server.URL+"/other", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err != nil || string(body) != "text" {
				t.Errorf("the answer is %q, %v", body, err)
			}
		})
	}
	Taken(httptest.NewRecorder()) // of a request that is not watched
}

// FuzzExplain holds that no path or host makes a report that is long, that holds the
// query, or that is no text.
func FuzzExplain(f *testing.F) {
	f.Add("events.example", "/listen_php/x/y", "/listen.php")
	f.Add("[::1]:80", "//", "")
	f.Add("a", "/listen", "listen.php")
	f.Add("\xff", "\x00/é/"+strings.Repeat("é", 200), "/a/b/c")
	f.Fuzz(func(t *testing.T, host, path, mount string) {
		w := &watch{mounts: []sites.Mount{{Path: mount}, {Path: "/listen.php", Hosts: []string{"a"}}}}
		got := w.explain("POST", hostOf(host), path, 404)
		if utf8.RuneCountInString(got.Request) > 2*longestPart+20 || !utf8.ValidString(got.Request) {
			t.Errorf("the request is %q", got.Request)
		}
	})
}
