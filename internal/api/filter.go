package api

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// FilterFields are the query keys that narrow the activity, as the commands'
// flags are called.
var FilterFields = []string{"since", "until", "source", "event", "verdict", "action", "state", "tenant", "text"}

// maxValue bounds a value of a filter, in bytes: it is compared with every event
// that a search reads.
const maxValue = 1000

// parseFilter reads the filter in a query. Keys that are none of it are left to
// others.
func parseFilter(query url.Values, now time.Time) (queue.Filter, error) {
	for _, field := range FilterFields {
		if value := query.Get(field); len(value) > maxValue || !utf8.ValidString(value) {
			return queue.Filter{}, wrong(field, "reading %s: its value is not text of at most %d bytes", field, maxValue)
		}
	}
	filter := queue.Filter{
		Source: query.Get("source"), Event: query.Get("event"), Action: query.Get("action"),
		Decision: rules.Decision(query.Get("verdict")),
		Tenant:   query.Get("tenant"), Text: query.Get("text"),
	}
	if err := oneOf("verdict", filter.Decision, rules.Act, rules.Ignored, rules.RuleError, rules.Disabled); err != nil {
		return filter, err
	}
	state := queue.State(query.Get("state"))
	if err := oneOf("state", state, queue.Pending, queue.Delivered, queue.Failed, queue.Expired, queue.Cancelled, queue.Mended); err != nil {
		return filter, err
	}
	if state != "" {
		filter.States = []queue.State{state}
	}
	var err error
	if filter.Since, err = parseMoment("since", query.Get("since"), now); err != nil {
		return filter, err
	}
	filter.Until, err = parseMoment("until", query.Get("until"), now)
	return filter, err
}

// filterOf reads a filter that stands in a JSON body, with the keys of a query.
func filterOf(members map[string]string, now time.Time) (queue.Filter, error) {
	query := make(url.Values, len(members))
	for key, value := range members {
		if !slices.Contains(FilterFields, key) {
			return queue.Filter{}, checkKey(key, FilterFields)
		}
		query.Set(key, value)
	}
	return parseFilter(query, now)
}

// parseMoment reads the moment in a field, the zero time if there is none.
func parseMoment(field, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	moment, err := ParseMoment(text, now)
	if err != nil {
		return moment, wrong(field, "reading %s: %w", field, err)
	}
	return moment, nil
}

// parseCount reads the number in a field, fallback if there is none.
func parseCount(field, text string, fallback, most int) (int, error) {
	if text == "" {
		return fallback, nil
	}
	count, err := strconv.Atoi(text)
	if err != nil || count < 1 || count > most {
		return 0, wrong(field, "reading %s: %q is not a number from 1 to %d", field, text, most)
	}
	return count, nil
}

func oneOf[T ~string](field string, value T, allowed ...T) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	return wrong(field, "reading %s: %q is not one of %s", field, string(value), strings.Join(names, ", "))
}

// parseQuery reads a query. Go passes over what is wrong in one, which would
// answer with more than was asked for.
func parseQuery(raw string) (url.Values, error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return nil, wrong("", "reading the query: %w", err)
	}
	return query, nil
}
