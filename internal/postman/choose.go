package postman

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// choose returns the requests that the words ask for, in the collection's order.
func (c *Collection) choose(words []string) ([]*item, error) {
	if len(words) == 0 {
		return c.items, nil
	}
	wanted := map[*item]bool{}
	for _, word := range words {
		found := false
		for _, it := range c.items {
			if it.answersTo(word) {
				wanted[it], found = true, true
			}
		}
		if !found {
			return nil, c.unknown(word)
		}
	}
	var chosen []*item
	for _, it := range c.items {
		if wanted[it] {
			chosen = append(chosen, it)
		}
	}
	return chosen, nil
}

// answersTo reports whether a word chooses the request: its number, its name, or
// the name or path of a folder that it stands in.
func (it *item) answersTo(word string) bool {
	if number, err := strconv.Atoi(word); err == nil && number == it.Number {
		return true
	}
	if same(word, it.Name) || same(word, it.Folder) {
		return true
	}
	path := ""
	for _, folder := range it.folders {
		name := textOf(folder.Name)
		if path += "/" + name; same(word, name) || same(word, path[1:]) || same(word, strings.ReplaceAll(path[1:], "/", " / ")) {
			return true
		}
	}
	return same(word, strings.TrimPrefix(path+"/"+it.Name, "/"))
}

func same(a, b string) bool { return b != "" && strings.EqualFold(oneLine(a), oneLine(b)) }

// unknown is the error for a word that chooses nothing.
func (c *Collection) unknown(word string) error {
	var known []string
	for _, it := range c.items {
		known = append(known, it.Name)
		for _, folder := range it.folders {
			known = append(known, textOf(folder.Name))
		}
	}
	hint := ""
	if nearest := names.Nearest(word, known); nearest != "" {
		hint = names.DidYouMean(strconv.Quote(oneLine(nearest)))
	}
	return fmt.Errorf("choosing requests: %q is no number, name or folder of the collection%s --list shows them", word, hint)
}
