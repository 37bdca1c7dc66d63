package relay

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

// forPBX writes a Postman collection that the PBX's Event Manager imports: one
// action for each of its events, so that nobody types tags by hand.
func (s Setup) forPBX(m mount) (Handover, error) {
	chosen, more, found := s.choose(func(c auth.Settings) bool { return !signs(c) })
	if !found {
		return Handover{}, errNoUse("the PBX, which does not sign,", "auth bearer {env.PBX_TOKEN}")
	}
	if strings.Contains(chosen.User+chosen.secret+chosen.Name, "{{") {
		return Handover{}, fmt.Errorf("%s: its secret holds {{, which the PBX would take for a tag; choose another secret", describeKind(chosen.Settings))
	}

	document := collection{Info: collectionInfo{
		Name:        "Event Relay",
		Description: "Posts the events of the Event Manager to " + m.String() + ". One action for each event: its name is in the URL.",
		Schema:      "https://schema.getpostman.com/json/collection/v2.1.0/collection.json",
	}}
	for _, event := range managerEvents {
		document.Items = append(document.Items, chosen.action(m, event))
	}
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(document); err != nil {
		return Handover{}, fmt.Errorf("writing the collection: %w", err)
	}

	notes := append(m.warnings(), more...)
	if s.Source.NameFrom != "" {
		notes = append(notes, fmt.Sprintf("The source reads the event's name by name_from (%s), and so not from the URL, where these actions have it. Take name_from out.", s.Source.NameFrom))
	}
	return Handover{Document: written.Bytes(), Notes: paragraphs(
		strings.TrimSpace("The output is a Postman collection for the administrator of the PBX. "+chosen.holdsSecret()),
		strings.Join(notes, "\n"),
		s.managerSteps(chosen),
		s.publisherSteps(m),
		"Then make a call and look: caddy event-relay activity --source "+s.Source.Name,
	)}, nil
}

func (s Setup) managerSteps(chosen proof) string {
	var steps strings.Builder
	steps.WriteString(`In the PBX (PBXware 7.5 or newer; its support must have enabled the Event Manager):
1. Event Manager, Actions: import the collection. It gives five actions.
`)
	switch {
	case chosen.Kind == auth.None:
		steps.WriteString("2. Look at one of them: its body must hold 13 tags, none of them undefined.\n")
	case chosen.Kind == auth.Path:
		steps.WriteString("2. Look at one of them: its URL must end in the token, its body must hold 13 tags,\n   none of them undefined.\n")
	default:
		fmt.Fprintf(&steps, "2. Look at one of them: its authorization must be %s, its body must hold 13 tags,\n   none of them undefined.\n", chosen.settingInPBX())
	}
	steps.WriteString("3. Event Manager, Events: assign each action to its event, and switch the event on:\n")
	for _, event := range managerEvents {
		fmt.Fprintf(&steps, "   %-15s  %s\n", event, actionName(event))
	}
	steps.WriteString("4. Event Manager, Settings: Active.")
	return steps.String()
}

// settingInPBX is what the PBX's form of an action calls the credential.
func (p proof) settingInPBX() string {
	switch p.Kind {
	case auth.Bearer:
		return "Bearer with the token"
	case auth.Basic:
		return "Basic with user and password"
	}
	if p.In == auth.InBody {
		return "none, the key being a field of the body"
	}
	return fmt.Sprintf("API key with %s in the %s", p.Name, p.In)
}

// publisherSteps tells what the PBX's other feature needs, whose payload is
// fixed and whose only credential is a bearer token.
func (s Setup) publisherSteps(m mount) string {
	const title = "The Event Publisher, where the PBX has it, needs no collection: "
	bearer, _, found := s.choose(func(c auth.Settings) bool { return c.Kind == auth.Bearer })
	if !found {
		return title + "only URL and bearer token.\nThe source has no bearer token yet; for the Publisher add: auth bearer {env.PBX_TOKEN}"
	}
	return fmt.Sprintf("%senter\n   URL    %s\n   Token  %s", title, m, bearer.secret)
}

// action is one request of the collection. The body is urlencoded because there
// the PBX itself has to escape values; nobody does inside raw JSON, which a
// caller's name with a quote would break.
func (p proof) action(m mount, e string) collectionItem {
	at := m.at(names.Normal(e))
	if p.Kind == auth.Path {
		at = m.at(names.Normal(e), p.secret)
	}
	body := collectionBody{Mode: "urlencoded"}
	for _, tag := range event.SystemParameters() {
		body.Pairs = append(body.Pairs, collectionPair{Key: tag.String(), Value: "{{" + tag.String() + "}}", Type: "text"})
	}
	if p.Kind == auth.APIKey && p.In == auth.InBody {
		body.Pairs = append(body.Pairs, collectionPair{Key: p.Name, Value: p.secret, Type: "text"})
	}
	return collectionItem{
		Name: actionName(e),
		Request: collectionRequest{
			Description: "To be assigned to the event " + e + ".",
			Auth:        p.collectionAuth(),
			Method:      "POST",
			Header:      []collectionPair{},
			Body:        body,
			URL:         at.collectionURL(),
		},
		Response: []struct{}{},
	}
}

// collectionAuth stands in each request, not once in the collection: not every
// importer knows that requests inherit it.
func (p proof) collectionAuth() collectionAuth {
	text := func(key, value string) collectionPair { return collectionPair{Key: key, Value: value, Type: "string"} }
	switch {
	case p.Kind == auth.Bearer:
		return collectionAuth{Type: "bearer", Bearer: []collectionPair{text("token", p.secret)}}
	case p.Kind == auth.Basic:
		return collectionAuth{Type: "basic", Basic: []collectionPair{text("username", p.User), text("password", p.secret)}}
	case p.Kind == auth.APIKey && p.In != auth.InBody:
		return collectionAuth{Type: "apikey", APIKey: []collectionPair{text("key", p.Name), text("value", p.secret), text("in", string(p.In))}}
	}
	return collectionAuth{Type: "noauth"}
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
