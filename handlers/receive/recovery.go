package receive

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/rules"
)

const (
	// maxRecovered bounds how deep broken JSON is followed.
	maxRecovered = 100
	// maxKey bounds a key in broken JSON, and so how far is looked ahead.
	maxKey = 128
)

// recoverJSON reads what can be read from text that is meant to be JSON and is
// not. Templates put values into JSON unescaped, so these are normal:
//
//	"calling_name":"Bob "B" Lee"   quotes in a value
//	"calling_name":"ACME\Sales"    an escape that is none
//	"call_cost":{{call_cost}}      a tag that was not replaced
//	"call_cost":,                  a tag that was replaced by nothing
//	"msg":"{"extension":"2002"}"   JSON in quotes, not escaped
//
// A quote ends a value only where the rest goes on like JSON. A value whose end
// did not come is left out: half of a value is a wrong value. Text without any
// object or array gives nil.
//
// The time is linear in the length of text: what is looked at ahead of a quote
// is bounded, but for blanks, and those are skipped over once.
func recoverJSON(text []byte) any {
	start := bytes.IndexAny(text, "{[")
	if start < 0 {
		return nil
	}
	s := scanner{text: text, at: start}
	return s.value(0)
}

type scanner struct {
	text []byte
	at   int
}

// blanks returns the first place from at that holds no blank.
func (s *scanner) blanks(at int) int {
	for at < len(s.text) && (s.text[at] == ' ' || s.text[at] == '\n' || s.text[at] == '\r' || s.text[at] == '\t') {
		at++
	}
	return at
}

// peek returns the byte at a place, 0 after the end.
func (s *scanner) peek(at int) byte {
	if at < len(s.text) {
		return s.text[at]
	}
	return 0
}

// value reads the value at the current place. It consumes nothing when there is
// none before the next comma or bracket.
func (s *scanner) value(depth int) any {
	s.at = s.blanks(s.at)
	switch s.peek(s.at) {
	case '{':
		if s.peek(s.at+1) == '{' {
			return s.tag()
		}
		return s.object(depth)
	case '[':
		return s.array(depth)
	case '"':
		if inner, ok := s.opens(s.at + 1); ok {
			s.at = inner
			value := s.value(depth)
			if end := s.blanks(s.at); s.peek(end) == '"' {
				s.at = end + 1
			}
			return value
		}
		return s.quoted()
	}
	return s.bare()
}

// opens reports whether an object, or a list of objects, begins at a place
// behind a quote, and where.
func (s *scanner) opens(at int) (int, bool) {
	at = s.blanks(at)
	object := at
	if s.peek(at) == '[' {
		object = s.blanks(at + 1)
	}
	return at, s.peek(object) == '{' && s.isKey(s.blanks(object+1))
}

// tag skips an unreplaced {{tag}}, which counts as absent.
func (s *scanner) tag() any {
	window := s.text[s.at:min(len(s.text), s.at+maxKey)]
	if end := bytes.Index(window, []byte("}}")); end >= 0 {
		s.at += end + 2
		return nil
	}
	s.at += 2
	return nil
}

func (s *scanner) object(depth int) any {
	object := map[string]any{}
	s.at++
	for {
		s.at = s.blanks(s.at)
		switch {
		case s.at >= len(s.text):
			return object
		case depth > maxRecovered:
			s.at = len(s.text)
			return object
		case s.text[s.at] == '}':
			s.at++
			return object
		case s.text[s.at] == ']' && depth > 0:
			return object // it closes a list around this object
		case s.text[s.at] == ',' || s.text[s.at] == ']':
			s.at++
			continue
		}
		if key, ok := s.key(); ok {
			object[key] = s.value(depth + 1)
		}
	}
}

func (s *scanner) array(depth int) any {
	array := []any{}
	s.at++
	for {
		s.at = s.blanks(s.at)
		switch {
		case s.at >= len(s.text):
			return array
		case depth > maxRecovered:
			s.at = len(s.text)
			return array
		case s.text[s.at] == ']':
			s.at++
			return array
		case s.text[s.at] == '}' && depth > 0:
			return array // it closes an object around this list
		case s.text[s.at] == ',' || s.text[s.at] == '}':
			s.at++
			continue
		}
		array = append(array, s.value(depth+1))
	}
}

// key reads a key and its colon, with either quote missing if need be. Without
// success it skips what it has looked at.
func (s *scanner) key() (string, bool) {
	window := s.text[s.at:min(len(s.text), s.at+maxKey)]
	end := bytes.IndexAny(window[1:], ":,{}[]\n") + 1
	if window[0] == '"' {
		// In quotes a key may hold anything but a quote.
		if quote := bytes.IndexByte(window[1:], '"') + 1; quote > 0 {
			if colon := s.blanks(s.at + quote + 1); s.peek(colon) == ':' {
				key := string(window[1:quote])
				s.at = colon + 1
				return unescapeJSON(key), true
			}
		}
	}
	switch {
	case end == 0:
		s.at += len(window)
		return "", false
	case window[end] != ':':
		s.at += end
		return "", false
	}
	key := strings.Trim(string(window[:end]), " \t\r\"'")
	s.at += end + 1
	return key, key != ""
}

// quoted reads the string at the current place.
func (s *scanner) quoted() any {
	start := s.at + 1
	for at := start; at < len(s.text); at++ {
		switch s.text[at] {
		case '\\':
			if s.peek(at+1) == '"' && s.goesOn(at+2) {
				// A value that ends with a backslash, as of "ACME\".
				s.at = at + 2
				return unescapeJSON(string(s.text[start : at+1]))
			}
			at++
		case '"':
			if s.ends(at + 1) {
				s.at = at + 1
				return unescapeJSON(string(s.text[start:at]))
			}
		}
	}
	s.at = len(s.text)
	return nil
}

// ends reports whether a quote before a place may end a value.
func (s *scanner) ends(at int) bool {
	at = s.blanks(at)
	switch s.peek(at) {
	case 0: // the end, or a NUL in the text
		return at >= len(s.text)
	case '}', ']':
		return true
	case ',':
		next := s.blanks(at + 1)
		switch s.peek(next) {
		case 0:
			return next >= len(s.text)
		case '}', ']', '{', '[':
			return true
		case '"':
			// The next key, or the next string of a list.
			return s.isKey(next) || s.isElement(next)
		}
		return s.isKey(next) || s.isNumber(next)
	}
	return s.isKey(at) // a comma is missing
}

// goesOn reports whether a place is beyond doubt behind a value of an object:
// there is the next key, or the end of everything.
func (s *scanner) goesOn(at int) bool {
	at = s.blanks(at)
	switch s.peek(at) {
	case ',':
		return s.isKey(s.blanks(at + 1))
	case '}':
		return s.blanks(at+1) >= len(s.text)
	}
	return false
}

// isKey reports whether a key with its colon stands at a place.
func (s *scanner) isKey(at int) bool {
	quoted := s.peek(at) == '"'
	if quoted {
		at++
	}
	for start := at; at < len(s.text) && at-start < maxKey; at++ {
		switch c := s.text[at]; {
		case c == '"':
			return at > start && s.peek(s.blanks(at+1)) == ':'
		case c == ':':
			return !quoted && at > start
		case c == '\\' || c < ' ':
			return false
		case !quoted && !isWord(c):
			return false
		}
	}
	return false
}

// isElement reports whether a whole string of a list stands at a place: one that
// a comma or the list's end follows.
func (s *scanner) isElement(at int) bool {
	for start := at + 1; at-start < maxKey; {
		at++
		switch c := s.peek(at); {
		case c == '"':
			next := s.peek(s.blanks(at + 1))
			return next == ',' || next == ']'
		case c == '\\' || c < ' ':
			return false
		}
	}
	return false
}

// isNumber reports whether a whole number of a list stands at a place.
func (s *scanner) isNumber(at int) bool {
	start := at
	for at-start < 32 && (isDigit(s.peek(at)) || at > start && s.peek(at) == '.' || at == start && s.peek(at) == '-') {
		at++
	}
	next := s.peek(s.blanks(at))
	return at > start && (next == ',' || next == ']')
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool {
	return isUpper(c&^0x20) || isDigit(c) || c == '_' || c == '-' || c == '.'
}

// bare reads a value without quotes. One that ends with the text is left out,
// because more of it may have been meant.
func (s *scanner) bare() any {
	start := s.at
	for s.at < len(s.text) && bytes.IndexByte([]byte(",}]\r\n"), s.text[s.at]) < 0 {
		s.at++
	}
	if s.at >= len(s.text) {
		return nil
	}
	word := strings.Trim(string(s.text[start:s.at]), " \t\"'")
	switch {
	case word == "" || word == "null":
		return nil
	case word == "true":
		return true
	case word == "false":
		return false
	case word[0] == '-' || isDigit(word[0]):
		if number, err := rules.DecodeJSON([]byte(word)); err == nil {
			return number
		}
	}
	return word
}

// unescapeJSON undoes the escapes of a JSON string. What is no escape stays as
// it is.
func unescapeJSON(text string) string {
	if strings.IndexByte(text, '\\') < 0 {
		return text
	}
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c != '\\' || i+1 == len(text) {
			plain = append(plain, c)
			continue
		}
		switch next := text[i+1]; next {
		case '"', '\\', '/':
			plain = append(plain, next)
		case 'b':
			plain = append(plain, '\b')
		case 'f':
			plain = append(plain, '\f')
		case 'n':
			plain = append(plain, '\n')
		case 'r':
			plain = append(plain, '\r')
		case 't':
			plain = append(plain, '\t')
		case 'u':
			r, ok := codeUnit(text[i:])
			if !ok {
				plain = append(plain, c)
				continue
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low, _ := codeUnit(text[i+2:])
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					r = pair
					i += 6
				} else {
					r = utf8.RuneError
				}
			}
			plain = utf8.AppendRune(plain, r)
		default:
			plain = append(plain, c)
			continue
		}
		i++
	}
	return string(plain)
}

// codeUnit reads an escape such as \u00fc at the beginning of text.
func codeUnit(text string) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(text[2:6], 16, 16)
	return rune(n), err == nil
}
