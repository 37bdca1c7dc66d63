package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// These are what tests read of the admin API.

// storedEvent is one event as the admin API shows it, with its numbers as they
// stand there.
type storedEvent struct {
	ID          string
	Source      string
	Event       string
	Subject     string
	ParseError  string `json:"parse_error"`
	DuplicateOf string `json:"duplicate_of"`
	Received    string
	Parameters  map[string]any
	Fields      map[string]any
	Request     struct{ Method, Path, Body string }
	Deliveries  []struct{ State string }
}

// adminRaw returns an answer of the admin API as it came.
func (p *server) adminRaw(path string) []byte {
	p.t.Helper()
	response, err := http.Get("http://" + p.admin + path)
	if err != nil {
		p.t.Fatalf("asking the admin API: %v\n%s", err, p.Output)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.t.Fatalf("the admin API answers GET %s with %d %s (%v)", path, response.StatusCode, raw, err)
	}
	return raw
}

// adminJSON decodes an answer of the admin API.
func (p *server) adminJSON(path string, result any) {
	p.t.Helper()
	decodeExactly(p.t, p.adminRaw(path), result)
}

func (p *server) storedEvent(id string) storedEvent {
	p.t.Helper()
	var event storedEvent
	p.adminJSON("/event_relay/events/"+id, &event)
	return event
}

// newestID returns the id of the event that was stored last, "" if there is
// none.
func (p *server) newestID() string {
	p.t.Helper()
	var page struct{ Events []struct{ ID string } }
	p.adminJSON("/event_relay/activity?n=1", &page)
	if len(page.Events) == 0 {
		return ""
	}
	return page.Events[0].ID
}

// decodeExactly decodes JSON and keeps the digits of its numbers.
func decodeExactly(t testing.TB, raw []byte, result any) {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(result); err != nil {
		t.Fatalf("decoding %s: %v", raw, err)
	}
}

// answeredIDs returns the ids of the events in the relay's answer to a sender.
func answeredIDs(t testing.TB, answer []byte) []string {
	t.Helper()
	var ids struct {
		ID  string
		IDs []string
	}
	decodeExactly(t, answer, &ids)
	if ids.ID != "" {
		return []string{ids.ID}
	}
	return ids.IDs
}
