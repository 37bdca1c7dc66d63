package language

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"
)

// Bounds of one expression. A rule is written by hand; what exceeds these is a
// mistake or an attempt to exhaust the compiler, which has no bounds itself.
const (
	maxSource = 16 << 10 // bytes
	maxNodes  = 2000
	// maxPredicates is how deep conditions over lists may be nested, because
	// each level multiplies the work by the length of a list from outside.
	maxPredicates = 2
)

// Compile checks an expression against the known names and compiles it. A name
// that does not exist gives an error that is or holds an *UnknownNameError for each.
func (l *Language) Compile(source string) (*Expression, error) {
	if strings.TrimSpace(source) == "" {
		return nil, errors.New("compiling an expression: it is empty")
	}
	if len(source) > maxSource {
		return nil, fmt.Errorf("compiling an expression: it is longer than %d KiB", maxSource>>10)
	}
	x, err := l.compile(source)
	if err != nil {
		// The message of an unknown name has the expression already.
		if unknown := (*UnknownNameError)(nil); errors.As(err, &unknown) {
			return nil, err
		}
		return nil, within("compiling", source, err)
	}
	return x, nil
}

// CheckSyntax returns an error for an expression that is none, whatever its names
// mean. It is for the Caddyfile, whose parser knows the line of each expression.
func CheckSyntax(source string) error {
	if len(source) > maxSource {
		return fmt.Errorf("compiling an expression: it is longer than %d KiB", maxSource>>10)
	}
	if _, err := parse(source); err != nil {
		return within("compiling", source, err)
	}
	return nil
}

func (l *Language) compile(source string) (*Expression, error) {
	tree, err := parse(source)
	if err != nil {
		return nil, err
	}
	return l.compileTree(source, tree)
}

// parse returns the tree of an expression as the administrator wrote it.
func parse(source string) (_ *parser.Tree, err error) {
	defer recoverCompile(&err)
	config := conf.New(struct{}{})
	config.MaxNodes = maxNodes
	tree, err := parser.ParseWithConfig(source, config)
	if err != nil {
		return nil, oneLine(source, err)
	}
	if tooLarge(&tree.Node) {
		return nil, fmt.Errorf("it has more than %d parts", maxNodes)
	}
	return tree, nil
}

// recoverCompile turns a panic into an error: a defect of the parser must not
// end the server that loads a configuration.
func recoverCompile(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the expression cannot be compiled: %v", r)
	}
}

// compileTree compiles a parsed expression. It changes the tree's root and none
// of its nodes.
func (l *Language) compileTree(source string, tree *parser.Tree) (_ *Expression, err error) {
	defer recoverCompile(&err)
	config := conf.New(struct{}{})
	c := &compilation{language: l, source: source, config: config, byTenant: map[ast.Node]*configured{}}
	x := &Expression{source: source}
	node := tree.Node
	if call, ok := node.(*ast.CallNode); ok && isCallOf(call, "verbatim") && len(call.Arguments) == 1 {
		x.verbatim = true
		node = call.Arguments[0]
	}
	if r := c.reference(node); r != nil {
		x.reference, x.named = r, c.named
		return x, c.err()
	}
	tree.Node = c.rewrite(node)
	x.named = c.named
	if err := c.err(); err != nil {
		return nil, err
	}
	if value := c.configuredOf(tree.Node); value != nil && !c.untrusted {
		if x.configured, err = value.plain(); err != nil {
			return nil, err
		}
		return x, nil
	}
	if _, err := checker.Check(tree, config); err != nil {
		return nil, oneLine(source, err)
	}
	if x.program, err = compiler.Compile(tree, config); err != nil {
		return nil, oneLine(source, err)
	}
	if !c.untrusted {
		if err := x.settle(l); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// tooLarge reports whether a tree has too many nodes when it is written out.
// The parser uses the middle of a < b < c, and the left side of a ?: b, twice,
// so that a short source can stand for a tree of any size.
func tooLarge(node *ast.Node) (result bool) {
	c := &nodeCounter{left: maxNodes}
	defer func() {
		if r := recover(); r != nil {
			if r != any(c) {
				panic(r)
			}
			result = true
		}
	}()
	ast.Walk(node, c)
	return false
}

type nodeCounter struct{ left int }

func (c *nodeCounter) Visit(*ast.Node) {
	if c.left--; c.left < 0 {
		panic(c) // The only way to end a walk.
	}
}

// compilation turns the tree of one expression into one that the machine can
// run with absent values: names of the event become references, operators and
// functions become calls of our own, "and", "or" and choices are taken apart.
// It makes new nodes and changes none, because the parser uses some twice.
type compilation struct {
	language *Language
	source   string
	config   *conf.Config
	errs     []error
	// untrusted says that the value depends on the time or on more of the event
	// than its tenant's choice among configured values.
	untrusted bool
	// named are the custom parameters in the expression, each once.
	named []*parameter
	// byTenant are the values of the nodes that depend on the tenant alone.
	byTenant map[ast.Node]*configured
	// variables are the names that let has declared, the innermost last.
	variables []string
	// predicates counts the conditions over lists around the current node.
	predicates int
	temporary  int
}

func (c *compilation) err() error { return errors.Join(c.errs...) }

// fail notes an error and returns a node to go on with. A handful of errors is
// enough to mend.
func (c *compilation) fail(err error) ast.Node {
	const most = 10
	if len(c.errs) < most && !slices.ContainsFunc(c.errs, func(e error) bool { return e.Error() == err.Error() }) {
		c.errs = append(c.errs, err)
	}
	return &ast.NilNode{}
}

// name notes that the expression names a custom parameter.
func (c *compilation) name(p *parameter) {
	if !slices.Contains(c.named, p) {
		c.named = append(c.named, p)
	}
}

func (c *compilation) declared(name string) bool { return slices.Contains(c.variables, name) }

// event is the node for the Bound itself. Only nodes made here may name it.
func eventNode() ast.Node { return &ast.IdentifierNode{Value: "$env"} }

// call returns a node that calls fn. If all arguments are configured, fn is
// called now, for each tenant, and the node is its result.
func (c *compilation) call(fn func(args ...any) (any, error), args ...ast.Node) ast.Node {
	parts := make([]*configured, len(args))
	for i, arg := range args {
		if parts[i] = c.configuredOf(arg); parts[i] == nil {
			return c.callLater(fn, args...)
		}
	}
	result, err := combine(parts, func(tenant string) (any, error) {
		values := make([]any, len(parts))
		for i, part := range parts {
			values[i] = part.of(tenant)
		}
		return fn(values...)
	})
	if err != nil {
		return c.fail(err)
	}
	return c.configuredNode(result)
}

func (c *compilation) callLater(fn func(args ...any) (any, error), args ...ast.Node) ast.Node {
	name := "_f" + strconv.Itoa(len(c.config.Functions))
	c.config.Functions[name] = &builtin.Function{Name: name, Func: fn}
	return &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: args}
}

// hold evaluates a node once and gives its value a name for use in body.
func (c *compilation) hold(value ast.Node, body func(held func() ast.Node) ast.Node) ast.Node {
	if v := c.configuredOf(value); v != nil {
		return body(func() ast.Node { return c.configuredNode(v) })
	}
	name := "_v" + strconv.Itoa(c.temporary)
	c.temporary++
	return &ast.VariableDeclaratorNode{
		Name:  name,
		Value: value,
		Expr:  body(func() ast.Node { return &ast.IdentifierNode{Value: name} }),
	}
}

// choose evaluates one of two nodes. The condition must be true or false.
func choose(condition, then, otherwise ast.Node) ast.Node {
	if value, ok := literal(condition); ok {
		if value == true {
			return then
		}
		return otherwise
	}
	return &ast.ConditionalNode{Cond: condition, Exp1: then, Exp2: otherwise}
}

// literal returns the value of a node that is constant as it stands.
func literal(node ast.Node) (any, bool) {
	switch n := node.(type) {
	case *ast.NilNode:
		return nil, true
	case *ast.BoolNode:
		return n.Value, true
	case *ast.IntegerNode:
		return int64(n.Value), true
	case *ast.FloatNode:
		return n.Value, true
	case *ast.StringNode:
		return n.Value, true
	case *ast.BytesNode:
		return string(n.Value), true
	case *ast.ConstantNode:
		return n.Value, true
	}
	return nil, false
}

func constantNode(value any) ast.Node {
	switch v := value.(type) {
	case nil:
		return &ast.NilNode{}
	case bool:
		return &ast.BoolNode{Value: v}
	}
	return &ast.ConstantNode{Value: value}
}

// constant is literal for nodes that have not been rewritten yet.
func (c *compilation) constant(node ast.Node) (any, bool) {
	switch n := node.(type) {
	case *ast.UnaryNode:
		if i, ok := n.Node.(*ast.IntegerNode); ok && n.Operator == "-" {
			return int64(-i.Value), true
		}
	case *ast.IdentifierNode:
		if p := c.parameter(n); p != nil && len(p.value.tenants) == 0 {
			return p.value.other, true
		}
	}
	return literal(node)
}

// part is a part of an expression as the administrator wrote it, for messages.
// Its text is made when it is asked for, because making that of every part takes
// a time that grows with the cube of the expression's length.
type part struct {
	node ast.Node
	once sync.Once
	text string
}

func partOf(node ast.Node) *part { return &part{node: node} }

// String returns the part, cut when it is long.
func (p *part) String() string {
	p.once.Do(func() {
		const most = 200
		p.text = p.node.String()
		if len(p.text) > most {
			end := most
			for !utf8.RuneStart(p.text[end]) {
				end--
			}
			p.text = p.text[:end] + "…"
		}
	})
	return p.text
}

func (c *compilation) rewriteAll(nodes []ast.Node) []ast.Node {
	result := make([]ast.Node, len(nodes))
	for i, node := range nodes {
		result[i] = c.rewrite(node)
	}
	return result
}

// rewrite returns the node that the machine is to run in place of the given.
func (c *compilation) rewrite(node ast.Node) ast.Node {
	if r := c.reference(node); r != nil {
		c.untrusted = true
		return c.callLater(func(args ...any) (any, error) { return r.value(args[0].(*Bound)), nil }, eventNode())
	}
	if value, ok := literal(node); ok {
		return constantNode(value)
	}
	switch n := node.(type) {
	case *ast.IdentifierNode:
		return c.identifier(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ChainNode:
		return c.rewrite(n.Node)
	case *ast.MemberNode:
		return c.member(n, n.Node, n.Property)
	case *ast.SliceNode:
		return c.slice(n)
	case *ast.CallNode:
		return c.callNode(n)
	case *ast.BuiltinNode:
		if len(n.Arguments) > 1 {
			if _, ok := n.Arguments[1].(*ast.PredicateNode); ok {
				return c.overList(n)
			}
		}
		if n.Name == "get" && len(n.Arguments) == 2 {
			return c.member(n, n.Arguments[0], n.Arguments[1])
		}
		return c.function(n, n.Name, n.Arguments)
	case *ast.PointerNode:
		return &ast.PointerNode{Name: n.Name}
	case *ast.VariableDeclaratorNode:
		return c.let(n)
	case *ast.SequenceNode:
		return &ast.SequenceNode{Nodes: c.rewriteAll(n.Nodes)}
	case *ast.ConditionalNode:
		return c.conditional(n)
	case *ast.ArrayNode:
		return c.array(n)
	case *ast.MapNode:
		return c.object(n)
	}
	return c.fail(fmt.Errorf("%T is not known here", node))
}

func (c *compilation) identifier(n *ast.IdentifierNode) ast.Node {
	if c.declared(n.Value) {
		return &ast.IdentifierNode{Value: n.Value}
	}
	if p := c.parameter(n); p != nil {
		c.name(p)
		return c.configuredNode(p.value)
	}
	if isFunction(n.Value) {
		return c.fail(fmt.Errorf("%s is a function and needs brackets: %s(…)", n.Value, n.Value))
	}
	if strings.HasPrefix(n.Value, "_") || strings.HasPrefix(n.Value, "$") {
		return c.fail(fmt.Errorf("name %s must not begin with %s", n.Value, n.Value[:1]))
	}
	known := append(c.language.names(), c.variables...)
	slices.Sort(known)
	return c.fail(&UnknownNameError{
		Name: n.Value, Expression: c.source, Suggestion: cmp.Or(otherWords[strings.ToLower(n.Value)], names.Nearest(n.Value, known)), Known: known,
	})
}

// member is access to something that only evaluation can find.
func (c *compilation) member(whole, base, key ast.Node) ast.Node {
	text := partOf(whole)
	if value, ok := c.constant(base); ok && value != nil && kindOf(value) != event.ListKind {
		return c.fail(fmt.Errorf("`%s`: %s has no members", text, kindOf(value)))
	}
	if c.parameter(base) != nil {
		return c.fail(fmt.Errorf("`%s`: %s has no members", text, event.TextKind))
	}
	return c.callLater(func(args ...any) (any, error) {
		v := memberOf(args[1], args[2])
		if v == nil {
			args[0].(*Bound).noteAbsent(text.String())
		}
		return v, nil
	}, eventNode(), c.rewrite(base), c.rewrite(key))
}

func (c *compilation) let(n *ast.VariableDeclaratorNode) ast.Node {
	if err := c.language.checkNew(n.Name); err != nil {
		return c.fail(fmt.Errorf("let %s: %w", n.Name, err))
	}
	if c.declared(n.Name) {
		return c.fail(fmt.Errorf("let %s: the name is declared already", n.Name))
	}
	value := c.rewrite(n.Value)
	c.variables = append(c.variables, n.Name)
	result := c.rewrite(n.Expr)
	c.variables = c.variables[:len(c.variables)-1]
	return &ast.VariableDeclaratorNode{Name: n.Name, Value: value, Expr: result}
}

func (c *compilation) conditional(n *ast.ConditionalNode) ast.Node {
	then := n.Exp1
	elvis := n.Cond == n.Exp1
	text := partOf(n.Cond)
	return c.hold(c.call(truth(text), c.rewrite(n.Cond)), func(condition func() ast.Node) ast.Node {
		thenNode := condition()
		if !elvis {
			thenNode = c.rewrite(then)
		}
		otherwise := choose(c.call(isFalse, condition()), c.rewrite(n.Exp2), &ast.NilNode{})
		return choose(c.call(isTrue, condition()), thenNode, otherwise)
	})
}

func (c *compilation) array(n *ast.ArrayNode) ast.Node {
	nodes := c.rewriteAll(n.Nodes)
	values := make([]any, len(nodes))
	for i, node := range nodes {
		value, ok := literal(node)
		if !ok {
			return &ast.ArrayNode{Nodes: nodes}
		}
		values[i] = value
	}
	return constantNode(values)
}

func (c *compilation) object(n *ast.MapNode) ast.Node {
	pairs := make([]ast.Node, len(n.Pairs))
	for i, node := range n.Pairs {
		pair := node.(*ast.PairNode)
		text := partOf(pair.Key)
		key := c.call(func(args ...any) (any, error) {
			if name, ok := args[0].(string); ok {
				return name, nil
			}
			return nil, fmt.Errorf("`%s` is %s, but the name of an object's member must be text", text, kindOf(args[0]))
		}, c.rewrite(pair.Key))
		pairs[i] = &ast.PairNode{Key: key, Value: c.rewrite(pair.Value)}
	}
	return &ast.MapNode{Pairs: pairs}
}
