package template

import (
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/textencoding"
)

const (
	// longestSubject and longestName bound what people read in a list of mails, in
	// bytes. Servers refuse mails with very long header fields.
	longestSubject = 500
	longestName    = 200

	// longestLocal is how long the part before the @ may be (RFC 5321, 4.5.3.1.1).
	longestLocal = 64
)

// addressTemplate is one setting with addresses of a mail.
type addressTemplate struct {
	// place is the part of the mail, for messages.
	place string
	// fixed are the addresses, if nothing in them comes with the event.
	fixed []mail.Address
	// Otherwise it is one: name and address are its parts.
	name, address template
	// chosen is the tag of the event in the address, nil if only the name has one.
	chosen *tag
}

// addresses reads a template of addresses. One that holds a value of the event is one
// address: its name and its address are told apart before values are put in, so that
// no value can make another of them.
func (b *builder) addresses(w writtenText) (a addressTemplate, err error) {
	a.place = w.place
	filled := trimmed(b.fill(w).joined())
	put := slices.ContainsFunc(w.pieces, func(p piece) bool { return p.tag != nil })
	if text, fixed := filled.text(); fixed {
		if a.fixed, err = readAddresses(text); err != nil && put {
			// The error would show what parameters hold, secret ones too.
			err = errors.New("with the parameters put in, this is no address such as anna@studio.example, and no list of addresses")
		}
		return a, err
	}
	a.name, a.address = cutAddress(filled)
	for _, p := range a.address {
		if p.tag == nil {
			if strings.ContainsFunc(p.text, notInAddress) {
				return a, errors.New("beside a value of the event there can be one address only, such as NAME <ADDRESS>: write each of several as an argument of its own")
			}
			continue
		}
		if p.tag.missing != "" {
			return a, &missingError{parameter: p.tag.missing}
		}
		if a.chosen == nil {
			a.chosen = p.tag
		}
	}
	return a, nil
}

// cutAddress cuts a template at the < of NAME <ADDRESS>. Only what the administrator
// wrote can be that <.
func cutAddress(t template) (name, address template) {
	last := len(t) - 1
	if t[last].tag != nil || !strings.HasSuffix(t[last].text, ">") {
		return nil, t
	}
	for i := last; i >= 0; i-- {
		if t[i].tag != nil {
			continue
		}
		at := strings.LastIndexByte(t[i].text, '<')
		if at < 0 {
			continue
		}
		name = append(slices.Clone(t[:i]), piece{text: t[i].text[:at]})
		address = append(template{{text: t[i].text[at+1:]}}, t[i+1:]...)
		end := &address[len(address)-1]
		end.text = strings.TrimSuffix(end.text, ">")
		return name.joined(), trimmed(address.joined())
	}
	return nil, t
}

// render returns the addresses for an event: one at most, if it decides about them.
// allowed are the domains to which a value of the event may lead; nil allows all.
func (a *addressTemplate) render(r *rendering, allowed map[string]bool) ([]mail.Address, error) {
	if a.address == nil {
		return a.fixed, nil
	}
	text, err := r.text(a.place, a.address)
	if err != nil {
		return nil, err
	}
	if text = strings.TrimSpace(text); text == "" {
		return nil, nil
	}
	address, domain, err := readAddress(text)
	if err == nil && a.chosen != nil {
		err = checkChosen(address[:strings.LastIndexByte(address, '@')])
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: what the event has is no mail address: %w; not sent", a.place, err)
	case a.chosen != nil && allowed != nil && !allowed[domain]:
		return nil, fmt.Errorf("%s: %s makes an address whose domain is not among the recipients of the mail; not sent: "+
			"if mail may go there for any event, add the domain to the line recipients", a.place, a.chosen)
	}
	name, err := r.text(a.place, a.name)
	if err != nil {
		return nil, err
	}
	return []mail.Address{{Name: nameOf(name), Address: address}}, nil
}

// nameOf returns the name that a text is, without the quotes around it.
func nameOf(text string) string {
	text = oneLine(text, longestName+2)
	if len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"' {
		text = text[1 : len(text)-1]
	}
	return textencoding.Cut(text, longestName)
}

// oneLine returns a text as one line of at most limit bytes.
func oneLine(text string, limit int) string { return textencoding.Cut(escape.OneLine(text), limit) }

// readAddresses reads what an administrator wrote: addresses with or without names,
// with commas between them. A blank text has none.
func readAddresses(text string) ([]mail.Address, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	list, err := mail.ParseAddressList(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no mail address, such as anna@studio.example or Anna Ott <anna@studio.example>; a name with a comma needs quotes", textencoding.Cut(text, 100))
	}
	addresses := make([]mail.Address, len(list))
	for i, one := range list {
		address, _, err := readAddress(one.Address)
		if err != nil {
			return nil, fmt.Errorf("%q is no mail address: %w", textencoding.Cut(one.Address, 100), err)
		}
		addresses[i] = mail.Address{Name: oneLine(one.Name, longestName), Address: address}
	}
	return addresses, nil
}

// readAddress reads an address without a name, as LOCAL@DOMAIN: letters, digits and
// some other characters, with dots between them. It returns the address, its domain
// as config.MailDomain does. Its error holds nothing of the text.
func readAddress(text string) (address, domain string, err error) {
	local, domain, found := strings.Cut(text, "@")
	if !found {
		return "", "", errors.New("it has no @")
	}
	if local == "" || len(local) > longestLocal || strings.HasPrefix(local, ".") || strings.HasSuffix(local, ".") || strings.Contains(local, "..") ||
		strings.ContainsFunc(local, func(c rune) bool { return c == '@' || notInAddress(c) }) {
		return "", "", errors.New("what stands before the @ is not of letters, digits and single dots, or has more than 64 characters")
	}
	if domain, err = config.MailDomain(domain); err != nil || strings.TrimSpace(text) != text {
		return "", "", errors.New("what stands behind the @ is no domain")
	}
	return local + "@" + domain, domain, nil
}

// notInAddress reports whether a character cannot stand in an address without quotes
// (RFC 5322, 3.2.3, and RFC 6532).
func notInAddress(c rune) bool {
	return c < 0x80 && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.@", c)
}

// checkChosen returns an error for the local part of an address that the event
// chooses and that a server could take for more than a name: for a path to another
// server (some send user%host@domain and host!user@domain on), for a file, a program
// or an option. Few servers take letters outside of ASCII.
func checkChosen(local string) error {
	if strings.HasPrefix(local, "-") || strings.ContainsFunc(local, func(c rune) bool { return c >= 0x80 || strings.ContainsRune("%!|/`", c) }) {
		return errors.New("what stands before the @ begins with a hyphen, or holds a letter outside of ASCII or one of % ! | / `")
	}
	return nil
}
