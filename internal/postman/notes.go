package postman

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Settings of a request that have no counterpart.
var behaviors = []struct{ name, text string }{
	{"followRedirects", "the relay follows no redirects"},
	{"followOriginalHttpMethod", "the relay follows no redirects"},
	{"maxRedirects", "the relay follows no redirects"},
	{"followAuthorizationHeader", "the relay follows no redirects"},
	{"strictSSL", "whether certificates are checked is said by the action's tls settings"},
	{"disableUrlEncoding", "the relay always encodes what cannot stand in a URL"},
	{"disableCookies", "the relay keeps no cookies"},
}

// noteBehavior flags settings and scripts that have no counterpart.
func (c *conversion) noteBehavior() {
	for _, b := range behaviors {
		if value, given := c.item.behavior[b.name]; given {
			c.note(Flagged, "setting %s %s has no effect: %s", b.name, cut(oneLine(textOf(value)), 20), b.text)
		}
	}
	if hasPrerequest(c.item.node.Event) {
		c.note(Flagged, "its pre-request script is not run; if it computes something that the request needs, the action cannot work alone")
	}
}

func hasPrerequest(scripts []script) bool {
	for _, s := range scripts {
		if s.Listen != "prerequest" {
			continue
		}
		var content struct {
			Exec json.RawMessage `json:"exec"`
		}
		decode(s.Script, &content)
		if isText(s.Script) {
			content.Exec = s.Script
		}
		lines := segments(content.Exec)
		if strings.TrimSpace(strings.Join(lines, "")) != "" {
			return true
		}
	}
	return false
}

// wholeFile puts what concerns more than one request before the findings.
func (r *Import) wholeFile(c *Collection, vars *variables) {
	var found []Finding
	note := func(kind Kind, format string, arguments ...any) {
		found = append(found, Finding{Kind: kind, Text: fmt.Sprintf(format, arguments...)})
	}
	for _, v := range vars.order {
		if !v.used {
			continue
		}
		name := cut(oneLine(strings.TrimPrefix(v.name, standInMark)), 80)
		switch {
		case v.cyclic:
			note(Flagged, "variable {{%s}} leads back to itself, or through too many others: give parameter %s a value", name, v.identifier)
		case v.chosenBy != "":
			note(Flagged, "which variable {{%s}} means is not known, because {{%s}} in its name has no value in the file: give parameter %s a value", name, v.chosenBy, v.identifier)
		case strings.HasPrefix(v.name, pathMark) && v.undefined:
			note(Flagged, "path variable %s has no text as its value in the file: give parameter %s one, or write a tag of the event in its place; Postman sends its name", name, v.identifier)
		case v.undefined && strings.HasPrefix(v.name, "$"):
			note(Flagged, "Postman makes up a value of {{%s}} for each request, for which the relay has nothing: give parameter %s a value", name, v.identifier)
		case v.undefined:
			note(Flagged, "variable {{%s}} has no value in the file: give parameter %s one", name, v.identifier)
		case v.lacksValue():
			note(Flagged, "variable {{%s}} is empty in the file%s: give parameter %s a value%s", name, v.where.needs(), v.identifier, v.where.unlessMeant())
		}
		if strings.HasPrefix(v.name, standInMark) || v.chosenBy != "" || strings.HasPrefix(v.name, pathMark) {
			continue
		}
		if name != strings.TrimPrefix(v.identifier, vars.prefix) {
			note(Changed, "variable {{%s}} is called %s, because expressions could not have its name", name, v.identifier)
		}
	}
	if vars.prefix != "" && len(r.Parameters) > 0 {
		note(Changed, "the names of all parameters begin with %s", vars.prefix)
	}
	for _, name := range slices.Sorted(maps.Keys(vars.chosen)) {
		note(Changed, "{{%s}} is {{%s}}, with the values of the file: change the name where it stands, not the parameter in the name",
			cut(oneLine(name), 80), cut(oneLine(vars.chosen[name]), 80))
	}
	for _, name := range slices.Sorted(maps.Keys(vars.seen)) {
		if expression, isDynamic := dynamic[name]; isDynamic {
			note(Changed, "{{%s}} is {{%s}}%s", name, expression, dynamicRemarks[name])
		} else if _, defined := vars.values[name]; defined {
			note(Changed, "{{%s}} comes with the event; the value that the file gives it counts no more", name)
		}
	}
	if hasPrerequest(c.root.Event) {
		note(Flagged, "the collection's pre-request script is not run; if it computes something that requests need, their actions cannot work alone")
	}
	scripted := map[*node]bool{}
	for _, it := range c.items {
		for _, folder := range it.folders {
			if !scripted[folder] && hasPrerequest(folder.Event) {
				scripted[folder] = true
				note(Flagged, "the pre-request script of folder %q is not run", oneLine(textOf(folder.Name)))
			}
		}
	}
	r.Findings = append(found, r.Findings...)
}

// needs says why a value is needed at the place, as a clause.
func (p place) needs() string {
	switch {
	case p == credential:
		return ", and Postman sends no credential without it"
	case p >= wholeSegment && p != contentType:
		return ", where a value is needed"
	}
	return ""
}

// unlessMeant limits advice to give a value at a place that needs none.
func (p place) unlessMeant() string {
	if p.needs() == "" {
		return ", unless nothing is meant"
	}
	return ""
}

// What is different about the expressions that stand for dynamic variables.
var dynamicRemarks = map[string]string{
	"$guid":         ", the event's id: a UUID, but the same one wherever it stands and at every attempt",
	"$timestamp":    ", the time of each attempt",
	"$isoTimestamp": ", the time of each attempt",
	"$randomInt":    ", which is not random but taken from the clock",
}
