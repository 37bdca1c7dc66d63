package rules

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
)

// function is a function of the language that takes values. All of expr's are
// here, with its names; they are written anew because expr's stop at an absent
// value, and take no json.Number.
type function struct {
	// least and most are the numbers of arguments; most < 0 means any.
	least, most int
	call        func(args []any) (any, error)
	// absent says that the function knows absent arguments. Others give nothing
	// when one of their arguments is absent.
	absent bool
	// changing says that equal arguments can give different results.
	changing bool
	// check finds mistakes in the arguments that are known before an event comes;
	// the others are nil. A nil check finds none.
	check func(args []any) error
}

var functions map[string]function

func init() {
	functions = map[string]function{
		"len":    {least: 1, most: 1, call: length},
		"type":   {least: 1, most: 1, call: typeName, absent: true},
		"abs":    {least: 1, most: 1, call: absolute},
		"ceil":   {least: 1, most: 1, call: ceiling},
		"floor":  {least: 1, most: 1, call: func(args []any) (any, error) { return rounding(args[0], 0) }},
		"round":  {least: 1, most: 1, call: round},
		"int":    {least: 1, most: 1, call: toInt},
		"float":  {least: 1, most: 1, call: toNumber},
		"string": {least: 1, most: 1, call: func(args []any) (any, error) { return textOf(args[0]) }},

		"trim":        {least: 1, most: 2, call: texts(func(t []string) (any, error) { return strings.Trim(t[0], t[1]), nil }, "\t\n\v\f\r \u0085\u00a0")},
		"trimPrefix":  {least: 1, most: 2, call: texts(func(t []string) (any, error) { return strings.TrimPrefix(t[0], t[1]), nil }, " ")},
		"trimSuffix":  {least: 1, most: 2, call: texts(func(t []string) (any, error) { return strings.TrimSuffix(t[0], t[1]), nil }, " ")},
		"upper":       {least: 1, most: 1, call: texts(func(t []string) (any, error) { return strings.ToUpper(t[0]), nil })},
		"lower":       {least: 1, most: 1, call: texts(func(t []string) (any, error) { return strings.ToLower(t[0]), nil })},
		"indexOf":     {least: 2, most: 2, call: texts(func(t []string) (any, error) { return runesBefore(t[0], strings.Index(t[0], t[1])), nil })},
		"lastIndexOf": {least: 2, most: 2, call: texts(func(t []string) (any, error) { return runesBefore(t[0], strings.LastIndex(t[0], t[1])), nil })},
		"hasPrefix":   {least: 2, most: 2, call: texts(func(t []string) (any, error) { return strings.HasPrefix(t[0], t[1]), nil })},
		"hasSuffix":   {least: 2, most: 2, call: texts(func(t []string) (any, error) { return strings.HasSuffix(t[0], t[1]), nil })},
		"split":       {least: 2, most: 3, call: splitter(strings.SplitN)},
		"splitAfter":  {least: 2, most: 3, call: splitter(strings.SplitAfterN)},
		"replace":     {least: 3, most: 4, call: replace},
		"repeat":      {least: 2, most: 2, call: repeat},
		"join":        {least: 1, most: 2, call: join},

		"toJSON":     {least: 1, most: 1, call: toJSON, absent: true},
		"tojson":     {least: 1, most: 1, call: toJSON, absent: true},
		"fromJSON":   {least: 1, most: 1, call: texts(func(t []string) (any, error) { return DecodeJSON([]byte(t[0])) })},
		"toBase64":   {least: 1, most: 1, call: texts(func(t []string) (any, error) { return base64.StdEncoding.EncodeToString([]byte(t[0])), nil })},
		"fromBase64": {least: 1, most: 1, call: texts(fromBase64)},
		"urlencode":  {least: 1, most: 1, call: urlencode},
		"toxml":      {least: 1, most: 1, call: toXML},

		"now":      {least: 0, most: 0, call: func([]any) (any, error) { return time.Now(), nil }, changing: true},
		"date":     {least: 1, most: 3, call: texts(parseDate)},
		"duration": {least: 1, most: 1, call: texts(parseDuration)},
		"timezone": {least: 1, most: 1, call: texts(loadZone)},

		"format_time": {least: 2, most: 3, call: formatTime, check: checkFormatTime},
	}
	addListFunctions(functions)
	addBitFunctions(functions)
	addTextFunctions(functions)
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
		for _, name := range append(sortedNames(functions), builtin.Names...) {
			if !slices.Contains(known, name) {
				known = append(known, name)
			}
		}
		slices.Sort(known)
		return c.fail(&UnknownNameError{
			Name: name, Expression: c.source, Function: true, Suggestion: Nearest(name, known), Known: known,
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
		for i, arg := range args {
			if arg == nil && !f.absent {
				return nil, nil
			}
			if m, ok := arg.(multimap); ok {
				args[i] = m.object()
			}
		}
		v, err := f.call(args)
		if err != nil {
			return nil, fmt.Errorf("`%s`: %w", text, err)
		}
		return v, nil
	}
	if f.changing {
		c.untrusted = true
		return c.callLater(call, c.rewriteAll(arguments)...)
	}
	return c.call(call, c.rewriteAll(arguments)...)
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

func length(args []any) (any, error) {
	switch v := args[0].(type) {
	case string:
		return int64(utf8.RuneCountInString(v)), nil
	case []any:
		return int64(len(v)), nil
	case map[string]any:
		return int64(len(v)), nil
	}
	return nil, wrongKind("text, a list or an object", args[0])
}

// typeName gives expr's names for types.
func typeName(args []any) (any, error) {
	switch args[0].(type) {
	case int64, int:
		return "int", nil
	}
	names := map[kind]string{
		absentKind: "nil", boolKind: "bool", numberKind: "float", textKind: "string", listKind: "array",
		objectKind: "map", timeKind: "time", durationKind: "duration", zoneKind: "timezone",
	}
	return names[kindOf(args[0])], nil
}

func rounding(v any, halves int64) (any, error) {
	if !isNumber(v) {
		return nil, wrongKind("a number", v)
	}
	return rounded(v, halves)
}

func absolute(args []any) (any, error) {
	if !isNumber(args[0]) {
		return nil, wrongKind("a number", args[0])
	}
	if compareNumbers(args[0], int64(0)) < 0 {
		return calculate("-", int64(0), args[0])
	}
	return args[0], nil
}

func ceiling(args []any) (any, error) {
	if !isNumber(args[0]) {
		return nil, wrongKind("a number", args[0])
	}
	negative, err := calculate("-", int64(0), args[0])
	if err != nil {
		return nil, err
	}
	if negative, err = rounded(negative, 0); err != nil {
		return nil, err
	}
	return calculate("-", int64(0), negative)
}

// round rounds halves away from zero.
func round(args []any) (any, error) {
	if isNumber(args[0]) && compareNumbers(args[0], int64(0)) < 0 {
		positive, err := absolute(args)
		if err != nil {
			return nil, err
		}
		if positive, err = rounded(positive, 1); err != nil {
			return nil, err
		}
		return calculate("-", int64(0), positive)
	}
	return rounding(args[0], 1)
}

// toNumber reads a number from a text; a number stays as it is.
func toNumber(args []any) (any, error) {
	if isNumber(args[0]) {
		return args[0], nil
	}
	text, ok := args[0].(string)
	if !ok {
		return nil, wrongKind("a number or text", args[0])
	}
	text = strings.TrimPrefix(strings.TrimSpace(text), "+")
	if !isNumberLiteral(text) {
		return nil, errors.New("the text is not a number")
	}
	return DecodeJSON([]byte(text))
}

// toInt is toNumber, cut towards zero.
func toInt(args []any) (any, error) {
	v, err := toNumber(args)
	if err != nil {
		return nil, err
	}
	if compareNumbers(v, int64(0)) < 0 {
		return ceiling([]any{v})
	}
	return rounded(v, 0)
}

// howMany returns an argument that is a number of things, bounded so that it
// fits int.
func howMany(v any) (int, error) {
	n, ok := wholeNumber(v)
	if !ok {
		return 0, wrongKind("a whole number", v)
	}
	return int(max(min(n, math.MaxInt32), math.MinInt32)), nil
}

// runesBefore turns an index in bytes into one in characters.
func runesBefore(text string, bytes int) int64 {
	if bytes < 0 {
		return -1
	}
	return int64(utf8.RuneCountInString(text[:bytes]))
}

func splitter(split func(s, separator string, n int) []string) func(args []any) (any, error) {
	return func(args []any) (any, error) {
		n := -1
		if len(args) == 3 {
			var err error
			if n, err = howMany(args[2]); err != nil {
				return nil, err
			}
		}
		return texts(func(t []string) (any, error) { return listOf(split(t[0], t[1], n)), nil })(args[:2])
	}
}

func listOf(texts []string) []any {
	list := make([]any, len(texts))
	for i, text := range texts {
		list[i] = text
	}
	return list
}

func replace(args []any) (any, error) {
	n := -1
	if len(args) == 4 {
		var err error
		if n, err = howMany(args[3]); err != nil {
			return nil, err
		}
	}
	return texts(func(t []string) (any, error) {
		found := strings.Count(t[0], t[1])
		if n >= 0 {
			found = min(found, n)
		}
		if len(t[2]) > 0 && found > (maxText-min(len(t[0]), maxText))/len(t[2]) {
			return nil, errTextSize
		}
		return strings.Replace(t[0], t[1], t[2], n), nil
	})(args[:3])
}

func repeat(args []any) (any, error) {
	n, err := howMany(args[1])
	if err != nil {
		return nil, err
	}
	return texts(func(t []string) (any, error) {
		if n < 0 {
			return nil, errors.New("it cannot repeat less than 0 times")
		}
		if len(t[0]) > 0 && n > maxText/len(t[0]) {
			return nil, errTextSize
		}
		return strings.Repeat(t[0], n), nil
	})(args[:1])
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
	if err := weigh(args[0]); err != nil {
		return nil, err
	}
	text, err := appendValue(nil, args[0], replaceInvalid, 0)
	return string(text), err
}

func fromBase64(t []string) (any, error) {
	decoded, err := base64.StdEncoding.DecodeString(t[0])
	if err != nil {
		return nil, errors.New("the text is not base64")
	}
	return string(decoded), nil
}

// urlencode percent-encodes everything but letters, digits and -._~, so that
// its result means the same in a path, a query and a form.
func urlencode(args []any) (any, error) {
	text, err := textOf(args[0])
	if err != nil {
		return nil, err
	}
	const hex = "0123456789ABCDEF"
	out := make([]byte, 0, len(text))
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', isDigit(c), strings.IndexByte("-._~", c) >= 0:
			out = append(out, c)
		default:
			out = append(out, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(out), nil
}

// toXML writes what is special in XML text and attributes as entities.
// Characters that XML does not allow become U+FFFD.
func toXML(args []any) (any, error) {
	text, err := textOf(args[0])
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	for _, r := range text {
		switch {
		case r == '<':
			out.WriteString("&lt;")
		case r == '>':
			out.WriteString("&gt;")
		case r == '&':
			out.WriteString("&amp;")
		case r == '"':
			out.WriteString("&#34;")
		case r == '\'':
			out.WriteString("&#39;")
		case r == '\t', r == '\n', r == '\r':
			fmt.Fprintf(&out, "&#%d;", r)
		case r < ' ', r == 0xfffe, r == 0xffff:
			out.WriteRune(utf8.RuneError)
		default:
			out.WriteRune(r)
		}
	}
	return out.String(), nil
}
