package language

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/expr-lang/expr/ast"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// Bounds of what Miss says. It is stored with each event for which no condition
// holds, and stands in lists.
const (
	// maxMissSource is how much of the condition is repeated, in characters.
	maxMissSource = 160
	// maxMissValues is how many values are named, and maxMissValue how long one may
	// be, in bytes, with the mark of what was cut.
	maxMissValues = 3
	maxMissValue  = 60 + len("…")
	// maxMissText is how much of a long text is looked at.
	maxMissText = 1 << 10
	// maxMissMembers bounds the members among which a misspelt name is looked for.
	maxMissMembers = 100
)

// Miss says why a condition did not hold for the event: the condition, and the
// values of the event that stood in its way, with what is told of a near miss.
// It is for a condition that Holds has found not to hold, and it notes nothing as
// absent. A condition that names a secret parameter is repeated without values.
func (b *Bound) Miss(condition *Expression) string {
	text := append(make([]byte, 0, 256), '`')
	text = append(text, condition.miss.source...)
	text = append(text, "` did not hold"...)
	if condition.miss.secret {
		return string(append(text, " (values are not shown, because it names a secret)"...))
	}
	return string(b.appendMissed(text, ": ", condition))
}

// Values names the values of the event that a condition takes, after a separator, as
// Miss does. It is for a condition that failed.
func (b *Bound) Values(separator string, condition *Expression) string {
	if condition.miss.secret {
		return ""
	}
	return string(b.appendMissed(nil, separator, condition))
}

func (b *Bound) appendMissed(text []byte, separator string, condition *Expression) []byte {
	var found [maxMissValues]missedValue
	for _, value := range condition.miss.values(b, found[:0]) {
		text = append(text, separator...)
		text = value.append(b, text)
		separator = ", "
	}
	return text
}

// NearMiss reports whether a text of the event is one that the condition asks for,
// but for letter case, blanks or one letter.
func (b *Bound) NearMiss(condition *Expression) bool {
	return !condition.miss.secret && condition.miss.isNear(b)
}

// miss is what is known of a condition for the time when it does not hold.
type miss struct {
	clause
	source string
	// secret says that it names a secret parameter.
	secret bool
}

// clause is a condition, or a part of one, as far as it says which values of the
// event decide it.
type clause struct {
	// parts are the sides of and (all is true) or or.
	parts []clause
	all   bool
	// references is what a part without parts takes from the event.
	references []*reference
	// wanted are the texts of which its only reference must have one. Nil for a part
	// that asks something else.
	wanted []string
	// hidden says of each reference that its name is that of a secret.
	hidden []bool
}

// missedValue is a value of the event that keeps a condition from holding.
type missedValue struct {
	*reference
	wanted []string
	hidden bool
}

// missOf finds in a condition that compiles what Miss needs.
func (l *Language) missOf(x *Expression) miss {
	m := miss{source: event.Shortened(onOneLine(x.source), maxMissSource)}
	m.secret = slices.ContainsFunc(x.named, (*parameter).isSecret)
	if tree, err := parse(x.source); err == nil {
		m.clause = (&compilation{language: l}).clause(tree.Node)
	}
	return m
}

// onOneLine joins the lines of an expression.
func onOneLine(source string) string {
	source = strings.TrimSpace(source)
	if !strings.ContainsAny(source, "\r\n") {
		return source
	}
	lines := strings.FieldsFunc(source, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, " ")
}

func (c *compilation) clause(node ast.Node) clause {
	if n, ok := node.(*ast.BinaryNode); ok {
		if deciding, ok := junctions[n.Operator]; ok {
			result := clause{all: !deciding}
			for _, side := range sides(n, deciding) {
				result.parts = append(result.parts, c.clause(side))
			}
			return result
		}
		if compared, wanted := c.comparison(n); compared != nil {
			result := clause{wanted: wanted}
			result.add(compared)
			return result
		}
	}
	var result clause
	for _, found := range c.references(node) {
		result.add(found.reference)
	}
	return result
}

func (c *clause) add(r *reference) {
	c.references, c.hidden = append(c.references, r), append(c.hidden, secret.Named(r.last()))
}

// comparison returns the reference that a node compares with texts, and the texts. It
// returns nil for other nodes.
func (c *compilation) comparison(n *ast.BinaryNode) (*reference, []string) {
	var texts []ast.Node
	compared := c.reference(n.Left)
	switch n.Operator {
	case "==":
		texts = []ast.Node{n.Right}
		if compared == nil {
			compared, texts = c.reference(n.Right), []ast.Node{n.Left}
		}
	case "in":
		if list, ok := n.Right.(*ast.ArrayNode); ok {
			texts = list.Nodes
		}
	}
	if compared == nil || len(texts) == 0 {
		return nil, nil
	}
	wanted := make([]string, len(texts))
	for i, node := range texts {
		value, known := c.constant(node)
		text, isText := value.(string)
		if !known || !isText {
			return nil, nil
		}
		wanted[i] = text
	}
	return compared, wanted
}

// values adds the values of the event that keep the clause from holding to found.
func (c *clause) values(b *Bound, found []missedValue) []missedValue {
	if c.parts == nil {
		if c.wanted != nil && !c.isMissed(b) {
			return found
		}
		for i, r := range c.references {
			known := slices.ContainsFunc(found, func(other missedValue) bool { return other.text.String() == r.text.String() })
			if !known && len(found) < maxMissValues {
				found = append(found, missedValue{r, c.wanted, c.hidden[i]})
			}
		}
		return found
	}
	if c.all {
		// One side that surely does not hold is the cause. What the others give is not
		// evaluated here.
		for i := range c.parts {
			if c.parts[i].isMissed(b) {
				return c.parts[i].values(b, found)
			}
		}
	}
	for i := range c.parts {
		found = c.parts[i].values(b, found)
	}
	return found
}

// isMissed reports whether the clause surely does not hold: its values are compared
// with texts, and are others.
func (c *clause) isMissed(b *Bound) bool {
	missed := func(part clause) bool { return part.isMissed(b) }
	switch {
	case c.parts == nil && c.wanted == nil:
		return false
	case c.parts == nil:
		text, isText := c.references[0].find(b).(string)
		return !isText || !slices.Contains(c.wanted, text)
	case c.all:
		return slices.ContainsFunc(c.parts, missed)
	}
	return !slices.ContainsFunc(c.parts, func(part clause) bool { return !missed(part) })
}

// isNear reports whether a text is nearly one that is wanted where the clause is
// missed.
func (c *clause) isNear(b *Bound) bool {
	if c.wanted != nil {
		_, difference := nearestOf(c.references[0].find(b), c.wanted)
		return difference != ""
	}
	return slices.ContainsFunc(c.parts, func(part clause) bool { return part.isNear(b) })
}

// nearestOf returns which of the wanted texts a value nearly is, and in what it
// differs. The difference is empty if there is none.
func nearestOf(value any, wanted []string) (nearest, difference string) {
	text, isText := value.(string)
	if !isText || slices.Contains(wanted, text) {
		return "", ""
	}
	for _, nearest := range wanted {
		if difference := nearness(text, nearest, unicode.IsSpace); difference != "" {
			return nearest, difference
		}
	}
	return "", ""
}

// append adds the reference, its value, and what is told of it.
func (v *missedValue) append(b *Bound, text []byte) []byte {
	text = append(text, v.text.String()...)
	text = append(text, " is "...)
	value := v.find(b)
	note := ""
	if value == nil {
		text, note = append(text, "absent"...), v.absence(b)
	} else {
		text = v.appendValue(b, text, value)
		if !v.hidden {
			note = nearMiss(value, v.wanted)
		}
	}
	if note != "" {
		text = append(append(append(text, " ("...), note...), ')')
	}
	return text
}

// nearMiss says in what a value differs from one of the wanted texts that it nearly
// is, "" if it is none.
func nearMiss(value any, wanted []string) string {
	nearest, difference := nearestOf(value, wanted)
	switch {
	case difference == "":
		return ""
	case len(wanted) == 1:
		return "differs only " + difference
	}
	return "differs from " + strconv.Quote(nearest) + " only " + difference
}

// appendValue adds a value: a text in quotes, cut when it is long, and of lists and
// objects what they are.
func (v *missedValue) appendValue(b *Bound, text []byte, value any) []byte {
	if v.hidden {
		return append(text, secret.Masked...)
	}
	switch shown := value.(type) {
	case []any, map[string]any, objectLike:
		return append(text, kindOf(value)...)
	case string:
		value = b.language.missText(shown)
	default:
		var err error
		if value, err = plain(value); err != nil {
			return append(text, "…"...)
		}
	}
	begin := len(text)
	text, err := event.AppendJSON(text, value)
	if err != nil {
		return append(text[:begin], "…"...)
	}
	if _, isText := value.(string); isText || b.language.masker == nil {
		return text
	}
	// A number can be a secret too.
	return append(text[:begin], b.language.masker.MaskTo(string(text[begin:]), maxMissValue)...)
}

// missText returns a text without secrets, cut when it is long. Secrets are looked
// for in its beginning alone, so that a long text costs no more than a short one.
func (l *Language) missText(text string) string {
	whole := len(text) <= maxMissText
	if !whole {
		text = text[:maxMissText]
	}
	if l.masker == nil && len(text) <= maxMissValue {
		return text
	}
	shown := l.masker.MaskPart(text, whole, maxMissValue)
	if !whole && !strings.HasSuffix(shown, "…") {
		shown += "…"
	}
	return shown
}

// absence says what the event has in place of a value that is absent: something that
// counts as nothing, or a member of nearly the name. It is empty where there is
// neither.
func (r *reference) absence(b *Bound) string {
	if others := b.language.fieldOfOthers(r.name, b.event.Source); others != "" {
		return others
	}
	value, path := r.root(b), r.name
	if _, isField := b.language.fields[r.name]; isField && value == nil {
		// A stored event keeps its fields: another field line does not change them.
		return "a field of the source, as read when the event came"
	}
	for _, step := range r.steps {
		name, named := step.(string)
		object, isObject := value.(map[string]any)
		if !named || !isObject {
			return ""
		}
		sent, found := object[name]
		if !found {
			if near := nearestMember(object, name); near != "" {
				return "the event has " + Member(path, near)
			}
			return ""
		}
		if value = event.Present(sent); value == nil {
			return sentInstead(sent)
		}
		path = Member(path, name)
	}
	return ""
}

// fieldOfOthers says of which source a name is a field, if the event's own source has
// no such field. It is empty for other names.
func (l *Language) fieldOfOthers(name, source string) string {
	owner, isField := l.fields[name]
	if !isField {
		return ""
	}
	for i := range l.sources {
		if l.sources[i].Name == source && slices.Contains(l.sources[i].Fields, name) {
			return ""
		}
	}
	return "a field of source " + owner + ", and the event is of source " + source
}

// sentInstead names what a sender sent that counts as absent.
func sentInstead(sent any) string {
	switch text, _ := sent.(string); {
	case sent == nil:
		return "null was sent"
	case text == "":
		return "an empty text was sent"
	default:
		return "the tag " + event.Shortened(text, maxMissValue) + " was sent, not replaced by a value"
	}
}

// nearestMember returns the name of a member that is nearly the one that is looked
// for, "" if there is none or if there are too many to look at.
func nearestMember(object map[string]any, name string) string {
	if len(object) > maxMissMembers {
		return ""
	}
	nearest := ""
	for member := range object {
		if nearness(member, name, joinsWords) != "" && (nearest == "" || member < nearest) {
			nearest = member
		}
	}
	return nearest
}

// joinsWords reports whether a character stands between the words of a name, and is
// the one that is most often written in another way.
func joinsWords(r rune) bool { return r == '_' || r == '-' || unicode.IsSpace(r) }

// last is the name of the value in the event.
func (r *reference) last() string {
	if len(r.steps) > 0 {
		if name, ok := r.steps[len(r.steps)-1].(string); ok {
			return name
		}
	}
	return r.name
}
