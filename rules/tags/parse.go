package tags

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Piece is a part of a template: literal text, or a tag.
type Piece struct {
	// Text is the literal, empty for a tag.
	Text string
	// Source is the expression of a tag as written, without outer blanks. It is
	// empty for a literal.
	Source string
	// Offset is where the piece begins in the template, in bytes.
	Offset int
}

// Parse cuts a template into literals and tags, in order and without gaps. Of the
// expression language it knows strings and braces, to find the }} that ends a tag.
// Its error names the place in the template.
func Parse(text string) ([]Piece, error) {
	var pieces []Piece
	for at := 0; at < len(text); {
		open := strings.Index(text[at:], "{{")
		if open < 0 {
			return append(pieces, Piece{Text: text[at:], Offset: at}), nil
		}
		open += at
		if open > at {
			pieces = append(pieces, Piece{Text: text[at:open], Offset: at})
		}
		length, problem := tagLength(text[open+2:])
		if problem != "" {
			return nil, fmt.Errorf("%s: %s%s", Position(text, open), problem, quoteHint)
		}
		source := strings.TrimSpace(text[open+2 : open+2+length])
		if source == "" {
			return nil, fmt.Errorf("%s: the tag {{}} is empty", Position(text, open))
		}
		pieces = append(pieces, Piece{Source: source, Offset: open})
		at = open + 2 + length + 2
	}
	return pieces, nil
}

// CheckSyntax returns an error for a template that is none, whatever its names mean.
func CheckSyntax(text string) error {
	pieces, err := Parse(text)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if p.Source == "" {
			continue
		}
		if err := language.CheckSyntax(p.Source); err != nil {
			return fmt.Errorf("%s: %w", Position(text, p.Offset), err)
		}
	}
	return nil
}

// tagLength returns how long the expression is that begins a text and ends
// with }}, or what keeps it from ending.
func tagLength(text string) (int, string) {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '"', '\'', '`':
			end := stringEnd(text, i)
			if end < 0 {
				return 0, fmt.Sprintf("the tag {{ is not closed: }} is missing, or the second %c of a string in it", c)
			}
			i = end
		case '{':
			depth++
		case '}':
			if depth > 0 {
				depth--
			} else if strings.HasPrefix(text[i:], "}}") {
				return i, ""
			}
		}
	}
	return 0, "the tag {{ is not closed by }}"
}

// stringEnd returns the index of the quote that ends the string beginning at
// i, or -1. A doubled backtick, which stands for one, reads as two strings.
func stringEnd(text string, i int) int {
	quote := text[i]
	for j := i + 1; j < len(text); j++ {
		switch {
		case text[j] == quote:
			return j
		case quote == '`':
		case text[j] == '\\':
			j++
		case text[j] == '\n':
			return -1
		}
	}
	return -1
}

const quoteHint = ` (put templates in quotes: "…", because caddy fmt tears an unquoted one apart)`

// ErrTorn is the error for a template that LooksTorn.
var ErrTorn = errors.New("this looks like what caddy fmt leaves of an unquoted template" + quoteHint)

var tornTag = regexp.MustCompile(`^\{ ?[\pL_][^{}"]*\}\}|^\{+$`)

// LooksTorn reports whether a text is what caddy fmt leaves of an unquoted
// template. Use it only for texts in which braces mean nothing else.
func LooksTorn(text string) bool { return tornTag.MatchString(text) }

// Position names a place in a template, which is offset bytes from its beginning.
func Position(text string, offset int) string {
	offset = min(offset, len(text))
	before := text[:offset]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	if !strings.Contains(text, "\n") {
		return fmt.Sprintf("at character %d", column)
	}
	return fmt.Sprintf("at line %d, character %d", line, column)
}
