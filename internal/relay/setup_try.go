package relay

import (
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
)

// Try returns a command line that posts an event of the source, for whoever
// has its secret: that does not stand in it. It is empty where a command line
// cannot be given.
func (s Setup) Try(event string) string {
	mount, err := parseMount(s.URL)
	if err != nil {
		return ""
	}
	masked := s
	masked.Source.Credentials = slices.Clone(s.Source.Credentials)
	for i := range masked.Source.Credentials {
		credential := &masked.Source.Credentials[i]
		if len(credential.Values) > 0 {
			credential.Values = []string{"YOUR-SECRET"}
		}
	}
	chosen, _, found := masked.choose(func(c auth.Settings) bool { return c.Kind != auth.StandardWebhooks })
	if !found {
		return ""
	}
	example, err := masked.example(mount, chosen, event)
	if err != nil {
		return ""
	}
	return strings.TrimRight(example.script, "\n")
}
