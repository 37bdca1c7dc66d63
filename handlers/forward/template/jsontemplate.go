package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-event-relay/event-relay/rules/tags"
)

// jsonReader follows JSON text just far enough to tell what a tag stands in.
type jsonReader struct {
	inString, escaped bool
	// open holds the brackets that are open, and last is the last character
	// outside of strings that is no blank.
	open []byte
	last byte
}

func (r *jsonReader) read(text string) {
	for i := range len(text) {
		switch c := text[i]; {
		case r.escaped:
			r.escaped = false
		case r.inString:
			r.escaped = c == '\\'
			if c == '"' {
				r.inString = false
			}
		case c == '"':
			r.inString, r.last = true, c
		case c == '{' || c == '[':
			r.open, r.last = append(r.open, c), c
		case c == '}' || c == ']':
			if len(r.open) > 0 {
				r.open = r.open[:len(r.open)-1]
			}
			r.last = c
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			r.last = c
		}
	}
}

// atKey reports whether the next value would be a key.
func (r *jsonReader) atKey() bool {
	return len(r.open) > 0 && r.open[len(r.open)-1] == '{' && (r.last == '{' || r.last == ',')
}

// jsonTemplate decides for each tag of a JSON text whether it stands inside the
// quotes of a string or bare, as a value of its own.
func jsonTemplate(t template) template {
	var reader jsonReader
	out := make(template, len(t))
	for i, p := range t {
		if p.tag == nil {
			reader.read(p.text)
		} else {
			tagged := *p.tag
			tagged.escaping = jsonText
			if !reader.inString {
				tagged.escaping = jsonValue
				reader.last = 0
			}
			if tagged.verbatim() {
				tagged.escaping = asIs
			}
			p.tag = &tagged
		}
		out[i] = p
	}
	return out
}

// checkJSON checks that a JSON template is well-formed for any values. unsure says
// that what is rendered must be checked too: a bare tag in the place of a key needs
// a text, and verbatim can put in anything.
func checkJSON(source string, t template) (unsure bool, err error) {
	var reader jsonReader
	var sample strings.Builder
	starts := make([]int, len(t))
	for i, p := range t {
		starts[i] = sample.Len()
		text := p.text
		switch {
		case p.tag == nil:
		case p.tag.verbatim():
			// What it puts in can be anything.
			return true, nil
		case p.tag.escaping == jsonText:
			text = "x"
		case reader.atKey():
			text, unsure = `""`, true
		default:
			text = "null"
		}
		sample.WriteString(text)
		reader.read(text)
	}
	var whole json.RawMessage
	err = json.Unmarshal([]byte(sample.String()), &whole)
	if err == nil {
		return unsure, nil
	}
	at := sample.Len()
	var wrong *json.SyntaxError
	if errors.As(err, &wrong) && wrong.Offset > 0 && !strings.Contains(wrong.Error(), "unexpected end") {
		at = int(wrong.Offset) - 1
	}
	place, hint := len(source), ""
	for i, p := range t {
		if at < starts[i] {
			break
		}
		place = p.offset
		if p.tag == nil && !p.put {
			place += at - starts[i]
		}
		bare := func(j int) bool { return j >= 0 && t[j].tag != nil && t[j].tag.escaping == jsonValue }
		switch {
		case p.put:
			hint = "; a custom parameter is put in there as it is"
		case bare(i):
			hint = fmt.Sprintf("; %s stands for a whole value there: to put it into a text, put quotes around the text", t[i].tag)
		case bare(i-1) && at == starts[i]:
			hint = fmt.Sprintf("; %s before it stands for a whole value: to put it into a text, put quotes around the text", t[i-1].tag)
		default:
			hint = ""
		}
	}
	return false, fmt.Errorf("%s: the body is not well-formed JSON: %w%s", tags.Position(source, place), err, hint)
}
