package e2e_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write what comes of the examples' requests")

const (
	examplesDirectory = "../../examples/senders"
	// exampleSite is where the examples listen unless SITE says otherwise.
	exampleSite = "http://localhost:8080"
)

// TestExamples runs each example, posts the requests of its .http file, and
// compares what comes of them with a golden file. Then it does what the README
// says.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(examplesDirectory, "*.caddy"))
	if err != nil || len(files) < 4 {
		t.Fatalf("found %d examples: %v", len(files), err)
	}
	readme, err := os.ReadFile(filepath.Join(examplesDirectory, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".caddy")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			machine := newInstallation(t)
			service := newExampleService(t)
			machine.set("CADDY_ADMIN", machine.admin)
			machine.set("SITE", "http://"+machine.site)
			machine.set("LAN", service.URL)
			machine.setAll(filepath.Join(examplesDirectory, "demo.env"))

			caddyfile, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if formatted, err := machine.run("fmt", file); err != nil || formatted != string(caddyfile) {
				t.Errorf("caddy fmt would change %s (%v):\n%s", file, err, formatted)
			}
			caddy := machine.start(string(caddyfile))

			var came strings.Builder
			for _, request := range readRequests(t, filepath.Join(examplesDirectory, name+".http"), "http://"+machine.site) {
				fmt.Fprintf(&came, "### %s\n%s\n", request.title, caddy.tryOut(t, request, service))
			}
			golden := filepath.Join("testdata", "examples", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(came.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if came.String() != string(want) {
				t.Errorf("of the requests comes\n%s\nnot as in %s; if that is meant, run the test with -update", &came, golden)
			}

			tries := regexp.MustCompile("(?ms)^```sh try "+name+"\n(.*?)^```").FindAllStringSubmatch(string(readme), -1)
			if len(tries) == 0 {
				t.Errorf("the README does not say how to try %s", file)
			}
			for _, try := range tries {
				t.Run("as the README says", func(t *testing.T) {
					caddy.tryScript(t, strings.ReplaceAll(try[1], exampleSite, "http://"+machine.site))
				})
			}
			caddy.Stop()
		})
	}
}

// setAll sets the variables in an environment file.
func (i *installation) setAll(file string) {
	i.t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		i.t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if name, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			i.set(name, value)
		}
	}
}

// exampleRequest is a request of an .http file.
type exampleRequest struct {
	title, method, url string
	header             http.Header
	body               string
}

// readRequests reads an .http file, as editors with an HTTP client do.
func readRequests(t *testing.T, file, site string) []exampleRequest {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var requests []exampleRequest
	for _, text := range strings.Split("\n"+string(raw), "\n### ")[1:] {
		title, rest, _ := strings.Cut(text, "\n")
		head, body, _ := strings.Cut(rest, "\n\n")
		line, headers, _ := strings.Cut(strings.TrimSpace(head), "\n")
		request := exampleRequest{title: title, header: make(http.Header), body: strings.TrimSpace(body)}
		var there bool
		if request.method, request.url, there = strings.Cut(line, " "); !there || !strings.HasPrefix(request.url, exampleSite) {
			t.Fatalf("%s: %q is not like GET %s/…", file, line, exampleSite)
		}
		request.url = site + strings.TrimPrefix(request.url, exampleSite)
		for header := range strings.Lines(headers) {
			name, value, _ := strings.Cut(header, ":")
			request.header.Set(name, strings.TrimSpace(value))
		}
		if strings.HasPrefix(request.header.Get("Content-Type"), "multipart/") {
			request.body = strings.ReplaceAll(request.body, "\n", "\r\n") + "\r\n"
		}
		requests = append(requests, request)
	}
	if len(requests) == 0 {
		t.Fatalf("%s has no requests", file)
	}
	return requests
}

// tryOut posts a request and returns what came of it: the answer's status, each
// event with its verdict, and what the service got.
func (p *server) tryOut(t *testing.T, request exampleRequest, service *exampleService) string {
	t.Helper()
	made, err := http.NewRequest(request.method, request.url, strings.NewReader(request.body))
	if err != nil {
		t.Fatal(err)
	}
	made.Header = request.header
	response, err := http.DefaultClient.Do(made)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	came := fmt.Sprintf("answered %d\n", response.StatusCode)
	if response.StatusCode != http.StatusOK {
		return came
	}
	for _, id := range answeredIDs(t, answer) {
		came += p.outcome(t, id)
	}
	// Deliveries end in any order.
	got := service.take()
	slices.Sort(got)
	for _, request := range got {
		came += "\n" + request
	}
	return came
}

// tryScript does what the README says.
func (p *server) tryScript(t *testing.T, script string) {
	t.Helper()
	needTools(t, "sh", "curl", "openssl", "base64")
	shell := exec.Command("sh", "-eu", "-c", script)
	var problem bytes.Buffer
	shell.Stderr = &problem
	answer, err := shell.Output()
	if err != nil || len(answer) == 0 {
		t.Errorf("%v: %s\n%s\nis answered %q", err, &problem, script, answer)
		return
	}
	for _, id := range answeredIDs(t, answer) {
		if came := p.outcome(t, id); !strings.Contains(came, "delivered") {
			t.Errorf("%s\nleads to %s", script, came)
		}
	}
}

// outcome tells what was decided about an event and what became of its
// deliveries.
func (p *server) outcome(t *testing.T, id string) string {
	t.Helper()
	var event struct {
		Event, Source string
		ParseError    string `json:"parse_error"`
		DuplicateOf   string `json:"duplicate_of"`
		Verdict       struct{ Decision, Reason string }
		Deliveries    []struct{ Action, State string }
	}
	waitFor(t, "deliveries to end", func() bool {
		p.adminJSON("/event_relay/events/"+id, &event)
		for _, delivery := range event.Deliveries {
			if delivery.State == "pending" {
				return false
			}
		}
		return true
	})
	var came strings.Builder
	fmt.Fprintf(&came, "%s of %s", event.Event, event.Source)
	if event.ParseError != "" {
		came.WriteString(", read from a broken body")
	}
	if event.DuplicateOf != "" {
		came.WriteString(": a duplicate\n")
		return came.String()
	}
	fmt.Fprintf(&came, ": %s, %s\n", event.Verdict.Decision, event.Verdict.Reason)
	for _, delivery := range event.Deliveries {
		fmt.Fprintf(&came, "  %s %s\n", delivery.Action, delivery.State)
	}
	return came.String()
}

// exampleService is a service on the LAN that says yes to everything and
// remembers what it got.
type exampleService struct {
	*httptest.Server
	mutex sync.Mutex
	got   []string
}

func newExampleService(t *testing.T) *exampleService {
	t.Helper()
	s := new(exampleService)
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var text strings.Builder
		fmt.Fprintf(&text, "%s %s\n", r.Method, r.RequestURI)
		for _, name := range []string{"Content-Type", "X-Project", "X-Source"} {
			if value := r.Header.Get(name); value != "" {
				fmt.Fprintf(&text, "%s: %s\n", name, value)
			}
		}
		body := bufio.NewScanner(r.Body)
		for body.Scan() {
			text.WriteString("| " + body.Text() + "\n")
		}
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.got = append(s.got, text.String())
	}))
	t.Cleanup(s.Close)
	return s
}

// take returns what has come since the last time.
func (s *exampleService) take() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	got := s.got
	s.got = nil
	return got
}
