package rules

import (
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// The names and texts below are the vendors' own, in the order of their pages:
// CETA Software's "Event Queue" for iCFM; for the PBX Bicom Systems' Event
// Manager (the first five) and Event Publisher (the other four). Names follow
// no pattern, so they are matched exactly and never derived from one another.
var (
	icfmEvents = []event.Type{
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

	pbxwareEvents = []event.Type{
		{Name: "incoming_call"},
		{Name: "answered_call"},
		{Name: "unanswered_call"},
		{Name: "hangup"},
		{Name: "ringing"},
		{Name: "event_call_started"},
		{Name: "event_call_connected"},
		{Name: "event_call_updated"},
		{Name: "event_call_finished"},
	}
)

// Presets returns the names of the presets that PresetEvents knows.
func Presets() []string { return []string{"icfm", "pbxware"} }

// PresetEvents returns the events that the vendor behind a preset documents, in
// the vendor's order: 51 for icfm, 9 for pbxware. It returns nil for a name
// that is no preset. The caller may change the result.
func PresetEvents(preset string) []event.Type {
	switch preset {
	case "icfm":
		return slices.Clone(icfmEvents)
	case "pbxware":
		return slices.Clone(pbxwareEvents)
	}
	return nil
}
