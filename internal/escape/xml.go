package escape

import "unicode/utf8"

// AppendXML appends a text as it stands in the text of an XML or HTML element, or
// between the quotes of an attribute. Tabs and line ends are written as numbers,
// because readers of attributes make spaces of them otherwise. A character that XML
// 1.0 cannot hold, and a byte that is not UTF-8, becomes U+FFFD.
func AppendXML(dst []byte, text string) []byte {
	for _, r := range text {
		switch {
		case r == '&':
			dst = append(dst, "&amp;"...)
		case r == '<':
			dst = append(dst, "&lt;"...)
		case r == '>':
			dst = append(dst, "&gt;"...)
		case r == '"':
			dst = append(dst, "&quot;"...)
		case r == '\'':
			dst = append(dst, "&apos;"...)
		case r == '\t':
			dst = append(dst, "&#x9;"...)
		case r == '\n':
			dst = append(dst, "&#xA;"...)
		case r == '\r':
			dst = append(dst, "&#xD;"...)
		case r < ' ' || r == 0xfffe || r == 0xffff:
			dst = append(dst, "\uFFFD"...)
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return dst
}

// AppendCDATA appends a text as it stands inside a CDATA section of XML. The
// section ends before the text and begins again after it, because nothing can be
// escaped in one.
func AppendCDATA(dst []byte, text string) []byte {
	return append(AppendXML(append(dst, "]]>"...), text), "<![CDATA["...)
}
