package forward

import (
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// masked stands in place of a secret.
const masked = "***"

// masker replaces secrets, in every form in which a request or an answer may
// hold them. A nil masker replaces nothing.
type masker struct {
	replacer *strings.Replacer
	// longest is the length of the longest form of a secret.
	longest int
	// own makes the masker for further secrets of a single request, nil for none.
	// They are apart because all the others may be many, and are prepared only
	// when something is shown, because that costs more than to make the request.
	own func() *masker
}

func newMasker(secrets []string) *masker {
	secrets = slices.Clone(secrets)
	slices.Sort(secrets)
	var forms []string
	for _, secret := range slices.Compact(secrets) {
		forms = append(forms, formsOf(secret)...)
		// Files end with a newline that is not sent, headers lose their blanks.
		forms = append(forms, formsOf(strings.TrimSpace(secret))...)
		// Of a URL that is secret as a whole, what follows the host is what
		// makes it so, and may be shown without it.
		if _, rest, isURL := strings.Cut(secret, "://"); isURL {
			if slash := strings.IndexByte(rest, '/'); slash >= 0 && len(rest) > slash+1 {
				forms = append(forms, formsOf(strings.TrimSpace(rest[slash:]))...)
			}
		}
	}
	slices.Sort(forms)
	forms = slices.Compact(forms)
	// The longest first: a form that begins like another must win over it.
	slices.SortStableFunc(forms, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, form := range forms {
		if form != "" {
			pairs = append(pairs, form, masked)
		}
	}
	if len(pairs) == 0 {
		return nil
	}
	return &masker{replacer: strings.NewReplacer(pairs...), longest: len(pairs[0])}
}

// longestAdded bounds the secrets that are added to a masker for one request. A
// value of the event can be of any length, and each becomes some thirty forms.
const longestAdded = 8 << 10

// and returns a masker that replaces further secrets too.
func (m *masker) and(secrets ...string) *masker {
	secrets = slices.DeleteFunc(secrets, func(secret string) bool { return strings.TrimSpace(secret) == "" || len(secret) > longestAdded })
	if len(secrets) == 0 {
		return m
	}
	all := &masker{replacer: strings.NewReplacer(), own: sync.OnceValue(func() *masker { return newMasker(secrets) })}
	if m != nil {
		all.replacer, all.longest = m.replacer, m.longest
	}
	return all
}

// formsOf returns the forms that a secret takes in the places of a request.
func formsOf(secret string) []string {
	if secret == "" {
		return nil
	}
	jsonForm := string(escape.AppendJSON(nil, secret))
	inXML := string(escape.AppendXML(nil, secret))
	forms := []string{
		secret,
		jsonForm,
		strings.ReplaceAll(jsonForm, "/", `\/`),
		inXML,
		strings.NewReplacer("&quot;", "&#34;", "&apos;", "&#39;").Replace(inXML), // as others write it
		url.QueryEscape(secret),
		url.PathEscape(secret),
	}
	for _, set := range []*escape.Set{escape.Unreserved, escape.Path, escape.Query, escape.QueryName, escape.QueryValue} {
		forms = append(forms, set.Encode(secret))
	}
	for _, form := range slices.Clone(forms) {
		forms = append(forms, escape.LowerPercent(form))
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		forms = append(forms, encoding.EncodeToString([]byte(secret)))
		forms = append(forms, withinBase64(encoding, secret)...)
	}
	return forms
}

// withinBase64 returns what a secret looks like inside a longer text that is in
// base64 (a password behind user name and colon), at each of the three ways it
// can fall on the groups of three bytes. The characters at either end that
// also hold neighbouring bits are left out.
func withinBase64(encoding *base64.Encoding, secret string) []string {
	var forms []string
	for before := range 3 {
		padded := append(make([]byte, before), secret...)
		whole := encoding.EncodeToString(padded)
		from := (before*8 + 5) / 6
		to := len(padded) * 8 / 6
		// Shorter ones would hide text that merely looks alike.
		if to-from >= 6 {
			forms = append(forms, whole[from:to])
		}
	}
	return forms
}

// mask returns a text without secrets, as valid UTF-8, and at most limit bytes
// of it with a mark where it was cut. Secrets are replaced before the text is
// cut, so that no half of one is left.
func (m *masker) mask(text string, limit int) string { return m.maskPart(text, true, limit) }

// maskPart is mask for a text that may be only the beginning of a longer one,
// and may end in the middle of a secret.
func (m *masker) maskPart(text string, whole bool, limit int) string {
	if m != nil {
		longest := m.longest
		if m.own != nil {
			own := m.own()
			text = own.replacer.Replace(text)
			longest = max(longest, own.longest)
		}
		short := bounded{limit: limit + longest}
		_, _ = m.replacer.WriteString(&short, text)
		text = short.String()
		if !whole {
			text = text[:max(0, len(text)-longest)]
		}
	}
	text = strings.ToValidUTF8(cut(text, limit), "\uFFFD")
	// Each byte that is no UTF-8 may have become three.
	return cut(text, limit)
}

const cutMark = "…"

// cut cuts a text to at most limit bytes, at the beginning of a character.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit - len(cutMark)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + cutMark
}

var errEnough = errors.New("enough")

// bounded collects text until it has enough.
type bounded struct {
	strings.Builder
	limit int
}

// Write collects, and returns an error when there is enough.
func (b *bounded) Write(text []byte) (int, error) { return b.WriteString(string(text)) }

// WriteString collects, and returns an error when there is enough.
func (b *bounded) WriteString(text string) (int, error) {
	n, _ := b.Builder.WriteString(text[:min(len(text), b.limit-b.Len())])
	if n < len(text) {
		return n, errEnough
	}
	return n, nil
}
