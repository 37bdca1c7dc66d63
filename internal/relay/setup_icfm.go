package relay

import (
	"fmt"
	"strings"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
)

// forICFM writes to CETA's support, who enter the URL. Nothing published says
// that iCFM can send headers or sign, so a credential in the URL comes first.
func (s Setup) forICFM(m mount) (Handover, error) {
	notes := m.warnings()
	chosen, more, found := s.choose(inURL)
	if !found {
		chosen, more, found = s.choose(func(c auth.Settings) bool {
			return !signs(c) && !(c.Kind == auth.APIKey && c.In == auth.InBody)
		})
		if found && chosen.Kind != auth.None {
			more = append(more, "Nothing published says that iCFM can send a header. A key in the URL needs none: auth api_key query key {env.ICFM_KEY}.")
		}
	}
	if !found {
		return Handover{}, errNoUse("iCFM", "auth api_key query key {env.ICFM_KEY}")
	}

	var text strings.Builder
	fmt.Fprintf(&text, `Subject: iCFM Event Queue: the URL for our events

Dear CETA Support,

please let the Event Queue of our iCFM post its events to this URL:

    %s

`, chosen.target(m))
	if header := chosen.header(); header != "" {
		fmt.Fprintf(&text, "Each request must have this header, which holds a secret:\n\n    %s\n\n", header)
	} else if chosen.secret != "" {
		text.WriteString("The URL holds a secret, so please treat it as you would a password.\n\n")
	}
	text.WriteString("Method and content type are free: GET or POST; JSON, XML, a form or a query.\n")
	if m.secure() {
		text.WriteString("Please call it by https from the start: http is answered with a redirect, which\nmost senders do not follow.\n")
	}
	text.WriteString(`A status of 2xx means that the event is stored. 503 means that it is not: please
send it again later.

Would you tell us, please:

1. From which addresses do your servers call? We would let in only those.
2. What happens when we do not answer, or answer 503: do you send again, how often
   and for how long? How long do you wait for an answer?
3. What does a request look like? A sample for project_created and for
   project_status_change, with headers and body, would help most.
4. Are events sent in the order in which they happened, one by one or several in
   one request, and does each have an id?

Thank you.
`)

	notes = append(notes, more...)
	if len(s.Source.Allow) == 0 {
		notes = append(notes, "When CETA has told its addresses, add them to the source: allow NETWORK…")
	}
	return Handover{
		Document: []byte(text.String()),
		Notes: paragraphs(
			strings.TrimSpace("Send this text to CETA Support. "+chosen.holdsSecret()),
			strings.Join(notes, "\n"),
			"When the first event has come, look at it: caddy event-relay activity --source "+s.Source.Name,
		),
	}, nil
}
