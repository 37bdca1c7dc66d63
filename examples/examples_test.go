package examples_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	// The program under test is built by TestMain; these imports tell go test that the tests depend on it.
	_ "github.com/caddy-event-relay/event-relay"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// These tests run the real binary with each example, as its README says, post
// its request, and look at what came to the LAN.

// caddy and folderService are the programs, built once.
var caddy, folderService string

func TestMain(m *testing.M) {
	processtest.Main(m, map[*string]string{&caddy: "../cmd/caddy", &folderService: "./folders/service"}, func() {})
}

// TestExamplesAreComplete checks that each example has its files and is listed.
func TestExamplesAreComplete(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*/Caddyfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	index, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		config, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if formatted := caddyfile.Format(config); !bytes.Equal(formatted, config) {
			t.Errorf("%s is not as `caddy fmt` leaves it; formatted:\n%s", file, formatted)
		}
		name := filepath.Dir(file)
		for _, needed := range []string{"README.md", "request.http", "demo.env"} {
			if _, err := os.Stat(filepath.Join(name, needed)); err != nil {
				t.Errorf("the example %s has no %s", name, needed)
			}
		}
		if !strings.Contains(string(index), "]("+name+"/README.md)") {
			t.Errorf("README.md does not name the example %s", name)
		}
	}
}

// TestExamplesExplainThemselves asks what each example does with its request, as
// README.md says. The exit status says that an action is carried out.
func TestExamplesExplainThemselves(t *testing.T) {
	t.Parallel()
	requests, err := filepath.Glob("*/request.http")
	if err != nil || len(requests) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, request := range requests {
		name := filepath.Dir(request)
		demo, err := os.ReadFile(filepath.Join(name, "demo.env"))
		if err != nil {
			t.Fatal(err)
		}
		explain := exec.Command(caddy, "event-relay", "explain", "--config", filepath.Join(name, "Caddyfile"), "--request", request)
		explain.Env = append(os.Environ(), strings.Fields(string(demo))...)
		output, err := explain.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, output)
		}
		for _, secret := range []string{"demo-folders-token", "demo-mail-password", "demo-crm-key", "demo-crm-token"} {
			if strings.Contains(string(output), secret) {
				t.Errorf("%s shows the secret %s:\n%s", name, secret, output)
			}
		}
	}
}

// TestExamplesPassTheirTests runs the cases of each example.
func TestExamplesPassTheirTests(t *testing.T) {
	t.Parallel()
	examples, err := filepath.Glob("*/Caddyfile")
	if err != nil || len(examples) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	senders, err := filepath.Glob("senders/*.caddy")
	if err != nil || len(senders) == 0 {
		t.Fatalf("no examples of senders: %v", err)
	}
	for _, file := range append(examples, senders...) {
		directory := filepath.Dir(file)
		cases := filepath.Join(directory, "tests")
		if name, several := strings.CutSuffix(filepath.Base(file), ".caddy"); several {
			cases = filepath.Join(cases, name)
		}
		test := exec.Command(caddy, "event-relay", "test", cases, "--config", file, "--adapter", "caddyfile", "--envfile", filepath.Join(directory, "demo.env"))
		if output, err := test.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, output)
		}
	}
}

// example is an example whose relay is running.
type example struct {
	t    *testing.T
	name string
	site string
}

// start runs the relay of an example until the test ends. Its LAN is at the
// given URL; more variables can be set in its environment.
func start(t *testing.T, name, lan string, variables ...string) *example {
	t.Helper()
	e := &example{t: t, name: name, site: freeAddress(t)}
	home := t.TempDir()
	command := exec.Command(caddy, "run", "--config", filepath.Join(name, "Caddyfile"), "--envfile", filepath.Join(name, "demo.env"))
	command.Env = append(processtest.Environment(home, "SITE="+e.site, "LAN="+lan, "CADDY_ADMIN="+freeAddress(t)), variables...)
	processtest.Start(t, command).Serves()
	return e
}

// post sends the request in a file of the example, with every old replaced by
// new in its body, and expects it to be stored.
func (e *example) post(file string, oldNew ...string) {
	e.t.Helper()
	stored, err := os.Open(filepath.Join(e.name, file))
	if err != nil {
		e.t.Fatal(err)
	}
	defer stored.Close()
	request, err := http.ReadRequest(bufio.NewReader(stored))
	if err != nil {
		e.t.Fatalf("reading %s: %v", file, err)
	}
	body, err := io.ReadAll(request.Body)
	if err != nil {
		e.t.Fatalf("reading the body in %s, whose length must be its Content-Length: %v", file, err)
	}
	text := strings.NewReplacer(oldNew...).Replace(string(body))
	again, err := http.NewRequest(request.Method, "http://"+e.site+request.RequestURI, strings.NewReader(text))
	if err != nil {
		e.t.Fatal(err)
	}
	again.Header = request.Header
	again.Header.Del("Content-Length")
	response, err := http.DefaultClient.Do(again)
	if err != nil {
		e.t.Fatal(err)
	}
	defer response.Body.Close()
	if answer, _ := io.ReadAll(response.Body); response.StatusCode != http.StatusOK {
		e.t.Fatalf("%s was answered with %s: %s", file, response.Status, answer)
	}
}

// lan stands in for the services on a LAN, and keeps what they are sent.
type lan struct {
	*httptest.Server
	requests chan received
}

// received is a request that came to the LAN.
type received struct {
	*http.Request
	body string
}

// newLAN returns a LAN that answers each request with the next of the statuses,
// and with 200 when there are no more.
func newLAN(t *testing.T, statuses ...int) *lan {
	l := &lan{requests: make(chan received, 100)}
	var mutex sync.Mutex
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mutex.Lock()
		defer mutex.Unlock()
		l.requests <- received{r, string(body)}
		if len(statuses) > 0 {
			w.WriteHeader(statuses[0])
			statuses = statuses[1:]
		}
	}))
	t.Cleanup(l.Close)
	return l
}

// next waits for the next request and checks its first line.
func (l *lan) next(t *testing.T, want string) received {
	t.Helper()
	select {
	case r := <-l.requests:
		if got := r.Method + " " + r.RequestURI; got != want {
			t.Errorf("the LAN got %s, want %s", got, want)
		}
		return r
	case <-time.After(patience):
		t.Fatalf("the LAN waited %v in vain for %s", patience, want)
		panic("not reached")
	}
}

// What all tests that start the program have in common.
const patience = processtest.Patience

var (
	waitFor     = processtest.WaitFor
	freeAddress = processtest.FreeAddress
)

func TestFolders(t *testing.T) {
	t.Parallel()
	root, address := t.TempDir(), freeAddress(t)
	service := exec.Command(folderService, "--root", root, "--listen", address)
	service.Env = append(os.Environ(), "FOLDERS_TOKEN=demo-folders-token")
	processtest.Start(t, service).Ready("listening on")
	e := start(t, "folders", "http://"+address)
	e.post("request.http")
	e.post("request.http", "48213", "48214", "Nordlicht", "../../../Nordlicht")
	e.post("request.http", "48213", "48215", `"project_name"`, `"nothing"`)
	for _, folder := range []string{"48213_Nordlicht_ _Trailer_ 2_3", "48214_.._.._.._Nordlicht_ _Trailer_ 2_3", "48215"} {
		last := filepath.Join(root, folder, "05_Masters")
		waitFor(t, last, func() bool {
			made, err := os.Stat(last)
			return err == nil && made.IsDir()
		})
	}
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 4 {
		t.Errorf("the root holds %v, %v; want three projects and the notes", entries, err)
	}
}

func TestEmailAlert(t *testing.T) {
	t.Parallel()
	mails := newMailbox(t)
	e := start(t, "email-alert", mails.url)
	e.post("request.http", "Rejected", "Accepted") // leads to no mail
	e.post("request.http", "Nordlicht", "Größe\\r\\nBcc: eve@else.example\\r\\n\\r\\n")
	subject, text := mails.next(t, "production@studio.example")
	if want := `Größe Bcc: eve@else.example "Trailer" 2: Rejected`; subject != want {
		t.Errorf("the subject is %q, want %q", subject, want)
	}
	if !strings.HasPrefix(text, "iCFM says quote_status_change.\n\nGröße\nBcc: eve@else.example\n\n \"Trailer\" 2 is now: Rejected\n\nReceived 2") {
		t.Errorf("the text is %q", text)
	}
}

func TestScreenPop(t *testing.T) {
	t.Parallel()
	lan := newLAN(t)
	e := start(t, "screen-pop", lan.URL)
	e.post("request.http", "02079460123", "anonymous")
	e.post("request.http", "02079460123", "101")
	e.post("request.http")
	pop := lan.next(t, "GET /pop?number=02079460123&name=Alex%20%26%20Sam%20Example&extension=100")
	if key := pop.Header.Get("X-Api-Key"); key != "demo-crm-key" {
		t.Errorf("the key is %q", key)
	}
}

// TestMissedCallTicket lets the CRM refuse the first event of a call at first:
// the second must wait for it.
func TestMissedCallTicket(t *testing.T) {
	t.Parallel()
	lan := newLAN(t, http.StatusServiceUnavailable)
	e := start(t, "missed-call-ticket", lan.URL)
	e.post("request.http", "inbound", "outbound") // is no missed call
	e.post("request.http")
	first := lan.next(t, "POST /api/calls/1773398700.201")
	e.post("hangup.http")
	again := lan.next(t, "POST /api/calls/1773398700.201")
	second := lan.next(t, "POST /api/calls/1773398700.201")
	if first.body != again.body || first.Header.Get("Idempotency-Key") != again.Header.Get("Idempotency-Key") {
		t.Errorf("the second attempt is not the first one's:\n%s\n%s", first.body, again.body)
	}
	if token := first.Header.Get("Authorization"); token != "Bearer demo-crm-token" {
		t.Errorf("the token is %q", token)
	}
	for _, test := range []struct {
		body string
		want url.Values
	}{
		{again.body, url.Values{"event": {"unanswered_call"}, "duration": {""}}},
		{second.body, url.Values{"event": {"hangup"}, "duration": {"23"}}},
	} {
		got, err := url.ParseQuery(test.body)
		for name, value := range map[string]string{
			"tenant": "200", "number": "02079460123", "name": "Alex Example", "at": "2026-03-13 11:45:06",
		} {
			test.want.Set(name, value)
		}
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("the body is %v, %v; want %v", got, err, test.want)
		}
	}
}

// TestLegacyScript expects the script to get the bytes that iCFM has sent,
// also bytes that are no valid form.
func TestLegacyScript(t *testing.T) {
	t.Parallel()
	lan := newLAN(t)
	e := start(t, "legacy-script", lan.URL)
	e.post("request.http")
	got := lan.next(t, "POST /listen.php")
	want := "event=job_status_change&job_id=730114&status=Confirmed&client=M%C3%BCller%20%26%20Co"
	if got.body != want || got.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("the script got %s of type %s, want %s", got.body, got.Header.Get("Content-Type"), want)
	}
	e.post("request.http", "client=", "note=%zz&client=", "%20", " ")
	if got, want := lan.next(t, "POST /listen.php"), strings.NewReplacer("client=", "note=%zz&client=", "%20", " ").Replace(want); got.body != want {
		t.Errorf("the script got %s, want %s", got.body, want)
	}
}

func TestPostmanImport(t *testing.T) {
	t.Parallel()
	lan := newLAN(t)
	e := start(t, "postman-import", lan.URL)
	e.post("request.http", "inbound", "outbound")
	e.post("request.http")
	ticket := lan.next(t, "POST /tickets")
	if token := ticket.Header.Get("Authorization"); token != "Bearer demo-crm-token" {
		t.Errorf("the token is %q", token)
	}
	got, err := url.ParseQuery(ticket.body)
	want := url.Values{"number": {"02079460123"}, "note": {"Alex & Sam Example has called in vain"}}
	if err != nil || !reflect.DeepEqual(got, want) || ticket.Header.Get("X-Tenant") != "200" {
		t.Errorf("the CRM got %v, %v, tenant %s; want %v", got, err, ticket.Header.Get("X-Tenant"), want)
	}
}

// TestPostmanImportIsWhatIsImported imports the collection again, as README.md
// says. Only what an administrator has to write differs.
func TestPostmanImportIsWhatIsImported(t *testing.T) {
	t.Parallel()
	output := filepath.Join(t.TempDir(), "calls.caddyfile")
	command := exec.Command(caddy, "event-relay", "import-postman", "postman-import/calls.postman_collection.json",
		"--environment", "postman-import/studio.postman_environment.json", "--output", output)
	if report, err := command.CombinedOutput(); err != nil || !strings.Contains(string(report), "crm_token") {
		t.Fatalf("%v\n%s", err, report)
	}
	imported, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.NewReplacer("parameter crm http://127.0.0.1:9000", "parameter crm {$LAN:http://127.0.0.1:9000}",
		`parameter crm_token ""`, "parameter crm_token {env.CRM_TOKEN}").Replace(string(imported))
	if want, err := os.ReadFile("postman-import/calls.caddyfile"); err != nil || got != string(want) {
		t.Errorf("%v; what is imported:\n%s\nand not:\n%s", err, got, want)
	}
}
