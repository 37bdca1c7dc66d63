package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const collection = `{
	"info": {"name": "CRM"},
	"item": [
		{"name": "Tickets", "item": [
			{"name": "Create", "request": {"method": "POST", "url": "{{crm}}/tickets", "body": {"mode": "raw", "raw": "{}"}}},
			{"name": "Close", "request": {"method": "PUT", "url": "{{crm}}/tickets/1/close"}}
		]},
		{"name": "Upload", "request": {"method": "POST", "url": "http://crm.lan/up", "body": {"mode": "file", "file": {"src": "/x"}}}}
	],
	"variable": [{"key": "crm", "value": "http://crm.lan"}]
}`

func TestPostmanImport(t *testing.T) {
	b := newBench(t)
	ask := func(body map[string]any) PostmanImport {
		t.Helper()
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		answer := b.do(http.MethodPost, "import-postman", string(encoded))
		var imported PostmanImport
		if err := json.Unmarshal(answer.Body.Bytes(), &imported); err != nil || answer.Code != http.StatusOK {
			t.Fatalf("answered with %d %s (%v)", answer.Code, answer.Body, err)
		}
		return imported
	}

	listed := ask(map[string]any{"collection": collection, "list": true})
	var paths []string
	for _, r := range listed.Requests {
		if r.Importable != (r.Why == "") {
			t.Errorf("%+v", r)
		}
		if r.Importable {
			paths = append(paths, r.Path)
		}
	}
	if len(listed.Requests) != 3 || strings.Join(paths, " ") != "Tickets/Create Tickets/Close" || listed.Caddyfile != "" {
		t.Errorf("the list is %+v", listed)
	}

	for _, choose := range []string{"Tickets/Close", "2"} {
		chosen := ask(map[string]any{
			"collection": collection, "choose": []string{choose}, "prefix": "crm_",
			"environment": `{"values": [{"key": "crm", "value": "http://other.lan"}]}`,
		})
		if !strings.Contains(chosen.Caddyfile, "http://other.lan") || !strings.Contains(chosen.Caddyfile, "/tickets/1/close") ||
			strings.Contains(chosen.Caddyfile, "post ") || !strings.HasPrefix(chosen.Notes[0], "1 requests imported, 0 left out") {
			t.Errorf("%s became %+v", choose, chosen)
		}
	}
	if all := ask(map[string]any{"collection": collection}); !strings.Contains(all.Caddyfile, "post ") || !strings.Contains(strings.Join(all.Notes, "\n"), "left out") {
		t.Errorf("all became %+v", all)
	}
}
