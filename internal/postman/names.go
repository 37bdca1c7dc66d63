package postman

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxName bounds the names of actions, in characters.
const maxName = 60

// actionNames gives every request of a collection the name of its action, so that a
// name does not depend on which requests are chosen.
type actionNames map[*item]string

func newNames(items []*item, prefix string) actionNames {
	counts := map[string]int{}
	for _, it := range items {
		counts[actionName(it.Name)]++
	}
	result, taken := actionNames{}, map[string]bool{}
	for _, it := range items {
		name := actionName(it.Name)
		if name == "" {
			name = fmt.Sprintf("request_%d", it.Number)
		} else if counts[name] > 1 && len(it.folders) > 0 {
			// Several have the name: that of the folder may tell them apart.
			if folder := actionName(textOf(it.folders[len(it.folders)-1].Name)); folder != "" {
				name = folder + "_" + name
			}
		}
		base := prefix + name
		if base[0] >= '0' && base[0] <= '9' {
			base = "request_" + base // a name begins with a letter
		}
		name = base
		for n := 2; taken[name]; n++ {
			name = base + "_" + strconv.Itoa(n)
		}
		taken[name] = true
		result[it] = name
	}
	return result
}

func (n actionNames) of(it *item) string { return n[it] }

// actionName makes a name of what names.Check allows in names: small letters
// without their accents, digits, and _ for all else. It is empty if nothing of
// the text is left.
func actionName(text string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(text)) {
		if unicode.Is(unicode.Mn, r) {
			continue
		}
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			b.WriteRune(r)
		} else if b.Len() > 0 && !strings.HasSuffix(b.String(), "_") {
			b.WriteByte('_')
		}
		if b.Len() > maxName*4 {
			break
		}
	}
	name := b.String()
	return strings.TrimRight(name[:min(len(name), maxName)], "_")
}
