package preset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// managerEvents are the events of the PBX's Event Manager, as its pages call
// them. Its list is fixed, and its requests have no tag for the event's name:
// each event needs an action of its own with the name written in.
var managerEvents = []string{"Incoming Call", "Answered Call", "Unanswered Call", "Hangup", "Ringing"}

// actionName is what an imported action is called in the PBX's list.
func actionName(event string) string { return "Event Relay " + event }

// collectionForPBX writes a Postman collection that the PBX's Event Manager imports: one
// action for each of its events, so that no tag has to be typed by hand.
func collectionForPBX(s Setup) (Handover, error) {
	chosen, more, err := s.choose("the PBX, which does not sign,", "auth bearer {env.PBX_TOKEN}", proof.isText)
	if err != nil {
		return Handover{}, err
	}
	if strings.Contains(chosen.User+chosen.secret+chosen.Name, "{{") {
		return Handover{}, fmt.Errorf("%s: its secret holds {{, which the PBX would take for a tag; choose another secret", chosen.Setting)
	}

	document := collection{Info: collectionInfo{
		Name:        "Event Relay",
		Description: "Posts the events of the Event Manager to " + s.mount.String() + ". One action for each event: its name is in the URL.",
		Schema:      "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
	}}
	for _, event := range managerEvents {
		document.Items = append(document.Items, chosen.action(s.mount, event))
	}
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(document); err != nil {
		return Handover{}, fmt.Errorf("writing the collection: %w", err)
	}

	notes := append(s.mount.warnings(), more...)
	if s.NameFrom != "" {
		notes = append(notes, fmt.Sprintf("The source reads the event's name by name_from (%s), and so not from the URL, where these actions have it. Take name_from out.", s.NameFrom))
	}
	return Handover{Document: written.Bytes(), Notes: paragraphs(
		strings.TrimSpace("The output is a Postman collection for the administrator of the PBX. "+chosen.holdsSecret()),
		strings.Join(notes, "\n"),
		managerSteps(chosen),
		publisherSteps(s, chosen),
		"Then make a call and look: "+names.Command("activity --source "+s.Source),
	)}, nil
}

func managerSteps(chosen proof) string {
	var steps strings.Builder
	steps.WriteString(`In the PBX (PBXware 7.5 or newer; its support must have enabled the Event Manager):
1. Event Manager, Actions: import the collection. It gives five actions.
`)
	switch {
	case chosen.Open:
		steps.WriteString("2. Look at one of them: its body must hold 13 tags, none of them undefined.\n")
	case chosen.Place().In == auth.InPath:
		steps.WriteString("2. Look at one of them: its URL must end in the token, its body must hold 13 tags,\n   none of them undefined.\n")
	default:
		shown, _ := chosen.inPBX()
		fmt.Fprintf(&steps, "2. Look at one of them: its authorization must be %s, its body must hold 13 tags,\n   none of them undefined.\n", shown)
	}
	steps.WriteString("3. Event Manager, Events: assign each action to its event, and switch the event on:\n")
	for _, event := range managerEvents {
		fmt.Fprintf(&steps, "   %-15s  %s\n", event, actionName(event))
	}
	steps.WriteString("4. Event Manager, Settings: Active.")
	return steps.String()
}

// publisherSteps tells what the PBX's other feature needs, whose payload is
// fixed and whose only credential is a bearer token. A token that the collection
// holds is not repeated.
func publisherSteps(s Setup, collected proof) string {
	const title = "The Event Publisher, where the PBX has it, needs no collection: "
	bearer, _, err := s.choose("", "", func(p proof) bool { return p.Traits.Kind == auth.Bearer })
	if err != nil {
		return title + "only URL and bearer token.\nThe source has no bearer token yet; for the Publisher add: auth bearer {env.PBX_TOKEN}"
	}
	token := bearer.secret
	if token == collected.secret {
		token = "the token of the actions: it stands in the collection"
	}
	return fmt.Sprintf("%senter\n   URL    %s\n   Token  %s", title, s.mount, token)
}

// action is one request of the collection. The body is urlencoded because there
// the PBX itself has to escape values. In raw JSON it escapes nothing, and a
// caller's name with a quote would break it.
func (p proof) action(m mount, e string) collectionItem {
	at := m.at(names.Normal(e))
	if p.Place().In == auth.InPath {
		at = m.at(names.Normal(e), p.secret)
	}
	_, authorization := p.inPBX()
	body := collectionBody{Mode: "urlencoded"}
	for _, tag := range event.SystemParameters() {
		body.Pairs = append(body.Pairs, collectionPair{Key: tag.String(), Value: "{{" + tag.String() + "}}", Type: "text"})
	}
	if p.Place().In == auth.InBody {
		body.Pairs = append(body.Pairs, collectionPair{Key: p.Place().Name, Value: p.secret, Type: "text"})
	}
	return collectionItem{
		Name: actionName(e),
		Request: collectionRequest{
			Description: "To be assigned to the event " + e + ".",
			Auth:        authorization,
			Method:      "POST",
			Header:      []collectionPair{},
			Body:        body,
			URL:         at.collectionURL(),
		},
		Response: []struct{}{},
	}
}

// inPBX returns what the PBX's form of an action shows of a credential, and how a
// collection writes it. It stands in each request, not once in the collection:
// not every importer knows that requests inherit it.
func (p proof) inPBX() (shown string, written collectionAuth) {
	text := func(key, value string) collectionPair { return collectionPair{Key: key, Value: value, Type: "string"} }
	switch place := p.Place(); {
	case p.Traits.Kind == auth.Bearer:
		return "Bearer with the token", collectionAuth{Type: "bearer", Bearer: []collectionPair{text("token", p.secret)}}
	case p.Traits.Kind == auth.Basic:
		return "Basic with user and password", collectionAuth{Type: "basic", Basic: []collectionPair{text("username", p.User), text("password", p.secret)}}
	case place.In == auth.InHeader || place.In == auth.InQuery:
		return fmt.Sprintf("API key with %s in the %s", place.Name, place.In),
			collectionAuth{Type: "apikey", APIKey: []collectionPair{text("key", place.Name), text("value", p.Text), text("in", place.In)}}
	case place.In == auth.InBody:
		return "none, the key being a field of the body", collectionAuth{Type: "noauth"}
	}
	return "none", collectionAuth{Type: "noauth"}
}

func (m mount) collectionURL() collectionURL {
	result := collectionURL{Raw: m.String(), Path: m.segments}
	if u, err := url.Parse(m.origin); err == nil {
		result.Protocol, result.Port = u.Scheme, u.Port()
		result.Host = strings.Split(strings.TrimSuffix(u.Host, ":"+u.Port()), ".")
	}
	return result
}

// The parts of a Postman collection of format v2.1 that the PBX needs.
type collection struct {
	Info  collectionInfo   `json:"info"`
	Items []collectionItem `json:"item"`
}

type collectionInfo struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Schema      string `json:"schema"`
}

type collectionItem struct {
	Name     string            `json:"name"`
	Request  collectionRequest `json:"request"`
	Response []struct{}        `json:"response"`
}

type collectionRequest struct {
	Auth        collectionAuth   `json:"auth"`
	Method      string           `json:"method"`
	Header      []collectionPair `json:"header"`
	Body        collectionBody   `json:"body"`
	URL         collectionURL    `json:"url"`
	Description string           `json:"description"`
}

type collectionAuth struct {
	Type   string           `json:"type"`
	Bearer []collectionPair `json:"bearer,omitempty"`
	Basic  []collectionPair `json:"basic,omitempty"`
	APIKey []collectionPair `json:"apikey,omitempty"`
}

type collectionBody struct {
	Mode  string           `json:"mode"`
	Pairs []collectionPair `json:"urlencoded"`
}

type collectionPair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	Type  string `json:"type"`
}

type collectionURL struct {
	Raw      string   `json:"raw"`
	Protocol string   `json:"protocol"`
	Host     []string `json:"host"`
	Port     string   `json:"port,omitempty"`
	Path     []string `json:"path"`
}
