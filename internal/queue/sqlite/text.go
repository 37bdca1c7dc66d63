package sqlite

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"zombiezen.com/go/sqlite"
)

// text looks for a text in whatever case. What is stored is partly JSON, whose
// writers escape more or less of it; so it looks for each of these forms.
type text struct {
	ascii  [][]byte // forms without other characters, in lower case
	others [][]byte
	folded []byte // what is looked through, in lower case
}

func newText(looked string) *text {
	t := &text{}
	for _, form := range []string{
		looked,
		escaped(looked, `"\`, false),
		escaped(looked, `"\<>&`, false), // Go
		escaped(looked, `"\`, true),     // Python
		escaped(looked, `"\/`, true),    // PHP
	} {
		list, form := &t.others, []byte(strings.ToLower(form))
		if isASCII(form) {
			list = &t.ascii
		}
		known := false
		for _, other := range *list {
			known = known || bytes.Equal(other, form)
		}
		if !known {
			*list = append(*list, form)
		}
	}
	return t
}

// escaped returns a text as it can stand in JSON: with a backslash before some
// characters, or as \u00e9 where that is how they are written.
func escaped(text, special string, onlyASCII bool) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case strings.ContainsRune("<>&", r) && strings.ContainsRune(special, r):
			fmt.Fprintf(&b, `\u%04x`, r)
		case strings.ContainsRune(special, r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r >= utf8.RuneSelf && onlyASCII:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// within reports whether the text stands in another.
func (t *text) within(other []byte) bool {
	if len(other) == 0 {
		return false
	}
	ascii := true
	t.folded = append(t.folded[:0], other...)
	for i, c := range t.folded {
		if 'A' <= c && c <= 'Z' {
			t.folded[i] = c + 'a' - 'A'
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	for _, form := range t.ascii {
		if bytes.Contains(t.folded, form) {
			return true
		}
	}
	if ascii || len(t.others) == 0 {
		return false
	}
	folded := bytes.ToLower(other)
	for _, form := range t.others {
		if bytes.Contains(folded, form) {
			return true
		}
	}
	return false
}

const (
	textOfEvent    = `SELECT uuid, record, body, tenant, duplicate_of, parse_error, verdict, deliveries FROM events WHERE id = ?`
	textOfAttempts = `SELECT error, response FROM attempts WHERE id >= ? AND id < ?`
)

// in reports whether the text stands in an event: where queue.Filter says, and
// in what the list shows of it.
func (t *text) in(conn *sqlite.Conn, event int64, of kind) (found bool, err error) {
	if t.within([]byte(of.source)) || t.within([]byte(of.event)) {
		return true, nil
	}
	delivers := false
	err = query(conn, textOfEvent, func(row *sqlite.Stmt) error {
		for column := 0; column <= 5 && !found; column++ {
			found = t.within(columnBytes(row, column))
		}
		if verdict := columnBytes(row, 6); !found && t.within(verdict) {
			found = t.within([]byte(decodeVerdict(verdict, of.decision).Reason))
		}
		deliveries := columnBytes(row, 7)
		delivers = deliveries != nil
		if !found && t.within(deliveries) {
			plans, _ := decodePlans(deliveries)
			for _, p := range plans {
				found = found || t.within([]byte(p.ID))
			}
		}
		return nil
	}, event)
	if err != nil || found || !delivers {
		return found, err
	}
	from, to := attemptRange(event)
	err = query(conn, textOfAttempts, func(row *sqlite.Stmt) error {
		found = found || t.within(columnBytes(row, 0)) || t.within(columnBytes(row, 1))
		return nil
	}, from, to)
	return found, err
}
