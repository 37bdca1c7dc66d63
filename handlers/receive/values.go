package receive

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// part is what one event is made of: the body, one of several values in it, or
// one element of a batch.
type part struct {
	raw    []byte
	value  any
	isRaw  bool
	rooted bool

	// problem says why the part could not be read as what it claims to be.
	problem string

	// retyped says that raw is not a piece of the bytes that came but JSON in
	// UTF-8, whatever the Content-Type says.
	retyped bool

	// elements are the places in text of what was recovered.
	elements elements
	text     []byte
}

// recordSeparator stands before each value of a JSON text sequence (RFC 7464).
const recordSeparator = 0x1e

// readValues reads text that holds several JSON values, one on each line or one
// after another, and returns a part for each; nil if the text is one value, or
// none. Values may be broken: a last line that was cut off, a name with quotes
// in it. Every byte but the white space between values is in a part.
//
// ownLines says that a line ends between any two of them. Values that share a line
// may come from a template into which a caller's name was put unescaped.
//
// Broken text can look like values ("[1] 2 x"), so two objects or lists that are
// not empty are asked for, or whole values on lines of their own.
// Reading ends soon after maxBatch values.
func readValues(text []byte) (parts []part, ownLines bool) {
	if len(text) > 0 && text[0] == recordSeparator {
		// JSON allows it nowhere else. Where none stands at the beginning, it is
		// part of a broken value.
		text = bytes.TrimSpace(bytes.ReplaceAll(text, []byte{recordSeparator}, []byte{'\n'}))
	}
	parts, rest := wholeValues(text)
	if len(bytes.TrimSpace(rest)) == 0 {
		ownLines = len(parts) > 1 && onOwnLines(text, parts)
		if ownLines || several(parts) {
			return parts, ownLines
		}
		return nil, false
	}
	if lines, ownLines := brokenLines(text); lines != nil {
		return lines, ownLines
	}
	ownLines = onOwnLines(text, parts)
	parts, restApart := brokenValues(parts, rest)
	if several(parts) {
		return parts, ownLines && restApart
	}
	return nil, false
}

// several reports whether parts are several values beyond doubt.
func several(parts []part) bool {
	telling := 0
	for _, p := range parts {
		switch value := p.value.(type) {
		case map[string]any:
			if len(value) > 0 {
				telling++
			}
		case []any:
			if len(value) > 0 {
				telling++
			}
		}
	}
	return telling > 1
}

// onOwnLines reports whether a line ends between any two values of text.
func onOwnLines(text []byte, parts []part) bool {
	for i, p := range parts {
		at := bytes.Index(text, p.raw) // where it begins: before it there are only blanks
		if i > 0 && bytes.IndexByte(text[:at], '\n') < 0 {
			return false
		}
		text = text[at+len(p.raw):]
	}
	return true
}

// wholeValues reads values until one is broken, and returns the rest from there.
func wholeValues(text []byte) (parts []part, rest []byte) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	at := 0
	for len(parts) <= maxBatch {
		var raw json.RawMessage
		if decoder.Decode(&raw) != nil {
			break
		}
		end := int(decoder.InputOffset())
		p, ok := wholeValue(bytes.TrimLeft(text[at:end], " \t\r\n"))
		if !ok {
			break
		}
		parts, at = append(parts, p), end
	}
	if len(parts) > maxBatch {
		return parts, nil
	}
	return parts, text[at:]
}

// wholeValue reads one value that is not broken, but for bytes that are not
// UTF-8.
func wholeValue(text []byte) (part, bool) {
	valid := validUTF8(text)
	value, err := event.DecodeJSON(event.StringOf(valid))
	return part{raw: text, text: text, value: value, isRaw: bytes.Equal(valid, text)}, err == nil
}

// brokenLines reads values of which each has a line. So a broken one costs only
// itself. It returns nil if the lines do not look so: each has to begin with an
// object or list, and one of them has to be whole. A line that holds several
// values gives them all.
func brokenLines(text []byte) (parts []part, ownLines bool) {
	whole := false
	ownLines = true
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if line[0] != '{' && line[0] != '[' || len(line) < 2 {
			return nil, false
		}
		p, ok := wholeValue(line)
		whole = whole || ok
		if ok {
			parts = append(parts, p)
		} else if inLine, _ := brokenValues(wholeValues(line)); several(inLine) {
			parts, ownLines = append(parts, inLine...), false
		} else {
			parts = append(parts, brokenValue(line))
		}
		if len(parts) > maxBatch {
			break
		}
	}
	if !whole || len(parts) < 2 {
		return nil, false
	}
	return parts, ownLines
}

// brokenValue recovers what it can from one value.
func brokenValue(text []byte) part {
	_, err := event.DecodeJSON(event.StringOf(validUTF8(text)))
	p := part{raw: text, text: text}
	if err != nil {
		p.problem = "reading JSON: " + err.Error()
	}
	p.value, p.elements = recoverJSON(text)
	return p
}

// brokenValues reads the values of text from the first broken one on. What
// stands between values and is none goes with the value before it. ownLines says
// that nothing but blanks with a line end stands before any of them.
func brokenValues(parts []part, text []byte) (_ []part, ownLines bool) {
	ownLines = true
	s := scanner{text: text, elements: elements{}}
	from := 0 // where the bytes of the next part begin
	junk := func(to int) {
		piece := bytes.TrimRight(text[from:to], " \t\r\n")
		if len(parts) == 0 {
			return
		}
		if len(bytes.Trim(piece, ", \t\r\n")) == 0 {
			from = to
			return
		}
		last := &parts[len(parts)-1]
		// The slices are neighbours, but for white space, or a copy is made.
		last.raw = append(bytes.Clone(last.raw), piece...)
		last.isRaw = false
		if last.problem == "" {
			last.problem = fmt.Sprintf("reading JSON: %q follows the value", piece[:min(len(piece), 20)])
		}
		from = to
	}
	for len(parts) <= maxBatch {
		next := bytes.IndexAny(text[s.at:], "{[")
		if next < 0 {
			break
		}
		next += s.at
		if gap := text[from:next]; len(parts) > 0 {
			ownLines = ownLines && len(bytes.TrimSpace(gap)) == 0 && bytes.IndexByte(gap, '\n') >= 0
		}
		junk(next)
		s.at = next
		s.value(0, false)
		piece := bytes.Trim(text[from:s.at], " \t\r\n")
		p, ok := wholeValue(piece)
		if !ok {
			p = brokenValue(piece)
		}
		parts = append(parts, p)
		from = s.at
	}
	junk(len(text))
	return parts, ownLines
}
