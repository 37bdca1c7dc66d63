package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/resolve"
)

// ReadCaddyfile is what reads text of a Caddyfile. The room that does so stands above
// this one, so that only a test from outside can give it.
var ReadCaddyfile func(text, name string) (config.Relay, bool, error)

// bench is a relay with an API in front of it.
type bench struct {
	t          testing.TB
	runtime    *relay.Runtime
	generation *relay.Generation
	api        *API
}

// newBench opens a relay with one source. Its action goes to a service that
// answers 200.
func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchOn(t, sqlite.Store{Dir: t.TempDir()})
}

// newBenchOn is newBench with a queue in a store.
func newBenchOn(t testing.TB, store queue.Store) *bench {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(service.Close)
	runtime, err := relay.Open(store, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := runtime.Close(); err != nil {
			t.Error(err)
		}
	})
	settings := config.Relay{
		Sources: []config.Source{{
			Name: "icfm", Preset: "icfm",
			Auth: []config.Credential{{Kind: auth.APIKey, In: auth.InQuery, Name: "key", Values: []string{"icfm-key"}}},
		}},
		Actions: []config.Action{{Name: "record", Method: "POST", URL: service.URL + "/record"}},
		Rules: []config.Rule{
			{Place: "Caddyfile:1", Events: []string{"job_saved"}, When: []string{`body.status == "Approved"`}, Do: []string{"record"}},
		},
		Retention: &config.Retention{Age: config.Duration(time.Hour), Size: 1 << 30},
	}
	snapshot, err := resolve.Snapshot(settings)
	if err != nil {
		t.Fatal(err)
	}
	generation, err := relay.Compile(relay.Configuration{Relay: settings, Snapshot: snapshot})
	if err != nil {
		t.Fatal(err)
	}
	new(relay.Stack).Push(runtime, generation)
	b := &bench{t: t, runtime: runtime, generation: generation}
	b.api = NewAPI(func() (Running, error) { return Running{Runtime: runtime, ReadCaddyfile: ReadCaddyfile}, nil })
	return b
}

// post sends an event the way a sender does and returns its id once it can be
// read.
func (b *bench) post(query, body string) string {
	b.t.Helper()
	request := httptest.NewRequest(http.MethodPost, "/listen.php?key=icfm-key"+query, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	received, err := b.generation.Receiver.Receive(request, receive.Origin{Mount: "/listen.php"})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := b.runtime.Accept(b.t.Context(), b.generation, received); err != nil {
		b.t.Fatal(err)
	}
	id := received.Events[0].ID
	waitFor(b.t, "the event in the activity", func() bool {
		detail, err := inspect.Show(b.t.Context(), b.runtime, id)
		return err == nil && !slices.ContainsFunc(detail.Deliveries, func(d inspect.DeliveryDetail) bool { return d.State == "pending" })
	})
	return id
}

func (b *bench) do(method, uri, body string) *httptest.ResponseRecorder {
	b.t.Helper()
	request := httptest.NewRequest(method, "/"+uri, strings.NewReader(body))
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	answer := httptest.NewRecorder()
	b.api.ServeHTTP(answer, request)
	return answer
}

// read reads a resource that must be there.
func (b *bench) read(uri string, into any) {
	b.t.Helper()
	answer := b.do(http.MethodGet, uri, "")
	if answer.Code != http.StatusOK || answer.Header().Get("Content-Type") != "application/json" || answer.Header().Get("Cache-Control") != "no-store" {
		b.t.Fatalf("%s is answered with %d %v %s", uri, answer.Code, answer.Header(), answer.Body)
	}
	if err := json.Unmarshal(answer.Body.Bytes(), into); err != nil {
		b.t.Fatalf("%s: %v in %s", uri, err, answer.Body)
	}
}

func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// checkFailure checks that an answer is an error about a field.
func checkFailure(t *testing.T, what string, answer *httptest.ResponseRecorder, status int, field, says string) {
	t.Helper()
	var failed failure
	if err := json.Unmarshal(answer.Body.Bytes(), &failed); err != nil || answer.Code != status || failed.Field != field || !strings.Contains(failed.Error, says) {
		t.Errorf("%s is answered with %d %s; want %d about field %q that says %q (%v)", what, answer.Code, answer.Body, status, field, says, err)
	}
}

func TestEventsAreRead(t *testing.T) {
	b := newBench(t)
	first := b.post("", `{"event":"job_saved","id":1,"status":"Approved"}`)
	second := b.post("", `{"event":"job_saved","id":2,"status":"Pencil"}`)

	for _, test := range []struct {
		query string
		want  []string
	}{
		{"", []string{second, first}},
		{"?n=1", []string{second}},
		{"?verdict=action", []string{first}},
		{"?verdict=ignored&source=icfm&event=job_saved", []string{second}},
		{"?action=record&state=delivered", []string{first}},
		{"?state=failed", nil},
		{"?source=pbx", nil},
		{"?since=1h", []string{second, first}},
		{"?until=1h", nil},
		{"?since=" + url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)), nil},
	} {
		var page ActivityPage
		b.read("activity"+test.query, &page)
		var got []string
		for _, summary := range page.Events {
			got = append(got, summary.ID)
		}
		if !slices.Equal(got, test.want) || page.Events == nil {
			t.Errorf("activity%s has %v, want %v", test.query, got, test.want)
		}
	}

	var page, rest ActivityPage
	b.read("activity?n=1", &page)
	b.read("activity?n=1&after="+url.QueryEscape(page.Next), &rest)
	if len(rest.Events) != 1 || rest.Events[0].ID != first || rest.Next != "" {
		t.Errorf("after %s comes %+v", page.Next, rest)
	}

	var detail inspect.Detail
	b.read("events/"+first, &detail)
	if detail.ID != first || len(detail.Deliveries) != 1 || detail.Request.Path != "/listen.php" {
		t.Errorf("the event is %+v", detail)
	}
	var kept inspect.StoredEvent
	b.read("stored/"+first, &kept)
	if kept.ID != first || len(kept.Record) == 0 {
		t.Errorf("what is stored is %+v", kept)
	}
	var explanation inspect.Explanation
	b.read("explain/"+first, &explanation)
	if explanation.Outcome != inspect.OutcomeAction {
		t.Errorf("the explanation is %+v", explanation)
	}
	var waiting []any
	b.read("backlog", &waiting)
	if len(waiting) != 0 {
		t.Errorf("the backlog is %v", waiting)
	}
	var zone Timezone
	b.read("timezone", &zone)
	if zone.Timezone == "" || zone.Now.IsZero() {
		t.Errorf("the time zone is %+v", zone)
	}
	var turnedAway Rejections
	b.read("rejections", &turnedAway)
	if len(turnedAway.Credentials) != 1 || turnedAway.Rejections == nil {
		t.Errorf("rejections are %+v", turnedAway)
	}
	file := b.do(http.MethodGet, "events/"+first+"/http", "")
	if file.Code != http.StatusOK || !strings.HasPrefix(file.Body.String(), "POST /listen.php HTTP/1.1\n") ||
		!strings.HasPrefix(file.Header().Get("Content-Type"), "text/plain") || strings.Contains(file.Body.String(), "icfm-key") {
		t.Errorf("the request file is %v %s", file.Header(), file.Body)
	}
}

// TestListsAreNeverNull keeps callers from having to tell null from [].
func TestListsAreNeverNull(t *testing.T) {
	b := newBench(t)
	for _, uri := range []string{"activity", "backlog", "catalogue", "parameters", "rejections"} {
		if answer := b.do(http.MethodGet, uri, ""); strings.Contains(answer.Body.String(), "null") || answer.Code != http.StatusOK {
			t.Errorf("%s is answered with %d %s", uri, answer.Code, answer.Body)
		}
	}
}

func TestWrongInputNamesTheField(t *testing.T) {
	b := newBench(t)
	long := strings.Repeat("x", maxValue+1)
	for _, test := range []struct{ method, uri, body, field, says string }{
		{"GET", "activity?since=soon", "", "since", `"soon" is not a time`},
		{"GET", "activity?until=-3d", "", "until", "is not a time"},
		{"GET", "activity?verdict=maybe", "", "verdict", "one of action, ignored, rule_error, disabled"},
		{"GET", "activity?state=done", "", "state", "one of pending, delivered"},
		{"GET", "activity?n=0", "", "n", "a number from 1 to 1000"},
		{"GET", "activity?n=1001", "", "n", "a number from 1 to 1000"},
		{"GET", "activity?n=1e3", "", "n", "a number"},
		{"GET", "activity?after=zz", "", "after", "not a cursor"},
		{"GET", "activity?tenat=x", "", "tenat", "did you mean tenant?"},
		{"GET", "activity?source=a&source=b", "", "source", "more than once"},
		{"GET", "activity?text=" + long, "", "text", "at most 1000 bytes"},
		{"GET", "activity?source=%ff", "", "source", "not text"},
		{"GET", "activity?source=%zz", "", "", "invalid URL escape"},
		{"GET", "status?n=1", "", "n", "takes none"},
		{"GET", "live?text=x", "", "text", "live view"},
		{"GET", "live?after=1", "", "after", "not known"},
		{"GET", "explain/x?by=now", "", "by", "then"},
		{"GET", "fields?source=icfm", "", "event", "missing"},
		{"GET", "snapshots/x", "", "id", "not a number"},
		{"GET", "series?since=1h&until=2h", "", "since", "not before until"},
		{"GET", "series?n=100000", "", "n", "a number"},
		{"POST", "switch", `{"kind":"actoin","off":true}`, "kind", "one of action, event, all"},
		{"POST", "switch", `{"off":true}`, "kind", "missing"},
		{"POST", "switch", `{"kind":"all"}`, "off", "missing"},
		{"POST", "switch", `{"kind":"all","off":true,"for":"soon"}`, "for", "not a duration"},
		{"POST", "switch", `{"kind":"all","off":true,"for":"0s"}`, "for", "not a duration"},
		{"POST", "switch", `{"kind":"all","off":"yes"}`, "off", "cannot be a JSON string"},
		{"POST", "switch", `{"kind":"all","on":true}`, "on", `no member "on"`},
		{"POST", "switch", `{"kind":"all"} {}`, "", "something follows"},
		{"POST", "switch", `{"kind":`, "", "no JSON"},
		{"POST", "switch", `[]`, "", "cannot be a JSON array"},
		{"POST", "cancel", `{}`, "delivery", "give the id"},
		{"POST", "cancel", `{"delivery":"x","action":"y"}`, "delivery", "or else"},
		{"POST", "move", `{"to":"record"}`, "from", "missing"},
		{"POST", "move", `{"from":"record"}`, "to", "missing"},
		{"POST", "send", `{"source":"icfm","values":{"a":1}}`, "values", "JSON number"},
		{"POST", "resend", `{}`, "ids", "give ids"},
		{"POST", "resend", `null`, "ids", "give ids"},
		{"POST", "resend", `{"ids":[]}`, "ids", "give ids"},
		{"POST", "resend", `{"ids":["x"],"filter":{}}`, "ids", "or else"},
		{"POST", "resend", `{"filter":{"after":"1"}}`, "after", "not known"},
		{"POST", "resend", `{"filter":{"since":"soon"}}`, "since", "not a time"},
		{"POST", "resend", `{"filter":{},"configuration":{}}`, "configuration", "no place"},
		{"POST", "decide", `{"ids":3}`, "ids", "JSON number"},
		{"POST", "import-postman", `{"collection":"nothing"}`, "collection", "reading the collection"},
		{"POST", "import-postman", `{"collection":"{\"item\":[]}","environment":"1"}`, "environment", "environment"},
		{"POST", "import-postman", `{"collection":"{\"item\":[]}","choose":["x"]}`, "choose", "no number"},
		{"POST", "import-postman", `{"collection":"{\"item\":[]}","prefix":"-"}`, "prefix", "prefix"},
	} {
		checkFailure(t, test.method+" "+test.uri+" "+test.body, b.do(test.method, test.uri, test.body), http.StatusBadRequest, test.field, test.says)
	}
}

func TestWhatIsNotThere(t *testing.T) {
	b := newBench(t)
	for _, uri := range []string{"", "nothing", "activity/", "activity/x", "events", "events/", "events//http", "events/x/y", "events/00000000", "events/00000000/http", "stored/00000000", "explain/00000000"} {
		checkFailure(t, uri, b.do(http.MethodGet, uri, ""), http.StatusNotFound, "", "finding")
	}
	// Only the admin API reads files of any size.
	checkFailure(t, "merge", b.do(http.MethodPost, "merge", "x"), http.StatusNotFound, "", "finding")
}

func TestMethodsAreChecked(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct{ method, uri, allow string }{
		{"POST", "activity", "GET"},
		{"DELETE", "events/x", "GET"},
		{"GET", "switch", "POST"},
		{"GET", "resend", "POST"},
		{"OPTIONS", "send", "POST"},
	} {
		answer := b.do(test.method, test.uri, "")
		checkFailure(t, test.method+" "+test.uri, answer, http.StatusMethodNotAllowed, "", "use "+test.allow)
		if allow := answer.Header().Get("Allow"); allow != test.allow {
			t.Errorf("%s allows %q, want %q", test.uri, allow, test.allow)
		}
	}
}

// TestBodiesAreJSON: a form, which any site can make a browser send, is refused,
// and so is what is too large.
func TestBodiesAreJSON(t *testing.T) {
	b := newBench(t)
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp", "application/json; ="} {
		request := httptest.NewRequest(http.MethodPost, "/switch", strings.NewReader(`{"kind":"all","off":true}`))
		request.Header.Set("Content-Type", contentType)
		answer := httptest.NewRecorder()
		b.api.ServeHTTP(answer, request)
		checkFailure(t, contentType, answer, http.StatusUnsupportedMediaType, "", "application/json")
	}
	large := `{"reason":"` + strings.Repeat("x", smallBody) + `"}`
	checkFailure(t, "a large body", b.do(http.MethodPost, "switch", large), http.StatusRequestEntityTooLarge, "", "larger than")
}

func TestWithoutARelay(t *testing.T) {
	api := NewAPI(func() (Running, error) { return Running{}, ErrNoRelay })
	answer := httptest.NewRecorder()
	api.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/status", nil))
	checkFailure(t, "status", answer, http.StatusServiceUnavailable, "", "no event_relay is running")
}

func TestAClosedRelay(t *testing.T) {
	b := newBench(t)
	if err := b.runtime.Close(); err != nil {
		t.Fatal(err)
	}
	checkFailure(t, "activity", b.do(http.MethodGet, "activity", ""), http.StatusServiceUnavailable, "", "closed")
}

// FuzzRequests sends requests with any query and body. None may end in a panic
// or an answer that blames the relay.
func FuzzRequests(f *testing.F) {
	b := newBench(f)
	f.Add("activity", "since=2h&n=5&verdict=action", "")
	f.Add("activity", "after=7&tenant=x&source=%C3%BC", "")
	f.Add("resend", "", `{"filter":{"since":"3d"},"dry_run":true}`)
	f.Add("switch", "", `{"kind":"event","name":"icfm:job_saved","off":false,"for":"1d"}`)
	f.Add("import-postman", "", `{"collection":"{\"item\":[{\"name\":\"a\",\"request\":\"http://x/\"}]}"}`)
	f.Fuzz(func(t *testing.T, path, query, body string) {
		request := &http.Request{
			Method: http.MethodGet, URL: &url.URL{Path: "/" + path, RawQuery: query}, Host: "localhost",
			Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
		}
		if body != "" {
			request.Method = http.MethodPost
		}
		if strings.HasPrefix(path, "live") || path == "backup" {
			return
		}
		answer := httptest.NewRecorder()
		err := b.api.Serve(answer, request.WithContext(t.Context()), path)
		var known *Error
		if err != nil && (!errors.As(err, &known) || known.Status >= 500) {
			t.Errorf("%s?%s %s: %v", path, query, body, err)
		}
	})
}
