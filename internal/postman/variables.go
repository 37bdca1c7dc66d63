package postman

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile/printer"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// maxTemplate bounds a text with the values of variables put in, in bytes.
// Variables that hold each other twice, and so on, would grow without end.
const maxTemplate = 1 << 20

// maxParameter is what the relay takes for the value of a parameter.
const maxParameter = 64 << 10

// variable is a variable that becomes a custom parameter.
type variable struct {
	// name is Postman's and identifier the relay's.
	name, identifier string
	// value is written as the relay reads it, and resolved is what it becomes.
	value, resolved string
	// undefined says that it has no value anywhere.
	undefined bool
	// cyclic says that its value leads back to itself.
	cyclic bool
	// chosenBy names the tag inside the variable's own name that has no value
	// in the file, so that it is unknown which variable is meant.
	chosenBy string
	// used says that an action needs it, and where is the place that asks for
	// the most.
	used  bool
	where place
	// holds are the variables in its value.
	holds []*variable
}

// use notes that the variable stands somewhere.
func (v *variable) use(where place) {
	if v.used && v.where >= where {
		return
	}
	v.used, v.where = true, max(v.where, where)
	for _, held := range v.holds {
		held.use(anywhere)
	}
}

// lacksValue reports whether the administrator is to give a value: there is
// none, or it is empty. Exports leave out what Postman calls current values, so
// empty ones are common, and few of them are meant.
func (v *variable) lacksValue() bool { return v.undefined || v.resolved == "" }

// variables finds out what tags mean.
type variables struct {
	values map[string]string
	prefix string
	// kept are the variables that are parameters, inlined those whose values
	// are put in where they stand.
	kept    map[string]*variable
	inlined map[string]template
	// within are the names that are being looked up.
	within      map[string]bool
	depth       int
	identifiers map[string]string
	taken       map[string]bool
	order       []*variable
	// seen are the tags that have their values from the event or the moment.
	seen map[string]bool
	// chosen are names of variables that hold tags, with the names that they
	// become with the values of the file.
	chosen map[string]string
	// held counts the bytes of inlined values, and overflow says that values were
	// left out because they are too large.
	held     int
	overflow bool
}

// Postman's dynamic variables for which the relay has something.
var dynamic = map[string]string{
	"$guid":         "id",
	"$timestamp":    "now().Unix()",
	"$isoTimestamp": `now().In(timezone('UTC')).Format('2006-01-02T15:04:05.000Z')`,
	"$randomInt":    "now().UnixMilli() % 1001",
}

func newVariables(c *Collection, environment *Environment, prefix string) *variables {
	s := &variables{
		values: map[string]string{}, prefix: prefix, kept: map[string]*variable{}, inlined: map[string]template{},
		within: map[string]bool{}, identifiers: map[string]string{}, taken: map[string]bool{}, seen: map[string]bool{},
		chosen: map[string]string{},
	}
	for _, entry := range c.root.Variable {
		if key := textOf(entry.Key); key != "" && !truthy(entry.Disabled) {
			s.values[key] = valueOf(entry.Value)
		}
	}
	if environment != nil {
		for _, entry := range environment.values {
			if first(entry.Enabled) != 'f' && !truthy(entry.Disabled) {
				s.values[textOf(entry.Key)] = valueOf(entry.Value)
			}
		}
	}
	s.nameAll(c.raw)
	return s
}

// valueOf returns the value of a variable. Postman makes a text of null.
func valueOf(data []byte) string {
	if first(data) == 'n' {
		return "null"
	}
	return textOf(data)
}

var tagInJSON = regexp.MustCompile(`\{\{((?:[^{}"\\]|\\.)*)\}\}`)

// nameAll gives an identifier to every tag of the collection, so that a name
// does not depend on which requests are chosen. Names that are identifiers
// already keep theirs.
func (s *variables) nameAll(raw []byte) {
	var names []string
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, found := range tagInJSON.FindAllSubmatch(raw, -1) {
		add(textOf(slices.Concat([]byte{'"'}, found[1], []byte{'"'})))
	}
	for name, value := range s.values {
		if hasNestedTag.Match(raw) {
			// Which variable is meant is found out later.
			add(name)
		}
		cutTags(value, func(string) {}, add)
	}
	slices.Sort(names)
	for _, name := range names {
		if identifier := s.prefix + name; isIdentifier.MatchString(identifier) && isFree(identifier) {
			s.identifiers[name], s.taken[identifier] = identifier, true
		}
	}
	for _, name := range names {
		s.identifier(name)
	}
}

var isIdentifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

var noIdentifier = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// maxIdentifier bounds the names that are made, in bytes.
const maxIdentifier = 64

// isFree reports whether a custom parameter may have a name: the language keeps
// some for itself.
func isFree(name string) bool {
	if len(name) > maxIdentifier {
		return false
	}
	_, err := language.New(language.Definitions{Parameters: []config.Parameter{{Name: name}}})
	return err == nil
}

// identifier returns the name of the parameter for a variable.
func (s *variables) identifier(name string) string {
	if identifier, named := s.identifiers[name]; named {
		return identifier
	}
	base := s.prefix + strings.Trim(noIdentifier.ReplaceAllString(name, "_"), "_")
	if base = strings.TrimLeft(base, "_0123456789"); base == "" {
		base = "value"
	}
	base = base[:min(len(base), maxIdentifier-8)]
	if !isFree(base) {
		base += "_value"
	}
	identifier := base
	for n := 2; s.taken[identifier] || !isFree(identifier); n++ {
		identifier = fmt.Sprintf("%s_%d", base, n)
	}
	s.identifiers[name], s.taken[identifier] = identifier, true
	return identifier
}

// parse cuts a text at its tags and finds out what they mean.
func (s *variables) parse(text string) template {
	var t template
	size := 0
	cutTags(text, func(literal string) {
		t = append(t, piece{literal: literal})
	}, func(name string) {
		found := s.lookUp(name)
		if size += found.size(); size > maxTemplate {
			s.overflow = true
			return
		}
		t = append(t, found...)
	})
	return s.resolveNested(t.joined())
}

// lookUp returns what stands for a tag.
func (s *variables) lookUp(name string) template {
	if v, known := s.kept[name]; known {
		return template{{parameter: v, name: name}}
	}
	if t, known := s.inlined[name]; known {
		return t
	}
	if _, isSystem := event.ParameterByName(name); isSystem {
		return template{{event: name, name: name}}
	}
	value, defined := s.values[name]
	if !defined {
		if expression, known := dynamic[name]; known {
			return template{{expression: expression, name: name}}
		}
		return s.keep(&variable{name: name, undefined: true})
	}
	if s.within[name] || s.depth > maxFolders {
		return s.keep(&variable{name: name, undefined: true, cyclic: true})
	}
	s.within[name] = true
	s.depth++
	t := s.parse(value)
	s.depth--
	delete(s.within, name)
	if v, known := s.kept[name]; known {
		// Its value led back to it.
		return template{{parameter: v, name: name}}
	}
	if s.held += t.size(); s.held > 32*maxTemplate {
		s.overflow = true
		return s.keep(&variable{name: name, undefined: true})
	}
	v := &variable{name: name, resolved: t.known()}
	if v.value, v.holds, defined = parameterValue(t); defined && len(v.resolved) <= maxParameter {
		return s.keep(v)
	}
	s.inlined[name] = t
	return t
}

func (s *variables) keep(v *variable) template {
	v.identifier = s.identifier(v.name)
	s.kept[v.name] = v
	s.order = append(s.order, v)
	return template{{parameter: v, name: v.name}}
}

// pathMark begins the names of path variables that have no value, as it does in
// Postman's URLs. A variable of the same name without it is another one.
const pathMark = ":"

// standInMark begins the names of variables that stand in for tags of the event.
const standInMark = "configured "

// standIn returns a parameter for a tag whose value would come with the event.
func (s *variables) standIn(name string) *variable {
	key := standInMark + name
	if v, known := s.kept[key]; known {
		return v
	}
	value, defined := s.values[name]
	v := &variable{name: key, undefined: !defined || strings.Contains(value, "{{")}
	if !v.undefined {
		v.value, v.resolved = value, value
		if text, _, fits := parameterValue(literalOf(value)); !fits || text != value {
			v.value, v.resolved, v.undefined = "", "", true
		}
	}
	s.keep(v)
	return v
}

var secretPlaceholder = regexp.MustCompile(`\{(env|file)\.`)

// parameterValue writes the value of a parameter. A parameter can hold other
// parameters and text, but no expression, so that some values cannot be one.
func parameterValue(t template) (text string, holds []*variable, possible bool) {
	var b strings.Builder
	for i, p := range t {
		switch {
		case p.parameter != nil:
			if p.parameter.resolved == "" {
				// One without a value may need another in each place.
				return "", nil, false
			}
			holds = append(holds, p.parameter)
			b.WriteString("{{" + p.parameter.identifier + "}}")
		case p.isTag():
			return "", nil, false
		default:
			if strings.Contains(p.literal, "{{") || secretPlaceholder.MatchString(p.literal) ||
				strings.HasSuffix(p.literal, "{") && i+1 < len(t) {
				return "", nil, false
			}
			b.WriteString(p.literal)
		}
	}
	_, err := printer.Quote(b.String())
	return b.String(), holds, err == nil
}

// placeholder returns a value that lets the configuration load while the
// administrator has given none. Nothing can be sent with one in the host:
// names that end with .invalid never exist.
func (v *variable) placeholder() string {
	host := strings.Trim(strings.ToLower(strings.ReplaceAll(v.identifier, "_", "-")), "-") + ".invalid"
	switch v.where {
	case baseURL:
		return "http://" + host
	case hostName:
		return host
	case scheme:
		return "http"
	case port:
		return "80"
	case headerName:
		return "X-Undefined"
	case contentType:
		return "application/octet-stream"
	case bareInJSON:
		return "null"
	case wholeSegment:
		// An empty value would call the path above: DELETE /projects/.
		return "undefined"
	case inPath:
		if v.undefined {
			return "undefined"
		}
	}
	return ""
}
