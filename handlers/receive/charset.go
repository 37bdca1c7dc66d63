package receive

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding"

	"github.com/caddy-event-relay/event-relay/internal/textencoding"
)

var xmlEncoding = regexp.MustCompile(`^\s*<\?xml[^>]*?\sencoding\s*=\s*["']([A-Za-z0-9._:-]+)["']`)

// toUTF8 returns a body's text as UTF-8. A byte order mark decides, then the
// charset of the Content-Type, then the XML declaration, then the zero bytes of
// UTF-16; else the text is taken for UTF-8. When nothing is to be done it
// returns raw itself.
func toUTF8(raw []byte, label string) []byte {
	if text, found := textencoding.ByMark(raw); found {
		return text
	}
	if label == "" {
		if declared := xmlEncoding.FindSubmatch(raw[:min(len(raw), 200)]); declared != nil {
			label = string(declared[1])
		}
	}
	if e := lookupCharset(label, raw); e != nil {
		return decodeCharset(raw, e)
	}
	text, _ := textencoding.ByZeros(raw)
	return text
}

// lookupCharset returns the encoding of a charset's name; nil for UTF-8, for an
// unknown name, and for a UTF-16 that the text evidently is not.
func lookupCharset(label string, raw []byte) encoding.Encoding {
	if label == "" || strings.EqualFold(label, "utf-8") {
		return nil
	}
	e, name := charset.Lookup(label)
	if name == "utf-8" || name == "replacement" || strings.HasPrefix(name, "utf-16") && bytes.IndexByte(raw, 0) < 0 {
		return nil
	}
	return e
}

func decodeCharset(raw []byte, e encoding.Encoding) []byte {
	text, err := e.NewDecoder().Bytes(raw)
	if err != nil {
		return raw
	}
	return text
}

// validUTF8 replaces bytes that are not UTF-8 by U+FFFD.
func validUTF8(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	return bytes.ToValidUTF8(text, []byte("\uFFFD"))
}
