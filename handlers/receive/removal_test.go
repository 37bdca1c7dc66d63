package receive_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// checkNoSecret searches everything of an event, as it would be stored, for
// secrets.
func checkNoSecret(t testing.TB, e *event.Event, secrets ...string) {
	t.Helper()
	shown, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	all := append(append(shown, e.Record()...), e.RawBody...)
	for _, secret := range secrets {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("%q is in the event: %s", secret, all)
		}
	}
}

// TestCredentialsRemoved posts requests that carry credentials of several
// sources at once, in several ways.
func TestCredentialsRemoved(t *testing.T) {
	const secret = "a-secret-of-some-length"
	credentials := func(value string) []config.Credential {
		return []config.Credential{
			{Kind: auth.Bearer, Values: []string{value}},
			{Kind: auth.Basic, User: "u", Password: value},
			{Kind: auth.APIKey, In: auth.InHeader, Name: "X-Key", Values: []string{value}},
			{Kind: auth.APIKey, In: auth.InQuery, Name: "key", Values: []string{value}},
			{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: []string{value}},
			{Kind: auth.Path, Values: []string{value}},
		}
	}
	r := newRelay(t, receive.Options{},
		config.Source{Name: "a", Auth: credentials(secret)},
		config.Source{Name: "b", Auth: append(credentials("b-"+secret), config.Credential{
			Kind: auth.APIKey, In: auth.InQuery, Name: "other", Values: []string{"short"}})},
		config.Source{Name: "elsewhere", Allow: []string{"192.0.2.0/24"}, Auth: []config.Credential{
			{Kind: auth.APIKey, In: auth.InQuery, Name: "third", Values: []string{"elsewhere-secret"}},
			{Kind: auth.APIKey, In: auth.InBody, Name: "third", Values: []string{"elsewhere-secret"}},
			{Kind: auth.Path, Values: []string{"elsewhere-secret"}},
		}})
	all := func(request *http.Request) {
		request.Header.Set("Authorization", "Bearer "+secret)
		request.Header.Set("Proxy-Authorization", "Bearer "+secret)
		request.Header.Set("Cookie", "session="+secret)
		request.Header.Set("X-Key", "stale-"+secret)
		request.Header.Set("Referer", "https://events.example.com/?other=short&key="+secret)
	}
	for name, test := range map[string]struct {
		rest, contentType, body string
		change                  func(*http.Request)
	}{
		"JSON":             {"/x/" + secret + "?key=" + secret + "&key=again-" + secret + "&other=short", "application/json", `{"token":"` + secret + `","id":5}`, all},
		"repeated":         {"?key=" + secret, "application/json", `{"token":"` + secret + `","token":"x","id":5}`, nil},
		"escaped":          {"?key=" + secret, "application/json", `{"token":"\u0061-secret-of-some-length","t\u006fken":"stale","id":5}`, nil},
		"form":             {"?key=" + secret, "application/x-www-form-urlencoded", "id=5&token=" + secret + "&token=%61-secret-of-some-length", nil},
		"multipart":        {"?key=" + secret, "multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n" + secret + "\r\n--b\r\nContent-Disposition: form-data; name=\"id\"\r\n\r\n5\r\n--b--\r\n", nil},
		"XML":              {"?key=" + secret, "text/xml", "<a><token>" + secret + "</token><id>5</id></a>", nil},
		"broken":           {"?key=" + secret, "application/json", `{"token":"` + secret + `","name":"Bob "B" Lee","id":5}`, nil},
		"text in text":     {"?key=" + secret, "application/json", `"{\"token\":\"` + secret + `\",\"id\":5}"`, nil},
		"repeated URL":     {"?key=" + secret, "application/json", `{"meta":{"url":"https://e.example.com/?key=` + secret + `"},"id":5}`, nil},
		"repeated headers": {"?key=" + secret + "&copy=" + secret, "application/json", `{"id":5}`, with("X-Original-Url", "/?key="+secret)},
		"repeated path":    {"/" + secret + "/x/" + secret, "application/json", `{"id":5}`, nil},
		"of others":        {"/x/elsewhere-secret?key=" + secret + "&third=elsewhere-secret", "application/json", `{"third":"elsewhere-secret","id":5}`, nil},
		"basic":            {"", "application/json", `{"id":5}`, basic("u", secret)},
	} {
		t.Run(name, func(t *testing.T) {
			request := post(test.rest, test.contentType, test.body)
			if test.change != nil {
				test.change(request)
			}
			e := r.one(t, request)
			checkNoSecret(t, e, "secret-of", "elsewhere-secret", "short", "stale", base64.StdEncoding.EncodeToString([]byte("u:"+secret)))
			if id := r.value(t, e, `string(body.id ?? body.a.id)`); id != "5" {
				t.Errorf("id is %v in %s", id, e.RawBody)
			}
			checkEvent(t, e)
		})
	}
}

// TestRepeatedForms checks that a credential which a sender repeats is removed
// in whichever way it is written.
func TestRepeatedForms(t *testing.T) {
	const secret = "a secret/of+some&length=é"
	const plain = "another-secret-without-any"
	forms := []string{
		secret,
		"a+secret%2Fof%2Bsome%26length%3D%C3%A9",
		"a%20secret%2fof%2bsome%26length%3d%c3%a9",
		"a%20secret%2Fof+some&length=%C3%A9",
		"a%20secret/of+some&length=%C3%A9",
		"a+secret/of%2Bsome%26length%3D%C3%A9",
		`a secret\/of+some&length=é`,
		`a secret\/of+some\u0026length=é`,
		`a%20secret\/of+some\u0026length=%C3%A9`,
		plain,
	}
	r := newRelay(t, receive.Options{}, config.Source{Name: "a", Auth: []config.Credential{
		queryKey(secret), {Kind: auth.Bearer, Values: []string{plain}}}})
	for _, form := range forms {
		request := post("?key=a+secret%2Fof%2Bsome%26length%3D%C3%A9&again="+url.QueryEscape(form), "application/json",
			`{"url":"https://e.example.com/?key=`+form+`&x=1","id":5}`)
		request.Header.Set("Authorization", "Bearer "+plain)
		request.Header.Set("X-Original-Url", "/?key="+form)
		e := r.one(t, request)
		checkNoSecret(t, e, "secret", "some", "length")
		if r.value(t, e, "body.id") != int64(5) || !strings.HasSuffix(r.value(t, e, "body.url").(string), "*&x=1") {
			t.Errorf("%s: the rest has changed: %s", form, e.RawBody)
		}
		checkEvent(t, e)
	}
}

// TestRepeatedElsewhere checks that whatever proved a request is blanked where it
// is repeated inside other texts, and that the rest stays. Values below the bound
// stay, because they could be words.
func TestRepeatedElsewhere(t *testing.T) {
	const secret = "k3y-f0r-us"
	header := func(name, value string) http.Header { return http.Header{name: {value}} }
	basic := base64.StdEncoding.EncodeToString([]byte("pbx:" + secret))
	bodyKey := config.Credential{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: []string{secret}}
	for name, test := range map[string]struct {
		credential config.Credential
		rest       string
		header     http.Header
		body, want string // of body.note
	}{
		"query in body":       {queryKey(secret), "?key=" + secret, nil, `{"note":"key=k3y-f0r-us!"}`, "key=**********!"},
		"query escaped":       {queryKey(secret), "?key=" + secret, nil, `{"note":"key=\u006b3y-f0r-us!"}`, "key=**********!"},
		"query in other key":  {queryKey(secret), "?key=" + secret + "&a" + secret + "=1&b=x" + secret, nil, `{"note":"n"}`, "n"},
		"query as body key":   {queryKey(secret), "?key=" + secret, nil, `{"note":"n","\u006b3y-f0r-us":1}`, "n"},
		"query in UTF-16":     {queryKey(secret), "?key=" + secret, nil, "\xff\xfe" + utf16LE(`{"note":"key=k3y-f0r-us"}`), "key=**********"},
		"bearer in header":    {config.Credential{Kind: auth.Bearer, Values: []string{secret}}, "", http.Header{"Authorization": {"Bearer " + secret}, "X-Forwarded-Auth": {"Bearer " + secret}}, `{"note":"n"}`, "n"},
		"password in body":    {config.Credential{Kind: auth.Basic, User: "pbx", Password: secret}, "", header("Authorization", "Basic "+basic), `{"note":"https://pbx:k3y-f0r-us@example.com"}`, "https://**************@example.com"},
		"password alone":      {config.Credential{Kind: auth.Basic, User: "pbx", Password: secret}, "", header("Authorization", "Basic "+basic), `{"note":"it is k3y-f0r-us"}`, "it is **********"},
		"basic as base64":     {config.Credential{Kind: auth.Basic, User: "pbx", Password: secret}, "", header("Authorization", "Basic "+basic), `{"note":"Basic ` + basic + `"}`, "Basic " + strings.Repeat("*", len(strings.TrimRight(basic, "="))) + strings.Repeat("=", strings.Count(basic, "="))},
		"body key elsewhere":  {bodyKey, "", nil, `{"token":"k3y-f0r-us","note":"key=k3y-f0r-us!"}`, "key=**********!"},
		"body key of a form":  {bodyKey, "", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, "token=k3y-f0r-us&note=" + url.QueryEscape("key=k3y-f0r-us!"), "key=**********!"},
		"body key in broken":  {bodyKey, "", nil, `{"token":"k3y-f0r-us","note":"key=k3y-f0r-us!","x":"Bob "B" Lee"}`, "key=**********!"},
		"path token":          {config.Credential{Kind: auth.Path, Values: []string{secret}}, "/" + secret, nil, `{"note":"/listen.php/k3y-f0r-us"}`, "/listen.php/**********"},
		"percent-encoded URL": {queryKey("k3y f0r us"), "?key=k3y%20f0r%20us", nil, `{"note":"?key=k3y%20f0r%20us&x=1"}`, "?key=" + strings.Repeat("*", 14) + "&x=1"},
	} {
		t.Run(name, func(t *testing.T) {
			request := post(test.rest, "application/json", test.body)
			for name, values := range test.header {
				request.Header[name] = values
			}
			r := newRelay(t, receive.Options{}, config.Source{Name: "a", Auth: []config.Credential{test.credential}})
			e := r.one(t, request)
			if got := r.value(t, e, "body.note"); got != test.want {
				t.Errorf("the note is %q, want %q", got, test.want)
			}
			checkNoSecret(t, e, secret, "f0r", basic)
			checkEvent(t, e)
		})
	}
	e := newRelay(t, receive.Options{}, config.Source{Name: "a", Auth: []config.Credential{queryKey("project")}}).
		one(t, post("?key=project", "application/json", `{ "note": "the project" }`))
	if string(e.RawBody) != `{ "note": "the project" }` {
		t.Errorf("a word that is a key is blanked: %s", e.RawBody)
	}
}

// utf16LE returns a text of ASCII in UTF-16.
func utf16LE(text string) string {
	var wide strings.Builder
	for _, c := range []byte(text) {
		wide.Write([]byte{c, 0})
	}
	return wide.String()
}

// TestOthersKeysAreData checks that a key which is a credential of another
// source only is data of this one.
func TestOthersKeysAreData(t *testing.T) {
	r := newRelay(t, receive.Options{},
		config.Source{Name: "a", Auth: []config.Credential{queryKey("a-key")}},
		config.Source{Name: "b", Auth: bearer("b")})
	request := post("?key=data", "application/json", "{}")
	request.Header.Set("Authorization", "Bearer b")
	if e := r.one(t, request); e.Query["key"][0] != "data" {
		t.Errorf("query is %v", e.Query)
	}
}

// TestHeadersOfOtherMounts checks that a header in which a source of another
// mount expects its credential is data here, unless it holds that credential.
func TestHeadersOfOtherMounts(t *testing.T) {
	r := newRelay(t, receive.Options{},
		config.Source{Name: "here", Auth: []config.Credential{
			{Kind: auth.APIKey, In: auth.InHeader, Name: "X-Here", Values: []string{"here-key"}}}},
		config.Source{Name: "there", Auth: []config.Credential{
			{Kind: auth.APIKey, In: auth.InHeader, Name: "X-There", Values: []string{"there-key"}},
			{Kind: auth.HMAC, Name: "X-Sum", Algorithm: "sha256", Values: []string{"k"}},
			{Kind: auth.StandardWebhooks, Values: []string{"whsec_a2V5"}}}})
	for name, test := range map[string]struct {
		sources []string
		there   string
		kept    map[string]bool
	}{
		"another mount":       {[]string{"here"}, "data", map[string]bool{"X-Here": false, "X-There": true, "X-Sum": true, "Svix-Signature": true}},
		"its key, copied":     {[]string{"here"}, "there-key", map[string]bool{"X-Here": false, "X-There": false, "X-Sum": true, "Svix-Signature": true}},
		"the same mount":      {[]string{"here", "there"}, "data", map[string]bool{"X-Here": false, "X-There": false, "X-Sum": false, "Svix-Signature": false}},
		"a mount for anybody": {nil, "data", map[string]bool{"X-Here": false, "X-There": false, "X-Sum": false, "Svix-Signature": false}},
	} {
		t.Run(name, func(t *testing.T) {
			request := post("?event=x", "application/json", "{}")
			request.Header.Set("X-Here", "here-key")
			request.Header.Set("X-There", test.there)
			request.Header.Set("X-Sum", "abc")
			request.Header.Set("Svix-Signature", "abc")
			from := origin
			from.Sources = test.sources
			received, err := r.Receive(request, from)
			if err != nil {
				t.Fatal(err)
			}
			for header, want := range test.kept {
				if _, kept := received.Events[0].Headers[header]; kept != want {
					t.Errorf("%s kept: %v, want %v", header, kept, want)
				}
			}
		})
	}
}

// TestKept checks that what is no credential stays as it came.
func TestKept(t *testing.T) {
	const body = ` {"b": 1.10, "a": "é\u00e9", "event": "x"} `
	r := newRelay(t, receive.Options{}, config.Source{Name: "a", Auth: []config.Credential{queryKey("a-key")}})
	request := post("?key=a-key&a=1&a=2&b=", "application/json", body)
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	request.Header.Set("Traceparent", trace)
	e := r.one(t, request)
	if string(e.RawBody) != body || !e.BodyIsRaw {
		t.Errorf("raw body is %q (%v)", e.RawBody, e.BodyIsRaw)
	}
	if want := map[string][]string{"a": {"1", "2"}, "b": {""}}; !reflect.DeepEqual(e.Query, want) {
		t.Errorf("query is %v", e.Query)
	}
	if e.Headers["Traceparent"][0] != trace || e.Headers["Content-Type"][0] != "application/json" {
		t.Errorf("headers are %v", e.Headers)
	}
	if request.Header.Get("Traceparent") != trace || request.URL.RawQuery != "key=a-key&a=1&a=2&b=" {
		t.Error("the request was changed")
	}
}

func TestRedact(t *testing.T) {
	source := open(config.Source{Preset: "pbxware", Redact: []string{
		"body.customer.phone", `body.customer["first name"]`, "body.people.phone", "query.phone", "headers.x-phone", "X-Other", "caller_id"}})
	for name, test := range map[string]struct {
		rest, contentType, body string
		want                    string // of the raw body
	}{
		"object":     {"", "application/json", `{"id":10.0,"customer":{"phone":"555~1","first name":"555~2","city":"York"}}`, `{"customer":{"city":"York"},"id":10.0}`},
		"list":       {"", "application/json", `{"people":[{"phone":"555~1","n":1},{"n":2},"x"]}`, `{"people":[{"n":1},{"n":2},"x"]}`},
		"repeated":   {"", "application/json", `{"customer":{"phone":"555~1"},"customer":{"phone":"555~2"}}`, `{"customer":{}}`},
		"text":       {"", "application/x-www-form-urlencoded", `customer=%7B%22phone%22:%22555~1%22%7D&id=5`, `{"customer":{},"id":"5"}`},
		"unreadable": {"", "application/x-www-form-urlencoded", `customer=%7B%22phone%22:555~1%7D&id=5`, `{"id":"5"}`},
		"broken":     {"", "application/json", `{"customer":{"phone":"555~1"},"x":"Bob "B" 555","id":5}`, `{"customer":{},"id":5,"x":"Bob \"B\" 555"}`},
		"rest":       {"", "application/json", `{"id":5} customer 555~1`, `{"id":5}`},
		"batch":      {"", "application/json", `[{"people":[{"phone":"555~1"}]}]`, `{"people":[{}]}`},
		"parameter":  {"?CALLER_ID=555~1&tenant=1", "application/json", `{"Caller_Id":"555~2","tenant":"2"}`, `{"tenant":"2"}`},
		"request":    {"?phone=555~1", "application/json", `{"id":5}`, `{"id":5}`},
		"query keys": {"?Phone=555~1&phone[]=555~2&PHONE[a]=555~3&caller_id[]=555~4", "application/json", `{"id":5}`, `{"id":5}`},
		"form keys": {"", "application/x-www-form-urlencoded",
			`customer[phone]=555~1&customer[first+name]=555~2&customer[city]=York&people[0][phone]=555~3&people[][phone][]=555~4&people[0][n]=1&customers[phone]=1&customer[=2`,
			`{"customer":{"city":"York"},"customer[":"2","customers":{"phone":"1"},"people":[{"n":"1"},{}]}`},
		"form key gaps": {"", "application/x-www-form-urlencoded", `people[3][phone]=555~1&people[7][phone][x]=555~2&people[7][n]=1&customer=1&customer[phone]=555~3`,
			`{"customer":"1","people":{"3":{},"7":{"n":"1"}}}`},
		"not there": {"", "application/json", `{ "customer": "York" }`, `{ "customer": "York" }`},
	} {
		t.Run(name, func(t *testing.T) {
			request := post(test.rest, test.contentType, test.body)
			request.Header.Set("X-Phone", "555~3")
			request.Header.Set("X-Other", "555~4")
			e := newRelay(t, receive.Options{}, source).one(t, request)
			if string(e.RawBody) != test.want {
				t.Errorf("raw body is %s, want %s", e.RawBody, test.want)
			}
			checkNoSecret(t, e, "555~")
			checkEvent(t, e)
			if e.Parameters[event.CallerID] != nil {
				t.Error("caller_id is still there")
			}
			if strings.HasPrefix(test.want, "{\"") && e.Headers["Content-Type"][0] != "application/json" && test.contentType != "application/json" {
				t.Errorf("the body is JSON now, and declared as %v", e.Headers["Content-Type"])
			}
		})
	}
}

// TestRedactMapped checks that a redacted parameter does not stay in the body
// under the key that the preset maps it from.
func TestRedactMapped(t *testing.T) {
	const flat = `"linked_id":"call-7.1","uid":"leg-7.2","number":"tel-1","connected_num":"tel-2","connected_name":"Ann Lee","duration":9,` +
		`"tenant_code":"code-200","is_incoming":%s,"is_pbx_user":true,"event_time_info":{"date":"2026-01-02","time":"03:04:05","timestamp":1700000000}`
	for _, test := range []struct {
		redact   string
		gone     []string
		incoming bool
		kept     event.Parameter
		value    any
	}{
		{"call_id", []string{"call-7.1", "leg-7.2"}, false, event.CallerID, "tel-1"},
		{"tenant", []string{"code-200"}, false, event.CallID, "call-7.1"},
		{"caller_id", []string{"tel-"}, false, event.Direction, "outbound"},
		{"caller_id", []string{"tel-"}, true, event.CallingName, "Ann Lee"},
		{"called_number", []string{"tel-"}, false, event.CallID, "call-7.1"},
		{"calling_name", []string{"Ann Lee"}, true, event.Extension, "tel-1"},
		{"extension", []string{"tel-1"}, true, event.CallingName, "Ann Lee"},
		{"direction", []string{"is_incoming"}, false, event.Extension, "tel-1"},
		{"duration", []string{`"duration":9`}, false, event.CallerID, "tel-1"},
		{"date", []string{"2026-01-02"}, false, event.Time, "03:04:05"},
		{"time", []string{"03:04:05"}, false, event.Date, "2026-01-02"},
		{"unix_time", []string{"1700000000"}, false, event.Date, "2026-01-02"},
		{"call_id tenant", []string{"call-7.1", "leg-7.2", "code-200"}, false, event.CallerID, "tel-1"},
	} {
		r := newRelay(t, receive.Options{}, open(config.Source{Preset: "pbxware", Redact: strings.Fields(test.redact)}))
		fields := fmt.Sprintf(flat, strconv.FormatBool(test.incoming))
		text, _ := json.Marshal("{" + fields + "}")
		for form, body := range map[string]string{
			"flat":   `{"event":"event_call_finished",` + fields + `}`,
			"nested": `{"event":"event_call_finished","payload":{` + fields + `}}`,
			"text":   `{"event":"event_call_finished","payload":` + string(text) + `}`,
		} {
			e := r.one(t, post("", "application/json", body))
			checkNoSecret(t, e, test.gone...)
			if e.Parameters[test.kept] != test.value {
				t.Errorf("%s of %s: %v is %v, want %v", test.redact, form, test.kept, e.Parameters[test.kept], test.value)
			}
			checkEvent(t, e)
		}
	}
}

// TestEventsShareNoMemory receives many requests at once whose memory is used again, and
// compares what each event keeps with what its own request had.
func TestEventsShareNoMemory(t *testing.T) {
	r := newRelay(t, receive.Options{}, config.Source{Name: "studio", Auth: []config.Credential{{Kind: auth.APIKey, In: "query", Name: "key", Values: []string{"0123456789"}}}, Events: []config.EventType{{Name: "saved"}}})
	var done sync.WaitGroup
	for sender := range 4 {
		done.Go(func() {
			kept := map[string]*event.Event{}
			for n := range 200 {
				name := fmt.Sprintf("%d-%d", sender, n)
				query := "?key=0123456789"
				switch n % 3 {
				case 1:
					query += "&n=" + name
				case 2:
					query = "?wrong=" + name // refused
				}
				received, err := r.Receive(post("/saved"+query, "application/json", `{"n":"`+name+`"}`), origin)
				if n%3 == 2 {
					if status(err) != http.StatusUnauthorized {
						t.Errorf("%s: got %v, want 401", name, err)
					}
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				kept[name] = received.Events[0]
			}
			for name, e := range kept {
				want := map[string][]string{}
				if n, _ := strconv.Atoi(name[len("0-"):]); n%3 == 1 {
					want["n"] = []string{name}
				}
				if !reflect.DeepEqual(e.Query, want) {
					t.Errorf("%s: the query is %v, want %v", name, e.Query, want)
				}
				if body := map[string]any{"n": name}; !reflect.DeepEqual(e.Body, body) {
					t.Errorf("%s: the body is %v, want %v", name, e.Body, body)
				}
			}
		})
	}
	done.Wait()
}
