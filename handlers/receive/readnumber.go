package receive

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

var (
	// clockDuration has hours: 1:05 is not read, because it may be hours or minutes.
	clockDuration = regexp.MustCompile(`^(\d{1,4}):([0-5]\d):([0-5]\d)$`)
	unitDuration  = regexp.MustCompile(`^(?:(\d{1,5}) ?(?:h|hours?|hrs?))? ?(?:(\d{1,6}) ?(?:m|min|minutes?|mins?))? ?(?:(\d{1,8}) ?(?:s|sec|seconds?|secs?))?$`)
	// money is a number with a currency before or behind it.
	money = regexp.MustCompile(`^(-?)(?:[$€£¥] ?|[A-Z]{3} )?(-?[0-9][0-9.,']*)(?: ?[$€£¥]| [A-Z]{3})?$`)
	// English and continental ways to write a number. One comma or point before
	// three digits can be either, unless nothing but a zero stands before it.
	thousandsComma = regexp.MustCompile(`^-?[1-9]\d{0,2}(?:,\d{3}){2,}$|^-?[1-9]\d{0,2}(?:,\d{3})+\.\d+$`)
	thousandsPoint = regexp.MustCompile(`^-?[1-9]\d{0,2}(?:\.\d{3}){2,}$|^-?[1-9]\d{0,2}(?:\.\d{3})+,\d+$`)
	decimalComma   = regexp.MustCompile(`^-?(?:0,\d+|\d+,(?:\d{1,2}|\d{4,}))$`)
	plainNumeral   = regexp.MustCompile(`^-?\d+(?:\.\d+)?$`)
)

// readNumber reads a number that was written for people, if its meaning is
// certain: 0,02 and $0.02 and 1,234.50, but not 1,065; a duration also as
// 00:01:05 or 65s, in seconds. It returns nil for others.
func readNumber(text string, duration bool) any {
	const longest = 40
	text = strings.TrimSpace(text)
	if text == "" || len(text) > longest {
		return nil
	}
	if duration {
		if m := clockDuration.FindStringSubmatch(text); m != nil {
			return seconds(m[1], m[2], m[3])
		}
		if m := unitDuration.FindStringSubmatch(strings.ToLower(text)); m != nil {
			return seconds(m[1], m[2], m[3])
		}
	} else if m := money.FindStringSubmatch(text); m != nil && (m[1] == "" || m[2][0] != '-') {
		text = m[1] + m[2]
	}
	switch {
	case thousandsComma.MatchString(text):
		text = strings.ReplaceAll(text, ",", "")
	case thousandsPoint.MatchString(text):
		text = strings.Replace(strings.ReplaceAll(text, ".", ""), ",", ".", 1)
	case decimalComma.MatchString(text):
		text = strings.Replace(text, ",", ".", 1)
	case !plainNumeral.MatchString(text):
		return nil
	}
	whole, fraction, hasFraction := strings.Cut(strings.TrimPrefix(text, "-"), ".")
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if strings.HasPrefix(text, "-") {
		whole = "-" + whole
	}
	if hasFraction {
		whole += "." + fraction
	}
	switch number, _ := event.DecodeJSON(whole); number.(type) {
	case int64, json.Number:
		return number
	}
	return nil
}

// seconds returns hours, minutes and seconds in digits as seconds.
func seconds(parts ...string) any {
	total, unit := int64(0), time.Hour
	for _, part := range parts {
		n, _ := strconv.ParseInt(part, 10, 64)
		total += n * int64(unit/time.Second)
		unit /= 60
	}
	return total
}
