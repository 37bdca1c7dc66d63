package preset

import (
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// pbxware is PBXware by Bicom Systems, also sold as CloudPBX. It has two features
// that post events. The Event Manager (Bicom Systems wiki, "PBXware 7 Business
// Administration Manual: Event Manager") sends what an administrator writes,
// with the tags that are the system parameters. The Event Publisher (GitHub,
// bernis-bicom/pbxware-event-catcher) sends JSON of a fixed form, which
// mapPublisher reads.
var pbxware = Preset{
	Name:     "pbxware",
	Events:   pbxwareEvents,
	Single:   "the PBX posts one event at a time",
	Map:      mapPublisher,
	Holds:    publisherHolds,
	Subject:  callSubject,
	HandOver: collectionForPBX,
}

// pbxwareEvents are the five of the Event Manager, then the four of the Event
// Publisher.
var pbxwareEvents = []event.Type{
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

// mapPublisher reads what the Event Publisher sends, flat or under "payload". Who
// called whom on an incoming call is not mapped: the only two samples contradict
// each other.
func mapPublisher(name string, fields map[string]any) (m Mapping) {
	payload, _ := fields["payload"].(map[string]any)
	get := func(key string) any {
		if value, there := payload[key]; there {
			return value
		}
		return fields[key]
	}
	// One is enough: the others may be redacted.
	if get("linked_id") == nil && get("uid") == nil && get("tenant_code") == nil && get("is_incoming") == nil {
		return m
	}
	m.Values[event.CallID] = get("linked_id")
	m.Values[event.Tenant] = get("tenant_code")
	if get("is_pbx_user") == true {
		number, _ := event.Text(get("number"))
		m.Values[event.Extension] = strings.TrimPrefix(number, "PJSIP/")
	}
	switch get("is_incoming") {
	case true:
		m.Values[event.Direction] = "inbound"
		m.Values[event.CallingName] = get("connected_name")
	case false:
		m.Values[event.Direction] = "outbound"
		m.Values[event.CallerID] = get("number")
		m.Values[event.CalledNumber] = get("connected_num")
	}
	// A running call has a duration of 0 here, which is not how long it lasted.
	m.Not = durations
	if name == "event_call_finished" || name == "event_call_ended" {
		m.Values[event.Duration] = get("duration")
	}
	if when, isObject := get("event_time_info").(map[string]any); isObject {
		m.Values[event.Date] = when["date"]
		m.Values[event.Time] = when["time"]
		m.Values[event.UnixTime] = when["timestamp"]
	}
	return m
}

// callSubject tells who calls → who is called. Of an incoming call of the Event
// Publisher it is not known which of its two numbers is the caller.
func callSubject(e *event.Event, fields map[string]any) string {
	if e.Parameters[event.CallerID] == nil && e.Parameters[event.CalledNumber] == nil {
		payload, _ := fields["payload"].(map[string]any)
		if payload == nil {
			payload = fields
		}
		own, _ := event.Text(event.Present(payload["number"]))
		other, _ := event.Text(event.Present(payload["connected_num"]))
		if own != "" && other != "" {
			name, _ := event.Text(event.Present(e.Parameters[event.CallingName]))
			return strings.TrimSpace(name + " " + strings.TrimPrefix(other, "PJSIP/") + " – " + strings.TrimPrefix(own, "PJSIP/"))
		}
	}
	if call := Call(e); call != "" {
		return call
	}
	extension, _ := event.Text(event.Present(e.Parameters[event.Extension]))
	return extension
}

var durations = []event.Parameter{event.Duration}

// publisherHolds returns where an event of the Event Publisher holds a parameter,
// at the top and under "payload".
func publisherHolds(p event.Parameter) [][]string {
	var paths [][]string
	switch p {
	case event.CallID:
		paths = [][]string{{"linked_id"}, {"uid"}}
	case event.Tenant:
		paths = [][]string{{"tenant_code"}}
	case event.Extension:
		paths = [][]string{{"number"}}
	case event.CallerID, event.CalledNumber:
		// On an incoming call either may be the caller.
		paths = [][]string{{"number"}, {"connected_num"}}
	case event.CallingName:
		paths = [][]string{{"connected_name"}}
	case event.Direction:
		paths = [][]string{{"is_incoming"}}
	case event.Duration:
		paths = [][]string{{"duration"}}
	case event.Date:
		paths = [][]string{{"event_time_info", "date"}}
	case event.Time:
		paths = [][]string{{"event_time_info", "time"}}
	case event.UnixTime:
		paths = [][]string{{"event_time_info", "timestamp"}}
	}
	for _, path := range paths {
		paths = append(paths, append([]string{"payload"}, path...))
	}
	return paths
}
