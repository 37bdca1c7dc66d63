// Package textencoding reads text that people and programs wrote in one of the
// encodings of Unicode, and cuts text that is too long to be shown. It imports nothing
// of the relay.
package textencoding

import (
	"bytes"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/unicode"
)

var (
	littleEndian = unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM)
	bigEndian    = unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM)
)

// ToUTF8 returns the text of a file as UTF-8 without a byte order mark, whether
// it was written as UTF-8 or as UTF-16, as PowerShell's > does. Text that shows
// no other encoding is returned as it is.
func ToUTF8(raw []byte) []byte {
	if text, found := ByMark(raw); found {
		return text
	}
	if text, found := ByZeros(raw); found {
		return text
	}
	return raw
}

// ByMark returns text that begins with a byte order mark as UTF-8 without it.
// found is false if there is no mark.
func ByMark(raw []byte) (text []byte, found bool) {
	switch {
	case bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")):
		return raw[3:], true
	case bytes.HasPrefix(raw, []byte("\xff\xfe")):
		return decode(raw[2:], littleEndian), true
	case bytes.HasPrefix(raw, []byte("\xfe\xff")):
		return decode(raw[2:], bigEndian), true
	}
	return raw, false
}

// ByZeros returns UTF-16 without a byte order mark as UTF-8. It is known by the
// zero bytes of its first two characters, which must be ASCII or Latin-1. found
// is false if the text is not like that.
func ByZeros(raw []byte) (text []byte, found bool) {
	if len(raw) < 4 || len(raw)%2 != 0 {
		return raw, false
	}
	switch {
	case raw[0] != 0 && raw[1] == 0 && raw[2] != 0 && raw[3] == 0:
		return decode(raw, littleEndian), true
	case raw[0] == 0 && raw[1] != 0 && raw[2] == 0 && raw[3] != 0:
		return decode(raw, bigEndian), true
	}
	return raw, false
}

// decode returns what an encoding makes of the bytes. What is no text in it
// becomes U+FFFD.
func decode(raw []byte, e encoding.Encoding) []byte {
	text, err := e.NewDecoder().Bytes(raw)
	if err != nil {
		return raw
	}
	return text
}
