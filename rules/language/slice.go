package language

import (
	"fmt"
	"math"

	"github.com/expr-lang/expr/ast"
)

// slice is list[from:to] or text[from:to]. Places in a text count characters.
func (c *compilation) slice(n *ast.SliceNode) ast.Node {
	text := partOf(n)
	bounds := [2]ast.Node{constantNode(int64(0)), constantNode(int64(math.MaxInt64))}
	for i, node := range []ast.Node{n.From, n.To} {
		if node != nil {
			bounds[i] = c.rewrite(node)
		}
	}
	return c.priced(text, func(args []any) int { return textSize(args[0]) / stepBytes }, func(args ...any) (any, error) {
		if args[0] == nil || args[1] == nil || args[2] == nil {
			return nil, nil
		}
		from, ok1 := wholeNumber(args[1])
		to, ok2 := wholeNumber(args[2])
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("`%s`: a place is a whole number", text)
		}
		switch v := args[0].(type) {
		case string:
			runes := []rune(v)
			i, j := clampSlice(from, to, int64(len(runes)))
			return string(runes[i:j]), nil
		case []any:
			i, j := clampSlice(from, to, int64(len(v)))
			return v[i:j:j], nil
		}
		return nil, fmt.Errorf("`%s`: a part can be taken of text and lists, not of %s", text, kindOf(args[0]))
	}, c.rewrite(n.Node), bounds[0], bounds[1])
}

// clampSlice turns places, which count from the end when negative, into ones
// that exist.
func clampSlice(from, to, length int64) (int64, int64) {
	clamp := func(i int64) int64 {
		if i < 0 {
			i += length
		}
		return max(min(i, length), 0)
	}
	from, to = clamp(from), clamp(to)
	return min(from, to), to
}
