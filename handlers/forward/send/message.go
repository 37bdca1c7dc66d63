package send

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"
	"golang.org/x/net/idna"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/secret"
	"github.com/caddy-event-relay/event-relay/internal/textencoding"
)

// Mail is a message as it is sent. It can be sent any number of times.
type Mail struct {
	// Server has the scheme smtp, or smtps for TLS from the start.
	Server   Target
	StartTLS config.StartTLS
	// User and Password are what the relay authenticates with, empty for no
	// authentication.
	User, Password string
	// TLS is how a connection is secured, nil for Go's defaults.
	TLS *TLS
	// Masker masks the secrets in what is kept of the server's replies, nil for
	// none.
	Masker *secret.Masker

	From        mail.Address
	ReplyTo     *mail.Address
	To, Cc, Bcc []mail.Address
	Subject     string
	// Text and HTML are the two forms of the body. One of them may be empty.
	Text, HTML string
	// ID is the delivery's id, from which the Message-ID is made, so that a server
	// or a reader that gets the mail of a second attempt too can tell.
	ID string
	// Event is the event's id. Test says that it is a test event.
	Event string
	Test  bool
}

// longestName bounds the name beside an address, in bytes: a line of a header may
// have 998.
const longestName = 200

// message is a mail as it goes to a server.
type message struct {
	text []byte
	// from and to are the addresses of the envelope, in angle brackets.
	from string
	to   []string
	// international says that an address can only be written in UTF-8.
	international bool
}

// compose makes the message. The error is a *MailError that no further attempt can
// mend.
func (m *Mail) compose(now time.Time) (*message, error) {
	composed, written := &message{}, gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	var wrong []error
	address := func(place string, a mail.Address) *mail.Address {
		one, err := writable(a)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", place, err))
			return &mail.Address{}
		}
		composed.international = composed.international || !isASCII(one.Address)
		return one
	}
	from := address("from", m.From)
	composed.from = envelope(from)
	written.FromMailAddress(from)
	if m.ReplyTo != nil {
		written.ReplyToMailAddress(address("reply_to", *m.ReplyTo))
	}
	known := map[string]bool{}
	recipients := func(place string, all []mail.Address) (named []*mail.Address) {
		for _, a := range all {
			one := address(place, a)
			named = append(named, one)
			if in := envelope(one); !known[in] {
				known[in] = true
				composed.to = append(composed.to, in)
			}
		}
		return named
	}
	to, cc := recipients("to", m.To), recipients("cc", m.Cc)
	// Those in bcc are in the envelope alone.
	_ = recipients("bcc", m.Bcc)
	switch {
	case len(composed.to) == 0:
		wrong = append(wrong, errors.New("it has no recipient"))
	case len(to)+len(cc) == 0:
		// Some servers refuse a mail that names no recipient at all.
		written.SetGenHeader(gomail.Header(gomail.HeaderTo), "undisclosed-recipients:;")
	}
	if len(to) > 0 {
		written.ToMailAddress(to...)
	}
	if len(cc) > 0 {
		written.CcMailAddress(cc...)
	}
	if !isAtoms(m.ID) {
		wrong = append(wrong, fmt.Errorf("%.100q cannot be made a Message-ID of", m.ID))
	}
	if len(wrong) > 0 {
		return nil, &MailError{Doing: "writing the mail", Err: errors.Join(wrong...), Permanent: true}
	}

	written.SetMessageIDWithValue(m.ID + from.Address[strings.LastIndexByte(from.Address, '@'):])
	written.SetDateWithValue(now)
	if subject := headerText(m.Subject); subject != "" {
		written.Subject(subject)
	}
	// RFC 3834: nothing that answers by itself shall answer this. Exchange looks at
	// the second header instead.
	written.SetGenHeader("Auto-Submitted", "auto-generated")
	written.SetGenHeader(gomail.HeaderXAutoResponseSuppress, "All")
	if event := headerText(m.Event); event != "" {
		written.SetGenHeader(EventHeader, event)
	}
	if m.Test {
		written.SetGenHeader(TestHeader, "1")
	}
	// Quoted-printable keeps lines short and has no line that is a dot.
	text, html := strings.ToValidUTF8(m.Text, "\uFFFD"), strings.ToValidUTF8(m.HTML, "\uFFFD")
	switch {
	case html == "":
		written.SetBodyString(gomail.TypeTextPlain, text)
	case text == "":
		written.SetBodyString(gomail.TypeTextHTML, html)
	default:
		written.SetBodyString(gomail.TypeTextPlain, text)
		written.AddAlternativeString(gomail.TypeTextHTML, html)
	}
	var all bytes.Buffer
	if _, err := written.WriteTo(&all); err != nil {
		return nil, &MailError{Doing: "writing the mail", Err: err, Permanent: true}
	}
	composed.text = all.Bytes()
	return composed, nil
}

// writable returns an address as headers and envelope can hold it, or says why
// they cannot.
func writable(a mail.Address) (*mail.Address, error) {
	at := strings.LastIndexByte(a.Address, '@')
	if at < 0 {
		return nil, fmt.Errorf("%.100q is no address: it has no @", a.Address)
	}
	local, domain := a.Address[:at], a.Address[at+1:]
	if strings.ContainsAny(local, `@,;<>" `) {
		// Such a name may stand in quotes, but what is meant is another address, or two.
		return nil, fmt.Errorf("%.100q is no address of one mailbox", a.Address)
	}
	if !isASCII(domain) {
		var err error
		if domain, err = idna.Lookup.ToASCII(domain); err != nil {
			return nil, fmt.Errorf("the domain of the address %.100q cannot be written in ASCII: %w", a.Address, err)
		}
	}
	name := textencoding.Cut(escape.OneLine(a.Name), longestName)
	if !isASCII(name) {
		// net/mail leaves a backslash as it is in the encoded word of a name, where RFC 2047
		// (5.3) allows none: a reader may refuse the whole header. U+2216 looks the same.
		name = strings.ReplaceAll(name, `\`, "\u2216")
	}
	written := &mail.Address{Name: name, Address: local + "@" + domain}
	read, err := mail.ParseAddress(envelope(written))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%.100q is no address: %w", a.Address, err)
	case read.Address != written.Address || strings.ContainsFunc(written.Address, unicode.IsControl):
		return nil, fmt.Errorf("%.100q is no address", a.Address)
	case len(written.Address) > 254:
		return nil, fmt.Errorf("the address %.100q is longer than 254 characters", a.Address)
	}
	return written, nil
}

// envelope returns an address as the commands MAIL and RCPT take it.
func envelope(a *mail.Address) string { return (&mail.Address{Address: a.Address}).String() }

// headerText returns a text as the library can make a header of it. The library
// breaks lines at blanks, and encodes what is not ASCII (RFC 2047) in words that are
// short enough. A long word of ASCII would stay whole, and what looks like an encoded
// word would be decoded by the reader: these are encoded here.
func headerText(text string) string {
	text = escape.OneLine(text)
	encode := strings.Contains(text, "=?")
	for word := range strings.SplitSeq(text, " ") {
		encode = encode || len(word) > 200
	}
	if !encode || !isASCII(text) {
		return text
	}
	var words []string
	for chunk := range slices.Chunk([]byte(text), 45) {
		words = append(words, "=?utf-8?b?"+base64.StdEncoding.EncodeToString(chunk)+"?=")
	}
	return strings.Join(words, " ")
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c >= 0x80 })
}

// isAtoms reports whether a text is one or more words with dots between them, which
// can stand in a Message-ID as they are.
func isAtoms(text string) bool {
	for atom := range strings.SplitSeq(text, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(c rune) bool { return c >= 0x80 || !escape.Unreserved[byte(c)] }) {
			return false
		}
	}
	return len(text) <= 200
}
