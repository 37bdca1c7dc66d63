package template

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

func TestAuthLoadErrors(t *testing.T) {
	for name, c := range map[string]struct {
		action config.Action
		want   string
	}{
		"colon":           {config.Action{Auth: &config.ActionAuth{Kind: config.AuthBasic, User: "a:b", Password: "x"}}, "auth: the user name holds a colon"},
		"control in user": {config.Action{Auth: &config.ActionAuth{Kind: config.AuthBasic, User: "a\n", Password: "x"}}, "auth: what proves the request holds a control character"},
		"control":         {config.Action{Auth: &config.ActionAuth{Kind: config.AuthBearer, Value: "s3cret\r\nX: y"}}, "auth: what proves the request holds a control character"},
		"twice":           {config.Action{Auth: &config.ActionAuth{Kind: config.AuthBasic, User: "a"}, Headers: []config.NameValue{{Name: "authorization", Value: "x"}}}, "auth: the header Authorization is given too, and auth basic makes it"},
		"twice, bearer":   {config.Action{Auth: &config.ActionAuth{Kind: config.AuthBearer, Value: "x"}, Headers: []config.NameValue{{Name: "Authorization", Value: "{{body.t}}"}}}, "auth: the header Authorization is given too, and auth bearer makes it"},
		"twice, key":      {config.Action{Auth: &config.ActionAuth{Kind: config.AuthAPIKey, In: config.InHeader, Name: "X-Key", Value: "x"}, Headers: []config.NameValue{{Name: "x-key", Value: "x"}}}, "auth: the header X-Key is given too"},
		"twice, URL":      {config.Action{URL: "http://u:p@h/", Auth: &config.ActionAuth{Kind: config.AuthBearer, Value: "x"}}, "auth: user and password stand in the URL too"},
		"URL and key":     {config.Action{URL: "http://u:p@h/", Auth: &config.ActionAuth{Kind: config.AuthAPIKey, In: config.InHeader, Name: "authorization", Value: "x"}}, "Authorization cannot hold an API key"},
		"Host":            {config.Action{Auth: &config.ActionAuth{Kind: config.AuthAPIKey, In: config.InHeader, Name: "host", Value: "x"}}, "auth: Host cannot hold an API key"},
		"framing":         {config.Action{Auth: &config.ActionAuth{Kind: config.AuthAPIKey, In: config.InHeader, Name: "Content-Length", Value: "1"}}, "auth: Content-Length belongs to the connection"},
		"signature":       {config.Action{Auth: &config.ActionAuth{Kind: config.AuthAPIKey, In: config.InHeader, Name: "Webhook-Id", Value: "1"}, Sign: []string{"c2VjcmV0"}}, "auth: Webhook-Id cannot hold an API key"},
		"event names it":  {config.Action{Auth: &config.ActionAuth{Kind: config.AuthAPIKey, In: config.InHeader, Name: "X-{{body.n}}", Value: "1"}}, "auth: {{body.n}} comes with the event and may not name a header"},
		"verbatim":        {config.Action{Auth: &config.ActionAuth{Kind: config.AuthBearer, Value: "{{verbatim(body.t)}}"}}, "auth: at character 1: {{verbatim(body.t)}}: verbatim is for the values of a body"},
		"undefined":       {config.Action{Auth: &config.ActionAuth{Kind: config.AuthBearer, Value: "{{studio_tokn}}"}}, "studio_tokn in action a, auth; did you mean studio_token or body.studio_tokn?"},
		"torn":            {config.Action{Auth: &config.ActionAuth{Kind: config.AuthBearer, Value: "{studio_token}}"}}, "auth: this looks like what caddy fmt leaves"},
	} {
		t.Run(name, func(t *testing.T) {
			c.action.Name, c.action.Method = "a", "POST"
			if c.action.URL == "" {
				c.action.URL = "http://h/"
			}
			_, err := Compile([]config.Action{c.action}, testLanguage(t), Settings{})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got  %v\nwant …%s", err, c.want)
			}
		})
	}
}

// Values of the event can be credentials, and where they cannot, nothing is
// sent.
func TestAuthOfTheEvent(t *testing.T) {
	user := func(value string) (config.ActionAuth, string) {
		return config.ActionAuth{Kind: config.AuthBasic, User: "{{body}}", Password: "p"}, value
	}
	bearer := func(value string) (config.ActionAuth, string) {
		return config.ActionAuth{Kind: config.AuthBearer, Value: "{{body}}"}, value
	}
	key := func(value string) (config.ActionAuth, string) {
		return config.ActionAuth{Kind: config.AuthAPIKey, In: config.InHeader, Name: "X-Key", Value: "k-{{body}}"}, value
	}
	query := func(value string) (config.ActionAuth, string) {
		return config.ActionAuth{Kind: config.AuthAPIKey, In: config.InQuery, Name: "k{{body}}", Value: "{{body}}"}, value
	}
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, c := range []struct {
		make  func(string) (config.ActionAuth, string)
		value string
		// want is a header's value or the query; an error begins with !.
		want string
	}{
		{user, "Bob", basic("Bob:p")}, {user, "Jürgen", basic("Jürgen:p")}, {user, "a:b", "!colon"}, {user, "a\x00", "!control character"}, {user, "", basic(":p")},
		{bearer, "tok", "Bearer tok"}, {bearer, "a\r\nX-Evil: 1", "!control character"}, {bearer, "é", "Bearer é"}, {bearer, "", "!the bearer token is empty"}, {bearer, " ", "!the bearer token is empty"},
		{key, "v", "k-v"}, {key, "\n", "!control character"},
		{query, "", "!the API key is empty"}, {query, "\n", "!the API key is empty"},
		{query, "a&b=c", "first=1&ka%26b%3Dc=a%26b%3Dc"}, {query, "\r\n#", "first=1&k%0D%0A%23=%0D%0A%23"},
	} {
		auth, value := c.make(c.value)
		p := prepare(t, config.Action{URL: "http://h/?first=1", Auth: &auth})
		request, err := p.Render(eventtest.With(value), testDelivery)
		if part, fails := strings.CutPrefix(c.want, "!"); fails {
			if err == nil || !strings.Contains(err.Error(), part) || !strings.HasSuffix(err.Error(), "; not sent") || len(c.value) > 2 && strings.Contains(err.Error(), c.value) {
				t.Errorf("%+v with %q: %v", auth, c.value, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v with %q: %v", auth, c.value, err)
			continue
		}
		got := request.Header.Get("Authorization") + request.Header.Get("X-Key")
		if auth.In == config.InQuery {
			got = request.URL.RawQuery
		}
		if got != c.want {
			t.Errorf("%+v with %q: got %q, want %q", auth, c.value, got, c.want)
		}
		if (c.value == "") != (len(request.Empty()) == 1) {
			t.Errorf("%q: empty are %q", c.value, request.Empty())
		}
	}
}

// Credentials are masked in what is shown also when nobody has declared them a
// secret: in the request, and where the answer repeats them.
func TestAuthIsMasked(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		_, _ = io.WriteString(w, "bad: "+strings.Join([]string{r.Header.Get("Authorization"), password, r.Header.Get("X-Key"), r.URL.RawQuery}, " "))
	}))
	defer target.Close()
	for _, value := range []string{"plainsecret", "{{body}}", "{{spoken}}", "{{studio_token}}", "{{body}}{{spoken}}"} {
		for _, auth := range []config.ActionAuth{
			{Kind: config.AuthBearer, Value: value}, {Kind: config.AuthBasic, User: "somebody", Password: value},
			{Kind: config.AuthAPIKey, In: config.InHeader, Name: "x-key", Value: value}, {Kind: config.AuthAPIKey, In: config.InQuery, Name: "k", Value: value},
		} {
			p := prepare(t, config.Action{URL: target.URL + "/?a=1", Auth: &auth}, config.Parameter{Name: "spoken", Value: "open sesame"})
			request, err := p.Render(eventtest.With("fromevent"), testDelivery)
			if err != nil {
				t.Fatal(err)
			}
			sender := send.NewSender(mustTargets(t), nil)
			result := sender.Current().Send(context.Background(), &request.Request, time.Minute)
			sender.Close()
			for _, shown := range []string{request.String(), result.Response} {
				if !strings.Contains(shown, secret.Masked) {
					t.Errorf("%+v: nothing is masked in %s", auth, shown)
				}
				for _, part := range []string{"plain", "fromevent", "sesame", "s3cret", "c29tZWJvZHk6"} {
					if strings.Contains(shown, part) {
						t.Errorf("%+v: %s", auth, shown)
					}
				}
			}
			if shown := request.String(); auth.In == config.InQuery && !strings.Contains(shown, "/?a=1&k=*** HTTP/1.1") || auth.In == config.InHeader && !strings.Contains(shown, "\nX-Key: ***\n") {
				t.Errorf("%+v: %s", auth, shown)
			}
		}
	}
}

// However long a credential is, its place in the request is masked.
func TestLongAuthIsMasked(t *testing.T) {
	value := strings.Repeat("fromevent", 8<<10)
	for _, auth := range []config.ActionAuth{
		{Kind: config.AuthBearer, Value: "{{body}}"}, {Kind: config.AuthBasic, Password: "{{body}}"},
		{Kind: config.AuthAPIKey, In: config.InHeader, Name: "X-Key", Value: "{{body}}"}, {Kind: config.AuthAPIKey, In: config.InQuery, Name: "k", Value: "{{body}}"},
	} {
		request, err := prepare(t, config.Action{URL: "http://h/", Auth: &auth}).Render(eventtest.With(value), testDelivery)
		if err != nil {
			t.Fatal(err)
		}
		if shown := request.String(); !strings.Contains(shown, secret.Masked) || strings.Contains(shown, "from") || strings.Contains(shown, "ZnJvb") {
			t.Errorf("%+v: %.200s", auth, shown)
		}
	}
}

// A tenant can have credentials of its own, and without any nothing is sent.
func TestAuthByTenant(t *testing.T) {
	p := prepare(t, config.Action{URL: "http://h/", Auth: &config.ActionAuth{Kind: config.AuthBasic, User: "{{site}}", Password: "{{site_password}}"}},
		config.Parameter{Name: "site", Value: "all", Tenants: map[string]string{"200": "two"}},
		config.Parameter{Name: "site_password", Value: "p", Tenants: map[string]string{"200": "{env.own}"}})
	for tenant, want := range map[string]string{"": "all:p", "200": "two:own", "300": "all:p"} {
		e := eventtest.With(nil)
		e.Parameters[event.Tenant] = tenant
		request, err := p.Render(e, testDelivery)
		if err != nil {
			t.Fatal(err)
		}
		if user, password, _ := request.HTTP(context.Background()).BasicAuth(); user+":"+password != want {
			t.Errorf("tenant %q: %s:%s, want %s", tenant, user, password, want)
		}
	}
	_, err := Compile([]config.Action{{Name: "a", Method: "GET", URL: "http://h/", Auth: &config.ActionAuth{Kind: config.AuthBasic, User: "{{site}}", Password: "x"}}},
		testLanguage(t, config.Parameter{Name: "site", Value: "all", Tenants: map[string]string{"200": "a:b"}}), Settings{})
	if want := "action a, auth, with site for tenant 200: the user name holds a colon"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A credential that comes out empty is not sent, and the reason names what to fill
// in. The configuration loads.
func TestEmptyAuth(t *testing.T) {
	empty := config.Parameter{Name: "empty"}
	blank := config.Parameter{Name: "blank", Value: " \t"}
	some := config.Parameter{Name: "some", Value: "x", Tenants: map[string]string{"acme": "", "other": "y"}}
	for name, c := range map[string]struct {
		auth   config.ActionAuth
		tenant string
		// want is the error, "" if the request is sent.
		want string
	}{
		"bearer":            {auth: config.ActionAuth{Kind: config.AuthBearer, Value: "{{empty}}"}, want: "auth: the bearer token is empty; not sent: fill in parameter empty VALUE"},
		"blank":             {auth: config.ActionAuth{Kind: config.AuthBearer, Value: " {{blank}}"}, want: "auth: the bearer token is empty; not sent: fill in parameter blank VALUE"},
		"two parameters":    {auth: config.ActionAuth{Kind: config.AuthBearer, Value: "{{empty}}{{blank}}"}, want: "auth: the bearer token is empty; not sent: fill in parameter empty VALUE, parameter blank VALUE"},
		"literal":           {auth: config.ActionAuth{Kind: config.AuthBearer, Value: " "}, want: "auth: the bearer token is empty; not sent"},
		"event":             {auth: config.ActionAuth{Kind: config.AuthBearer, Value: "{{body.t}}"}, want: "auth: the bearer token is empty, because the event has nothing for {{body.t}}; not sent"},
		"both":              {auth: config.ActionAuth{Kind: config.AuthBearer, Value: "{{empty}}{{body.t}}"}, want: "auth: the bearer token is empty, because the event has nothing for {{body.t}}; not sent: fill in parameter empty VALUE"},
		"key in header":     {auth: config.ActionAuth{Kind: config.AuthAPIKey, In: config.InHeader, Name: "X-Key", Value: "{{empty}}"}, want: "auth: the API key is empty; not sent: fill in parameter empty VALUE"},
		"key in query":      {auth: config.ActionAuth{Kind: config.AuthAPIKey, In: config.InQuery, Name: "k", Value: "{{empty}}"}, want: "auth: the API key is empty; not sent: fill in parameter empty VALUE"},
		"key with a prefix": {auth: config.ActionAuth{Kind: config.AuthAPIKey, In: config.InHeader, Name: "X-Key", Value: "k{{empty}}"}},
		"basic":             {auth: config.ActionAuth{Kind: config.AuthBasic, User: "{{empty}}", Password: "{{blank}}"}, want: "auth: user and password are empty; not sent: fill in parameter empty VALUE, parameter blank VALUE"},
		"basic, event":      {auth: config.ActionAuth{Kind: config.AuthBasic, User: "{{body.u}}", Password: "{{empty}}"}, want: "auth: user and password are empty, because the event has nothing for {{body.u}}; not sent: fill in parameter empty VALUE"},
		"no password":       {auth: config.ActionAuth{Kind: config.AuthBasic, User: "u", Password: "{{empty}}"}},
		"no user":           {auth: config.ActionAuth{Kind: config.AuthBasic, User: "{{empty}}", Password: "p"}},
		"tenant":            {auth: config.ActionAuth{Kind: config.AuthBearer, Value: "{{some}}"}, tenant: "acme", want: `auth: the bearer token is empty; not sent: fill in tenant "acme" VALUE in parameter some`},
		"other tenant":      {auth: config.ActionAuth{Kind: config.AuthBearer, Value: "{{some}}"}, tenant: "other"},
		"no tenant":         {auth: config.ActionAuth{Kind: config.AuthBearer, Value: "{{some}}"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := prepare(t, config.Action{URL: "http://h/", Auth: &c.auth}, empty, blank, some)
			e := eventtest.With(map[string]any{})
			e.Parameters[event.Tenant] = c.tenant
			_, err := p.Render(e, testDelivery)
			if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// User and password in the URL are credentials as well.
func TestEmptyAuthInURL(t *testing.T) {
	empty := config.Parameter{Name: "empty"}
	for url, sent := range map[string]bool{"http://{{empty}}:{{empty}}@h/": false, "http://{{empty}}@h/": false, "http://u:{{empty}}@h/": true, "http://{{empty}}:p@h/": true} {
		_, err := prepare(t, config.Action{URL: url}, empty).Render(eventtest.With(nil), testDelivery)
		if (err == nil) != sent || err != nil && !strings.Contains(err.Error(), "url: user and password are empty; not sent") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// An Authorization header that is written by hand proves nothing either when all of
// its tags come out blank.
func TestEmptyAuthorizationHeader(t *testing.T) {
	empty := config.Parameter{Name: "empty"}
	some := config.Parameter{Name: "some", Value: "x", Tenants: map[string]string{"acme": " "}}
	const nothing = "there is nothing to prove the request with"
	for _, c := range []struct {
		name, value, tenant, want string
	}{
		{"Authorization", "Bearer {{empty}}", "", "header Authorization: " + nothing + "; not sent: fill in parameter empty VALUE"},
		{"authorization", "{{empty}}", "", "header authorization: " + nothing + "; not sent: fill in parameter empty VALUE"},
		{"Authorization", "Bearer {{body.t}}", "", "header Authorization: " + nothing + ", because the event has nothing for {{body.t}}; not sent"},
		{"Authorization", "Bearer {{some}}", "acme", `header Authorization: ` + nothing + `; not sent: fill in tenant "acme" VALUE in parameter some`},
		{"Authorization", "Bearer {{some}}", "other", ""},
		{"Authorization", "Key {{empty}} {{some}}", "", ""},
		{"Authorization", "{{some}}", "", ""},
		{"Authorization", "Negotiate", "", ""},
		{"X-Name", "Bearer {{empty}}", "", ""},
	} {
		p := prepare(t, config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: c.name, Value: c.value}}}, empty, some)
		e := eventtest.With(map[string]any{})
		e.Parameters[event.Tenant] = c.tenant
		_, err := p.Render(e, testDelivery)
		if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && got != c.want {
			t.Errorf("%s: %s: got  %s\nwant %s", c.name, c.value, got, c.want)
		}
	}
}
