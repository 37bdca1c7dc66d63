package receive_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/config/configtest"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

func TestSubject(t *testing.T) {
	order := config.Field{Name: "order_id", Expression: "body.order.id"}
	customer := config.Field{Name: "customer", Expression: "body.order.customer"}
	const body = `{"event":"order_paid","order":{"id":4711,"customer":"Müller & Söhne","items":[1]},"note":"a\nb\u202ec","secret":"tok-12345678","empty":"{{tag}}"}`
	for name, c := range map[string]struct {
		source      config.Source
		body        string
		want, error string
	}{
		"a template":             {config.Source{Subject: "Order {{body.order.id}} of {{ upper(body.order.customer) }}"}, body, "Order 4711 of MÜLLER & SÖHNE", ""},
		"one line":               {config.Source{Subject: " {{body.note}}\n{{event}} "}, body, "a bc order_paid", ""},
		"a part is absent":       {config.Source{Subject: "{{body.order.id}} {{body.title}}"}, body, "4711", ""},
		"all is absent":          {config.Source{Subject: "Title {{body.title}}{{body.empty}}", Fields: []config.Field{order}}, body, "order_id 4711", ""},
		"nothing is asked for":   {config.Source{Subject: "Door bell"}, body, "Door bell", ""},
		"an object":              {config.Source{Subject: "{{body.order.items}}"}, body, "[1]", ""},
		"an error":               {config.Source{Subject: "x {{ body.note > 5 }}", Fields: []config.Field{order}}, body, "", "evaluating `body.note > 5` compares text with a number"},
		"fields":                 {config.Source{Fields: []config.Field{{Name: "title", Expression: "body.title"}, order, {Name: "items", Expression: "body.order.items"}, customer}}, body, "order_id 4711 · customer Müller & Söhne", ""},
		"a call before fields":   {config.Source{Fields: []config.Field{order, {Name: "caller_id", Expression: "body.order.customer"}, {Name: "called_number", Expression: "body.order.id"}}}, body, "Müller & Söhne → 4711", ""},
		"a field of a template":  {config.Source{Subject: "{{order_id}}", Fields: []config.Field{order}}, body, "4711", ""},
		"none":                   {config.Source{}, body, "", ""},
		"off":                    {config.Source{Preset: "icfm", Subject: "off", Fields: []config.Field{order}}, `{"event":"job_saved","id":5}`, "", ""},
		"redacted":               {config.Source{Subject: "{{body.order.customer}} {{raw_body contains \"Söhne\"}}", Redact: []string{"body.order.customer"}}, body, "false", ""},
		"redacted for a preset":  {config.Source{Preset: "icfm", Redact: []string{"body.project.name"}}, `{"event":"project_created","project":{"id":7,"name":"Secret"}}`, "Project 7", ""},
		"a redacted caller":      {config.Source{Preset: "pbxware", Redact: []string{"caller_id"}}, `{"event":"ringing","caller_id":"0207","extension":"100","called_number":"200"}`, "unknown → 100", ""},
		"redacted of publisher":  {config.Source{Preset: "pbxware", Redact: []string{"caller_id"}}, `{"event":"event_call_started","uid":"1","is_incoming":true,"number":"100","connected_num":"0207","connected_name":"Zoë"}`, "Zoë", ""},
		"long":                   {config.Source{Subject: "{{body.order.id}}"}, `{"event":"e","order":{"id":"` + strings.Repeat("ü", 5000) + `"}}`, strings.Repeat("ü", 199) + "…", ""},
		"of a template's preset": {config.Source{Preset: "icfm", Subject: "{{body.title}}"}, `{"event":"job_saved","id":5}`, "Job 5", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.source.Name, c.source.Auth = "s", bearer("k")
			r := newRelay(t, receive.Options{}, c.source)
			request := post("", "application/json", c.body)
			request.Header.Set("Authorization", "Bearer k")
			e := r.one(t, request)
			if e.Subject != c.want || (e.SubjectError == "") != (c.error == "") || !strings.HasPrefix(e.SubjectError, c.error) {
				t.Errorf("the subject is %q, and the error %q", e.Subject, e.SubjectError)
			}
			if c.error != "" && (len(e.Notes()) != 1 || !strings.Contains(e.Notes()[0], c.error)) {
				t.Errorf("the notes are %q", e.Notes())
			}
		})
	}
}

// What proves a request is in no subject, wherever a template looks for it.
func TestSubjectHoldsNoCredential(t *testing.T) {
	r := newRelay(t, receive.Options{}, config.Source{Name: "s", Auth: []config.Credential{queryKey("key-12345678")},
		Subject: `{{query.key}}{{headers["X-Copy"]}}{{path}}{{raw_body}}{{body.copy}} {{event}}`})
	request := post("/saved?key=key-12345678", "application/json", `{"copy":"key-12345678"}`)
	request.Header.Set("X-Copy", "key-12345678")
	if e := r.one(t, request); strings.Contains(e.Subject, "12345678") || !strings.HasSuffix(e.Subject, " saved") {
		t.Errorf("the subject is %q", e.Subject)
	}
}

// A batch has a subject for each event.
func TestSubjectsOfBatch(t *testing.T) {
	r := newRelay(t, receive.Options{}, config.Source{Name: "s", Auth: bearer("k"), Subject: "No. {{body.id}}"})
	request := post("/saved", "application/json", `[{"id":1},{"id":2}]`)
	request.Header.Set("Authorization", "Bearer k")
	received, err := r.Receive(request, origin)
	if err != nil || len(received.Events) != 2 || received.Events[0].Subject != "No. 1" || received.Events[1].Subject != "No. 2" {
		t.Errorf("got %+v, %v", received, err)
	}
}

func TestWrongSubjects(t *testing.T) {
	l, err := language.New(language.Definitions{
		Sources:    []language.Source{{Name: "s"}},
		Parameters: configtest.Resolved(config.Parameter{Name: "studio", Value: "London"}, config.Parameter{Name: "token", Value: "{env.T}"}, config.Parameter{Name: "holds", Value: "a {{token}}"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for template, want := range map[string]string{
		"{{studio}} {{body.id}}": "",
		"{{token}}":              "source s, subject: at character 1: parameter token is secret",
		"x {{upper(holds)}}":     "source s, subject: at character 3: parameter holds is secret",
		"{{bodi.id}}":            `unknown name "bodi"`,
		"{{body.id":              "is not closed",
		"{body.id}}":             "caddy fmt",
		"{{verbatim(body.id)}}":  "write it without verbatim",
		"{{subject}}":            "a subject cannot hold itself",
		"{{nope}}{{neither}}":    "neither",
	} {
		_, err := receive.New([]config.Source{{Name: "s", Place: "Caddyfile:3", Auth: bearer("k"), Subject: template}}, l, receive.Options{})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "at Caddyfile:3")) {
			t.Errorf("%s: %v, want %q", template, err, want)
		}
	}
}

func FuzzSubject(f *testing.F) {
	for _, body := range []string{`{"project":{"id":1,"name":"x"}}`, `{"po":[1],"job":{"job":{"job":{"job":{}}}}}`, `{"number":"1","connected_num":"2","is_incoming":true}`, `[1]`, `<a b="c"/>`} {
		f.Add(body)
	}
	sources := []config.Source{
		{Name: "icfm", Preset: "icfm", Auth: bearer("a")}, {Name: "pbx", Preset: "pbxware", Auth: bearer("b")},
		{Name: "own", Auth: bearer("c"), Subject: "{{body}} {{raw_body}} {{body.name}}"},
	}
	r := newRelay(f, receive.Options{}, sources...)
	f.Fuzz(func(t *testing.T, body string) {
		for _, key := range []string{"a", "b", "c"} {
			request := post("/project_created", "", body)
			request.Header.Set("Authorization", "Bearer "+key)
			received, err := r.Receive(request, origin)
			if err != nil {
				if status(err) >= http.StatusInternalServerError {
					t.Fatal(err)
				}
				continue
			}
			for _, e := range received.Events {
				checkEvent(t, e)
			}
		}
	})
}
