package preset

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// Setup is a source as those have to know it who are to post its events: the
// administrator of the PBX, CETA's support, or the author of a script.
type Setup struct {
	// Source is the name of the source, and Preset what it is.
	Source string
	Preset Preset

	// Events are all that the source declares.
	Events []event.Type

	// NameFrom is the expression for the event's name. Empty means the usual
	// places.
	NameFrom string

	// Credentials are those of the source, with their secrets resolved.
	Credentials []config.Credential

	// Anywhere says that the source takes requests from all addresses.
	Anywhere bool

	// URL is the handler's public address: scheme, host and mount, such as
	// https://events.studio.example/listen.php.
	URL string

	mount mount // of the URL
}

// Handover is what to give to the other side.
type Handover struct {
	// Document is what the other side needs, such as a text for its support or
	// a file that it imports. It holds a secret of the source, because the other
	// side needs it.
	Document []byte

	// Notes tell the administrator what to do with the document. They hold no
	// secret that is in the document: what is printed on a terminal stays there.
	Notes string
}

// Handover writes what the other side needs. Of several credentials it takes
// the first that the other side can use, and says which. Its errors name the
// source and the remedy.
func (s Setup) Handover() (handover Handover, err error) {
	write := describe
	if s.Preset.HandOver != nil {
		write = s.Preset.HandOver
	}
	if s.mount, err = parseMount(s.URL); err == nil {
		handover, err = write(s)
	}
	if err != nil {
		return Handover{}, fmt.Errorf("setting up source %s: %w", s.Source, err)
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

// proof is a credential that the other side gets.
type proof struct {
	config.Credential
	auth.Instructions
	*auth.Traits
	secret string
}

// choose returns the first credential of the source that is usable, and what an
// administrator should know of the choice. Of several conditions the first goes
// before the second. If none is usable, the error names who cannot use them and
// what to add.
func (s Setup) choose(who, remedy string, usable ...func(proof) bool) (chosen proof, notes []string, err error) {
	var unusable error
	for _, isUsable := range usable {
		for i, settings := range s.Credentials {
			authenticator, err := auth.New(settings)
			if err != nil {
				if unusable == nil && len(settings.Secrets()) > 0 {
					unusable = fmt.Errorf("reading auth %s: %w", settings.Kind, err)
				}
				continue
			}
			p := proof{Credential: settings, Traits: authenticator.Traits()}
			if !p.Open {
				p.secret = settings.Secrets()[0]
				p.Instructions = authenticator.Instructions(p.secret)
			}
			if isUsable(p) {
				return p, s.notesOn(p, i), nil
			}
		}
	}
	if unusable == nil {
		unusable = errors.New(who + " cannot use any of its auth lines; add: " + remedy)
	}
	return proof{}, nil, unusable
}

// notesOn says what an administrator should know of the chosen credential.
func (s Setup) notesOn(p proof, at int) (notes []string) {
	if p.Open {
		return []string{fmt.Sprintf("Source %s is open (%s): anyone who knows the URL can post events.", s.Source, p.Setting)}
	}
	if all := len(s.Credentials); all > 1 {
		notes = append(notes, fmt.Sprintf("Source %s has %d auth lines; this uses line %d: %s.", s.Source, all, at+1, p.Setting))
	}
	if all := len(p.Secrets()); all > 1 {
		notes = append(notes, fmt.Sprintf("Of its %d values this uses the first.", all))
	}
	return notes
}

// inURL reports whether the credential is part of the URL, so that a sender
// needs nothing else.
func (p proof) inURL() bool {
	in := p.Place().In
	return in == auth.InPath || in == auth.InQuery
}

// isText reports whether the credential is a text that is the same in each
// request, or none at all, so that the sender has to compute nothing.
func (p proof) isText() bool { return p.Open || p.Text != "" }

// target returns the URL for what stands below the mount, with the credential
// in it if it belongs there.
func (p proof) target(m mount, below ...string) string {
	switch place := p.Place(); place.In {
	case auth.InPath:
		return m.at(append(below, p.Text)...).String()
	case auth.InQuery:
		return m.at(below...).String() + "?" + escape.Unreserved.Encode(place.Name) + "=" + escape.Unreserved.Encode(p.Text)
	}
	return m.at(below...).String()
}

// header returns the header that proves a request, if it is a fixed one.
func (p proof) header() string {
	if place := p.Place(); place.In == auth.InHeader && p.Text != "" {
		return place.Name + ": " + p.Text
	}
	return ""
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
