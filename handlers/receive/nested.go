package receive

import (
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// isAbsent reports whether text counts as not sent: it is empty, or nothing but
// a tag that the sender forgot to replace. The body of an event keeps such text;
// the rules read it as absent.
func isAbsent(text string) bool { return text == "" || event.Unreplaced(text) }

// maxOpenings bounds how often text in text in text is opened. Each opening
// reads the text once more, so without a bound a body could cost far more than
// its size.
const maxOpenings = 4

// openTexts replaces text that holds a JSON object or array by what it holds,
// as senders put JSON into form fields and into strings of JSON. It changes
// value in place where it can, and reports whether it changed anything.
//
// Text under the name of a system parameter stays text: a caller is free to be
// called [{}].
func openTexts(value any, openings int) (any, bool) {
	changed := false
	switch v := value.(type) {
	case string:
		if openings == maxOpenings || !mayHoldJSON(v) {
			break
		}
		inner, err := event.DecodeJSON(v)
		if err != nil {
			break
		}
		switch inner.(type) {
		case map[string]any, []any:
			inner, _ = openTexts(inner, openings+1)
			return inner, true
		}
	case []any:
		for i, element := range v {
			if opened, did := openTexts(element, openings); did {
				v[i], changed = opened, true
			}
		}
	case map[string]any:
		for key, element := range v {
			if _, isText := element.(string); isText {
				if _, tag := tagOf(key); tag {
					continue
				}
			}
			if opened, did := openTexts(element, openings); did {
				v[key], changed = opened, true
			}
		}
	}
	return value, changed
}

// mayHoldJSON reports whether text is worth trying as a JSON object, or as an
// array of something else than numbers: "[1]" is rather a label.
func mayHoldJSON(text string) bool {
	text = strings.TrimSpace(text)
	n := len(text)
	if n < 2 {
		return false
	}
	return text[0] == '{' && text[n-1] == '}' ||
		text[0] == '[' && text[n-1] == ']' && strings.IndexByte(`{["`, strings.TrimSpace(text[1:])[0]) >= 0
}
