package language

import (
	"unicode"
	"unicode/utf8"
)

const (
	// longestNear bounds the texts that are compared, in bytes.
	longestNear = 256
	// shortestNear is from how many characters on one letter more or less counts as a
	// slip: of shorter texts, half of all differ so little.
	shortestNear = 4
)

// nearness says in what two texts differ that people take for the same: in letter
// case, in blanks (as isBlank has them) or by one letter. It is empty for equal texts
// and for those that differ by more. Digits are never a slip, because the numbers of
// two neighbours differ by one. It allocates nothing.
func nearness(text, wanted string, isBlank func(rune) bool) string {
	if text == wanted || len(text) > longestNear || len(wanted) > longestNear {
		return ""
	}
	inCase, inBlanks := differences(text, wanted, isBlank)
	switch {
	case inCase && inBlanks:
		return "in letter case and blanks"
	case inCase:
		return "in letter case"
	case inBlanks:
		return "in blanks"
	case byOneLetter(text, wanted):
		return "by one letter"
	}
	return ""
}

// differences reports in which of both two texts differ that are the same without
// both. For other texts, both are false.
func differences(text, wanted string, isBlank func(rune) bool) (inCase, inBlanks bool) {
	isSkipped := func(r rune) bool { return isBlank(r) || r == '\u200b' || r == '\ufeff' }
	seen := false
	for text != "" || wanted != "" {
		r, size := utf8.DecodeRuneInString(text)
		other, otherSize := utf8.DecodeRuneInString(wanted)
		switch {
		case r == other && text != "" && wanted != "":
			seen = seen || !isSkipped(r)
		case text != "" && isSkipped(r) && wanted != "" && isSkipped(other):
			inBlanks = true
		case text != "" && isSkipped(r):
			inBlanks, otherSize = true, 0
		case wanted != "" && isSkipped(other):
			inBlanks, size = true, 0
		case text != "" && wanted != "" && foldsTo(r, other):
			inCase, seen = true, true
		default:
			return false, false
		}
		text, wanted = text[size:], wanted[otherSize:]
	}
	if !seen {
		return false, false
	}
	return inCase, inBlanks
}

// foldsTo reports whether two characters differ in case alone.
func foldsTo(r, other rune) bool {
	for folded := unicode.SimpleFold(r); folded != r; folded = unicode.SimpleFold(folded) {
		if folded == other {
			return true
		}
	}
	return false
}

// byOneLetter reports whether two texts differ by one letter that is another,
// missing or too much, or by two neighbours that changed places.
func byOneLetter(text, wanted string) bool {
	if utf8.RuneCountInString(text) < shortestNear || utf8.RuneCountInString(wanted) < shortestNear {
		return false
	}
	for {
		r, size := utf8.DecodeRuneInString(text)
		other, otherSize := utf8.DecodeRuneInString(wanted)
		if text != "" && wanted != "" && r == other {
			text, wanted = text[size:], wanted[otherSize:]
			continue
		}
		after, otherAfter := text[size:], wanted[otherSize:]
		next, nextSize := utf8.DecodeRuneInString(after)
		otherNext, otherNextSize := utf8.DecodeRuneInString(otherAfter)
		isLetter, otherIsLetter := text != "" && unicode.IsLetter(r), wanted != "" && unicode.IsLetter(other)
		switch {
		case isLetter && after == wanted, otherIsLetter && text == otherAfter, isLetter && otherIsLetter && after == otherAfter:
			return true
		}
		return isLetter && otherIsLetter && after != "" && otherAfter != "" && r == otherNext && next == other && after[nextSize:] == otherAfter[otherNextSize:]
	}
}
