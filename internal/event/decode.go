package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// MaxDepth bounds how deep lists and objects may be nested in a body, and in
// the values that expressions make.
const MaxDepth = 512

// ErrDepth means that a value is nested deeper than MaxDepth.
var ErrDepth = fmt.Errorf("lists and objects are nested deeper than %d", MaxDepth)

// DecodeJSON decodes one JSON value, with white space around it and nothing
// else, as RFC 8259 has it. Integers that int64 can hold become int64, other
// numbers json.Number with the digits as they came; the rest is nil, bool,
// string, []any and map[string]any. Of members with the same name the last
// wins. Invalid UTF-8 and lone surrogates become U+FFFD. Nesting deeper than
// 512 is an error. The strings of the value are parts of text, which costs no memory
// for them.
func DecodeJSON(text string) (any, error) {
	d := decoder{text: text}
	v, err := d.value(d.skipSpace())
	if d.skipSpace(); err == nil && d.at < len(d.text) {
		err = d.unexpected("after the value")
	}
	if err != nil {
		return nil, fmt.Errorf("decoding JSON: %w", err)
	}
	return v, nil
}

// StringOf returns bytes as a string without a copy. Nothing may change the bytes as long
// as the string, or a part of it, is in use.
func StringOf(text []byte) string { return unsafe.String(unsafe.SliceData(text), len(text)) }

type decoder struct {
	text  string
	at    int
	depth int
	// members holds members of the objects being read, of each object those after
	// its first fewMembers.
	members []member
}

// fewMembers is how many members of an object are held on the stack until the object
// has been read. Most objects have no more, and cost no memory besides their map.
const fewMembers = 16

type member struct {
	name  string
	value any
}

// skipSpace moves to the next byte that is no white space and returns it, or 0
// at the end.
func (d *decoder) skipSpace() byte {
	for d.at < len(d.text) {
		switch c := d.text[d.at]; c {
		case ' ', '\t', '\n', '\r':
			d.at++
		default:
			return c
		}
	}
	return 0
}

func (d *decoder) unexpected(where string) error {
	if d.at >= len(d.text) {
		return fmt.Errorf("unexpected end %s", where)
	}
	r, _ := utf8.DecodeRuneInString(d.text[d.at:])
	return fmt.Errorf("unexpected character %q %s at byte %d", r, where, d.at)
}

// value reads the value that begins with c at the current place.
func (d *decoder) value(c byte) (any, error) {
	switch c {
	case '"':
		d.at++
		return d.string()
	case '{':
		return d.object()
	case '[':
		return d.list()
	case 't':
		return true, d.word("true")
	case 'f':
		return false, d.word("false")
	case 'n':
		return nil, d.word("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return d.number()
	}
	return nil, d.unexpected("where a value should begin")
}

func (d *decoder) word(word string) error {
	for i := range len(word) {
		if d.at >= len(d.text) || d.text[d.at] != word[i] {
			return d.unexpected("in " + word)
		}
		d.at++
	}
	return nil
}

func (d *decoder) object() (any, error) {
	if d.depth++; d.depth > MaxDepth {
		return nil, ErrDepth
	}
	d.at++
	// The number of members must be known before the map is made, or the map grows
	// again and again.
	var few [fewMembers]member
	first, n := len(d.members), 0
	c := d.skipSpace()
	for more := c != '}'; more; n++ {
		if c != '"' {
			return nil, d.unexpected("where a member's name should begin")
		}
		d.at++
		name, err := d.string()
		if err != nil {
			return nil, err
		}
		if d.skipSpace() != ':' {
			return nil, d.unexpected("after a member's name")
		}
		d.at++
		v, err := d.value(d.skipSpace())
		if err != nil {
			return nil, err
		}
		if n < len(few) {
			few[n] = member{name, v}
		} else {
			d.members = append(d.members, member{name, v})
		}
		switch d.skipSpace() {
		case ',':
			d.at++
			c = d.skipSpace()
		case '}':
			more = false
		default:
			return nil, d.unexpected("after a member")
		}
	}
	d.at++
	d.depth--
	object := make(map[string]any, n)
	for _, m := range few[:min(n, len(few))] {
		object[m.name] = m.value
	}
	for _, m := range d.members[first:] {
		object[m.name] = m.value
	}
	d.members = d.members[:first]
	return object, nil
}

func (d *decoder) list() (any, error) {
	if d.depth++; d.depth > MaxDepth {
		return nil, ErrDepth
	}
	d.at++
	list := []any{}
	c := d.skipSpace()
	for more := c != ']'; more; {
		v, err := d.value(c)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
		switch d.skipSpace() {
		case ',':
			d.at++
			c = d.skipSpace()
		case ']':
			more = false
		default:
			return nil, d.unexpected("after a list's element")
		}
	}
	d.at++
	d.depth--
	return list, nil
}

// number reads a number by the grammar: no leading zeros, no bare points.
func (d *decoder) number() (any, error) {
	start := d.at
	negative := d.text[d.at] == '-'
	if negative {
		d.at++
	}
	whole := d.at
	var magnitude uint64
	fits := true
	for d.at < len(d.text) && isDigit(d.text[d.at]) {
		digit := uint64(d.text[d.at] - '0')
		fits = fits && (magnitude < math.MaxInt64/10 || magnitude == math.MaxInt64/10 && digit <= 7)
		magnitude = magnitude*10 + digit
		d.at++
	}
	if d.at == whole {
		return nil, d.unexpected("in a number")
	}
	if d.text[whole] == '0' && d.at > whole+1 {
		d.at = whole + 1
		return nil, d.unexpected("after a leading zero")
	}
	if d.at < len(d.text) && d.text[d.at] == '.' {
		fits = false
		d.at++
		if err := d.digits(); err != nil {
			return nil, err
		}
	}
	if d.at < len(d.text) && d.text[d.at]|0x20 == 'e' {
		fits = false
		d.at++
		if d.at < len(d.text) && (d.text[d.at] == '+' || d.text[d.at] == '-') {
			d.at++
		}
		if err := d.digits(); err != nil {
			return nil, err
		}
	}
	literal := d.text[start:d.at]
	switch {
	case fits && negative:
		return -int64(magnitude), nil
	case fits:
		return int64(magnitude), nil
	case literal == "-9223372036854775808":
		return int64(math.MinInt64), nil
	}
	return json.Number(literal), nil
}

func (d *decoder) digits() error {
	if d.at >= len(d.text) || !isDigit(d.text[d.at]) {
		return d.unexpected("in a number")
	}
	for d.at < len(d.text) && isDigit(d.text[d.at]) {
		d.at++
	}
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// string reads the rest of a string whose opening quote has been read.
func (d *decoder) string() (string, error) {
	start := d.at
	for i := start; i < len(d.text); i++ {
		switch c := d.text[i]; {
		case c == '"':
			d.at = i + 1
			return d.text[start:i], nil
		case c == '\\', c < ' ', c >= utf8.RuneSelf:
			d.at = i
			return d.unusualString(start)
		}
	}
	d.at = len(d.text)
	return "", d.unexpected("in a string")
}

// unusualString reads the rest of a string that has escapes, or bytes which are
// not ASCII, at the current place for the first time.
func (d *decoder) unusualString(start int) (string, error) {
	// Text without escapes that is valid UTF-8 is used as it stands.
	var out []byte
	copied := start
	for d.at < len(d.text) {
		switch c := d.text[d.at]; {
		case c == '"':
			rest := d.text[copied:d.at]
			d.at++
			if out == nil {
				return rest, nil
			}
			return string(append(out, rest...)), nil
		case c < ' ':
			return "", d.unexpected("in a string")
		case c == '\\':
			out = append(out, d.text[copied:d.at]...)
			var err error
			if out, err = d.escape(out); err != nil {
				return "", err
			}
			copied = d.at
		case c < utf8.RuneSelf:
			d.at++
		default:
			r, size := utf8.DecodeRuneInString(d.text[d.at:])
			if r == utf8.RuneError && size == 1 {
				out = append(out, d.text[copied:d.at]...)
				out = utf8.AppendRune(out, utf8.RuneError)
				copied = d.at + 1
			}
			d.at += size
		}
	}
	return "", d.unexpected("in a string")
}

// escape appends what the escape at the current place stands for.
func (d *decoder) escape(out []byte) ([]byte, error) {
	d.at++
	if d.at >= len(d.text) {
		return nil, d.unexpected("in an escape")
	}
	switch c := d.text[d.at]; c {
	case '"', '\\', '/':
		out = append(out, c)
	case 'b':
		out = append(out, '\b')
	case 'f':
		out = append(out, '\f')
	case 'n':
		out = append(out, '\n')
	case 'r':
		out = append(out, '\r')
	case 't':
		out = append(out, '\t')
	case 'u':
		r, ok := d.hex(d.at + 1)
		if !ok {
			return nil, errors.New(`an escape \u without four hexadecimal digits`)
		}
		d.at += 5
		if utf16.IsSurrogate(r) {
			if d.at+1 < len(d.text) && d.text[d.at] == '\\' && d.text[d.at+1] == 'u' {
				if low, ok := d.hex(d.at + 2); ok {
					if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
						d.at += 6
						return utf8.AppendRune(out, pair), nil
					}
				}
			}
			r = utf8.RuneError
		}
		return utf8.AppendRune(out, r), nil
	default:
		return nil, d.unexpected("in an escape")
	}
	d.at++
	return out, nil
}

func (d *decoder) hex(at int) (rune, bool) {
	if at+4 > len(d.text) {
		return 0, false
	}
	// ParseUint takes a sign or underscore only with a prefix or base 0.
	v, err := strconv.ParseUint(d.text[at:at+4], 16, 32)
	return rune(v), err == nil
}

// IsNumberLiteral reports whether a text is a number by JSON's grammar.
func IsNumberLiteral(text string) bool {
	d := decoder{text: text}
	if text == "" || text[0] != '-' && !isDigit(text[0]) {
		return false
	}
	_, err := d.number()
	return err == nil && d.at == len(text)
}
