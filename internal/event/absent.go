package event

import (
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Unreplaced reports whether a text is nothing but a tag that its sender forgot
// to replace ({{call_cost}}, %CALL_COST%). Such a text counts as absent.
func Unreplaced(text string) bool {
	if len(text) < 3 {
		return false
	}
	switch text[0] {
	case '%':
		name := text[1 : len(text)-1]
		return text[len(text)-1] == '%' && isUpper(name[0]) &&
			strings.IndexFunc(name, func(r rune) bool { return r != '_' && !(r >= '0' && r <= '9') && !(r >= 'A' && r <= 'Z') }) < 0
	case '{':
		name, ok := strings.CutPrefix(text, "{{")
		if !ok {
			return false
		}
		name, ok = strings.CutSuffix(name, "}}")
		return ok && names.IsIdentifier(strings.TrimSpace(name))
	}
	return false
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

// Present returns a value that an event holds, or nil if it counts as absent:
// an empty text, or a tag that the sender forgot to replace.
func Present(v any) any {
	if text, ok := v.(string); ok && (text == "" || Unreplaced(text)) {
		return nil
	}
	return v
}
