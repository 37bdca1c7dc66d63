package config

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestActionCheck(t *testing.T) {
	body := func(b Body) Action { return Action{Body: &b} }
	auth := func(a ActionAuth) Action { return Action{Auth: &a} }
	for want, action := range map[string]Action{
		"": {Method: "get", Auth: new(ActionAuth), Body: new(Body), RetryInterval: &RetryInterval{First: 600e9}, RetryFor: RetryOff},

		`reading the method of action a: unknown method "TRACE"; there are GET, HEAD, POST, PUT, PATCH, DELETE, at Caddyfile:7`: {Method: "TRACE"},

		`reading success of action a: "2x" is not a status`:                                                                 {Success: []string{"2x"}},
		`"6xx" is not a status: write a number such as 409, or a class such as 2xx`:                                         {Success: []string{"6xx"}},
		"reading timeout of action a: it must be above zero, not -1s; without it the default counts":                        {Timeout: -1e9},
		"reading concurrency of action a: it must be above zero, not -1":                                                    {Concurrency: -1},
		"reading retry_interval of action a: it must be two durations, the first not longer than the second, not 1m and 1s": {RetryInterval: &RetryInterval{First: 60e9, Cap: 1e9}},
		"the second, not -1s and 0s":         {RetryInterval: &RetryInterval{First: -1e9}},
		"rate of action a: it needs a count": {Rate: &Rate{Count: 5}},

		"reading the body of action a: unknown body kind jsn; did you mean json? What exists: none, form": body(Body{Kind: "jsn"}),
		"body none has no text; it takes: nothing":                                                        body(Body{Text: "x"}),
		"body form has no text; it takes: fields":                                                         body(Body{Kind: BodyForm, Text: "x"}),
		"body forward has no text; it takes: nothing":                                                     body(Body{Kind: BodyForward, Text: "x"}),
		"body json has no fields; it takes: text":                                                         body(Body{Kind: BodyJSON, Text: "1", Fields: []BodyField{{Name: "a"}}}),
		"body xml has no type; it takes: text":                                                            body(Body{Kind: BodyXML, Text: "<a/>", Type: "text/xml"}),
		`"a\nb" cannot be a Content-Type`:                                                                 body(Body{Kind: BodyRaw, Type: "a\nb", Text: "x"}),
		"a field needs a name":                                                                            body(Body{Kind: BodyForm, Fields: []BodyField{{Value: "x"}}}),
		"field a: only the parts of a form have a type":                                                   body(Body{Kind: BodyURLEncoded, Fields: []BodyField{{Name: "a", Type: "text/plain"}}}),

		"reading auth of action a: unknown action auth kind digest":   auth(ActionAuth{Kind: "digest", Value: "x"}),
		`an API key stands in the header or the query, not in "body"`: auth(ActionAuth{Kind: AuthAPIKey, In: "body", Name: "k", Value: "x"}),
		`the header or the query, not in ""`:                          auth(ActionAuth{Kind: AuthAPIKey, Name: "k", Value: "x"}),
		"an API key needs the name":                                   auth(ActionAuth{Kind: AuthAPIKey, In: InQuery, Value: "x"}),
		"api_key is empty and proves nothing":                         auth(ActionAuth{Kind: AuthAPIKey, In: InQuery, Name: "k"}),
		"bearer is empty and proves nothing":                          auth(ActionAuth{Kind: AuthBearer}),
		"bearer has no user; it takes: value":                         auth(ActionAuth{Kind: AuthBearer, User: "u", Value: "x"}),
		"none has no value; it takes: nothing":                        auth(ActionAuth{Value: "x"}),
		"basic has no value; it takes: user, password":                auth(ActionAuth{Kind: AuthBasic, Value: "x"}),
		"basic has neither user nor password":                         auth(ActionAuth{Kind: AuthBasic}),
	} {
		action.Name, action.Place = "a", "Caddyfile:7"
		err := errors.Join(action.Check()...)
		if (err == nil) != (want == "") || !strings.Contains(fmt.Sprint(err), want) && want != "" {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestActionDefaults(t *testing.T) {
	given := Action{Method: "put", RetryInterval: &RetryInterval{First: 600e9}}
	a := given.WithDefaults()
	if a.Method != "PUT" || a.Auth.Kind != AuthNone || a.Body.Kind != BodyNone || a.Timeout != 10e9 || a.Success[0] != "2xx" ||
		a.RetryFor != 24*3600e9 || a.Concurrency != 8 || a.Rate != nil || a.Expires != 0 {
		t.Errorf("defaults are %+v", a)
	}
	if given.RetryInterval.Cap != 0 {
		t.Error("the action itself was changed")
	}
	for _, interval := range []struct{ given, want RetryInterval }{
		{RetryInterval{}, RetryInterval{First: 1e9, Cap: 300e9}},
		{RetryInterval{First: 600e9}, RetryInterval{First: 600e9, Cap: 600e9}},
		{RetryInterval{Cap: 1e8}, RetryInterval{First: 1e8, Cap: 1e8}},
	} {
		if got := (Action{RetryInterval: &interval.given}).WithDefaults(); *got.RetryInterval != interval.want {
			t.Errorf("%v becomes %v", interval.given, got.RetryInterval)
		}
	}
}
