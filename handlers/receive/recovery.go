package receive

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/event"
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
// A value is recovered only if it stood as a value in the text. Rules act on
// it, so a value in doubt is left out: one whose end did not come, one that may
// be two, one that a second colon precedes. A quote ends a value only where the
// rest goes on like JSON. Text without any object or array gives nil.
//
// The time is linear in the length of text: what is looked at ahead of a quote
// is bounded, but for blanks, and those are skipped over once.
func recoverJSON(text []byte) (any, elements) {
	start := bytes.IndexAny(text, "{[")
	if start < 0 {
		return nil, nil
	}
	s := scanner{text: text, at: start, elements: elements{}}
	return s.value(0, false), s.elements
}

// elements says where the elements of recovered lists begin in the text, and
// where the last one ends. A list is found by the address of its first element.
type elements map[*any][]int

// of returns the bytes of each element of a list, together with what stands
// between it and the next, but for commas and white space. It returns nil for
// another list than a recovered one. A list that is all of the text extends to
// its end, so that nothing is lost that stands behind it.
func (e elements) of(list []any, text []byte, whole bool) [][]byte {
	if len(list) == 0 || len(e[&list[0]]) != len(list)+1 {
		return nil
	}
	places := e[&list[0]]
	raws := make([][]byte, len(list))
	for i := range list {
		end := places[i+1]
		if i == len(list)-1 && whole {
			end = len(text)
		}
		raw := bytes.TrimRight(text[places[i]:end], " \t\r\n,")
		if i == len(list)-1 {
			raw = bytes.TrimRight(bytes.TrimSuffix(raw, []byte("]")), " \t\r\n,")
		}
		raws[i] = raw
	}
	return raws
}

type scanner struct {
	text []byte
	at   int
	// lists and objects count those around the current place.
	lists, objects int
	// loose says that the keys of the text have no quotes: its first one has
	// none. Elsewhere a word with a colon is more likely part of a value.
	loose    bool
	elements elements
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

// value reads the value at the current place, in a list or behind a key. It
// consumes nothing when there is none before the next comma or bracket.
func (s *scanner) value(depth int, inList bool) any {
	s.at = s.blanks(s.at)
	switch c := s.peek(s.at); c {
	case '{':
		if s.tag() {
			return nil
		}
		return s.object(depth)
	case '[':
		return s.array(depth)
	case '"', '\'':
		if inner, ok := s.opens(s.at + 1); ok && c == '"' {
			s.at = inner
			value := s.value(depth, inList)
			if end := s.blanks(s.at); s.peek(end) == '"' {
				s.at = end + 1
			}
			return value
		}
		return s.quoted(c, inList)
	}
	return s.bare(depth, inList)
}

// opens reports whether an object, or a list of objects, begins at a place
// behind a quote, and where.
func (s *scanner) opens(at int) (int, bool) {
	at = s.blanks(at)
	object := at
	if s.peek(at) == '[' {
		object = s.blanks(at + 1)
	}
	return at, s.peek(object) == '{' && s.isKey(s.blanks(object+1), false)
}

// tag skips an unreplaced {{tag}}, which counts as absent, and reports whether
// there was one.
func (s *scanner) tag() bool {
	window := s.text[s.at:min(len(s.text), s.at+maxKey)]
	if !bytes.HasPrefix(window, []byte("{{")) {
		return false
	}
	end := bytes.Index(window, []byte("}}"))
	if end < 0 || bytes.ContainsAny(window[2:end], "{\"\n") {
		return false
	}
	s.at += end + 2
	return true
}

func (s *scanner) object(depth int) any {
	object := map[string]any{}
	s.at++
	s.objects++
	defer func() { s.objects-- }()
	first, fresh := true, true // fresh says that a key is due: there was a comma
	for {
		s.at = s.blanks(s.at)
		if s.at >= len(s.text) {
			return object
		}
		if depth > maxRecovered {
			s.at = len(s.text)
			return object
		}
		switch s.text[s.at] {
		case '}':
			s.at++
			return object
		case ']':
			if s.lists > 0 {
				return object // it closes a list around this object
			}
			s.at++
			continue
		case ',':
			s.at++
			fresh = true
			continue
		case '{', '[':
			if !s.tag() {
				s.value(depth+1, false) // a value without a key is left out
			}
			first, fresh = false, false
			continue
		}
		key, ok := s.key(first, fresh)
		first, fresh = false, false
		if ok {
			object[key] = s.value(depth+1, false)
		}
	}
}

func (s *scanner) array(depth int) any {
	array := []any{}
	var places []int
	fresh := true // says that an element is due: there was a comma
	s.at++
	s.lists++
	defer func() {
		s.lists--
		if len(array) > 0 {
			s.elements[&array[0]] = append(places, s.at)
		}
	}()
	for {
		s.at = s.blanks(s.at)
		if s.at >= len(s.text) {
			return array
		}
		if depth > maxRecovered {
			s.at = len(s.text)
			return array
		}
		switch s.text[s.at] {
		case ']':
			s.at++
			return array
		case '}':
			if s.objects > 0 {
				return array // it closes an object around this list
			}
			s.at++
			continue
		case ',':
			s.at++
			fresh = true
			continue
		case '{', '[':
			fresh = true // a comma is missing
		}
		if !fresh {
			s.value(depth+1, true) // more of the element before
			continue
		}
		fresh = false
		places = append(places, s.at)
		array = append(array, s.value(depth+1, true))
	}
}

// key reads a key and its colon. first says that nothing of the object came
// before it, fresh that a comma did. Without success it skips what it has
// looked at.
func (s *scanner) key(first, fresh bool) (string, bool) {
	window := s.text[s.at:min(len(s.text), s.at+maxKey)]
	if c := window[0]; c == '"' || c == '\'' {
		// In quotes a key may hold anything but the quote.
		end := bytes.IndexByte(window[1:], c) + 1
		if end == 0 {
			s.at += len(window)
			return "", false
		}
		colon := s.blanks(s.at + end + 1)
		if s.peek(colon) != ':' {
			s.at += end + 1
			return "", false
		}
		s.at = colon + 1
		return unescapeJSON(window[1:end]), true
	}
	end := 0
	for end < len(window) && isWord(window[end]) {
		end++
	}
	word := window[:end]
	after := s.at + end
	closed := s.peek(after) == '"' // its first quote is missing
	if closed {
		after++
	}
	if colon := s.blanks(after); end > 0 && s.peek(colon) == ':' && (fresh && (closed || s.loose) || first) {
		s.loose = s.loose || first && !closed
		s.at = colon + 1
		return string(word), true
	}
	if skip := bytes.IndexAny(window[1:], ",{}[]\"\n"); skip >= 0 {
		s.at += skip + 1
	} else {
		s.at += len(window)
	}
	return "", false
}

// quoted reads the string at the current place, up to its quote. It gives nil
// when the end did not come, or when what is between the quotes looks like more
// than one value.
func (s *scanner) quoted(quote byte, inList bool) any {
	start := s.at + 1
	doubtful := false
	last := s.at // the quote before
	for at := start; at < len(s.text); at++ {
		switch s.text[at] {
		case '\\':
			if s.peek(at+1) == quote && s.goesOn(at+2) {
				// A value that ends with a backslash, as of "ACME\".
				s.at = at + 2
				return s.textOf(start, at+1, doubtful)
			}
			at++
		case quote:
			if s.ends(at+1, inList) {
				s.at = at + 1
				return s.textOf(start, at, doubtful)
			}
			next := s.blanks(at + 1)
			switch s.peek(next) {
			case ':':
				if !s.startsValue(s.blanks(next + 1)) {
					break
				}
				if before := bytes.TrimRight(s.text[start-1:last], " \t\r\n"); !inList && last >= start && bytes.HasSuffix(before, []byte(",")) {
					s.at = last // the next key: the end of this value is missing
					return nil
				}
				doubtful = true
			case quote:
				// A comma is missing between two strings.
				doubtful = doubtful || next > at+1
			}
			last = at
		}
	}
	s.at = len(s.text)
	return nil
}

// textOf returns a string of the text, or nil if it is doubtful.
func (s *scanner) textOf(from, to int, doubtful bool) any {
	if doubtful {
		return nil
	}
	return unescapeJSON(s.text[from:to])
}

// startsValue reports whether a value of JSON may begin at a place.
func (s *scanner) startsValue(at int) bool {
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.text[min(at, len(s.text)):], []byte(word)) {
			return true
		}
	}
	c := s.peek(at)
	return isDigit(c) || c != 0 && strings.IndexByte("\"'{[-", c) >= 0
}

// ends reports whether a quote before a place may end a value.
func (s *scanner) ends(at int, inList bool) bool {
	at = s.blanks(at)
	switch s.peek(at) {
	case 0: // the end, or a NUL in the text
		return at >= len(s.text)
	case '}', ']':
		after := s.blanks(at + 1)
		return after >= len(s.text) || strings.IndexByte(",}]{[\"'", s.text[after]) >= 0 || bytes.IndexByte(s.text[at:after], '\n') >= 0 ||
			bytes.IndexByte(s.text[after:], '"') < 0
	case ',':
		next := s.blanks(at + 1)
		switch c := s.peek(next); {
		case c == 0:
			return next >= len(s.text)
		case c == '}' || c == ']':
			return true
		case inList:
			return c == '{' || c == '[' || s.isElement(next) || s.isNumber(next)
		}
		return s.isKey(next, true) || s.isCutKey(next)
	}
	return !inList && s.isKey(at, false) // a comma is missing
}

// goesOn reports whether a place is beyond doubt behind a value of an object:
// there is the next key, or the end of everything.
func (s *scanner) goesOn(at int) bool {
	at = s.blanks(at)
	switch s.peek(at) {
	case ',':
		return s.isKey(s.blanks(at+1), true)
	case '}':
		return s.blanks(at+1) >= len(s.text)
	}
	return false
}

// isKey reports whether a key with its colon stands at a place. A comma before
// it allows for a missing quote, and in loose text for none.
func (s *scanner) isKey(at int, comma bool) bool {
	quote := s.peek(at)
	quoted := quote == '"' || quote == '\''
	if quoted {
		at++
	}
	for start := at; at < len(s.text) && at-start < maxKey; at++ {
		switch c := s.text[at]; {
		case quoted && c == quote:
			return s.peek(s.blanks(at+1)) == ':'
		case quoted:
			if c == '\\' || c < ' ' {
				return false
			}
		case c == '"':
			return comma && at > start && s.peek(s.blanks(at+1)) == ':'
		case c == ':':
			return comma && s.loose && at > start
		case !isWord(c):
			return false
		}
	}
	return false
}

// isCutKey reports whether the text ends within a key that begins at a place.
func (s *scanner) isCutKey(at int) bool {
	return s.peek(at) == '"' && len(s.text)-at < maxKey && !bytes.ContainsAny(s.text[at+1:], "\"{}[]")
}

// isElement reports whether a whole string of a list stands at a place: one that
// a comma or the list's end follows.
func (s *scanner) isElement(at int) bool {
	quote := s.peek(at)
	if quote != '"' && quote != '\'' {
		return false
	}
	for start := at + 1; at-start < maxKey; {
		at++
		switch c := s.peek(at); {
		case c == quote:
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

// bare reads a value without quotes. It gives nil for one that ends with the
// text, because more of it may have been meant, and for one that quotes,
// brackets or comments are in.
func (s *scanner) bare(depth int, inList bool) any {
	start, doubtful := s.at, false
scan:
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ',', '}', ']', '\r', '\n':
			break scan
		case '"', '\'':
			if s.at > start && s.blanks(s.at-1) == s.at && !inList && s.isKey(s.at, false) {
				break scan // a comma is missing
			}
			if c == '\'' && s.at > start {
				s.at++ // O'Neill
				continue
			}
			if c == '"' && s.at > start && s.text[start] != ':' && !doubtful && s.ends(s.at+1, inList) {
				// Its first quote is missing.
				word := bytes.TrimSpace(s.text[start:s.at])
				s.at++
				return validText(string(word))
			}
			s.quoted(c, inList)
			doubtful = true
		case '{', '[':
			if doubtful = true; !s.tag() {
				s.value(depth+1, inList)
			}
		default:
			s.at++
		}
	}

	if s.at >= len(s.text) || doubtful || !inList && !s.keyFollows() {
		return nil
	}
	word := string(bytes.Trim(s.text[start:s.at], " \t"))
	switch {
	case word == "" || word == "null" || word[0] == ':' || word[0] == '=':
		return nil
	case strings.Contains(word, "/*") || strings.HasPrefix(word, "//") || strings.Contains(word, " //"):
		return nil
	case word == "true":
		return true
	case word == "false":
		return false
	case word[0] == '-' || isDigit(word[0]):
		if number, err := event.DecodeJSON(word); err == nil {
			return number
		}
		if strings.Contains(word, "//") {
			return nil
		}
	}
	return validText(word)
}

// keyFollows reports whether a value without quotes ends at the current place:
// the object ends, or goes on with a key. Else there was a comma or a line end in
// the value, and what is before that is half of it.
func (s *scanner) keyFollows() bool {
	at := s.blanks(s.at)
	comma := s.peek(at) == ','
	for s.peek(at) == ',' {
		at = s.blanks(at + 1)
	}
	switch s.peek(at) {
	case 0:
		return at >= len(s.text)
	case '}', ']':
		return true
	}
	return s.isKey(at, comma)
}

// unescapeJSON undoes the escapes of a JSON string. What is no escape stays as
// it is, but for bytes that are not UTF-8.
func unescapeJSON(text []byte) string {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(validUTF8(text))
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
	return string(validUTF8(plain))
}

// codeUnit reads an escape such as \u00fc at the beginning of text.
func codeUnit(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(n), err == nil
}
