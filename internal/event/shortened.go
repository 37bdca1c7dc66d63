package event

// Shortened returns at most n characters of a text, and a mark if there were more.
func Shortened(text string, n int) string {
	if len(text) <= n {
		return text
	}
	count := 0
	for at := range text {
		if count++; count > n {
			return text[:at] + "…"
		}
	}
	return text
}
