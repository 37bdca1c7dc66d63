package receive

import (
	"regexp"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// eachPair calls do for each pair of an urlencoded text. It never fails: a pair
// without "=" has an empty value, an escape that is none is kept as it was
// sent. (url.ParseQuery drops such pairs, and those with a semicolon.)
func eachPair(text string, do func(key, value string)) {
	for text != "" {
		var pair string
		pair, text, _ = strings.Cut(text, "&")
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		key = unescape(key)
		do(key, unescapeValue(key, value))
	}
}

// plusLost is the beginning of a number whose plus became a blank.
var plusLost = regexp.MustCompile(`^((?i:sips?:|tel:)?) (\(?[0-9])`)

// unescapeValue undoes the escapes of a value. The plus of a number that its
// sender did not escape, as in caller_id=+442079460123, stays a plus. In a
// caller's or called number a blank before the digits cannot have been meant, so
// it is a plus that something on the way has undone already, in a SIP URI too.
func unescapeValue(key, text string) string {
	value := unescape(text)
	if !strings.Contains(value, " ") {
		return value
	}
	if p, isTag := tagOf(key); isTag && (p == event.CallerID || p == event.CalledNumber) {
		return plusLost.ReplaceAllString(value, "$1+$2")
	}
	if text[0] == '+' && len(value) > 1 && isDigit(value[1]) && strings.Trim(value, " 0123456789.-/():") == "" {
		return "+" + value[1:]
	}
	return value
}

// unescape undoes percent-encoding and "+" for a blank.
func unescape(text string) string {
	return escape.DecodePercent(strings.ReplaceAll(text, "+", " "))
}

// parseQuery reads a URL's query into an empty map, or a new one if that is nil. Keys
// that came more than once keep all their values. Without a query it returns nil.
func parseQuery(text string, query map[string][]string) map[string][]string {
	if text == "" {
		return nil
	}
	pairs := strings.Count(text, "&") + 1
	if query == nil {
		query = make(map[string][]string, pairs)
	}
	values := make([]string, 0, pairs) // one allocation for all
	eachPair(text, func(key, value string) {
		key, value = validText(key), validText(value)
		if earlier, there := query[key]; there {
			query[key] = append(earlier, value)
			return
		}
		values = append(values, value)
		query[key] = values[len(values)-1 : len(values) : len(values)]
	})
	return query
}

func isUpper(c byte) bool { return 'A' <= c && c <= 'Z' }

// validText replaces bytes that are not UTF-8 by U+FFFD.
func validText(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }
