package language

import (
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/secret"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"
)

// Part is a condition, or a part of one, with what it gives for an event.
type Part struct {
	// Expression is a condition as the administrator wrote it; a part of one
	// but for white space and brackets, cut when it is long.
	Expression string `json:"expression"`

	Result Result `json:"result"`

	// Value is the value in JSON, if the Result is ResultValue: cut when it is
	// long, *** when it is made from a secret.
	Value string `json:"value,omitempty"`

	// Absent names what the part refers to and the event does not have.
	Absent []string `json:"absent,omitempty"`

	// Note says what the event has of nearly the name or the text that is asked for.
	Note string `json:"note,omitempty"`

	// Error says why the part cannot be evaluated, if the Result is
	// ResultError.
	Error string `json:"error,omitempty"`

	// Unread says that the part was not needed, because what stands before it
	// decides. The result is what it would have been.
	Unread bool `json:"unread,omitempty"`

	// Parts are what the part is made of: the sides of and, or and comparisons,
	// the arguments of functions, and so on down to what comes with the event.
	// What is written out, as "Approved", is not among them.
	Parts []Part `json:"parts,omitempty"`

	// More says that there are more parts than are listed.
	More bool `json:"more,omitempty"`
}

// Result is what a part gives: a truth value, which may be unknown, or another
// value, or an error. Something absent is unknown.
type Result string

// The results of a part.
const (
	ResultTrue    Result = "true"
	ResultFalse   Result = "false"
	ResultUnknown Result = "unknown"
	ResultValue   Result = "value"
	ResultError   Result = "error"
)

// Because says why a part is unknown, as far as that is known: "because
// caller_id is absent", or nothing.
func (p *Part) Because() string {
	switch len(p.Absent) {
	case 0:
		return ""
	case 1:
		return "because " + p.Absent[0] + " is absent"
	}
	return "because " + strings.Join(p.Absent, ", ") + " are absent"
}

// maxParts bounds the parts of one condition. The work grows with the square of
// the condition's length, and a longer list is not read.
const maxParts = 60

// Explainer says what conditions give for an event, with the values of their
// parts. It is for one goroutine.
type Explainer struct {
	language *Language
	event    *event.Event
	masker   *secret.Masker
	// left is how many parts the condition may still have.
	left int
	// lets are the declarations around the current part, the outermost first.
	lets []*ast.VariableDeclaratorNode
}

// NewExplainer returns an explainer for an event. It shows no secret parameter of
// the language.
func (l *Language) NewExplainer(event *event.Event) *Explainer {
	return &Explainer{language: l, event: event, masker: l.masker}
}

// Condition returns what a condition gives, with its parts.
func (e *Explainer) Condition(source string) Part {
	e.left = maxParts
	failed := func(err error) Part { return Part{Expression: source, Result: ResultError, Error: err.Error()} }
	tree, err := parse(source)
	if err != nil {
		return failed(err)
	}
	x, err := e.language.Compile(source)
	if err != nil {
		return failed(err)
	}
	p := e.part(tree.Node)
	p.Expression = source
	// Messages name the whole condition, as those of Decide do.
	if value := p.evaluate(e, x); p.Result == ResultValue {
		p.Result, p.Value = ResultError, ""
		p.Error = noCondition(source, value).Error()
	}
	return p
}

// part returns what a node gives, with its parts.
func (e *Explainer) part(node ast.Node) Part {
	if let, ok := node.(*ast.VariableDeclaratorNode); ok {
		return e.let(let)
	}
	e.left--
	p := Part{Expression: partOf(node).String()}
	x, err := e.language.compileTree(p.Expression, &parser.Tree{Node: e.declare(node)})
	if err != nil {
		p.Result, p.Error = ResultError, err.Error()
	} else {
		p.evaluate(e, x)
		p.note(e, node, x)
	}
	switch n := node.(type) {
	case *ast.BinaryNode:
		if deciding, ok := junctions[n.Operator]; ok {
			e.junction(&p, n, deciding)
			return p
		}
		e.add(&p, n.Left, n.Right)
		if n.Operator == "??" && len(p.Parts) == 2 {
			p.Parts[1].Unread = p.Parts[0].Result != ResultUnknown
		}
	case *ast.ConditionalNode:
		e.choice(&p, n)
	default:
		e.add(&p, e.inner(node)...)
	}
	return p
}

// evaluate fills in what an expression gives, and returns the value.
func (p *Part) evaluate(e *Explainer, x *Expression) any {
	bound := e.language.Bind(e.event)
	value, err := bound.Evaluate(x)
	p.Absent, p.Value, p.Error = bound.Absent(), "", ""
	switch {
	case err != nil:
		p.Result, p.Error = ResultError, err.Error()
	case value == nil:
		p.Result = ResultUnknown
	default:
		if truth, ok := value.(bool); ok {
			p.Result = resultOf(truth)
			break
		}
		p.Result, p.Value = ResultValue, show(e.masker, value, x.isSecret(e.event.Tenant()))
	}
	return value
}

// note fills in what is told of a near miss. A secret is not compared with anything.
func (p *Part) note(e *Explainer, node ast.Node, x *Expression) {
	c, bound := &compilation{language: e.language}, e.language.Bind(e.event)
	if r := c.reference(node); r != nil {
		if p.Result == ResultUnknown {
			p.Note = r.absence(bound)
		}
		return
	}
	n, ok := node.(*ast.BinaryNode)
	if !ok || p.Result != ResultFalse || x.isSecret(e.event.Tenant()) {
		return
	}
	if compared, wanted := c.comparison(n); compared != nil && !secret.Named(compared.last()) {
		p.Note = nearMiss(compared.find(bound), wanted)
	}
}

// Miss says why a condition did not hold, as Bound.Miss does.
func (e *Explainer) Miss(source string) string {
	x, err := e.language.CompileCondition(source)
	if err != nil {
		return err.Error()
	}
	return e.language.Bind(e.event).Miss(x)
}

func resultOf(truth bool) Result {
	if truth {
		return ResultTrue
	}
	return ResultFalse
}

// isSecret reports whether a secret parameter is named in the expression.
func (x *Expression) isSecret(tenant string) bool {
	return slices.ContainsFunc(x.named, func(p *parameter) bool {
		value, _ := p.valueFor(tenant)
		return value.secret
	})
}

// add adds parts, but not those that are written out.
func (e *Explainer) add(p *Part, nodes ...ast.Node) {
	for _, node := range nodes {
		if isWrittenOut(node) {
			continue
		}
		if e.left <= 0 {
			p.More = true
			return
		}
		p.Parts = append(p.Parts, e.part(node))
	}
}

// let adds the declared value, and goes on with what it is declared for.
func (e *Explainer) let(n *ast.VariableDeclaratorNode) Part {
	var declared Part
	e.add(&declared, n.Value)
	for i := range declared.Parts {
		declared.Parts[i].Expression = "let " + n.Name + " = " + declared.Parts[i].Expression
	}
	e.lets = append(e.lets, n)
	p := e.part(n.Expr)
	e.lets = e.lets[:len(e.lets)-1]
	p.Parts = append(declared.Parts, p.Parts...)
	p.More = p.More || declared.More
	return p
}

// declare puts those declarations around a node that it uses.
func (e *Explainer) declare(node ast.Node) ast.Node {
	for _, let := range slices.Backward(e.lets) {
		if uses(node, let.Name) {
			node = &ast.VariableDeclaratorNode{Name: let.Name, Value: let.Value, Expr: node}
		}
	}
	return node
}

func uses(node ast.Node, name string) bool {
	return slices.ContainsFunc(identifiers(node), func(n *ast.IdentifierNode) bool { return n.Value == name })
}

func identifiers(node ast.Node) []*ast.IdentifierNode {
	var collector identifierCollector
	ast.Walk(&node, &collector)
	return collector
}

type identifierCollector []*ast.IdentifierNode

func (c *identifierCollector) Visit(node *ast.Node) {
	if n, ok := (*node).(*ast.IdentifierNode); ok {
		*c = append(*c, n)
	}
}

// junctions are the operators of which one side can decide, with what it must
// be for that.
var junctions = map[string]bool{"and": false, "&&": false, "or": true, "||": true}

// sides returns the sides of a and b and c as one list.
func sides(node ast.Node, deciding bool) []ast.Node {
	if n, ok := node.(*ast.BinaryNode); ok {
		if d, ok := junctions[n.Operator]; ok && d == deciding {
			return append(sides(n.Left, deciding), sides(n.Right, deciding)...)
		}
	}
	return []ast.Node{node}
}

// junction adds the sides of and (deciding is false) or or (true).
func (e *Explainer) junction(p *Part, node ast.Node, deciding bool) {
	decided := false
	for _, side := range sides(node, deciding) {
		if e.left <= 0 {
			p.More = true
			return
		}
		part := e.part(side)
		part.Unread = decided
		// What is neither true nor false ends it with an error.
		decided = decided || part.Result != ResultUnknown && part.Result != resultOf(!deciding)
		p.Parts = append(p.Parts, part)
	}
}

// choice adds the parts of a ? b : c.
func (e *Explainer) choice(p *Part, n *ast.ConditionalNode) {
	e.add(p, n.Cond)
	decision := Result("")
	if len(p.Parts) > 0 {
		decision = p.Parts[0].Result
	}
	branch := func(node ast.Node, needed Result) {
		before := len(p.Parts)
		e.add(p, node)
		for i := range p.Parts[before:] {
			p.Parts[before+i].Unread = decision != "" && decision != needed
		}
	}
	if n.Exp1 != n.Cond { // It is the condition in a ?: b.
		branch(n.Exp1, ResultTrue)
	}
	branch(n.Exp2, ResultFalse)
}

// inner returns the nodes that a node takes its value from, none for what comes
// with the event.
func (e *Explainer) inner(node ast.Node) []ast.Node {
	if e.comesWithEvent(node) {
		return nil
	}
	switch n := node.(type) {
	case *ast.ChainNode:
		return e.inner(n.Node)
	case *ast.UnaryNode:
		return []ast.Node{n.Node}
	case *ast.MemberNode:
		return []ast.Node{n.Node, n.Property}
	case *ast.SliceNode:
		return slices.DeleteFunc([]ast.Node{n.Node, n.From, n.To}, func(n ast.Node) bool { return n == nil })
	case *ast.CallNode:
		if callee, ok := n.Callee.(*ast.MemberNode); ok {
			return append([]ast.Node{callee.Node}, n.Arguments...)
		}
		return n.Arguments
	case *ast.BuiltinNode:
		var nodes []ast.Node
		for _, argument := range n.Arguments {
			if predicate, ok := argument.(*ast.PredicateNode); ok {
				nodes = append(nodes, e.within(predicate.Node)...)
				continue
			}
			nodes = append(nodes, argument)
		}
		return nodes
	case *ast.ArrayNode:
		return n.Nodes
	case *ast.MapNode:
		var values []ast.Node
		for _, pair := range n.Pairs {
			values = append(values, pair.(*ast.PairNode).Value)
		}
		return values
	}
	return nil
}

// within returns what comes with the event in a condition over a list. The rest
// of such a condition has no value of its own, but one for each element.
func (e *Explainer) within(node ast.Node) []ast.Node {
	if e.comesWithEvent(node) {
		return []ast.Node{node}
	}
	var nodes []ast.Node
	switch n := node.(type) {
	case *ast.BinaryNode:
		return append(e.within(n.Left), e.within(n.Right)...)
	case *ast.ConditionalNode:
		return append(append(e.within(n.Cond), e.within(n.Exp1)...), e.within(n.Exp2)...)
	case *ast.VariableDeclaratorNode:
		return append(e.within(n.Value), e.within(n.Expr)...)
	}
	for _, part := range e.inner(node) {
		nodes = append(nodes, e.within(part)...)
	}
	return nodes
}

func (e *Explainer) comesWithEvent(node ast.Node) bool {
	return (&compilation{language: e.language}).reference(node) != nil
}

// isWrittenOut reports whether a node is a text, a number or the like, or a list
// of them.
func isWrittenOut(node ast.Node) bool {
	switch n := node.(type) {
	case *ast.UnaryNode:
		return n.Operator == "-" && isWrittenOut(n.Node)
	case *ast.ArrayNode:
		return !slices.ContainsFunc(n.Nodes, func(n ast.Node) bool { return !isWrittenOut(n) })
	}
	_, ok := literal(node)
	return ok
}
