package language

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
)

// function is a function of the language that takes values.
type function struct {
	// least and most are the numbers of arguments; most < 0 means any.
	least, most int
	call        func(args []any) (any, error)
	// absent says that the function knows absent arguments. Others give nothing
	// when one of their arguments is absent.
	absent bool
	// grouped says that the function takes what groupBy made as it is, and not as
	// an object.
	grouped bool
	// product says that the cost is that of a product of two lengths, and counts
	// wherever the call stands.
	product bool
	// event says that the result depends on the event, on the zone of its source or
	// the clock. The event stands before the arguments then.
	event bool
	// cost is how many steps a call takes within a condition over a list. Nil
	// stands for shallow.
	cost costs
	// check finds mistakes in the arguments that are known before an event comes;
	// the others are nil. A nil check finds none.
	check func(args []any) error
}

var functions map[string]function

func init() {
	const notThat = "it does not work on these values"
	functions = map[string]function{
		// Expr's own.
		"len":        exprFunction("len", notThat).costs(func(args []any) int { return textSize(args[0]) / stepBytes }),
		"trim":       exprFunction("trim", notThat).multiplies(product),
		"trimPrefix": exprFunction("trimPrefix", notThat),
		"trimSuffix": exprFunction("trimSuffix", notThat),
		"upper":      exprFunction("upper", notThat),
		"lower":      exprFunction("lower", notThat),
		"hasPrefix":  exprFunction("hasPrefix", notThat),
		"hasSuffix":  exprFunction("hasSuffix", notThat),
		"split":      exprFunction("split", notThat),
		"splitAfter": exprFunction("splitAfter", notThat),
		"replace":    exprFunction("replace", notThat).makesText(replacedSize),
		"repeat":     exprFunction("repeat", "it repeats a text 0 to 1000000 times").makesText(repeatedSize),
		"toBase64":   exprFunction("toBase64", notThat),
		"fromBase64": exprFunction("fromBase64", "the text is not base64").makesUTF8(),
		"duration":   exprFunction("duration", "the text is not a duration such as 1h30m"),
		"timezone":   exprFunction("timezone", "the text does not name a time zone such as Europe/London").costs(costs(shallow).plus(zoneSteps)),
		"reverse":    exprFunction("reverse", notThat),
		"concat":     exprFunction("concat", notThat).within(concatenatedSize),
		"fromPairs":  exprFunction("fromPairs", "it takes a list of pairs, each a list of name and value"),

		// Ours, where expr's would do something else. The test that compares them
		// has the reason for each.
		"type":        {least: 1, most: 1, call: typeName, absent: true, cost: free},
		"int":         {least: 1, most: 1, call: toInt},
		"float":       {least: 1, most: 1, call: toFloat},
		"string":      {least: 1, most: 1, call: toString, cost: deep},
		"indexOf":     {least: 2, most: 2, call: texts(func(t []string) (any, error) { return runesBefore(t[0], strings.Index(t[0], t[1])), nil })},
		"lastIndexOf": {least: 2, most: 2, call: texts(func(t []string) (any, error) { return runesBefore(t[0], strings.LastIndex(t[0], t[1])), nil })},
		"join":        {least: 1, most: 2, call: join, cost: joinedCost},
		"toJSON":      {least: 1, most: 1, call: toJSON, absent: true, cost: deep},
		"fromJSON":    {least: 1, most: 1, call: texts(func(t []string) (any, error) { return event.DecodeJSON(t[0]) })},
		"now":         {least: 0, most: 1, call: now, event: true},
		"date":        {least: 1, most: 4, call: date, event: true},

		// What expr has not.
		"tojson":       {least: 1, most: 1, call: toJSON, absent: true, cost: deep},
		"json_text":    {least: 1, most: 1, call: jsonText, cost: deep},
		"urlencode":    {least: 1, most: 1, call: urlencode, cost: deep},
		"toxml":        {least: 1, most: 1, call: toXML, cost: deep},
		"format_time":  {least: 2, most: 3, call: formatTime, check: checkFormatTime, cost: costs(shallow).plus(zoneSteps), event: true},
		"time_between": {least: 3, most: 4, call: timeBetween, check: checkTimeBetween, cost: costs(shallow).plus(zoneSteps), event: true},
		"weekday":      {least: 1, most: 2, call: weekday, check: checkWeekday, cost: costs(shallow).plus(zoneSteps), event: true},
	}
	addListFunctions(functions)
	addNumberFunctions(functions)
	addTextFunctions(functions)
}

// makesUTF8 returns the function with U+FFFD in place of the bytes of its text that
// are not UTF-8: events, and the JSON made from them, hold valid text only.
func (f function) makesUTF8() function {
	call := f.call
	f.call = func(args []any) (any, error) {
		v, err := call(args)
		if text, ok := v.(string); ok {
			v = strings.ToValidUTF8(text, "\uFFFD")
		}
		return v, err
	}
	return f
}

// costs returns the function with another cost.
func (f function) costs(cost costs) function {
	f.cost = cost
	return f
}

// multiplies returns the function with a cost that is a product of two lengths.
func (f function) multiplies(cost costs) function {
	f.cost, f.product = cost, true
	return f
}

// within returns the function with a bound on the size of its result: check
// fails for arguments that would exceed it, and passes those that the function
// refuses by itself.
func (f function) within(check func(args []any) error) function {
	call := f.call
	f.call = func(args []any) (any, error) {
		if err := check(args); err != nil {
			return nil, err
		}
		return call(args)
	}
	return f
}

// makesText returns the function with a bound on the text that it makes, which can
// be longer than its arguments. size gives its length, or more, 0 for arguments
// that the function refuses by itself. The text counts as work.
func (f function) makesText(size func(args []any) int) function {
	f.cost = func(args []any) int { return shallow(args) + min(size(args), maxText)/stepBytes }
	return f.within(func(args []any) error {
		if size(args) > maxText {
			return errTextSize
		}
		return nil
	})
}

// zoneSteps is the cost of reading a time zone from its file.
const zoneSteps = 25

// product is the cost of what goes through all of one text for each character
// of another.
func product(args []any) int {
	if len(args) < 2 {
		return shallow(args)
	}
	return textSize(args[0])/stepBytes*(1+textSize(args[1])/stepElements) + shallow(args)
}

// isFunction reports whether a name is called with brackets in the language.
func isFunction(name string) bool {
	_, ok := functions[name]
	_, isBuiltin := builtin.Index[name]
	return ok || isBuiltin || name == "verbatim"
}

func isCallOf(call *ast.CallNode, name string) bool {
	callee, ok := call.Callee.(*ast.IdentifierNode)
	return ok && callee.Value == name
}

// callNode is a call of something that expr does not know: one of our own
// functions, or a method of a time.
func (c *compilation) callNode(n *ast.CallNode) ast.Node {
	switch callee := n.Callee.(type) {
	case *ast.IdentifierNode:
		if callee.Value == "verbatim" {
			return c.fail(fmt.Errorf("`%s`: verbatim goes around the whole expression and takes one value", partOf(n)))
		}
		return c.function(n, callee.Value, n.Arguments)
	case *ast.MemberNode:
		if name, ok := callee.Property.(*ast.StringNode); ok {
			return c.method(n, callee.Node, name.Value)
		}
	}
	return c.fail(fmt.Errorf("`%s`: only functions can be called", partOf(n)))
}

// function is the call of a function by name.
func (c *compilation) function(n ast.Node, name string, arguments []ast.Node) ast.Node {
	f, ok := functions[name]
	if !ok {
		var known []string
		for _, name := range append(slices.Sorted(maps.Keys(functions)), builtin.Names...) {
			if !slices.Contains(known, name) {
				known = append(known, name)
			}
		}
		slices.Sort(known)
		return c.fail(&UnknownNameError{
			Name: name, Expression: c.source, Function: true, Suggestion: names.Nearest(name, known), Known: known,
		})
	}
	if len(arguments) < f.least || f.most >= 0 && len(arguments) > f.most {
		return c.fail(fmt.Errorf("`%s`: %s", partOf(n), f.arity(name)))
	}
	text := partOf(n)
	if f.check != nil {
		known := make([]any, len(arguments))
		for i, argument := range arguments {
			known[i], _ = c.constant(argument)
		}
		if err := f.check(known); err != nil {
			return c.fail(fmt.Errorf("`%s`: %w", text, err))
		}
	}
	call := func(args ...any) (any, error) {
		values := args
		if f.event {
			values = args[1:]
		}
		for i, arg := range values {
			if arg == nil && !f.absent {
				return nil, nil
			}
			if _, isGroups := arg.(groups); isGroups && f.grouped {
				continue
			}
			if object, ok := arg.(objectLike); ok {
				values[i] = object.object()
			}
		}
		v, err := f.call(args)
		if err != nil {
			return nil, fmt.Errorf("`%s`: %w", text, err)
		}
		return v, nil
	}
	values := c.rewriteAll(arguments)
	cost := f.cost
	if cost == nil {
		cost = shallow
	}
	cost = cost.ofCall()
	if f.event {
		c.untrusted = true
	}
	switch {
	case f.event:
		if err := c.mistake(call, values); err != nil {
			return c.fail(err)
		}
		return c.priced(text, func(args []any) int { return cost(args[1:]) }, call, append([]ast.Node{eventNode()}, values...)...)
	case f.product:
		return c.counted(text, cost, call, values...)
	}
	return c.priced(text, cost, call, values...)
}

// mistake calls a function of the event for an event that is empty, if its values
// are configured: what is wrong with those is an error at load.
func (c *compilation) mistake(call func(args ...any) (any, error), values []ast.Node) error {
	parts := make([]*configured, len(values))
	for i, value := range values {
		if parts[i] = c.configuredOf(value); parts[i] == nil {
			return nil
		}
	}
	_, err := combine(parts, func(tenant string) (any, error) {
		args := []any{c.language.Bind(new(event.Event))}
		for _, part := range parts {
			args = append(args, part.of(tenant))
		}
		v, err := call(args...)
		if errors.Is(err, event.ErrZoneName) {
			err = nil // The zone of the event's source may know it.
		}
		return v, err
	})
	return err
}

func (f function) arity(name string) string {
	switch {
	case f.most < 0:
		return fmt.Sprintf("%s takes at least %d values", name, f.least)
	case f.least == f.most:
		return fmt.Sprintf("%s takes %d values", name, f.least)
	}
	return fmt.Sprintf("%s takes %d to %d values", name, f.least, f.most)
}

// wrongKind is the error of a function whose argument has the wrong type.
func wrongKind(wanted string, got any) error {
	return fmt.Errorf("it takes %s, not %s", wanted, kindOf(got))
}

// texts makes a function of one whose arguments are all texts. Those that are
// left out are taken from the end of defaults.
func texts(call func(texts []string) (any, error), defaults ...string) func(args []any) (any, error) {
	return func(args []any) (any, error) {
		list := make([]string, len(args), len(args)+len(defaults))
		for i, arg := range args {
			text, ok := arg.(string)
			if !ok {
				return nil, wrongKind("text", arg)
			}
			list[i] = text
		}
		if len(defaults) > 0 && len(list) == 1 {
			list = append(list, defaults...)
		}
		return call(list)
	}
}

// typeName gives expr's names for types.
func typeName(args []any) (any, error) {
	if number, ok := args[0].(json.Number); ok {
		_, whole := wholeNumber(number)
		if whole {
			return "int", nil
		}
		return "float", nil
	}
	switch v := args[0].(type) {
	case zone:
		return builtin.Type(*v.location), nil
	default:
		return builtin.Type(v), nil
	}
}

// toInt is expr's int, which reads whole numbers and cuts a fraction off, for
// numbers of any size.
func toInt(args []any) (any, error) {
	switch v := args[0].(type) {
	case time.Duration:
		return int64(v), nil
	case string:
		if _, err := strconv.Atoi(v); err != nil && !errors.Is(err, strconv.ErrRange) {
			return nil, errors.New("the text is not a number in digits; for 1.5 and 1e3 write int(float(…)), for blanks around it int(trim(…))")
		}
		return number(strings.TrimPrefix(v, "+"))
	}
	if !isNumber(args[0]) {
		return nil, wrongKind("a number or text", args[0])
	}
	return rounded(args[0], truncate)
}

// toFloat is expr's float for numbers with any number of digits.
func toFloat(args []any) (any, error) {
	text, ok := args[0].(string)
	switch {
	case isNumber(args[0]):
		return args[0], nil
	case !ok:
		return nil, wrongKind("a number or text", args[0])
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || math.IsNaN(f) || math.IsInf(f, 0) && err == nil {
		return nil, errors.New("the text is not a number")
	}
	if strings.ContainsAny(text, "xX") { // hexadecimal
		return fromFloat(f)
	}
	return number(strings.TrimPrefix(strings.ReplaceAll(text, "_", ""), "+"))
}

// number returns the number of a decimal literal in Go's form, which may have
// zeros before it and a point at an end: 09, .5, 5.
func number(literal string) (any, error) {
	unsigned, negative := strings.CutPrefix(literal, "-")
	end := strings.IndexAny(unsigned, "eE")
	if end < 0 {
		end = len(unsigned)
	}
	whole, fraction, _ := strings.Cut(unsigned[:end], ".")
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if fraction != "" {
		whole += "." + fraction
	}
	if negative {
		whole = "-" + whole
	}
	return event.DecodeJSON(whole + unsigned[end:])
}

// toString is the text of a value. Lists and objects are written as expr writes
// them; in a template they become JSON without it.
func toString(args []any) (any, error) {
	switch kindOf(args[0]) {
	case event.ListKind, event.ObjectKind:
		plainValue, err := plain(args[0])
		if err != nil {
			return nil, err
		}
		return builtin.String(plainValue), nil
	}
	return textOf(args[0])
}

// runesBefore turns an index in bytes into one in characters.
func runesBefore(text string, bytes int) int64 {
	if bytes < 0 {
		return -1
	}
	return int64(utf8.RuneCountInString(text[:bytes]))
}

// The sizes of results, for makesText and within.

func replacedSize(args []any) int {
	text, ok1 := args[0].(string)
	old, ok2 := args[1].(string)
	replacement, ok3 := args[2].(string)
	if !ok1 || !ok2 || !ok3 || replacement == "" {
		return 0
	}
	found := strings.Count(text, old)
	if len(args) == 4 {
		if n, ok := wholeNumber(args[3]); ok && n >= 0 {
			found = int(min(int64(found), n))
		}
	}
	return sizeOf(int64(found), len(replacement)) + len(text)
}

func repeatedSize(args []any) int {
	text, _ := args[0].(string)
	n, _ := wholeNumber(args[1])
	return sizeOf(max(n, 0), len(text))
}

// sizeOf is the length of n texts, or more than maxText.
func sizeOf(n int64, length int) int {
	if length > 0 && n > int64(maxText/length) {
		return maxText + 1
	}
	return int(n) * length
}

// joinedCost is that of join: a separator can be longer than the list's texts.
func joinedCost(args []any) int {
	steps := deep(args)
	if list, isList := args[0].([]any); isList && len(args) == 2 {
		steps += min(sizeOf(int64(len(list)), textSize(args[1])), maxText) / stepBytes
	}
	return steps
}

func concatenatedSize(args []any) error {
	size := 0
	for _, arg := range args {
		list, _ := arg.([]any)
		size += len(list)
	}
	if size > maxElements {
		return fmt.Errorf("a list would become longer than %d elements", maxElements)
	}
	return nil
}

func listOf(texts []string) []any {
	list := make([]any, len(texts))
	for i, text := range texts {
		list[i] = text
	}
	return list
}

// join puts a list together as text. Elements are taken as string() has them;
// absent ones are left out.
func join(args []any) (any, error) {
	list, ok := args[0].([]any)
	if !ok {
		return nil, wrongKind("a list", args[0])
	}
	separator := ""
	if len(args) == 2 {
		if separator, ok = args[1].(string); !ok {
			return nil, wrongKind("text as separator", args[1])
		}
	}
	var parts []string
	size := 0
	for _, element := range list {
		if element == nil {
			continue
		}
		text, err := textOf(element)
		if err != nil {
			return nil, err
		}
		if size += len(text) + len(separator); size > maxText {
			return nil, errTextSize
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, separator), nil
}

func toJSON(args []any) (any, error) {
	v, err := plain(args[0])
	if err != nil {
		return nil, err
	}
	text, err := event.AppendJSON(nil, v)
	return string(text), err
}

// jsonText writes a text as it stands between the quotes of a JSON string.
func jsonText(args []any) (any, error) {
	text, err := textOf(args[0])
	if err != nil {
		return nil, err
	}
	return string(escape.AppendJSON(nil, text)), nil
}

// urlencode percent-encodes everything but letters, digits and -._~, so that
// its result means the same in a path, a query and a form.
func urlencode(args []any) (any, error) {
	text, err := textOf(args[0])
	if err != nil {
		return nil, err
	}
	return escape.Unreserved.Encode(text), nil
}

// toXML writes what is special in XML text and attributes as entities.
// Characters that XML does not allow become U+FFFD.
func toXML(args []any) (any, error) {
	text, err := textOf(args[0])
	if err != nil {
		return nil, err
	}
	return string(escape.AppendXML(nil, text)), nil
}
