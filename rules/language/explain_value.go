package language

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// maxShown is how much of a value is shown, in bytes.
const maxShown = 200

// secretShown stands in place of a secret.
const secretShown = "***"

// valueMasker shows values without the secrets of a language.
type valueMasker struct{ replacer *strings.Replacer }

func newValueMasker(l *Language) *valueMasker {
	var forms []string
	for _, secret := range l.Secrets() {
		// Files end with a newline that is no part of the secret.
		for _, form := range []string{secret, strings.TrimSpace(secret)} {
			forms = append(forms, form, string(escape.AppendJSON(nil, form)))
		}
	}
	slices.Sort(forms)
	forms = slices.Compact(forms)
	// The longest first: a form that begins like another must win over it.
	slices.SortStableFunc(forms, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, form := range forms {
		if form != "" {
			pairs = append(pairs, form, secretShown)
		}
	}
	return &valueMasker{strings.NewReplacer(pairs...)}
}

// show returns a value in JSON, without secrets, and cut when it is long. A
// value that is made from a secret is not shown: not even its length.
func (m *valueMasker) show(value any, secret bool) string {
	if secret {
		return secretShown
	}
	encoded, err := event.AppendJSON(nil, value)
	if err != nil {
		return "…"
	}
	// Masked before it is cut, so that no half of a secret is left.
	text := m.replacer.Replace(string(encoded))
	if len(text) <= maxShown {
		return text
	}
	end := maxShown
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
