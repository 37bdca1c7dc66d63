// Package names says what may be called what, and what this program is called: the
// alphabet of names, when two names mean the same, and which one a misspelt name was
// meant to be.
package names

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// RelaySource is the name of the source that the relay's own events have.
const RelaySource = "relay"

// Check returns an error if a source or an action, which kind says, cannot
// be called name. A name is made of ASCII letters, digits, "_", "-" and ".",
// and begins with a letter. It is then one word in rules (`source:event`), in a
// handler's list, in commands and as a label, and looks the same wherever it is
// typed.
func Check(kind, name string) error {
	if name == "" {
		return fmt.Errorf("the name of the %s is empty", kind)
	}
	if kind == "source" && strings.EqualFold(name, RelaySource) {
		return fmt.Errorf("the source cannot be called %s: that is the relay itself", name)
	}
	for i := range len(name) {
		if c := name[i]; !IsByte(c) || i == 0 && !isLetter(c) {
			return fmt.Errorf("%q cannot be the name of the %s: a name is made of the letters a to z and A to Z, digits, _, - and ., "+
				"and begins with a letter", name, kind)
		}
	}
	return nil
}

// IsByte reports whether a name that Check takes may hold a byte.
func IsByte(c byte) bool {
	return isLetter(c) || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// Normal returns an event's name in the form in which names compare:
// lower case, with blanks and hyphens as underscores, so that "Incoming Call"
// is incoming_call. Blanks around the name are dropped.
func Normal(name string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return '_'
		}
		return r
	}, strings.ToLower(strings.TrimSpace(name)))
}

// Nearest returns the candidate that a misspelt name most likely means, or ""
// when none is near. Case and the difference between blank, hyphen and
// underscore count for nothing. Of several equally near ones the first wins.
func Nearest(name string, candidates []string) string {
	wanted := Normal(name)
	best, bestDistance := "", len(wanted)/3+1
	for _, candidate := range candidates {
		distance := editDistance(wanted, Normal(candidate), bestDistance)
		if distance < bestDistance || distance == bestDistance && best == "" {
			best, bestDistance = candidate, distance
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbouring bytes that lead from a to b. It may stop and return limit+1 once
// the distance must exceed limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// IsIdentifier reports whether a name may be that of a parameter or field:
// ASCII letters, digits and underscores, not beginning with a digit.
func IsIdentifier(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		case c >= '0' && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return name != ""
}

// CheckIdentifier returns an error if a parameter or a field cannot be called
// name in an expression.
func CheckIdentifier(kind, name string) error {
	for i, r := range name {
		letter := r == '_' && i > 0 || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return fmt.Errorf("%q cannot be the name of a %s: a name is made of letters, digits and underscores, and begins with a letter",
				name, kind)
		}
	}
	if name == "" {
		return fmt.Errorf("the name of the %s is empty", kind)
	}
	return nil
}

// DidYouMean asks, at the end of a message, whether one of the suggestions was
// meant. It is nothing without one; empty ones do not count.
func DidYouMean(suggestions ...string) string {
	suggestions = slices.DeleteFunc(slices.Clone(suggestions), func(s string) bool { return s == "" })
	if len(suggestions) == 0 {
		return ""
	}
	return "; did you mean " + strings.Join(suggestions, " or ") + "?"
}

// Unknown is the error for a name that does not exist: what was meant, what
// exists, and the remedy.
func Unknown(what, name string, known []string, remedy string) error {
	text := fmt.Sprintf("unknown %s %s", what, name)
	if suggestion := Nearest(name, known); suggestion != "" {
		text += DidYouMean(suggestion)
	} else {
		text += "."
	}
	if len(known) == 0 {
		text += fmt.Sprintf(" There is no %s yet", what)
	} else {
		text += fmt.Sprintf(" What exists: %s", strings.Join(known, ", "))
	}
	if remedy != "" {
		text += ". " + strings.ToUpper(remedy[:1]) + remedy[1:]
	}
	return errors.New(text)
}
