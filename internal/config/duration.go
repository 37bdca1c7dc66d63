package config

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time. JSON gives it as a number of nanoseconds or as
// text such as "1h30m" or "30d", as all of Caddy's configuration does.
type Duration time.Duration

// UnmarshalJSON reads a number of nanoseconds, or the text of a duration.
func (d *Duration) UnmarshalJSON(text []byte) error {
	if len(text) == 0 || text[0] != '"' {
		return json.Unmarshal(text, (*time.Duration)(d))
	}
	var written string
	if err := json.Unmarshal(text, &written); err != nil {
		return err
	}
	parsed, err := ParseDuration(written)
	*d = Duration(parsed)
	return err
}

// String returns the duration as people write it: 24h and not 24h0m0s.
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// ParseDuration reads a duration as time.ParseDuration does. A day, "d", is 24
// hours.
func ParseDuration(text string) (time.Duration, error) {
	// Each day in a text copies it, so a long text could take minutes.
	if len(text) > 1024 {
		return 0, fmt.Errorf("reading a duration: the text has %d bytes, more than 1024", len(text))
	}
	number, inNumber := 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == 'd' {
			days, err := strconv.ParseFloat(text[number:i], 64)
			if err != nil {
				return 0, err
			}
			text = text[:number] + strconv.FormatFloat(days*24, 'f', -1, 64) + "h" + text[i+1:]
			i--
			continue
		}
		if !inNumber {
			number = i
		}
		inNumber = c >= '0' && c <= '9' || c == '.' || c == '-' || c == '+'
	}
	return time.ParseDuration(text)
}
