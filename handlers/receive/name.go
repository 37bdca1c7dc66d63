package receive

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// maxName is how many bytes of an event's name are kept.
const maxName = 256

// usualKeys are the keys, without regard to case, under which senders put an
// event's name, by preference.
var usualKeys = []string{"event", "event_name", "eventname", "event_type", "eventtype", "hook_event", "type", "status"}

// doubtfulKeys is where the keys in usualKeys begin that often mean something
// else, so that only an event that the source declares is taken from them.
const doubtfulKeys = 6

// usualHeaders are the headers in which senders put an event's name.
var usualHeaders = []string{"X-Event", "X-Event-Name", "X-Event-Type"}

// nestedKeys are pairs of an object and a key in it that hold an event's name.
var nestedKeys = [][2]string{{"data", "event_type"}, {"data", "event"}, {"payload", "event"}}

// declared returns a name as the source declares it.
func (s *source) declared(name string) (string, bool) {
	if known, ok := s.known[name]; ok {
		return known, true
	}
	known, ok := s.known[names.Normal(name)]
	return known, ok
}

// nameOf makes an event's name of a value, in the source's spelling if it knows
// it. Numbers name an event only if the source declares it. doubtful asks the
// same of text.
func (s *source) nameOf(value any, doubtful bool) (name string, ok bool) {
	switch value := value.(type) {
	case string:
		name = value
	case int64:
		name, doubtful = strconv.FormatInt(value, 10), true
	case json.Number:
		name, doubtful = value.String(), true
	}
	if isAbsent(name) {
		return "", false
	}
	if known, ok := s.declared(name); ok {
		return known, true
	}
	return cutText(name, maxName), !doubtful
}

// cutText shortens text to at most n bytes, not within a character.
func cutText(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// nameFromRequest looks for the event's name beside the body.
func (s *source) nameFromRequest(c *kept) string {
	if len(c.segments) > 0 {
		if name, ok := s.nameOf(c.segments[0], false); ok {
			return name
		}
	}
	if name := nameUnderUsualKeys(s, c.query, func(values []string) any { return values[0] }); name != "" {
		return name
	}
	for _, keys := range nestedKeys {
		if values := c.query[keys[0]+"["+keys[1]+"]"]; len(values) > 0 {
			if name, ok := s.nameOf(values[0], false); ok {
				return name
			}
		}
	}
	for _, header := range usualHeaders {
		if values := c.headers[header]; len(values) > 0 {
			if name, ok := s.nameOf(values[0], false); ok {
				return name
			}
		}
	}
	return ""
}

// nameFromFields looks for the event's name in an object of the body.
func (s *source) nameFromFields(fields map[string]any) string {
	if name := nameUnderUsualKeys(s, fields, func(value any) any { return value }); name != "" {
		return name
	}
	for _, keys := range nestedKeys {
		if inner, isObject := fields[keys[0]].(map[string]any); isObject {
			if name, ok := s.nameOf(inner[keys[1]], false); ok {
				return name
			}
		}
	}
	return ""
}

// nameUnderUsualKeys looks for a name under the usual keys. Of keys that differ
// in case only the first in the order of bytes counts after the lower-case
// one, so that the answer is always the same.
func nameUnderUsualKeys[V any](s *source, fields map[string]V, value func(V) any) string {
	best, bestKey, bestName := len(usualKeys), "", ""
	for key, v := range fields {
		rank := usualRank(key)
		if rank < 0 || rank > best || rank == best && !precedes(key, bestKey, usualKeys[rank]) {
			continue
		}
		if name, ok := s.nameOf(value(v), rank >= doubtfulKeys); ok {
			best, bestKey, bestName = rank, key, name
		}
	}
	return bestName
}

// usualRank returns the place of a key in usualKeys, or -1.
func usualRank(key string) int {
	if len(key) < len("type") || len(key) > len("event_name") {
		return -1
	}
	for i, usual := range usualKeys {
		if len(usual) == len(key) && strings.EqualFold(usual, key) {
			return i
		}
	}
	return -1
}

// precedes reports whether of two keys that differ in case a comes before b: the
// exact one first, then the order of bytes.
func precedes(a, b, exact string) bool {
	return b != exact && (a == exact || a < b)
}
