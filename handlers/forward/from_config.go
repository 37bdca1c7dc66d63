package forward

import (
	"net/http"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// FromConfig returns an action as it is configured, but for what it takes from
// outside of the configuration: the secrets of sign, and the files of tls.
func FromConfig(action *config.Action) Action {
	converted := Action{
		Name: action.Name, Description: action.Description, Place: action.Place,
		Method: strings.ToUpper(action.Method), URL: action.URL,
		Query: pairs(action.Query), Headers: pairs(action.Headers),
		Timeout: time.Duration(action.Timeout), Success: action.Success,
		RetryFor: time.Duration(action.RetryFor), Concurrency: action.Concurrency,
		Expires: time.Duration(action.Expires), OrderBy: action.OrderBy,
	}
	if converted.Method == "" {
		converted.Method = http.MethodPost
	}
	if auth := action.Auth; auth != nil {
		converted.Auth = Auth{Kind: auth.Kind, In: auth.In, Name: auth.Name, User: auth.User, Value: auth.Value}
		if auth.Kind == AuthBasic {
			converted.Auth.Value = auth.Password
		}
	}
	if body := action.Body; body != nil {
		converted.Body = Body{Kind: body.Kind, Type: body.Type, Text: body.Text}
		for _, field := range body.Fields {
			converted.Body.Fields = append(converted.Body.Fields, Field(field))
		}
	}
	if interval := action.RetryInterval; interval != nil {
		converted.RetryFirst, converted.RetryCap = time.Duration(interval.First), time.Duration(interval.Cap)
	}
	if action.Rate != nil {
		converted.Rate = Rate{Count: action.Rate.Count, Per: time.Duration(action.Rate.Per)}
	}
	return converted
}

func pairs(values []config.NameValue) []Pair {
	converted := make([]Pair, len(values))
	for i, value := range values {
		converted[i] = Pair(value)
	}
	return converted
}
