package language

import (
	"maps"
	"slices"
	"strconv"

	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/expr-lang/expr/ast"
)

// Reference is something of the event that an expression names, such as
// body.project.id.
type Reference struct {
	// Text is the reference as the administrator wrote it, an expression by
	// itself.
	Text string
	// Name is what it begins with: body, query, a system parameter, a field.
	Name string
	// Steps are the members that follow: names (string) and places in lists
	// (int64).
	Steps []any
}

// References returns what an expression that compiles names of the event, each
// once, in order: whole references, and not those that one begins with.
func (l *Language) References(source string) []Reference {
	tree, err := parse(source)
	if err != nil {
		return nil
	}
	var references []Reference
	for _, found := range (&compilation{language: l}).references(tree.Node) {
		references = append(references, Reference{Text: found.text.String(), Name: found.name, Steps: found.steps})
	}
	return references
}

// references returns what a node names of the event, as References does.
func (c *compilation) references(node ast.Node) []*foundReference {
	collector := referenceCollector{compilation: c}
	ast.Walk(&node, &collector)
	var references []*foundReference
	for _, found := range collector.found {
		known := slices.ContainsFunc(references, func(other *foundReference) bool { return other.text.String() == found.text.String() })
		if !found.part && !known {
			references = append(references, found)
		}
	}
	return references
}

type foundReference struct {
	*reference
	node ast.Node
	// part says that a longer reference begins with it.
	part bool
}

// referenceCollector visits the parts of an expression before the expression.
type referenceCollector struct {
	*compilation
	found []*foundReference
}

func (c *referenceCollector) Visit(node *ast.Node) {
	found := c.reference(*node)
	if found == nil {
		return
	}
	whole := &foundReference{reference: found, node: *node}
	inner := *node
	for {
		switch n := inner.(type) {
		case *ast.IdentifierNode:
			c.found = append(c.found, whole)
			return
		case *ast.ChainNode:
			inner = n.Node
		case *ast.MemberNode:
			inner = n.Node
		default:
			return
		}
		for _, other := range c.found {
			other.part = other.part || other.node == inner
		}
	}
}

// NamesSubject reports whether an expression that compiles names the event's subject,
// or declares a variable of that name by let.
func (l *Language) NamesSubject(source string) bool {
	return !l.redefined(subject) && slices.ContainsFunc(l.References(source), func(r Reference) bool { return r.Name == subject })
}

// Fields returns the names of the sources' own fields, sorted.
func (l *Language) Fields() []string { return slices.Sorted(maps.Keys(l.fields)) }

// Member returns the expression for a member of an object: base.name, or with
// the name in quotes where it is no identifier.
func Member(base, name string) string {
	if names.IsIdentifier(name) && !slices.Contains(words, name) {
		return base + "." + name
	}
	return base + "[" + strconv.Quote(name) + "]"
}
