package preset

import (
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
)

// Try returns a command line that posts an event of the source, with YOUR-SECRET
// in place of the secret, so that all who may open the console may see it. It is
// empty where a command line cannot be given.
func (s Setup) Try(event string) string {
	var err error
	if s.mount, err = parseMount(s.URL); err != nil {
		return ""
	}
	s.Credentials = slices.Clone(s.Credentials)
	for i := range s.Credentials {
		c := &s.Credentials[i]
		if len(c.Values) > 0 {
			c.Values = []string{"YOUR-SECRET"}
		}
		if c.Password != "" {
			c.Password = "YOUR-SECRET"
		}
	}
	// Not where a secret must have a form of its own.
	chosen, _, err := s.choose("", "", func(p proof) bool { return auth.StandIn(p.Traits.Kind, p.secret) == p.secret })
	if err != nil {
		return ""
	}
	example, err := s.example(chosen, event)
	if err != nil {
		return ""
	}
	return strings.TrimRight(example.script, "\n")
}
