package rules

import "slices"

// The names and texts below are the vendors' own, in the order of their pages:
// CETA Software's "Event Queue" for iCFM; for the PBX Bicom Systems' Event
// Manager (the first five) and Event Publisher (the other four). Names follow
// no pattern, so they are matched exactly and never derived from one another.
var (
	icfmEvents = []EventType{
		{"allocation_change", "Any change to Project Type information"},
		{"client_attend_added", "Client Attending information added"},
		{"client_attend_deleted", "Client Attending information deleted"},
		{"client_attend_modified", "Client Attending information updated"},
		{"despatch_data_update", "Despatch Note saved"},
		{"despatch_status_change", "Despatch Note status changed"},
		{"dmg_actual_modified", "DMG Actuals updated"},
		{"dmg_description_modified", "DMG Description updated"},
		{"dmg_input_added", "A DMG Input item added to a job"},
		{"dmg_input_deleted", "A DMG Input item removed from a job"},
		{"dmg_input_modified", "A DMG Input item updated"},
		{"dmg_job_allocated", "DMG Job allocated to a user"},
		{"dmg_operation_deleted", "DMG Operation on a job deleted"},
		{"dmg_operation_modified", "DMG Operation on a job modified"},
		{"dmg_output_added", "A DMG Output item added to a job"},
		{"dmg_output_deleted", "A DMG Output item removed from a job"},
		{"dmg_output_modified", "A DMG Output item updated"},
		{"dmg_quantity_modified", "Quantity on a DMG Operation updated"},
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

	pbxwareEvents = []EventType{
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
func PresetEvents(preset string) []EventType {
	switch preset {
	case "icfm":
		return slices.Clone(icfmEvents)
	case "pbxware":
		return slices.Clone(pbxwareEvents)
	}
	return nil
}
