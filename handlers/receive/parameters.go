package receive

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/rules"
)

// The layouts of the parameters date and time.
const (
	dateLayout = "2006-01-02"
	timeLayout = "15:04:05"
)

// tagNames are the system parameters by tag.
var tagNames = func() map[string]rules.Parameter {
	names := map[string]rules.Parameter{}
	for _, p := range rules.SystemParameters() {
		names[p.String()] = p
	}
	return names
}()

// tagOf returns the system parameter whose tag a key is, without regard to
// case.
func tagOf(key string) (rules.Parameter, bool) {
	if len(key) < len("date") || len(key) > len("call_rating_duration") {
		return 0, false
	}
	p, ok := tagNames[key]
	if !ok {
		for i := range len(key) {
			if isUpper(key[i]) {
				p, ok = tagNames[strings.ToLower(key)]
				break
			}
		}
	}
	return p, ok
}

// readTags sets the parameters that are still absent from fields with the names
// of their tags.
func readTags[V any](parameters *rules.Parameters, fields map[string]V, value func(V) any) {
	var keys [len(rules.Parameters{})]string
	for key, v := range fields {
		p, ok := tagOf(key)
		if !ok || parameters[p] != nil && (keys[p] == "" || !precedes(key, keys[p], p.String())) {
			continue
		}
		if typed := typedParameter(p, value(v)); typed != nil {
			parameters[p], keys[p] = typed, key
		}
	}
}

// readPublisher sets parameters that are still absent from what the PBX's Event
// Publisher sends, flat or under "payload". Who called whom on an incoming call
// is not mapped: the only two samples contradict each other.
func readPublisher(parameters *rules.Parameters, fields map[string]any, name string) {
	payload, _ := fields["payload"].(map[string]any)
	get := func(key string) any {
		if value, there := payload[key]; there {
			return value
		}
		return fields[key]
	}
	// One is enough: the others may be redacted.
	if get("linked_id") == nil && get("uid") == nil && get("tenant_code") == nil && get("is_incoming") == nil {
		return
	}
	set := func(p rules.Parameter, value any) {
		if parameters[p] == nil {
			parameters[p] = typedParameter(p, value)
		}
	}
	set(rules.CallID, get("linked_id"))
	set(rules.Tenant, get("tenant_code"))
	if get("is_pbx_user") == true {
		number, _ := textOf(get("number"))
		set(rules.Extension, strings.TrimPrefix(number, "PJSIP/"))
	}
	switch get("is_incoming") {
	case true:
		set(rules.Direction, "inbound")
		set(rules.CallingName, get("connected_name"))
	case false:
		set(rules.Direction, "outbound")
		set(rules.CallerID, get("number"))
		set(rules.CalledNumber, get("connected_num"))
	}
	// A running call has a duration of 0 here, which is not how long it lasted.
	parameters[rules.Duration] = nil
	if name == "event_call_finished" || name == "event_call_ended" {
		set(rules.Duration, get("duration"))
	}
	if when, isObject := get("event_time_info").(map[string]any); isObject {
		set(rules.Date, when["date"])
		set(rules.Time, when["time"])
		set(rules.UnixTime, when["timestamp"])
	}
}

// publisherPaths returns where an event of the Event Publisher holds a
// parameter: what readPublisher maps it from, and what tells the same. It is
// looked for at the top and under "payload".
func publisherPaths(p rules.Parameter) [][]string {
	var paths [][]string
	switch p {
	case rules.CallID:
		paths = [][]string{{"linked_id"}, {"uid"}}
	case rules.Tenant:
		paths = [][]string{{"tenant_code"}}
	case rules.Extension:
		paths = [][]string{{"number"}}
	case rules.CallerID, rules.CalledNumber:
		// On an incoming call either may be the caller.
		paths = [][]string{{"number"}, {"connected_num"}}
	case rules.CallingName:
		paths = [][]string{{"connected_name"}}
	case rules.Direction:
		paths = [][]string{{"is_incoming"}}
	case rules.Duration:
		paths = [][]string{{"duration"}}
	case rules.Date:
		paths = [][]string{{"event_time_info", "date"}}
	case rules.Time:
		paths = [][]string{{"event_time_info", "time"}}
	case rules.UnixTime:
		paths = [][]string{{"event_time_info", "timestamp"}}
	}
	for _, path := range paths {
		paths = append(paths, append([]string{"payload"}, path...))
	}
	return paths
}

// typedParameter returns a value as the parameter's type, or nil when it is
// absent or cannot be one.
func typedParameter(p rules.Parameter, value any) any {
	if p.Numeric() {
		return numberOf(value)
	}
	text, ok := textOf(value)
	if !ok || isAbsent(text) {
		return nil
	}
	switch p {
	case rules.Date:
		if _, err := time.Parse(dateLayout, text); err != nil {
			return nil
		}
	case rules.Time:
		if _, err := time.Parse(timeLayout, text); err != nil || len(text) != len(timeLayout) {
			return nil
		}
	}
	if _, isText := value.(string); isText {
		return value // without making it a value anew
	}
	return text
}

// textOf returns a scalar as text.
func textOf(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case int64:
		return strconv.FormatInt(value, 10), true
	case json.Number:
		return value.String(), true
	case bool:
		return strconv.FormatBool(value), true
	}
	return "", false
}

// numberOf returns a number, however it was sent, as int64 if that holds it and
// else as json.Number; nil if it is none.
func numberOf(value any) any {
	switch value := value.(type) {
	case int64, json.Number:
		return value
	case string:
		text := strings.TrimSpace(value)
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if text == "" || text[0] != '-' && !isDigit(text[0]) {
			return nil
		}
		switch number, _ := rules.DecodeJSON([]byte(text)); number.(type) {
		case int64, json.Number:
			return number
		}
	}
	return nil
}

// lastUnixTime is the end of the year 9999, beyond which a date has no Y-m-d.
const lastUnixTime = 253402300799

// setTimes sets date, time and unix_time where the event did not: each from the
// others as far as it can be, else from the time of receipt. given are the
// parameters as the event had them.
func setTimes(parameters *rules.Parameters, given rules.Parameters, received time.Time, zone *time.Location) {
	date, hasDate := given[rules.Date].(string)
	clock, hasClock := given[rules.Time].(string)
	at := received
	unix, isInt := given[rules.UnixTime].(int64)
	if n, isNumber := given[rules.UnixTime].(json.Number); isNumber {
		if f, err := n.Float64(); err == nil && f >= 0 && f <= lastUnixTime {
			unix, isInt = int64(f), true
		}
	}
	switch {
	case isInt && 0 <= unix && unix <= lastUnixTime:
		at = time.Unix(unix, 0)
	case hasDate && hasClock:
		if local, err := time.ParseInLocation(dateLayout+" "+timeLayout, date+" "+clock, zone); err == nil {
			at = local
		}
	}
	parameters[rules.UnixTime] = given[rules.UnixTime]
	if given[rules.UnixTime] == nil {
		parameters[rules.UnixTime] = at.Unix()
	}
	if hasDate && hasClock {
		parameters[rules.Date], parameters[rules.Time] = date, clock
		return
	}
	local := at.In(zone).Format(dateLayout + " " + timeLayout)
	parameters[rules.Date], parameters[rules.Time] = local[:len(dateLayout)], local[len(dateLayout)+1:]
	if hasDate {
		parameters[rules.Date] = date
	}
	if hasClock {
		parameters[rules.Time] = clock
	}
}
