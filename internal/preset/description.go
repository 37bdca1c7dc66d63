package preset

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// describe describes the request of a source that has no preset, with an example
// that works as it is.
func describe(s Setup) (Handover, error) {
	chosen, more, err := s.choose("a sender", "auth bearer {env.TOKEN}", func(proof) bool { return true })
	if err != nil {
		return Handover{}, err
	}
	name := "EVENT"
	if len(s.Events) > 0 {
		name = s.Events[0].Name
	}
	example, err := s.example(chosen, name)
	if err != nil {
		return Handover{}, err
	}

	var text strings.Builder
	fmt.Fprintf(&text, "How to post events to Event Relay (source %s)\n\n", s.Source)
	fmt.Fprintf(&text, "URL     %s\n", example.url)
	text.WriteString("Method  POST (GET, PUT, PATCH and DELETE are taken as well)\n")
	text.WriteString("Body    JSON, a form, XML or text, or none\n")
	fmt.Fprintf(&text, "Event   %s\n", example.where)
	if chosen.Words != "" {
		fmt.Fprintf(&text, "Proof   %s\nSecret  in the example below\n", chosen.Words)
	}
	if len(s.Events) > 0 {
		text.WriteString("\nEvents:\n")
		for _, event := range s.Events {
			text.WriteString(strings.TrimRight(fmt.Sprintf("  %-24s %s", event.Name, event.Description), " ") + "\n")
		}
	}
	text.WriteString("\nA status of 2xx means that the event is stored; 503 means that it is not: send it\nagain later. Redirects are not used.\n")
	fmt.Fprintf(&text, "\nAn example:\n\n%s", example.script)

	return Handover{
		Document: []byte(text.String()),
		Notes: paragraphs(
			strings.TrimSpace("Give this to the people who send the events. "+chosen.holdsSecret()),
			strings.Join(append(s.mount.warnings(), more...), "\n"),
			"When the first event has come, look at it: "+names.Command("activity --source "+s.Source),
		),
	}, nil
}

// example is a request that works.
type example struct {
	url    string // of the request, without the credential
	where  string // says where the event's name stands
	script string // sends it, for a shell with curl, and openssl for signatures
}

// nameInBody, nameInQuery and nameInHeader are the name_from expressions whose
// meaning an example can show.
var (
	nameInBody   = regexp.MustCompile(`^body((?:\.[A-Za-z_][A-Za-z0-9_]*)+)$`)
	nameInQuery  = regexp.MustCompile(`^query\.([A-Za-z_][A-Za-z0-9_]*)$`)
	nameInHeader = regexp.MustCompile(`^headers(?:\.([A-Za-z_][A-Za-z0-9_]*)|\["([^"]+)"\])$`)
)

func (s Setup) example(chosen proof, name string) (example, error) {
	body := map[string]any{"id": 1}
	var below, headers []string
	var e example
	query := ""
	from := s.NameFrom
	switch {
	case from == "" && chosen.BodyOnly:
		// The path is not signed, so no name is taken from it.
		e.where = "its name is in the body: body.event"
		body["event"] = name
	case from == "":
		below = []string{name}
		e.where = "its name follows the address of the handler, as in the URL above"
	case nameInBody.MatchString(from):
		e.where = "its name is in the body: " + from
		put(body, strings.Split(nameInBody.FindStringSubmatch(from)[1], ".")[1:], name)
	case nameInQuery.MatchString(from):
		key := nameInQuery.FindStringSubmatch(from)[1]
		e.where = "its name is in the query: " + key
		query = escape.Unreserved.Encode(key) + "=" + escape.Unreserved.Encode(name)
	case nameInHeader.MatchString(from):
		found := nameInHeader.FindStringSubmatch(from)
		e.where = "its name is in the header " + found[1] + found[2]
		headers = append(headers, found[1]+found[2]+": "+name)
	default:
		e.where = "its name is what this expression finds: " + from
	}
	if place := chosen.Place(); place.In == auth.InBody {
		body[place.Name] = chosen.Text
	}
	e.url = withQuery(s.mount.at(below...).String(), query)
	called := withQuery(chosen.target(s.mount, below...), query)
	encoded, err := json.Marshal(body)
	if err != nil {
		return example{}, fmt.Errorf("writing the example's body: %w", err)
	}
	headers = append([]string{"Content-Type: application/json"}, headers...)
	if header := chosen.header(); header != "" {
		headers = append(headers, header)
	}
	e.script = chosen.script(called, headers, string(encoded))
	return e, nil
}

// withQuery adds to the query of a URL. An empty query adds nothing.
func withQuery(address, query string) string {
	switch {
	case query == "":
		return address
	case strings.Contains(address, "?"):
		return address + "&" + query
	}
	return address + "?" + query
}

// put puts a value at a path of keys.
func put(object map[string]any, keys []string, value any) {
	for _, key := range keys[:len(keys)-1] {
		inner := map[string]any{}
		object[key] = inner
		object = inner
	}
	object[keys[len(keys)-1]] = value
}

// script writes the lines for a shell.
func (p proof) script(url string, headers []string, body string) string {
	var lines strings.Builder
	if p.Shell != "" {
		fmt.Fprintf(&lines, "body=%s\n%s", shellWord(body), p.Shell)
	}
	fmt.Fprintf(&lines, "curl %s", shellWord(url))
	for _, header := range headers {
		fmt.Fprintf(&lines, " \\\n  -H %s", shellWord(header))
	}
	if p.Shell == "" {
		fmt.Fprintf(&lines, " \\\n  -d %s\n", shellWord(body))
		return lines.String()
	}
	for _, header := range p.Headers {
		fmt.Fprintf(&lines, " \\\n  -H \"%s\"", header)
	}
	lines.WriteString(" \\\n  -d \"$body\"\n")
	return lines.String()
}

// shellWord quotes text for a POSIX shell.
func shellWord(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
