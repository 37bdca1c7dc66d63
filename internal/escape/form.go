package escape

// AppendPartName appends the name of a part of multipart/form-data as it stands
// between quotes, so that it stays inside them for every reader. Quotes and control
// characters are percent-encoded, as browsers do. A backslash is doubled, because
// to some readers it takes the meaning from the quote that ends the name.
func AppendPartName(dst []byte, text string) []byte {
	for i := range len(text) {
		switch c := text[i]; {
		case c == '\\':
			dst = append(dst, `\\`...)
		case c == '"' || c < ' ' || c == 0x7f:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
