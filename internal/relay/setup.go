package relay

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// Setup is a source as somebody has to know it who is to post its events: the
// administrator of the PBX, CETA's support, or the author of a script.
type Setup struct {
	// Source is the source, with its secrets resolved.
	Source receive.Source

	// URL is the handler's public address: scheme, host and mount, such as
	// https://events.studio.example/listen.php.
	URL string
}

// Handover is what to give to whom.
type Handover struct {
	// Document is what the other side needs: for the preset icfm a text for
	// CETA's support, for pbxware a Postman collection for the Event Manager,
	// for any other source a description with an example. It holds a secret of
	// the source, because the other side needs it.
	Document []byte

	// Notes tell the administrator what to do with the document, and hold
	// secrets as well.
	Notes string
}

// Handover writes what the other side needs. Of several credentials it takes
// the first that the other side can use, and says which. Its errors name the
// source and the remedy.
func (s Setup) Handover() (Handover, error) {
	mount, err := parseMount(s.URL)
	if err != nil {
		return Handover{}, fmt.Errorf("setting up source %s: %w", s.Source.Name, err)
	}
	var handover Handover
	switch s.Source.Preset {
	case "icfm":
		handover, err = s.forICFM(mount)
	case "pbxware":
		handover, err = s.forPBX(mount)
	default:
		handover, err = s.forAnybody(mount)
	}
	if err != nil {
		return Handover{}, fmt.Errorf("setting up source %s: %w", s.Source.Name, err)
	}
	return handover, nil
}

// mount is a handler's address, as its parts are written in a URL.
type mount struct {
	origin   string // scheme://host:port
	segments []string
}

func parseMount(text string) (mount, error) {
	u, err := url.Parse(text)
	if err != nil {
		// The message of net/url repeats the text and says what is wrong.
		return mount{}, fmt.Errorf("reading the URL: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return mount{}, fmt.Errorf("reading the URL: %q is not like https://events.studio.example/listen.php", text)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil {
		return mount{}, fmt.Errorf("reading the URL: %q holds more than the address of the handler; leave out user, query and fragment", text)
	}
	m := mount{origin: u.Scheme + "://" + u.Host}
	for segment := range strings.SplitSeq(u.EscapedPath(), "/") {
		if segment != "" {
			m.segments = append(m.segments, segment)
		}
	}
	return m, nil
}

// at returns the address of what stands below the mount.
func (m mount) at(below ...string) mount {
	segments := slices.Clone(m.segments)
	for _, segment := range below {
		segments = append(segments, escape.Unreserved.Encode(segment))
	}
	return mount{origin: m.origin, segments: segments}
}

func (m mount) String() string { return m.origin + "/" + strings.Join(m.segments, "/") }

// secure reports whether what is sent there cannot be read on the way.
func (m mount) secure() bool { return strings.HasPrefix(m.origin, "https:") }

// proof is the credential that the other side gets.
type proof struct {
	auth.Settings
	secret string
}

// choose returns the source's first credential that is usable, and what an
// administrator should know of the choice.
func (s Setup) choose(usable func(auth.Settings) bool) (chosen proof, notes []string, found bool) {
	for i, credential := range s.Source.Credentials {
		open := credential.Kind == auth.None
		if !usable(credential) || !open && len(credential.Values) == 0 {
			continue
		}
		chosen = proof{Settings: credential}
		if open {
			notes = append(notes, fmt.Sprintf("Source %s is open (auth none): whoever knows the URL can post events.", s.Source.Name))
			return chosen, notes, true
		}
		chosen.secret = credential.Values[0]
		if all := len(s.Source.Credentials); all > 1 {
			notes = append(notes, fmt.Sprintf("Source %s has %d auth lines; this uses line %d: %s.",
				s.Source.Name, all, i+1, describeKind(credential)))
		}
		if all := len(credential.Values); all > 1 {
			notes = append(notes, fmt.Sprintf("Of its %d values this uses the first.", all))
		}
		return chosen, notes, true
	}
	return proof{}, nil, false
}

// describeKind says what a credential is in the words of the configuration,
// without its secret.
func describeKind(c auth.Settings) string {
	switch c.Kind {
	case auth.APIKey:
		return fmt.Sprintf("auth api_key %s %s", c.In, c.Name)
	case auth.HMAC:
		return fmt.Sprintf("auth hmac %s %s", c.Name, c.Algorithm)
	case auth.Basic:
		return "auth basic " + c.User
	}
	return "auth " + string(c.Kind)
}

// inURL reports whether a credential is part of the URL, so that a sender needs
// nothing else.
func inURL(c auth.Settings) bool {
	return c.Kind == auth.Path || c.Kind == auth.APIKey && c.In == auth.InQuery
}

// signs reports whether the sender has to compute something for each request.
func signs(c auth.Settings) bool {
	return c.Kind == auth.HMAC || c.Kind == auth.StandardWebhooks
}

// target returns the URL for what stands below the mount, with the credential
// in it if it belongs there.
func (p proof) target(m mount, below ...string) string {
	switch {
	case p.Kind == auth.Path:
		return m.at(append(below, p.secret)...).String()
	case inURL(p.Settings):
		return m.at(below...).String() + "?" + escape.Unreserved.Encode(p.Name) + "=" + escape.Unreserved.Encode(p.secret)
	}
	return m.at(below...).String()
}

// header returns the header that proves a request, if it is a fixed one.
func (p proof) header() string {
	switch {
	case p.Kind == auth.Bearer:
		return "Authorization: Bearer " + p.secret
	case p.Kind == auth.Basic:
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(p.User+":"+p.secret))
	case p.Kind == auth.APIKey && p.In == auth.InHeader:
		return p.Name + ": " + p.secret
	}
	return ""
}

// errNoUse says that the source has no credential that the other side can use.
func errNoUse(who, remedy string) error {
	return errors.New(who + " cannot use any of its auth lines; add: " + remedy)
}

// holdsSecret warns of the document.
func (p proof) holdsSecret() string {
	if p.secret == "" {
		return ""
	}
	return "It holds a secret: hand it over as you would a password."
}

// warnings are what the administrator should know of the address.
func (m mount) warnings() []string {
	u, err := url.Parse(m.origin)
	if err != nil {
		return nil
	}
	var notes []string
	address, _ := netip.ParseAddr(u.Hostname())
	if u.Hostname() == "localhost" || address.IsLoopback() {
		notes = append(notes, fmt.Sprintf("The URL is for this machine only (%s). Give the public one with --url.", u.Host))
	} else if !m.secure() {
		notes = append(notes, "The URL is not https: the secret and the events can be read on their way.")
	}
	return notes
}

// paragraphs joins what is not empty, each wrapped on lines of its own.
func paragraphs(texts ...string) string {
	texts = slices.DeleteFunc(texts, func(text string) bool { return text == "" })
	return strings.Join(texts, "\n\n") + "\n"
}
