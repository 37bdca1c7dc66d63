// Package secret says what a secret is and how a text is shown without it: texts
// that may repeat known secrets (a request, an answer, an error), and texts of a
// configuration that may hold secrets which nothing has declared as such.
package secret

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/textencoding"
)

// Masked stands in place of a secret.
const Masked = "***"

// Masker replaces known secrets in texts, in every form in which a request or an
// answer may hold them. It is safe for concurrent use. A nil Masker replaces
// nothing.
type Masker struct {
	// prepared makes the replacer at the first text that is shown, because that
	// costs more than to make a request, and most configurations and requests are
	// never shown.
	prepared func() replacer
	// next masks what is left then, nil for none.
	next *Masker
}

// replacer replaces the forms of secrets.
type replacer struct {
	*strings.Replacer
	// longest is the length of the longest form.
	longest int
}

// New returns a Masker for secrets, nil if there are none but blank ones.
func New(secrets []string) *Masker {
	secrets = slices.DeleteFunc(slices.Clone(secrets), isBlank)
	if len(secrets) == 0 {
		return nil
	}
	return &Masker{prepared: sync.OnceValue(func() replacer { return prepare(secrets) })}
}

func isBlank(text string) bool { return strings.TrimSpace(text) == "" }

// longestAdded bounds the secrets that are added for one request, in bytes. A value
// of an event can be of any length, and each becomes some thirty forms.
const longestAdded = 8 << 10

// And returns a Masker that replaces further secrets too, such as the credentials
// of a single request. One that is longer than 8 KiB is left out.
func (m *Masker) And(secrets ...string) *Masker {
	added := New(slices.DeleteFunc(secrets, func(secret string) bool { return len(secret) > longestAdded }))
	if added == nil {
		return m
	}
	// What a request proves itself with can hold a secret of the others. So it is
	// replaced first, as a whole.
	added.next = m
	return added
}

func prepare(secrets []string) replacer {
	var forms []string
	slices.Sort(secrets)
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
	// The longest first: a form that begins like another must win over it.
	var pairs []string
	for _, form := range escape.LongestFirst(forms) {
		if form != "" {
			pairs = append(pairs, form, Masked)
		}
	}
	return replacer{Replacer: strings.NewReplacer(pairs...), longest: len(pairs[0])}
}

// Mask returns a text without the secrets, as valid UTF-8.
func (m *Masker) Mask(text string) string { return m.MaskTo(text, len(Masked)*(len(text)+1)) }

// MaskTo returns a text without the secrets, as valid UTF-8, and at most limit
// bytes of it with a mark where it was cut. Secrets are replaced before the text is
// cut, so that no half of one is left.
func (m *Masker) MaskTo(text string, limit int) string { return m.MaskPart(text, true, limit) }

// MaskPart is MaskTo for a text that may be only the beginning of a longer one
// (whole is false), and may end in the middle of a secret.
func (m *Masker) MaskPart(text string, whole bool, limit int) string {
	longest, masked := 0, m != nil
	for ; m != nil; m = m.next {
		secrets := m.prepared()
		longest = max(longest, secrets.longest)
		if m.next != nil {
			text = secrets.Replace(text)
			continue
		}
		short := bounded{limit: limit + longest}
		short.Grow(min(len(text), short.limit))
		_, _ = secrets.WriteString(&short, text)
		text = short.String()
	}
	if masked && !whole {
		text = text[:max(0, len(text)-longest)]
	}
	text = strings.ToValidUTF8(textencoding.Cut(text, limit), "\uFFFD")
	// Each byte that is no UTF-8 may have become three.
	return textencoding.Cut(text, limit)
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
