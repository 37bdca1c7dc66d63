package preset

import (
	"fmt"
	"strings"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// icfm is the Event Queue of iCFM by CETA Software (wiki.cetacloud.tv, article
// 42000096743). Nothing published says what its requests look like, so they are
// read as any others.
var icfm = Preset{Name: "icfm", Events: icfmEvents, Subject: icfmSubject, HandOver: writeToCETA}

// icfmEvents have the names and texts of CETA's page, in its order. The names
// follow no pattern, so they are matched exactly and never derived from one
// another.
var icfmEvents = []event.Type{
	{Name: "allocation_change", Description: "Any change to Project Type information"},
	{Name: "client_attend_added", Description: "Client Attending information added"},
	{Name: "client_attend_deleted", Description: "Client Attending information deleted"},
	{Name: "client_attend_modified", Description: "Client Attending information updated"},
	{Name: "despatch_data_update", Description: "Despatch Note saved"},
	{Name: "despatch_status_change", Description: "Despatch Note status changed"},
	{Name: "dmg_actual_modified", Description: "DMG Actuals updated"},
	{Name: "dmg_description_modified", Description: "DMG Description updated"},
	{Name: "dmg_input_added", Description: "A DMG Input item added to a job"},
	{Name: "dmg_input_deleted", Description: "A DMG Input item removed from a job"},
	{Name: "dmg_input_modified", Description: "A DMG Input item updated"},
	{Name: "dmg_job_allocated", Description: "DMG Job allocated to a user"},
	{Name: "dmg_operation_deleted", Description: "DMG Operation on a job deleted"},
	{Name: "dmg_operation_modified", Description: "DMG Operation on a job modified"},
	{Name: "dmg_output_added", Description: "A DMG Output item added to a job"},
	{Name: "dmg_output_deleted", Description: "A DMG Output item removed from a job"},
	{Name: "dmg_output_modified", Description: "A DMG Output item updated"},
	{Name: "dmg_quantity_modified", Description: "Quantity on a DMG Operation updated"},
	{Name: "dmg_service_added"},
	{Name: "dmg_service_deleted"},
	{Name: "dmg_work_started"},
	{Name: "dmg_work_stopped"},
	{Name: "gekko_create"},
	{Name: "job_completed"},
	{Name: "job_detail_added"},
	{Name: "job_detail_completed"},
	{Name: "job_detail_deleted"},
	{Name: "job_detail_started"},
	{Name: "job_detail_stopped"},
	{Name: "job_saved"},
	{Name: "job_status_change"},
	{Name: "lead_added"},
	{Name: "lead_comment_added"},
	{Name: "lead_status_assigned"},
	{Name: "lead_status_modified"},
	{Name: "library_data_update"},
	{Name: "library_item_created"},
	{Name: "po_status_change"},
	{Name: "project_comment_added"},
	{Name: "project_created"},
	{Name: "project_status_change"},
	{Name: "quote_created"},
	{Name: "quote_status_change"},
	{Name: "rss_actuals_completed"},
	{Name: "rss_added"},
	{Name: "rss_deleted"},
	{Name: "rss_modified"},
	{Name: "rs_added"},
	{Name: "rs_deleted"},
	{Name: "rs_modified"},
	{Name: "sundry_saved"},
}

// writeToCETA writes to CETA's support, who enter the URL. Nothing published says
// that iCFM can send headers or sign, so a credential in the URL comes first.
func writeToCETA(s Setup) (Handover, error) {
	const key = "auth api_key query key {env.ICFM_KEY}"
	notes := s.mount.warnings()
	chosen, more, err := s.choose("iCFM", key, proof.inURL, func(p proof) bool { return p.isText() && p.Place().In != auth.InBody })
	if err != nil {
		return Handover{}, err
	}
	if !chosen.inURL() && !chosen.Open {
		more = append(more, "Nothing published says that iCFM can send a header. A key in the URL needs none: "+key+".")
	}

	var text strings.Builder
	fmt.Fprintf(&text, `Subject: iCFM Event Queue: the URL for our events

Dear CETA Support,

please let the Event Queue of our iCFM post its events to this URL:

    %s

`, chosen.target(s.mount))
	if header := chosen.header(); header != "" {
		fmt.Fprintf(&text, "Each request must have this header, which holds a secret:\n\n    %s\n\n", header)
	} else if chosen.Text != "" {
		text.WriteString("The URL holds a secret, so please treat it as you would a password.\n\n")
	}
	text.WriteString("Method and content type are free: GET or POST; JSON, XML, a form or a query.\n")
	if s.mount.secure() {
		text.WriteString("Please call it by https from the start: http is answered with a redirect, which\nmost senders do not follow.\n")
	}
	text.WriteString(`A status of 2xx means that the event is stored. 503 means that it is not: please
send it again later.

Would you tell us, please:

1. From which addresses do your servers call? We would let in only those.
2. Which events are sent to us: all on your list, or those that are switched on for
   us? Who switches them on?
3. What does a request look like? A sample for project_created and for
   project_status_change, with headers and body, would help most.
4. How is a status spelled in a request? Please give us all values that projects,
   quotes, jobs and purchase orders can have, letter by letter. Does a request hold
   the status before the change, too?
5. In which time zone are dates and times of day, and how are they written?
6. Are events sent in the order in which they happened, one by one or several in
   one request, and does each have an id?
7. What happens when we do not answer, or answer 503: do you send again, how often
   and for how long? How long do you wait for an answer?
`)
	switch {
	case chosen.Open:
		text.WriteString("8. Can a request carry a secret, in a header or in the URL?\n")
	case chosen.header() != "":
		text.WriteString("8. Can your queue send the header above? If not, we give you a URL that holds the\n   secret.\n")
	default:
		text.WriteString("8. Can a header carry the secret in place of the URL, such as\n   Authorization: Bearer SECRET? URLs are written into the logs of every server on\n   the way.\n")
	}
	text.WriteString("\nThank you.\n")

	notes = append(notes, more...)
	return Handover{
		Document: []byte(text.String()),
		Notes: paragraphs(
			strings.TrimSpace("Send this text to CETA Support. "+chosen.holdsSecret()),
			strings.Join(notes, "\n"),
			s.afterAnswer(chosen),
			"When the first event has come, look at it: "+names.Command("activity --source "+s.Source),
		),
	}, nil
}

// afterAnswer tells the administrator what to write into the source when CETA has
// answered the questions of the letter.
func (s Setup) afterAnswer(chosen proof) string {
	var lines strings.Builder
	lines.WriteString("When CETA has answered, write into the source or your rules:")
	if s.Anywhere {
		lines.WriteString("\n   its addresses             allow NETWORK…")
	}
	lines.WriteString("\n   the zone of its dates     timezone ZONE, such as Europe/London")
	lines.WriteString("\n   the spelling of statuses  in conditions, as they are sent: a letter's case counts")
	lines.WriteString("\n   the id of an event        dedupe 24h body.ID, if it sends again what is stored already")
	if chosen.header() == "" {
		lines.WriteString("\n   that it can send headers  auth bearer {env.ICFM_TOKEN}, and later without the old auth line")
	}
	return lines.String()
}
