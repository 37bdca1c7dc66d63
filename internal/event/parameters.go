package event

import (
	"encoding/json"
	"strconv"
)

// Parameter identifies one of the 13 system parameters: the tags of the PBX's
// Event Manager, which every event has (Bicom Systems wiki, "PBXware 7
// Business Administration Manual: Event Manager").
type Parameter int

// The system parameters, in the order of the manual. Duration,
// CallRatingDuration, CallCost and UnixTime are numbers however they were
// sent; the others are text, Date as Y-m-d and Time as H:i:s.
const (
	CalledNumber Parameter = iota
	CallerID
	CallingName
	CallCost
	CallID
	CallRatingDuration
	Date
	Direction
	Duration
	Extension
	Tenant
	Time
	UnixTime

	parameterCount
)

var parameterNames = [parameterCount]string{
	CalledNumber: "called_number", CallerID: "caller_id", CallingName: "calling_name",
	CallCost: "call_cost", CallID: "call_id", CallRatingDuration: "call_rating_duration",
	Date: "date", Direction: "direction", Duration: "duration", Extension: "extension",
	Tenant: "tenant", Time: "time", UnixTime: "unix_time",
}

// Parameters holds the values of the system parameters by Parameter. A value
// is nil (absent), string, int64 or json.Number. Tenant, Date, Time and
// UnixTime are never nil in a received event.
type Parameters [parameterCount]any

// String returns the tag of the parameter, as templates and rules write it.
func (p Parameter) String() string { return parameterNames[p] }

// Numeric reports whether the parameter is a number however it was sent.
func (p Parameter) Numeric() bool {
	return p == Duration || p == CallRatingDuration || p == CallCost || p == UnixTime
}

// SystemParameters returns all system parameters in the manual's order.
func SystemParameters() []Parameter {
	all := make([]Parameter, parameterCount)
	for i := range all {
		all[i] = Parameter(i)
	}
	return all
}

// ParameterByName returns the system parameter with the given tag.
func ParameterByName(name string) (Parameter, bool) {
	for p, n := range parameterNames {
		if n == name {
			return Parameter(p), true
		}
	}
	return 0, false
}

// Text returns a scalar as an event holds it (string, bool, int64 or
// json.Number) as text, and whether the value is one.
func Text(value any) (text string, ok bool) {
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
