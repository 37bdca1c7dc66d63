package relay

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// forAnybody describes the request of a source that has no preset, with an
// example that works as it is.
func (s Setup) forAnybody(m mount) (Handover, error) {
	chosen, more, found := s.choose(func(auth.Settings) bool { return true })
	if !found {
		return Handover{}, errNoUse("a sender", "auth bearer {env.TOKEN}")
	}
	name := "EVENT"
	if known := s.Source.Known(); len(known) > 0 {
		name = known[0].Name
	}
	example, err := s.example(m, chosen, name)
	if err != nil {
		return Handover{}, err
	}

	var text strings.Builder
	fmt.Fprintf(&text, "How to post events to Event Relay (source %s)\n\n", s.Source.Name)
	fmt.Fprintf(&text, "URL     %s\n", example.url)
	text.WriteString("Method  POST (GET, PUT, PATCH and DELETE are taken as well)\n")
	text.WriteString("Body    JSON, a form, XML or text, or none\n")
	fmt.Fprintf(&text, "Event   %s\n", example.where)
	if proves := chosen.inWords(); proves != "" {
		fmt.Fprintf(&text, "Proof   %s\n", proves)
	}
	if known := s.Source.Known(); len(known) > 0 {
		text.WriteString("\nEvents:\n")
		for _, event := range known {
			text.WriteString(strings.TrimRight(fmt.Sprintf("  %-24s %s", event.Name, event.Description), " ") + "\n")
		}
	}
	text.WriteString("\nA status of 2xx means that the event is stored; 503 means that it is not: send it\nagain later. Redirects are not used.\n")
	fmt.Fprintf(&text, "\nAn example:\n\n%s", example.script)

	return Handover{
		Document: []byte(text.String()),
		Notes: paragraphs(
			strings.TrimSpace("Give this to whoever sends the events. "+chosen.holdsSecret()),
			strings.Join(append(m.warnings(), more...), "\n"),
			"When the first event has come, look at it: caddy event-relay activity --source "+s.Source.Name,
		),
	}, nil
}

// inWords says how a request proves itself.
func (p proof) inWords() string {
	switch p.Kind {
	case auth.None:
		return ""
	case auth.Path:
		return "the last segment of the URL"
	case auth.StandardWebhooks:
		return "signed as Standard Webhooks say, with the secret " + p.secret
	case auth.HMAC:
		over := "the body's bytes"
		if p.Timestamp != "" {
			over = fmt.Sprintf("the time, a dot and the body's bytes; the time, in Unix seconds, is in header %s", p.Timestamp)
		}
		return fmt.Sprintf("header %s, the %s HMAC in hex or base64 over %s; the key is %s", p.Name, p.Algorithm, over, p.secret)
	case auth.APIKey:
		if p.In != auth.InHeader {
			return fmt.Sprintf("%s in the %s, with the value %s", p.Name, p.In, p.secret)
		}
	}
	return "header " + p.header()
}

// example is a request that works.
type example struct {
	url    string // of the request, with the credential if it belongs there
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

func (s Setup) example(m mount, chosen proof, name string) (example, error) {
	body := map[string]any{"id": 1}
	var below, headers []string
	var e example
	query := ""
	from := s.Source.NameFrom
	switch {
	case from == "" && signs(chosen.Settings):
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
	if chosen.Kind == auth.APIKey && chosen.In == auth.InBody {
		body[chosen.Name] = chosen.secret
	}
	e.url = chosen.target(m, below...)
	if query != "" {
		separator := "?"
		if strings.Contains(e.url, "?") {
			separator = "&"
		}
		e.url += separator + query
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return example{}, fmt.Errorf("writing the example's body: %w", err)
	}
	headers = append([]string{"Content-Type: application/json"}, headers...)
	if header := chosen.header(); header != "" {
		headers = append(headers, header)
	}
	e.script, err = chosen.script(e.url, headers, string(encoded))
	return e, err
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
func (p proof) script(url string, headers []string, body string) (string, error) {
	var before, call strings.Builder
	fmt.Fprintf(&call, "curl %s", shellWord(url))
	for _, header := range headers {
		fmt.Fprintf(&call, " \\\n  -H %s", shellWord(header))
	}
	if !signs(p.Settings) {
		fmt.Fprintf(&call, " \\\n  -d %s\n", shellWord(body))
		return call.String(), nil
	}

	fmt.Fprintf(&before, "body=%s\n", shellWord(body))
	switch {
	case p.Kind == auth.StandardWebhooks:
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p.secret, "whsec_"))
		if err != nil {
			// The decoder's message is left out: it repeats the secret.
			return "", fmt.Errorf("reading the secret of standard_webhooks: it is not base64, as whsec_MfKQ9r8G… is")
		}
		before.WriteString("id=msg_$$_$(date +%s)\ntime=$(date +%s)\n")
		fmt.Fprintf(&before, "signature=$(printf '%%s' \"$id.$time.$body\" |\n  openssl dgst -sha256 -mac HMAC -macopt hexkey:%s -binary | base64)\n", hex.EncodeToString(key))
		call.WriteString(" \\\n  -H \"webhook-id: $id\" \\\n  -H \"webhook-timestamp: $time\" \\\n  -H \"webhook-signature: v1,$signature\"")
	default:
		text := "$body"
		if p.Timestamp != "" {
			before.WriteString("time=$(date +%s)\n")
			text = "$time.$body"
			fmt.Fprintf(&call, " \\\n  -H \"%s: $time\"", p.Timestamp)
		}
		fmt.Fprintf(&before, "signature=$(printf '%%s' \"%s\" |\n  openssl dgst -%s -hmac %s -r | cut -d' ' -f1)\n",
			text, p.Algorithm, shellWord(p.secret))
		fmt.Fprintf(&call, " \\\n  -H \"%s: $signature\"", p.Name)
	}
	call.WriteString(" \\\n  -d \"$body\"\n")
	return before.String() + call.String(), nil
}

// shellWord quotes text for a POSIX shell.
func shellWord(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
