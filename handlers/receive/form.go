package receive

import (
	"strconv"
	"strings"
)

const (
	// maxNesting bounds how deep the brackets of a form's keys may nest, as
	// PHP does (max_input_nesting_level).
	maxNesting = 64
	// maxBranches bounds the lists and objects that the brackets of one form
	// make. One takes hundreds of bytes, for as few as three in the body.
	maxBranches = 10_000
)

// form is a form that is being read, urlencoded or multipart. Its keys nest as
// PHP reads them, so that a form gives what the same data in JSON would give:
//
//	project[id]=5              {"project": {"id": "5"}}
//	tags[]=a&tags[]=b          {"tags": ["a", "b"]}
//	tags[0]=a&tags[1]=b        {"tags": ["a", "b"]}
//	items[0][n]=1&items[1][n]=2  {"items": [{"n": "1"}, {"n": "2"}]}
//
// Numbers that do not run from 0 without a gap are the keys of an object. A key
// that comes more than once without brackets makes a list too (PHP would keep
// the last value alone), except where it names the event or a system parameter:
// there the first counts, as in a query. Nothing else is dropped. What cannot
// be nested keeps its key as it was sent: brackets that do not close or are
// followed by text, more than maxNesting or maxBranches, and a part of a key
// that has a value already.
type form struct {
	root     branch
	branches int
}

// branch is a list or an object of a form. It is a list for as long as its keys
// run from 0 without a gap.
type branch struct {
	list    []any
	members map[string]any // in the place of list, once it is an object
	next    int            // the number that [] stands for in an object
	top     bool           // the form itself, where an empty key is a key
}

func newForm() *form { return &form{root: branch{members: map[string]any{}, top: true}} }

// decodeForm reads an urlencoded body. convert turns the sender's characters
// into UTF-8.
func decodeForm(text string, convert func(string) string) map[string]any {
	f := newForm()
	eachPair(text, func(key, value string) { f.add(convert(key), convert(value)) })
	return f.value()
}

// value returns the form's fields.
func (f *form) value() map[string]any {
	f.root.finish()
	return f.root.members
}

// add adds a field.
func (f *form) add(key string, value any) {
	if path := splitKey(key); len(path) == 1 || !f.nest(path, value) {
		f.put(&f.root, key, value)
	}
}

// splitKey returns the parts of a key such as a[b][], or the key alone if it
// cannot be nested.
func splitKey(key string) []string {
	open := strings.IndexByte(key, '[')
	if open < 1 || key[len(key)-1] != ']' || strings.Count(key, "[") > maxNesting {
		return []string{key}
	}
	path := []string{key[:open]}
	for rest := key[open:]; rest != ""; {
		end := strings.IndexByte(rest, ']')
		if rest[0] != '[' || end < 0 || strings.IndexByte(rest[1:end], '[') >= 0 {
			return []string{key}
		}
		path = append(path, rest[1:end])
		rest = rest[end+1:]
	}
	return path
}

// nest puts a value where a path leads, and reports whether it could.
func (f *form) nest(path []string, value any) bool {
	// Look before anything is made: what cannot go all the way makes nothing.
	at, depth := &f.root, 0
	for ; at != nil && depth < len(path)-1; depth++ {
		there, found := at.get(path[depth])
		if !found {
			break
		}
		inner, isBranch := there.(*branch)
		if !isBranch {
			if depth == len(path)-2 && path[depth+1] == "" {
				f.put(at, path[depth], value) // a=1&a[]=2
				return true
			}
			return false
		}
		at = inner
	}
	needed := len(path) - 1 - depth
	if f.branches+needed > maxBranches {
		return false
	}
	f.branches += needed
	for ; depth < len(path)-1; depth++ {
		inner := &branch{}
		at.set(path[depth], inner)
		at = inner
	}
	f.put(at, path[len(path)-1], value)
	return true
}

// put puts a value under a key, beside the values that are there already.
func (f *form) put(at *branch, key string, value any) {
	there, found := at.get(key)
	if !found {
		at.set(key, value)
		return
	}
	if inner, isBranch := there.(*branch); isBranch {
		inner.set("", value)
		return
	}
	if _, isTag := tagOf(key); at == &f.root && (isTag || usualRank(key) >= 0) {
		return
	}
	at.set(key, &branch{list: []any{there, value}})
}

// get returns what is under a key. There is never anything under [] yet.
func (b *branch) get(key string) (any, bool) {
	if key == "" && !b.top {
		return nil, false
	}
	if b.members != nil {
		value, found := b.members[key]
		return value, found
	}
	if n, isIndex := index(key); isIndex && n < len(b.list) {
		return b.list[n], true
	}
	return nil, false
}

// set puts a value under a key, in the place of what is there.
func (b *branch) set(key string, value any) {
	n, isIndex := index(key)
	if b.members == nil {
		switch {
		case key == "" || isIndex && n == len(b.list):
			b.list = append(b.list, value)
			return
		case isIndex && n < len(b.list):
			b.list[n] = value
			return
		}
		b.members = make(map[string]any, len(b.list)+1)
		for i, element := range b.list {
			b.members[strconv.Itoa(i)] = element
		}
		b.next, b.list = len(b.list), nil
	}
	if key == "" && !b.top {
		n, isIndex, key = b.next, true, strconv.Itoa(b.next)
	}
	if isIndex {
		b.next = max(b.next, n+1)
	}
	b.members[key] = value
}

// finish turns the branches in a branch into lists and objects.
func (b *branch) finish() any {
	if b.members != nil && !b.top {
		// The numbers may have come in another order.
		list := make([]any, 0, len(b.members))
		for n := range len(b.members) {
			element, found := b.members[strconv.Itoa(n)]
			if !found {
				list = nil
				break
			}
			list = append(list, element)
		}
		if list != nil {
			b.list, b.members = list, nil
		}
	}
	for i, element := range b.list {
		if inner, isBranch := element.(*branch); isBranch {
			b.list[i] = inner.finish()
		}
	}
	for key, member := range b.members {
		if inner, isBranch := member.(*branch); isBranch {
			b.members[key] = inner.finish()
		}
	}
	if b.members == nil {
		return b.list
	}
	return b.members
}

// index returns the number that a key is, as PHP writes it: without a sign or
// zeros before it.
func index(key string) (int, bool) {
	if key == "" || len(key) > 9 || key[0] == '0' && len(key) > 1 || strings.Trim(key, "0123456789") != "" {
		return 0, false
	}
	n, _ := strconv.Atoi(key)
	return n, true
}
