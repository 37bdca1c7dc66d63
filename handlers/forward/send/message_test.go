package send

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// readMail reads a message as a mail program does.
func readMail(t testing.TB, text []byte) *mail.Message {
	t.Helper()
	for line := range bytes.SplitSeq(text, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n\x00") {
			t.Fatalf("a line that no server takes: %.2000q", line)
		}
	}
	read, err := mail.ReadMessage(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("reading %q: %v", text, err)
	}
	return read
}

// bodies returns the parts of a message, decoded, by their types.
func bodies(t testing.TB, read *mail.Message) map[string]string {
	t.Helper()
	parts := map[string]string{}
	add := func(header textproto.MIMEHeader, body io.Reader) {
		kind, _, err := mime.ParseMediaType(header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		if header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			body = quotedprintable.NewReader(body)
		}
		text, err := io.ReadAll(body)
		if err != nil {
			t.Fatal(err)
		}
		parts[kind] = strings.ReplaceAll(string(text), "\r\n", "\n")
	}
	kind, parameters, err := mime.ParseMediaType(read.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "multipart/alternative" {
		add(textproto.MIMEHeader(read.Header), read.Body)
		return parts
	}
	for reader := multipart.NewReader(read.Body, parameters["boundary"]); ; {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return parts
		}
		if err != nil {
			t.Fatal(err)
		}
		add(part.Header, part)
	}
}

func decoded(t testing.TB, header string) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(header)
	if err != nil {
		t.Fatalf("decoding %q: %v", header, err)
	}
	return text
}

func compose(t testing.TB, m *Mail) *message {
	t.Helper()
	composed, err := m.compose(time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return composed
}

// aMail is a mail with nothing special.
func aMail() *Mail {
	return &Mail{From: mail.Address{Address: "relay@studio.example"}, To: []mail.Address{{Address: "ann@studio.example"}},
		ID: "01980000-0000-7000-8000-000000000001", Event: "01980000-0000-7000-8000-000000000000", Subject: "Hello", Text: "Good morning\n"}
}

func TestMessage(t *testing.T) {
	m := aMail()
	m.From.Name = "Größe & Söhne"
	m.ReplyTo = &mail.Address{Name: "Help, desk", Address: "help@studio.example"}
	m.To = append(m.To, mail.Address{Name: `Bob "B" Lee`, Address: "bob.lee+relay@studio.example"})
	m.Cc = []mail.Address{{Name: "山田", Address: "yamada@studio.example"}}
	m.Bcc = []mail.Address{{Address: "hidden@studio.example"}}
	m.Subject = "Größe: " + strings.Repeat("日本語の件名 ", 40)
	m.Text, m.HTML, m.Test = "Grüße,\n.\n..\nFrom here\n"+strings.Repeat("long ", 500), "<p>Grüße</p>", true
	composed := compose(t, m)
	read := readMail(t, composed.text)
	for name, want := range map[string]string{
		"Date":                     "Sat, 28 Nov 2026 12:00:00 +0000",
		"Message-Id":               "<01980000-0000-7000-8000-000000000001@studio.example>",
		"Auto-Submitted":           "auto-generated",
		"X-Auto-Response-Suppress": "All",
		"X-Event-Id":               "01980000-0000-7000-8000-000000000000",
		"X-Event-Test":             "1",
		"Mime-Version":             "1.0",
		"Subject":                  strings.TrimSpace(m.Subject),
		"From":                     "Größe & Söhne <relay@studio.example>",
		"Reply-To":                 `"Help, desk" <help@studio.example>`,
		"Cc":                       "山田 <yamada@studio.example>",
	} {
		if got := read.Header[name]; len(got) != 1 || decoded(t, got[0]) != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	to, err := read.Header.AddressList("To")
	if err != nil || len(to) != 2 || *to[1] != m.To[1] {
		t.Errorf("to %v, %v", to, err)
	}
	if bytes.Contains(composed.text, []byte("hidden")) || len(composed.to) != 4 || composed.to[3] != "<hidden@studio.example>" {
		t.Errorf("to %q in\n%s", composed.to, composed.text)
	}
	if parts := bodies(t, read); len(parts) != 2 || parts["text/plain"] != m.Text || parts["text/html"] != m.HTML {
		t.Errorf("got %q", parts)
	}
}

func TestMessageBodies(t *testing.T) {
	for _, c := range []struct{ text, html, kind, want string }{
		{"only text", "", "text/plain", "only text"},
		{"", "<b>only HTML</b>", "text/html", "<b>only HTML</b>"},
		{"", "", "text/plain", ""},
		{"a\rb\r\nc\n\n.\n", "", "text/plain", "a\nb\nc\n\n.\n"},
		{"\xff and \x00", "", "text/plain", "\uFFFD and \x00"},
	} {
		m := aMail()
		m.Text, m.HTML = c.text, c.html
		if parts := bodies(t, readMail(t, compose(t, m).text)); len(parts) != 1 || parts[c.kind] != c.want {
			t.Errorf("%q %q: got %q", c.text, c.html, parts)
		}
	}
}

func TestMessageSubjects(t *testing.T) {
	for subject, want := range map[string]string{
		"plain":                     "plain",
		" two  blanks\tand a tab\n": "two blanks and a tab",
		"a\r\nBcc: eve@evil.example\r\n\r\n<script>": "a Bcc: eve@evil.example <script>",
		"=?utf-8?q?looks_encoded?=":                  "=?utf-8?q?looks_encoded?=",
		strings.Repeat("x", 5000):                    strings.Repeat("x", 5000),
		strings.Repeat("ä", 5000):                    strings.Repeat("ä", 5000),
		strings.Repeat("word ", 1000) + "end":        strings.Repeat("word ", 1000) + "end",
		"bell \a and escape \x1b[31m":                "bell and escape [31m",
		"no UTF-8: \xff":                             "no UTF-8: \uFFFD",
		"\u2028line\u0085breaks\u00A0of Unicode":     "line breaks of Unicode",
	} {
		m := aMail()
		m.Subject = subject
		read := readMail(t, compose(t, m).text)
		if got := decoded(t, read.Header.Get("Subject")); got != want {
			t.Errorf("%.100q: got %.200q", subject, got)
		}
	}
	m := aMail()
	m.Subject = " \r\n"
	if read := readMail(t, compose(t, m).text); read.Header["Subject"] != nil {
		t.Errorf("got %q", read.Header)
	}
}

func TestMessageWithoutNamedRecipients(t *testing.T) {
	m := aMail()
	m.Bcc, m.To = m.To, nil
	composed := compose(t, m)
	if got := readMail(t, composed.text).Header.Get("To"); got != "undisclosed-recipients:;" || !slices.Equal(composed.to, []string{"<ann@studio.example>"}) {
		t.Errorf("got %q to %q", got, composed.to)
	}
}

// What cannot be written is told, all of it, and is not tried again.
func TestMessageErrors(t *testing.T) {
	m := aMail()
	m.From.Address = "relay"
	m.ReplyTo = &mail.Address{Address: "a@b@c d"}
	m.To = []mail.Address{{Address: "ann@studio.example\r\nBcc: eve@evil.example"}, {Address: "@"}, {Address: "a@-ü-.example"},
		{Address: "<a@b.example>"}, {Address: "a@b.example, c@d.example"}, {Address: "a\x00@b.example"}, {Address: strings.Repeat("a", 250) + "@b.example"}}
	m.ID = "a>b"
	_, err := m.compose(time.Now())
	var failure *MailError
	if !errors.As(err, &failure) || !failure.Permanent {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{`from: "relay" is no address: it has no @`, `reply_to: "a@b@c d" is no address`, `ann@studio.example\r\nBcc`, `"@"`, `"a@-ü-.example"`,
		`"<a@b.example>"`, `"a@b.example, c@d.example"`, `a\x00@b.example`, "longer than 254", `"a>b" cannot be made a Message-ID`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	m = aMail()
	m.To = nil
	if _, err := m.compose(time.Now()); err == nil || !strings.Contains(err.Error(), "no recipient") {
		t.Errorf("got %v", err)
	}
}

// Nothing that a field holds makes another header or another recipient, and each
// text arrives as it was.
func FuzzMessage(f *testing.F) {
	f.Add("Hello", "Bob", "bob@studio.example", "Good morning", "<p>Good morning</p>", "0198-1")
	f.Add("a\r\nBcc: eve@evil.example", "Bob\r\nBcc: eve@evil.example", "bob@studio.example\r\nBcc: eve@evil.example", "\r\n.\r\nMAIL FROM:<eve@evil.example>", "--x\r\n", "a\r\nb")
	f.Add("=?utf-8?q?=0D=0ABcc:?=", `"<eve@evil.example>, `, `"a b"@studio.example`, strings.Repeat("x", 2000), "=\r\n", "\xff")
	f.Add(strings.Repeat("ä ", 500), strings.Repeat("名", 300), "büro@müller.example", "\x00\r", "\r", "")
	f.Add(" ", "\u2028", "a@[127.0.0.1]", "", "", "1")
	f.Add("1", `Studio\Büro`, "bob@studio.example", "1", "", "1")
	f.Fuzz(func(t *testing.T, subject, name, address, text, html, id string) {
		m := aMail()
		m.Subject, m.Text, m.HTML = subject, text, html
		m.From.Name = name
		m.Event = id
		m.To = append(m.To, mail.Address{Name: name, Address: address})
		m.Bcc = []mail.Address{{Name: name, Address: "hidden@studio.example"}}
		if isAtoms(id) {
			m.ID = id
		}
		composed, err := m.compose(time.Now())
		if err != nil {
			var failure *MailError
			if !errors.As(err, &failure) || !failure.Permanent {
				t.Fatalf("got %v", err)
			}
			return
		}
		for _, to := range append(composed.to, composed.from) {
			if strings.ContainsFunc(to, unicode.IsControl) || !strings.HasPrefix(to, "<") || !strings.HasSuffix(to, ">") || !utf8.ValidString(to) {
				t.Fatalf("%q in the envelope", to)
			}
		}
		if len(composed.to) > 3 || composed.to[len(composed.to)-1] != "<hidden@studio.example>" && address != "hidden@studio.example" {
			t.Fatalf("to %q", composed.to)
		}
		read := readMail(t, composed.text)
		known := []string{"Auto-Submitted", "Cc", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To", "X-Auto-Response-Suppress", "X-Event-Id"}
		for key, values := range read.Header {
			if !slices.Contains(known, key) || len(values) != 1 {
				t.Fatalf("a header %s: %q in\n%s", key, values, composed.text)
			}
		}
		if got := decoded(t, read.Header.Get("Subject")); got != escape.OneLine(subject) {
			t.Fatalf("subject %q of %q", got, subject)
		}
		from, err := mail.ParseAddressList(read.Header.Get("From"))
		if err != nil || len(from) != 1 || from[0].Address != m.From.Address {
			t.Fatalf("from %q: %v", read.Header.Get("From"), err)
		}
		to, err := mail.ParseAddressList(read.Header.Get("To"))
		if err != nil || len(to) != 2 || to[0].Address != "ann@studio.example" {
			t.Fatalf("to %q: %v", read.Header.Get("To"), err)
		}
		if bytes.Contains(composed.text, []byte("hidden@studio.example")) && !strings.Contains(subject+name+address+text+html+id, "hidden") {
			t.Fatalf("names who is in bcc:\n%s", composed.text)
		}
		parts := bodies(t, read)
		if (text != "") != (parts["text/plain"] != "") && html != "" || len(parts) > 2 {
			t.Fatalf("got %q", parts)
		}
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.ToValidUTF8(text, "\uFFFD"))
		if got := parts["text/plain"]; text != "" && strings.TrimRight(got, "\n") != strings.TrimRight(want, "\n") {
			t.Fatalf("text %q of %q", got, text)
		}
		// As a server reads it, the message ends where it ends.
		var dotted bytes.Buffer
		writer := textproto.NewWriter(bufio.NewWriter(&dotted)).DotWriter()
		_, _ = writer.Write(composed.text)
		_ = writer.Close()
		lines := bufio.NewReader(&dotted)
		if got, err := readDots(lines); err != nil || strings.TrimRight(got, "\r\n") != strings.TrimRight(string(composed.text), "\r\n") {
			t.Fatalf("sent %q of %q: %v", got, composed.text, err)
		}
		if lines.Buffered() > 0 {
			t.Fatal("something follows the message")
		}
	})
}
