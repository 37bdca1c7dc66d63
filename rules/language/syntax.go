package language

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/expr-lang/expr/file"
)

// oneLine takes the message out of expr's error, whose own form fills three
// lines. Where the mistake is a usual one, the remedy is in place of the message.
func oneLine(source string, err error) error {
	e := (*file.Error)(nil)
	if !errors.As(err, &e) {
		text, _, _ := strings.Cut(err.Error(), "\n")
		return errors.New(text)
	}
	message := e.Message
	if remedy := remedyFor(source, message); remedy != "" {
		message = remedy
	}
	if !strings.Contains(source, "\n") {
		return fmt.Errorf("%s (at character %d)", message, e.Column+1)
	}
	return fmt.Errorf("%s (at line %d, character %d)", message, e.Line, e.Column+1)
}

// usualMistakes are what people write from other languages, with what to write here.
// The pattern is looked for in the expression without its texts. Unexpected, if it is
// not empty, is a part that expr's message must have.
var usualMistakes = []struct {
	pattern    *regexp.Regexp
	unexpected string
	remedy     string
}{
	{regexp.MustCompile(`=~`), `Operator("=")`, "=~ is not known: write text matches \"pattern\""},
	{regexp.MustCompile(`===|!==|=!`), `Operator("=")`, "comparing needs two characters: write == or !="},
	{regexp.MustCompile(`=`), `Operator("=")`, "= does not compare: write =="},
	{regexp.MustCompile(`<>`), `Operator(">")`, "<> is not known: write !="},
	{regexp.MustCompile(`^\s*(?i:if|when|where)\b`), "unexpected token", "a condition stands alone, without if: write body.status == \"Approved\""},
	{regexp.MustCompile(`^\s*(?i:unless)\b`), "unexpected token", "unless is not known: write not (…)"},
	{regexp.MustCompile(`\bif\b`), `Operator("if")`, "if cannot stand inside a condition: write a ? b : c, or join conditions with and"},
	{regexp.MustCompile(`\{\{`), "", "an expression has no {{ and }}: write the name alone"},
	{regexp.MustCompile(`[“”„‘’‚«»]`), "unrecognized character", "texts need straight quotes: write \"…\""},
	{regexp.MustCompile(`\b(AND|And)\b|[^&]&[^&]`), "unexpected token", "that does not join conditions: write and"},
	{regexp.MustCompile(`\b(OR|Or)\b|[^|]\|[^|]`), "unexpected token", "that does not join conditions: write or"},
	{regexp.MustCompile(`\b(NOT|Not)\b`), "unexpected token", "that does not negate: write not"},
	{regexp.MustCompile(`(?i)\b(is|eq|equals)\b`), "unexpected token", "that does not compare: write =="},
	{regexp.MustCompile(`(?i)\blike\b`), "unexpected token", "like is not known: write contains, startsWith, endsWith or matches"},
	{regexp.MustCompile(`(?i)\bstarts?\s*_?with\b`), "unexpected token", "that is not known: write startsWith"},
	{regexp.MustCompile(`(?i)\bends?\s*_?with\b`), "unexpected token", "that is not known: write endsWith"},
	{nil, "literal not terminated", "the second quote of a text is missing"},
	{nil, "unexpected token EOF", "something is missing at the end"},
}

// writtenTexts finds the texts of an expression.
var writtenTexts = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`")

// remedyFor returns what to write in place of a usual mistake, "" for others.
func remedyFor(source, message string) string {
	rest := writtenTexts.ReplaceAllString(source, `""`)
	for _, usual := range usualMistakes {
		if strings.Contains(message, usual.unexpected) && (usual.pattern == nil || usual.pattern.MatchString(rest)) {
			return usual.remedy
		}
	}
	return ""
}

// otherWords are the words of other languages for words of this one, in small
// letters.
var otherWords = map[string]string{
	"null": "nil", "none": "nil", "nil": "nil", "undefined": "nil", "empty": "nil",
	"true": "true", "yes": "true", "false": "false", "no": "false",
	"and": "and", "or": "or", "not": "not",
}
