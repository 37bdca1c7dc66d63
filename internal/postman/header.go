package postman

import (
	"encoding/json"
	"regexp"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// The fields that belong to the connection. The relay sets them by itself.
var ofConnection = regexp.MustCompile(`(?i)^(content-length|transfer-encoding|connection|upgrade|te|trailer|expect|keep-alive|proxy-.*)$`)

// field is a header field of the collection.
type field struct{ name, value template }

func (f *field) is(name string) bool {
	text, fixed := f.name.fixed()
	return fixed && strings.EqualFold(text, name)
}

// headers reads the header fields that Postman would send.
func (c *conversion) headers(data json.RawMessage) []field {
	var fields []field
	add := func(key, value string) {
		if key == "" {
			return
		}
		f := field{name: c.parse(strings.TrimSpace(key)), value: c.parse(strings.Trim(value, " \t"))}
		if c.checkField(f, key) {
			fields = append(fields, f)
		}
	}
	if isText(data) {
		for line := range strings.SplitSeq(textOf(data), "\n") {
			if name, value, found := strings.Cut(strings.TrimSuffix(line, "\r"), ":"); found && !strings.ContainsAny(name, " \t") {
				add(name, value)
			}
		}
		return fields
	}
	for _, p := range listOf(data) {
		if !truthy(p.Disabled) {
			add(textOf(p.Key), valueOf(p.Value))
		}
	}
	return fields
}

// checkField reports whether the relay can send a field.
func (c *conversion) checkField(f field, key string) bool {
	name, fixed := f.name.fixed()
	switch {
	case fixed && !httpguts.ValidHeaderFieldName(name):
		c.note(Changed, "header %q is left out: that cannot be the name of one, and Postman refuses the whole request", key)
		return false
	case fixed && ofConnection.MatchString(name):
		c.note(Changed, "header %s is left out: it belongs to the connection, and the relay sets it by itself", name)
		return false
	case fixed && strings.EqualFold(name, "X-Event-Test"):
		c.note(Changed, "header %s is left out: it marks test events, and the relay sets it by itself", name)
		return false
	}
	latin := true
	for _, p := range f.value {
		if strings.ContainsFunc(p.literal, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f && r < 0xa0 }) {
			c.note(Changed, "header %q is left out: its value holds a line break or another control character, and Postman refuses the whole request", key)
			return false
		}
		latin = latin && !strings.ContainsFunc(p.literal, func(r rune) bool { return r >= 0x80 })
	}
	if !latin {
		c.note(Flagged, "the value of header %q is sent as UTF-8; Postman sends Latin-1, and refuses what that cannot spell", key)
	}
	return true
}

// writeHeaders puts the fields into the action.
func (c *conversion) writeHeaders(fields []field) {
	for _, f := range fields {
		place := anywhere
		switch {
		case f.is("Host"):
			place = hostName
		case f.is("Content-Type"):
			place = contentType
		case f.is("Idempotency-Key"), f.is("X-Event-Id"):
			if c.sameForAll(f) {
				continue
			}
		}
		c.action.Headers = append(c.action.Headers, config.NameValue{Name: c.write(f.name, headerName), Value: c.write(c.embedded(f.value, "header "+f.name.known(), "", asRead), place)})
	}
}

// sameForAll reports what a header of the collection that the relay would set by
// itself does to the events. It returns whether the header is left out: a value
// that Postman makes up for each request is what the relay's own is.
func (c *conversion) sameForAll(f field) (leftOut bool) {
	name, _ := f.name.fixed()
	own := map[string]string{"idempotency-key": "the delivery's id", "x-event-id": "the event's id"}[strings.ToLower(name)]
	for _, p := range f.value {
		switch {
		case p.event != "":
			return false
		case p.expression != "" || p.parameter != nil && p.parameter.undefined && strings.HasPrefix(p.parameter.name, "$"):
			c.note(Changed, "header %s is left out: the relay sends %s in it, which is the same at each attempt", name, own)
			return true
		}
	}
	c.note(Flagged, "header %s has the same value for every event, so that a target that knows the header takes all events for one; without the line the relay sends %s", name, own)
	return false
}

// without returns the fields that are not called name, and whether any was.
func without(fields []field, same func(*field) bool) (rest []field, found bool) {
	for _, f := range fields {
		if same(&f) {
			found = true
			continue
		}
		rest = append(rest, f)
	}
	return rest, found
}
