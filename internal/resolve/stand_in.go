package resolve

import (
	"regexp"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// maskedKey stands in place of a secret that must be base64.
const maskedKey = "whsec_Kioq"

// StandIns are texts that can stand in place of a secret, the one to be tried first
// at the beginning. The second is for a secret that has to be a number, such as a
// port. A dry run shows either as ***.
var StandIns = []string{secret.Masked, "9999"}

// DryRun checks a configuration, such as a snapshot, and puts a text in place of each
// secret. It follows no reference and logs nothing: the person who asks may not be
// allowed to see secrets, and an old configuration names files that are gone. TLS is
// left out, because a dry run opens no connection.
func DryRun(settings config.Relay, standIn string) (Resolved, error) {
	return (&resolver{logger: zap.NewNop(), standIns: newStandIns(&settings, standIn)}).relay(settings)
}

// standIns are what there is to know for the dry run of a configuration.
type standIns struct {
	// unknown stands in place of what is not known.
	unknown string

	// beginURLs are the parameters with which the URL of an action begins. Where
	// such a value is not known, it still has to be a URL.
	beginURLs map[string]bool
}

// leadingTag finds the parameter that a URL begins with.
var leadingTag = regexp.MustCompile(`^\s*\{\{\s*([\pL_][\pL\pN_]*)\s*\}\}`)

func newStandIns(settings *config.Relay, unknown string) *standIns {
	s := &standIns{unknown: unknown, beginURLs: make(map[string]bool)}
	parameters := make(map[string]*config.Parameter, len(settings.Parameters))
	for i := range settings.Parameters {
		parameters[settings.Parameters[i].Name] = &settings.Parameters[i]
	}
	var found []string
	note := func(text string) {
		if leading := leadingTag.FindStringSubmatch(text); leading != nil && !s.beginURLs[leading[1]] {
			s.beginURLs[leading[1]] = true
			found = append(found, leading[1])
		}
	}
	for i := range settings.Actions {
		note(settings.Actions[i].URL)
	}
	// A parameter may itself begin with another.
	for len(found) > 0 {
		parameter := parameters[found[0]]
		found = found[1:]
		if parameter == nil {
			continue
		}
		note(parameter.Value)
		for _, value := range parameter.Tenants {
			note(value)
		}
	}
	return s
}

// value returns what stands for the value of a parameter, and whether that is not
// known.
func (s *standIns) value(parameter, value string) (standIn string, unknown bool) {
	switch {
	case strings.HasPrefix(value, secret.Masked) && s.beginURLs[parameter]:
		return "http://" + value, value == secret.Masked
	case value == secret.Masked:
		return s.unknown, true
	}
	return value, false
}
