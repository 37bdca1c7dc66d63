package postman

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// importText imports a collection.
func importText(t *testing.T, data string, options Options) *Import {
	t.Helper()
	collection, err := Read([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	imported, err := collection.Import(options)
	if err != nil {
		t.Fatal(err)
	}
	return imported
}

// one imports a collection of one request, given as JSON, and perhaps more of
// the collection before it.
func one(t *testing.T, before, request string) (*Import, config.Action) {
	t.Helper()
	imported := importText(t, `{`+before+`"item": [{"name": "a", "request": `+request+`}]}`, Options{})
	if len(imported.Imported) != 1 {
		t.Fatalf("not imported: %+v", imported.Findings)
	}
	return imported, imported.Imported[0].Action.WithDefaults()
}

func (r *Import) has(kind Kind, text string) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Kind == kind && strings.Contains(f.Text, text) })
}

func TestNames(t *testing.T) {
	imported := importText(t, `{"item": [
		{"name": "Create Folder", "request": "http://h/"},
		{"name": "create-folder", "request": "http://h/"},
		{"name": "Tickets", "item": [{"name": "List", "request": "http://h/"}, {"name": "List", "request": "http://h/"}]},
		{"name": "Calls", "item": [{"name": "List", "request": "http://h/"}]},
		{"name": "", "request": "http://h/"}, {"name": null, "request": "http://h/"}, {"name": 7, "request": "http://h/"},
		{"name": "\"quotes\" \n # {{tag}} 日本", "request": "http://h/"},
		{"name": "`+strings.Repeat("long ", 40)+`", "request": "http://h/"}]}`, Options{Prefix: "crm_"})
	var got []string
	for _, one := range imported.Imported {
		got = append(got, one.ActionName)
	}
	want := []string{"crm_create_folder", "crm_create_folder_2", "crm_tickets_list", "crm_tickets_list_2", "crm_calls_list", "crm_request_6", "crm_request_7",
		"crm_7", "crm_quotes_tag", "crm_" + strings.Repeat("long_", 11) + "long"}
	if !slices.Equal(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

// TestNamesAreTaken checks that the name of each action is one that the
// configuration takes.
func TestNamesAreTaken(t *testing.T) {
	for text, want := range map[string]string{
		"Größe ändern": "gro_e_andern", "7 days": "request_7_days", "日本": "request_1", "Обед": "request_1", "ﬁle": "file", "a.b-c": "a_b_c",
	} {
		imported := importText(t, `{"item": [{"name": "`+text+`", "request": "http://h/"}]}`, Options{})
		got := imported.Imported[0].ActionName
		if got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
		if err := names.Check("action", got); err != nil {
			t.Error(err)
		}
	}
}

func TestChoosing(t *testing.T) {
	collection, err := Read([]byte(`{"item": [
		{"name": "Ping", "request": "http://h/"},
		{"name": "Tickets", "item": [
			{"name": "List", "request": "http://h/"},
			{"name": "Old", "item": [{"name": "List", "request": "http://h/"}, {"name": "Ping", "request": "http://h/"}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"": "[1 2 3 4]", "1": "[1]", "3,1": "[1 3]", "ping": "[1 4]", "TICKETS": "[2 3 4]", "Tickets/Old": "[3 4]", "Tickets / Old": "[3 4]", "Old": "[3 4]",
		"Tickets/List": "[2]", "List,1": "[1 2 3]",
	} {
		var options Options
		if words != "" {
			options.Select = strings.Split(words, ",")
		}
		imported, err := collection.Import(options)
		if err != nil {
			t.Errorf("%s: %v", words, err)
			continue
		}
		var got []int
		for _, one := range imported.Imported {
			got = append(got, one.Number)
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s: got %v, want %s", words, got, want)
		}
	}
	if _, err := collection.Import(Options{Select: []string{"Tickts"}}); err == nil || !strings.Contains(err.Error(), `did you mean "Tickets"?`) {
		t.Error(err)
	}
	for _, prefix := range []string{"1", "_a", "a b", "a-", strings.Repeat("a", 40)} {
		if _, err := collection.Import(Options{Prefix: prefix}); err == nil {
			t.Errorf("prefix %q is accepted", prefix)
		}
	}
}

// TestUndefinedParameters puts variables without a value into each kind of
// place: the action compiles all the same, and the host does not exist.
func TestUndefinedParameters(t *testing.T) {
	imported := importText(t, `{"variable": [{"key": "ip", "value": ""}, {"key": "nested", "value": "http://{{inner}}/v1"}], "item": [
		{"name": "a", "request": {"method": "POST", "url": "{{base}}/x/{{segment}}?q={{query}}", "header": [{"key": "{{field}}", "value": "{{value}}"},
			{"key": "Host", "value": "{{virtual}}"}], "body": {"mode": "raw", "raw": "{\"n\": {{number}}, \"t\": \"{{text}}\"}", "options": {"raw": {"language": "json"}}}}},
		{"name": "b", "request": "{{proto}}://{{ip}}:{{port}}/"},
		{"name": "c", "request": "{{nested}}/x"}]}`, Options{})
	if imported.LeftOut != 0 {
		t.Fatal(imported.Findings)
	}
	got := map[string]string{}
	for _, p := range imported.Parameters {
		if !p.Undefined {
			t.Errorf("%s counts as defined", p.Name)
		}
		got[p.Name] = p.Value
	}
	want := map[string]string{"base": "http://base.invalid", "segment": "undefined", "query_value": "", "field": "X-Undefined", "value": "", "virtual": "virtual.invalid",
		"number": "null", "text": "", "proto": "http", "ip_value": "ip-value.invalid", "port": "80", "inner": "inner.invalid"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
	if !imported.has(Flagged, "variable {{ip}} is empty") || !imported.has(Flagged, "variable {{base}} has no value") {
		t.Error(imported.Findings)
	}
	text, err := imported.Caddyfile()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(text[strings.Index(text, "\n"):], "\n\n# Undefined:") {
		t.Errorf("undefined parameters are not on top:\n%s", text)
	}
}

// TestNestedNames puts variables into the names of variables, in each place that
// a value can stand in.
func TestNestedNames(t *testing.T) {
	const variables = `"variable": [{"key": "env", "value": "dev"}, {"key": "base_dev", "value": "http://h"}, {"key": "user_dev", "value": "anna"}, {"key": "n_dev", "value": "7"}],`
	imported, action := one(t, variables, `{"method": "POST", "url": "{{base_{{env}}}}/{{user_{{env}}}}?u={{user_{{env}}}}", "header": [{"key": "X-{{user_{{env}}}}", "value": "{{user_{{env}}}}"}],
		"auth": {"type": "bearer", "bearer": {"token": "{{user_{{env}}}}"}}, "body": {"mode": "raw", "raw": "{\"a\": \"{{user_{{env}}}}\", \"n\": {{n_{{env}}}}}", "options": {"raw": {"language": "json"}}}}`)
	got := fmt.Sprint(action.URL, action.Query, action.Headers, action.Auth.Value, action.Body.Text)
	if want := `{{base_dev}}/{{user_dev}}[{u {{user_dev}}}] [{X-{{user_dev}} {{user_dev}}}]{{user_dev}}{"a": "{{user_dev}}", "n": {{n_dev}}}`; got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	for _, name := range []string{"base", "user", "n"} {
		if !imported.has(Changed, "{{"+name+"_{{env}}}} is {{"+name+"_dev}}, with the values of the file") {
			t.Errorf("nothing is said of %s: %v", name, imported.Findings)
		}
	}
	imported = importText(t, `{`+variables+`"item": [{"name": "a", "request": {"method": "POST", "url": "http://h/", "body": {"mode": "raw", "raw": "{\"a\": {{user_{{env}}}}}", "options": {"raw": {"language": "json"}}}}}]}`, Options{})
	if !imported.has(LeftOut, "the value of {{user_dev}} stands outside of quotes") {
		t.Error(imported.Findings)
	}
}

// TestEmptyValuesAreUndefined: an export leaves out what Postman calls current
// values, so that an empty value counts as none.
func TestEmptyValuesAreUndefined(t *testing.T) {
	imported := importText(t, `{"variable": [{"key": "t", "value": ""}, {"key": "p", "value": ""}, {"key": "q", "value": ""}], "item": [{"name": "a", "request": {
		"url": "http://h/{{p}}/x{{q}}?q={{q}}", "auth": {"type": "bearer", "bearer": {"token": "{{t}}"}}}}]}`, Options{})
	var got []string
	for _, p := range imported.Parameters {
		got = append(got, fmt.Sprint(p.Name, "=", p.Value, p.Undefined))
	}
	slices.Sort(got)
	if want := "[p=undefinedtrue q=true t=true]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	for _, text := range []string{"variable {{t}} is empty in the file, and Postman sends no credential without it", "variable {{p}} is empty in the file, where a value is needed",
		"variable {{q}} is empty in the file: give parameter q a value, unless nothing is meant"} {
		if !imported.has(Flagged, text) {
			t.Errorf("no finding says %s: %v", text, imported.Findings)
		}
	}
}

// TestTagsOfTheEvent keeps the PBX's tags, and has the configuration choose
// where an event may not.
func TestTagsOfTheEvent(t *testing.T) {
	imported, action := one(t, `"variable": [{"key": "caller_id", "value": "100"}, {"key": "tenant", "value": "acme"}, {"key": "label", "value": "<{{caller_id}}>"}],`,
		`{"url": "http://{{tenant}}.example/{{caller_id}}", "header": [{"key": "X-{{direction}}", "value": "{{label}}"}, {"key": "Content-Type", "value": "{{date}}"}]}`)
	if action.URL != "http://{{configured_tenant}}.example/{{caller_id}}" {
		t.Error(action.URL)
	}
	if got := fmt.Sprint(action.Headers); got != "[{X-{{configured_direction}} <{{caller_id}}>} {Content-Type {{configured_date}}}]" {
		t.Error(got)
	}
	if len(imported.Parameters) != 3 || imported.Parameters[2].Value != "acme" {
		t.Errorf("%+v", imported.Parameters)
	}
	if !imported.has(Changed, "{{caller_id}} comes with the event; the value that the file gives it counts no more") {
		t.Error(imported.Findings)
	}
}

func TestDynamicVariables(t *testing.T) {
	imported, action := one(t, "", `{"method": "POST", "url": "http://h/?i={{$guid}}", "body": {"mode": "raw", "raw": "{{$timestamp}} {{$isoTimestamp}} {{$randomInt}} {{$randomCity}}"}}`)
	if action.Query[0].Value != "{{id}}" || strings.Count(action.Body.Text, "now()") != 3 || !strings.Contains(action.Body.Text, "{{randomCity}}") {
		t.Errorf("%+v", action)
	}
	if !imported.has(Flagged, "Postman makes up a value of {{$randomCity}} for each request") || !imported.has(Changed, "{{$guid}} is {{id}}") {
		t.Error(imported.Findings)
	}
	own, action := one(t, `"variable": [{"key": "$guid", "value": "mine"}],`, `"http://h/{{$guid}}"`)
	if action.URL != "http://h/{{guid}}" || own.Parameters[0].Value != "mine" {
		t.Error(action.URL, own.Parameters)
	}
}

func TestRenamedVariables(t *testing.T) {
	imported, action := one(t, `"variable": [{"key": "a-b", "value": "1"}, {"key": "a_b", "value": "2"}, {"key": "len", "value": "3"}, {"key": "1st", "value": "4"}, {"key": "é", "value": "5"},
		{"key": "body", "value": "6"}, {"key": "and", "value": "7"}],`, `{"method": "PUT", "url": "http://h/", "body": {"mode": "raw", "raw": "{{a-b}}{{a_b}}{{len}}{{1st}}{{é}}{{body}}{{and}}"}}`)
	if action.Body.Text != "{{a_b_2}}{{a_b}}{{len_value}}{{st}}{{value}}{{body_value}}{{and_value}}" {
		t.Error(action.Body.Text)
	}
	for _, name := range []string{"{{a-b}} is called a_b_2", "{{len}} is called len_value", "{{é}} is called value"} {
		if !imported.has(Changed, name) {
			t.Errorf("no finding says %s: %v", name, imported.Findings)
		}
	}
	if imported.has(Changed, "{{a_b}}") {
		t.Error("a name that is kept is reported")
	}
}

// TestFindings says of requests that cannot be taken over as they are what
// becomes of them.
func TestFindings(t *testing.T) {
	for _, test := range []struct {
		name, request string
		kind          Kind
		want          string
	}{
		{"method", `{"method": "OPTIONS", "url": "http://h/"}`, LeftOut, `an action cannot have the method "OPTIONS"; there are GET, HEAD`},
		{"no URL", `{"method": "GET"}`, LeftOut, "it has no URL"},
		{"no request", `null`, LeftOut, "it has no request"},
		{"another scheme", `"ftp://h/x"`, LeftOut, "the URL must begin with http:// or https://"},
		{"file", `{"method": "POST", "url": "http://h/", "body": {"mode": "file", "file": {"src": "/etc/passwd"}}}`, LeftOut, "its body is a file"},
		{"no JSON", `{"method": "POST", "url": "http://h/", "body": {"mode": "raw", "raw": "{,}", "options": {"raw": {"language": "json"}}}}`, LeftOut, "not well-formed JSON"},
		{"file part", `{"method": "POST", "url": "http://h/", "body": {"mode": "formdata", "formdata": [{"key": "f", "type": "file", "src": "x"}]}}`, Changed, `the file "f" of the form is left out`},
		{"body on GET", `{"url": "http://h/", "body": {"mode": "raw", "raw": "x"}}`, Changed, "Postman sends none with GET"},
		{"comments", `{"method": "POST", "url": "http://h/", "body": {"mode": "raw", "raw": "{} // x", "options": {"raw": {"language": "json"}}}}`, Changed, "the comments in the JSON body are left out"},
		{"line break in a header", `{"url": "http://h/", "header": [{"key": "A", "value": "b\nc"}]}`, Changed, `header "A" is left out`},
		{"blank in a header's name", `{"url": "http://h/", "header": [{"key": "A B", "value": "c"}]}`, Changed, `header "A B" is left out`},
		{"header of test events", `{"url": "http://h/", "header": [{"key": "x-event-test", "value": "1"}]}`, Changed, "header x-event-test is left out"},
		{"header of the connection", `{"url": "http://h/", "header": [{"key": "content-length", "value": "1"}]}`, Changed, "header content-length is left out"},
		{"header beyond ASCII", `{"url": "http://h/", "header": [{"key": "A", "value": "日本"}]}`, Flagged, "is sent as UTF-8"},
		{"own Authorization", `{"url": "http://h/", "header": [{"key": "authorization", "value": "x"}], "auth": {"type": "bearer", "bearer": {"token": "{{t}}"}}}`, Changed, "header Authorization is left out"},
		{"credentials", `{"url": "http://h/", "auth": {"type": "bearer", "bearer": {"token": "secret"}}}`, Flagged, "credentials stand in the collection as plain text"},
		{"computed authentication", `{"url": "http://h/", "auth": {"type": "awsv4"}}`, Flagged, "authentication awsv4 is computed"},
		{"unknown authentication", `{"url": "http://h/", "auth": {"type": "inherit"}}`, Flagged, `authentication "inherit" is unknown`},
		{"oauth2 without a token", `{"url": "http://h/", "auth": {"type": "oauth2", "oauth2": []}}`, Flagged, "authentication oauth2 has no token"},
		{"user in the URL and authentication", `{"url": "http://u:p@h/", "auth": {"type": "basic", "basic": {"username": "a"}}}`, Changed, "user and password in the URL are left out"},
		{"HEAD with a body", `{"method": "HEAD", "url": "http://h/", "body": {"mode": "raw", "raw": "x"}}`, Changed, "Postman sends none with HEAD"},
		{"the same key for all events", `{"url": "http://h/", "header": [{"key": "idempotency-key", "value": "x"}]}`, Flagged, "header idempotency-key has the same value for every event"},
		{"a key of Postman's", `{"url": "http://h/", "header": [{"key": "Idempotency-Key", "value": "{{$randomUUID}}"}]}`, Changed, "header Idempotency-Key is left out: the relay sends the delivery's id"},
		{"a key that is no text", `{"url": "http://h/", "auth": {"type": "apikey", "apikey": {"key": "k", "value": true, "in": "query"}}}`, Flagged, "the value of the API key is true and no text"},
		{"a key without a value", `{"url": "http://h/", "auth": {"type": "apikey", "apikey": {"key": "k"}}}`, Flagged, "the API key has no value"},
		{"empty port", `"http://h:/"`, Changed, "the colon without a port is left out"},
		{"path variable", `"http://h/projects/:projectId"`, Flagged, "path variable :projectId has no text as its value in the file: give parameter projectId one"},
		{"JSON of blanks", `{"method": "POST", "url": "http://h/", "body": {"mode": "raw", "raw": " \n", "options": {"raw": {"language": "json"}}}}`, Changed, "nothing but blanks"},
		{"undefined name in a name", `"http://h/{{user_{{env}}}}"`, Flagged, "which variable {{user_{{env}}}} means is not known, because {{env}} in its name has no value in the file: give parameter user__env a value"},
		{"repeated key", `{"url": "http://h/?k=1&l=2", "auth": {"type": "apikey", "apikey": {"key": "k", "value": "v", "in": "query"}}}`, Changed, "query value k is left out"},
	} {
		t.Run(test.name, func(t *testing.T) {
			imported := importText(t, `{"item": [{"name": "a", "request": `+test.request+`}]}`, Options{})
			if !imported.has(test.kind, test.want) {
				t.Errorf("no finding is %s, %s: %+v", test.kind, test.want, imported.Findings)
			}
			if (test.kind == LeftOut) != (imported.LeftOut == 1) {
				t.Errorf("%d requests are left out", imported.LeftOut)
			}
		})
	}
}

func TestSettingsAndScriptsAreFlagged(t *testing.T) {
	script := `"event": [{"listen": "prerequest", "script": {"exec": ["", "sign()"]}}, {"listen": "test", "script": {"exec": "x"}}]`
	imported := importText(t, `{`+script+`, "item": [{"name": "F", `+script+`, "item": [{"name": "a", `+script+`,
		"protocolProfileBehavior": {"followRedirects": false, "strictSSL": true}, "request": "http://h/"}, {"name": "b", "event": [{"listen": "prerequest", "script": {"exec": [""]}}], "request": "http://h/"}]}]}`, Options{})
	for _, want := range []string{"the collection's pre-request script", `script of folder "F"`, "its pre-request script is not run", "setting followRedirects false", "setting strictSSL true"} {
		if !imported.has(Flagged, want) {
			t.Errorf("no finding says %s: %v", want, imported.Findings)
		}
	}
	for _, finding := range imported.Findings {
		if finding.Number == 2 {
			t.Errorf("an empty script is reported: %v", finding)
		}
	}
}

// TestHostileVariables imports variables that hold each other, one another twice
// and so on, and long chains: it ends, and what is too large is left out.
func TestHostileVariables(t *testing.T) {
	type entry struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	doubling := func(links int, end string) string {
		var variables []entry
		for i := range links {
			variables = append(variables, entry{fmt.Sprint("v", i), fmt.Sprintf("{{v%d}}{{v%d}}", i+1, i+1)})
		}
		data, _ := json.Marshal(append(variables, entry{fmt.Sprint("v", links), end}))
		return `{"variable": ` + string(data) + `, "item": [{"name": "a", "request": {"method": "POST", "url": "http://h/", "body": {"mode": "raw", "raw": "{{v0}}"}}}]}`
	}
	for name, data := range map[string]string{
		"doubling":        doubling(60, "x"),
		"doubling events": doubling(60, "{{caller_id}}"),
		"undefined":       doubling(60, "{{nobody}}"),
		"a long chain":    strings.ReplaceAll(doubling(500, "x"), "}}{{v", "}}{{w"),
	} {
		imported := importText(t, data, Options{})
		if text, err := imported.Caddyfile(); err != nil || len(text) > 8<<20 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
	imported, _ := one(t, `"variable": [{"key": "x", "value": "{{y}}"}, {"key": "y", "value": "a{{x}}"}],`, `{"method": "POST", "url": "http://h/", "body": {"mode": "raw", "raw": "{{x}}"}}`)
	if !imported.has(Flagged, "variable {{x}} leads back to itself") {
		t.Error(imported.Findings)
	}
}
