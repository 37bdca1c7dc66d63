package preset

import (
	"cmp"
	"strings"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// icfmThings are what events of iCFM are about, in the order in which they are looked
// for. Nothing published says how its requests name them: the keys are those of the
// plausible forms (project_id, projectName, project.id, POId), in the form of keyOf.
var icfmThings = [...]struct {
	// word is what a person calls it.
	word string
	// events are the beginnings of the names of the events that are about it.
	events []string
	// keys are what it is called in a request.
	keys []string
}{
	{"Project", []string{"project_", "allocation_"}, []string{"project"}},
	{"Quote", []string{"quote_"}, []string{"quote"}},
	{"Job", []string{"job_"}, []string{"job"}},
	{"PO", []string{"po_"}, []string{"po", "purchaseorder"}},
	{"Lead", []string{"lead_"}, []string{"lead"}},
	{"Despatch note", []string{"despatch_"}, []string{"despatch", "despatchnote"}},
	{"Library item", []string{"library_"}, []string{"libraryitem", "library", "item"}},
	{"DMG", []string{"dmg_"}, []string{"dmg"}},
	{"RSS", []string{"rss_"}, []string{"rss"}},
	{"RS", []string{"rs_"}, []string{"rs"}},
	{"Sundry", []string{"sundry_"}, []string{"sundry"}},
	{"Gekko", []string{"gekko_"}, []string{"gekko"}},
	{"Client", []string{"client_"}, []string{"client", "clientattend"}},
}

// icfmParts are what a thing is known by: the part of a key that follows what the
// thing is called, or the key in the thing's own object. Of several the first counts.
var icfmParts = []struct {
	key  string
	name bool
}{
	{"number", false}, {"no", false}, {"ref", false}, {"reference", false}, {"code", false}, {"id", false},
	{"name", true}, {"title", true},
}

// icfmID and icfmTitle are places in icfmParts.
const icfmID, icfmTitle = 5, 7

// icfmKey says what stands under a key: of which thing, -1 for the one that the event
// is about, and which of icfmParts, -1 for the thing itself.
type icfmKey struct{ thing, part int }

var icfmKeys = func() map[string]icfmKey {
	keys := map[string]icfmKey{}
	for part, p := range icfmParts {
		keys[p.key] = icfmKey{-1, part}
	}
	for thing, t := range icfmThings {
		for _, key := range t.keys {
			keys[key] = icfmKey{thing, -1}
			for part, p := range icfmParts {
				keys[key+p.key] = icfmKey{thing, part}
			}
		}
	}
	return keys
}()

// icfmWrappers are keys of an object that holds what the request is about.
var icfmWrappers = []string{"data", "payload", "record", "object"}

// longestKey is the length of the longest key that says what an event is about.
const longestKey = 24

// icfmSubject tells which project, quote, job or purchase order an event is about: the
// thing that its name speaks of, and the project.
func icfmSubject(e *event.Event, fields map[string]any) string {
	found := icfmFound{about: -1}
	for thing := range icfmThings {
		for _, beginning := range icfmThings[thing].events {
			if strings.HasPrefix(e.Name, beginning) {
				found.about = thing
			}
		}
	}
	found.lookIn("", fields, found.about, 0)
	for _, key := range icfmWrappers {
		if inner, isObject := fields[key].(map[string]any); isObject {
			found.lookIn(key, inner, found.about, 0)
		}
	}
	var b strings.Builder
	if found.about >= 0 {
		found.write(&b, found.about)
	}
	if found.about != 0 {
		found.write(&b, 0)
	}
	for thing := 1; b.Len() == 0 && thing < len(icfmThings); thing++ {
		found.write(&b, thing)
	}
	return b.String()
}

// icfmFound is what was found of each thing.
type icfmFound struct {
	// about is the thing of which the event's name speaks, -1 if that is not known.
	about  int
	things [len(icfmThings)]struct{ number, name icfmValue }
}

type icfmValue struct {
	text string
	// Of several values the one of the least rank counts, and of these the one with
	// the least keys: so the order of a map does not matter.
	rank        int
	parent, key string
}

// mostLevels is how deep the objects of things are looked into: a job's project.
const mostLevels = 3

// lookIn looks through the members of the object under a key. The id or name that
// stands in it without a word is that of owner, if that is not -1. At the first level
// that counts less than one that says whose it is.
func (f *icfmFound) lookIn(parent string, fields map[string]any, owner, level int) {
	for key, value := range fields {
		known, ok := icfmKeyOf(key)
		if !ok {
			continue
		}
		thing, rank := known.thing, level*len(icfmParts)
		if thing < 0 {
			if thing = owner; level == 0 {
				rank = (mostLevels + 1) * len(icfmParts)
			}
			if thing < 0 {
				continue
			}
		}
		part := known.part
		if inner, isObject := value.(map[string]any); isObject && part < 0 {
			if level < mostLevels {
				f.lookIn(key, inner, thing, level+1)
			}
			continue
		}
		if part < 0 {
			// The value under the name of a thing is its number or its name.
			part = icfmID
			if text, isText := value.(string); isText && strings.Trim(text, "0123456789") != "" {
				part = icfmTitle
			}
		}
		f.note(thing, part, rank+part, parent, key, value)
	}
}

// Longer texts are no numbers and no names that tell a person something.
const (
	longestNumber = 32
	longestName   = 80
)

func (f *icfmFound) note(thing, part, rank int, parent, key string, value any) {
	text, ok := event.Text(event.Present(value))
	if !ok || text == "" || value == true || value == false {
		return
	}
	known := &f.things[thing].number
	if icfmParts[part].name {
		known = &f.things[thing].name
		if len(text) > longestName*utf8.UTFMax {
			text = text[:longestName*utf8.UTFMax]
		}
		text = event.Shortened(strings.ToValidUTF8(text, ""), longestName)
	} else if len(text) > longestNumber {
		return
	}
	if known.text == "" || cmp.Or(cmp.Compare(rank, known.rank), cmp.Compare(parent, known.parent), cmp.Compare(key, known.key)) < 0 {
		*known = icfmValue{text, rank, parent, key}
	}
}

// write appends a thing, if anything is known of it.
func (f *icfmFound) write(b *strings.Builder, thing int) {
	number, name := f.things[thing].number.text, f.things[thing].name.text
	if number == "" && name == "" {
		return
	}
	if b.Len() > 0 {
		b.WriteString(" · ")
	}
	b.WriteString(icfmThings[thing].word)
	if number != "" && !strings.Contains(name, number) {
		b.WriteByte(' ')
		b.WriteString(number)
	}
	if name != "" {
		b.WriteByte(' ')
		b.WriteString(name)
	}
}

// icfmKeyOf returns what stands under a key, whatever its case and separators:
// project_id, projectId and Project-ID are one.
func icfmKeyOf(key string) (icfmKey, bool) {
	if len(key) > longestKey+4 {
		return icfmKey{}, false
	}
	var room [longestKey + 4]byte
	letters := room[:0]
	for i := range len(key) {
		switch c := key[i]; {
		case c >= 'A' && c <= 'Z':
			letters = append(letters, c+'a'-'A')
		case c >= 'a' && c <= 'z':
			letters = append(letters, c)
		case c != '_' && c != '-' && c != ' ' && c != '.':
			return icfmKey{}, false
		}
	}
	known, ok := icfmKeys[string(letters)]
	return known, ok
}
