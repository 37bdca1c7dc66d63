package printer

import (
	"errors"
	"regexp"
	"strings"
)

// errUnwritable means that a Caddyfile cannot hold a text.
var errUnwritable = errors.New("no quotes of a Caddyfile can hold it: it has backticks, and backslashes before quotes or at the end")

var errImport = errors.New("a line that begins with the word import is an import, quoted or not")

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.:/@%=+,*-]*$`)

// Quote writes a text as one token of a file that is imported: with whatever
// quotes it needs, so that Caddy reads the very text and `caddy fmt` leaves the
// token alone.
func Quote(text string) (string, error) { return quoted(protect(text), false) }

// QuoteFirst is Quote for the first token of a line. There `caddy fmt` knows
// plain words and double quotes only.
func QuoteFirst(text string) (string, error) {
	if text == "import" {
		return "", errImport
	}
	return quoted(protect(text), true)
}

func quoted(text string, first bool) (string, error) {
	switch {
	case plainWord.MatchString(text):
		return text, nil
	case !strings.ContainsAny(text, "\"`") && trailingBackslashes(text) == 0:
		return `"` + text + `"`, nil
	case !first && !strings.Contains(text, "`") && trailingBackslashes(text)%2 == 0:
		return "`" + text + "`", nil
	case FitsDoubleQuotes(text):
		return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`, nil
	case !first && !strings.Contains(text, "\r"):
		marker := "END"
		for strings.Contains(text, marker) {
			marker += "_"
		}
		return "<<" + marker + "\n" + text + "\n" + marker, nil
	}
	return "", errUnwritable
}

// FitsDoubleQuotes reports whether double quotes can hold a text: a backslash
// escapes a quote, but not another backslash.
func FitsDoubleQuotes(text string) bool {
	odd := false
	for i := range len(text) {
		switch {
		case text[i] == '\\':
			odd = !odd
		case text[i] == '"' && odd:
			return false
		default:
			odd = false
		}
	}
	return !odd
}

// protect writes braces such that an import leaves them alone. Caddy replaces
// {$NAME} in the bytes of a file, and in the tokens of an imported one it
// replaces {args[0]} and {block} and takes away a backslash before a brace.
func protect(text string) string {
	if !strings.ContainsAny(text, "{}") {
		return text
	}
	escapeAll := UnclosedBraces(text) > MostUnclosed
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		if c == '{' || c == '}' {
			rest := text[i+1:]
			names := strings.HasPrefix(rest, "args") || strings.HasPrefix(rest, "block")
			if i > 0 && text[i-1] == '\\' || c == '{' && (names || escapeAll) {
				b.WriteByte('\\')
			}
			if c == '{' && strings.HasPrefix(rest, "$") {
				// A variable without a name, whose default is {$.
				b.WriteString("{$:")
			}
		}
		b.WriteByte(c)
		if c == '$' && i > 0 && text[i-1] == '{' {
			b.WriteByte('}')
		}
	}
	return b.String()
}

// reference matches a value that stands for a secret, which needs no quotes.
var reference = regexp.MustCompile(`^\{(?:env|file)\.[A-Za-z0-9_./-]+\}$`)

// backticked writes a text that stands in the Caddyfile itself as one token: in
// backticks, or with other quotes if it has any in it.
func backticked(text string) (string, error) {
	text = protectVariables(text)
	if strings.Contains(text, "`") || trailingBackslashes(text)%2 == 1 {
		return quoted(text, false)
	}
	return "`" + text + "`", nil
}

// protectVariables writes a text that stands in the Caddyfile itself such that Caddy,
// which replaces {$NAME} in the bytes of the file, leaves it alone.
func protectVariables(text string) string { return strings.ReplaceAll(text, "{$", noVariable) }

// noVariable is a variable without a name, whose default is {$.
const noVariable = "{$:{$}"

// MostUnclosed is how many braces a text may leave open that is imported. Caddy's
// bound is a hundred.
const MostUnclosed = 90

func trailingBackslashes(text string) int { return len(text) - len(strings.TrimRight(text, `\`)) }

// UnclosedBraces counts the braces that are opened after the last one that
// closes any. Caddy's import gives a text up, and makes it empty, when there are
// more than a hundred.
func UnclosedBraces(text string) int {
	last := len(text) - 1
	for ; last >= 0; last-- {
		if text[last] == '}' && (last == 0 || text[last-1] != '\\') {
			break
		}
	}
	return strings.Count(text[last+1:], "{")
}
