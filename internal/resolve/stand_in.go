package resolve

import (
	"maps"
	"regexp"
	"slices"
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

	// beginURLs are the parameters with which the URL of an action begins, and
	// addresses are those that are an address of a mail. Where such a value is not
	// known, it still has to be a URL or an address.
	beginURLs, addresses map[string]bool
}

// maskedAddress stands in place of the address of a mail.
const maskedAddress = secret.Masked + "@masked.invalid"

var (
	// leadingTag finds the parameter that a URL begins with.
	leadingTag = regexp.MustCompile(`^\s*\{\{\s*([\pL_][\pL\pN_]*)\s*\}\}`)
	// addressTag finds the parameter that is the whole address of a mail, with or
	// without a name before it.
	addressTag = regexp.MustCompile(`(?:^|<)\s*\{\{\s*([\pL_][\pL\pN_]*)\s*\}\}\s*(?:>?\s*)$`)
)

func newStandIns(settings *config.Relay, unknown string) *standIns {
	s := &standIns{unknown: unknown}
	parameters := make(map[string]*config.Parameter, len(settings.Parameters))
	for i := range settings.Parameters {
		parameters[settings.Parameters[i].Name] = &settings.Parameters[i]
	}
	var urls, addresses []string
	for i := range settings.Actions {
		action := &settings.Actions[i]
		urls = append(urls, action.URL)
		if mail := action.Mail; mail != nil {
			addresses = slices.Concat(addresses, []string{mail.From, mail.ReplyTo}, mail.To, mail.CC, mail.BCC)
		}
	}
	s.beginURLs = named(parameters, leadingTag, urls)
	s.addresses = named(parameters, addressTag, addresses)
	return s
}

// named returns the names of the parameters that a pattern finds in templates, and in
// the values of such parameters.
func named(parameters map[string]*config.Parameter, pattern *regexp.Regexp, templates []string) map[string]bool {
	names := make(map[string]bool)
	for len(templates) > 0 {
		found := pattern.FindStringSubmatch(templates[0])
		templates = templates[1:]
		if found == nil || names[found[1]] {
			continue
		}
		names[found[1]] = true
		if parameter := parameters[found[1]]; parameter != nil {
			templates = append(templates, parameter.Value)
			templates = slices.AppendSeq(templates, maps.Values(parameter.Tenants))
		}
	}
	return names
}

// value returns what stands for the value of a parameter, and whether that is not
// known.
func (s *standIns) value(parameter, value string) (standIn string, unknown bool) {
	switch {
	case strings.HasPrefix(value, secret.Masked) && s.beginURLs[parameter]:
		return "http://" + value, value == secret.Masked
	case value == secret.Masked && s.addresses[parameter]:
		return maskedAddress, true
	case value == secret.Masked:
		return s.unknown, true
	}
	return value, false
}
