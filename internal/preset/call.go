package preset

import (
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// Call tells which call an event is about, from its system parameters: who calls → who
// is called. It returns "" for an event that has none of the two.
func Call(e *event.Event) string {
	text := func(p event.Parameter) string {
		value, _ := event.Text(event.Present(e.Parameters[p]))
		return value
	}
	name, number, called, extension := text(event.CallingName), text(event.CallerID), text(event.CalledNumber), text(event.Extension)
	if name == "" && number == "" && called == "" {
		return ""
	}
	to := called
	if text(event.Direction) == "outbound" {
		if number == "" {
			number = extension
		}
	} else if extension != "" {
		to = extension
	}
	from := number
	if name != "" && !strings.EqualFold(name, number) {
		from = strings.TrimSpace(name + " " + number)
	}
	if from == "" {
		from = "unknown"
	}
	if to == "" {
		return from
	}
	return from + " → " + to
}
