package postman

import (
	"regexp"
	"slices"
	"strings"
)

// maxRounds is how often Postman replaces the tags of a text.
const maxRounds = 19

// hasNestedTag finds the beginning of a tag in the name of another one.
var hasNestedTag = regexp.MustCompile(`\{\{[^{}"]*\{\{`)

// resolveNested resolves tags whose names hold tags, as in {{user_{{env}}}}.
// Postman replaces the tags of a text again and again, so the values of the
// inner tags give the name of the outer one. The relay replaces once, so the
// name is fixed here, with the values that the file gives. The same goes for
// braces in values that together with their surroundings make a tag.
func (s *variables) resolveNested(t template) template {
	for range maxRounds {
		if !t.holdsBrace() {
			break
		}
		text, ends := s.spell(t)
		var tags [][]int
		if strings.Contains(text, "{{") {
			tags = tagPattern.FindAllStringSubmatchIndex(text, -1)
		}
		if tags == nil {
			break
		}
		var out template
		at := 0
		for _, tag := range tags {
			out = append(out, t.slice(text, ends, at, tag[0])...)
			out = append(out, s.outer(t.slice(text, ends, tag[2], tag[3]), text[tag[2]:tag[3]])...)
			at = tag[1]
		}
		out = append(out, t.slice(text, ends, at, len(text))...)
		if t = out.joined(); t.size() > maxTemplate {
			s.overflow = true
			break
		}
	}
	return t
}

// holdsBrace reports whether a text or a value in the template can open a tag.
func (t template) holdsBrace() bool {
	return slices.ContainsFunc(t, func(p piece) bool {
		return strings.Contains(p.literal, "{") || p.parameter != nil && strings.Contains(p.parameter.resolved, "{")
	})
}

// spell writes a template with the values of its variables. ends says where in
// the text each piece ends. What has no value in the file becomes one byte.
func (s *variables) spell(t template) (text string, ends []int) {
	var b strings.Builder
	for i := range t {
		value, known := s.spelled(&t[i])
		if !known {
			value = "\x00"
		}
		b.WriteString(value)
		ends = append(ends, b.Len())
	}
	return b.String(), ends
}

// spelled returns what stands for a piece while names are put together. A value
// of the event cannot choose a variable, but the value that the file gives can.
func (s *variables) spelled(p *piece) (text string, known bool) {
	switch {
	case !p.isTag():
		return p.literal, true
	case p.parameter != nil:
		return p.parameter.resolved, !p.parameter.undefined
	}
	value, defined := s.values[p.name]
	return value, defined && !strings.ContainsAny(value, "{}")
}

// slice returns the part of the template that is spelled by text[from:to]. A
// value that is only partly in it becomes text.
func (t template) slice(text string, ends []int, from, to int) (part template) {
	start := 0
	for i, p := range t {
		end := ends[i]
		switch low, high := max(from, start), min(to, end); {
		case start >= from && end <= to && (start < to || end > from || start == end && from == to):
			part = append(part, p)
		case low < high:
			part = append(part, piece{literal: text[low:high]})
		}
		start = end
	}
	return part
}

// outer returns what stands for a tag whose name is a template that spells name.
func (s *variables) outer(parts template, name string) template {
	var written strings.Builder
	chosenBy := ""
	for i := range parts {
		p := &parts[i]
		if !p.isTag() {
			written.WriteString(p.literal)
			continue
		}
		written.WriteString("{{" + p.name + "}}")
		if _, known := s.spelled(p); !known && chosenBy == "" {
			chosenBy = p.name
		}
	}
	if chosenBy != "" {
		if v, known := s.kept[written.String()]; known {
			return template{{parameter: v, name: v.name}}
		}
		return s.keep(&variable{name: written.String(), undefined: true, chosenBy: chosenBy})
	}
	if written.String() != name {
		s.chosen[written.String()] = name
	}
	return s.lookUp(name)
}
