package eventrelay_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMessagesNameTheProgram finds messages that send an administrator to a program which may
// have another name on that machine: the package installs this one beside another Caddy. Help is
// written with "caddy", and internal/names puts the name in.
func TestMessagesNameTheProgram(t *testing.T) {
	named := regexp.MustCompile(`\bcaddy (event-relay|reload|run|validate|start|stop|adapt)\b`)
	found := 0
	for _, room := range rooms {
		files, err := filepath.Glob(filepath.Join(room, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") || name == "internal/names/program.go" {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(node ast.Node) bool {
				if pair, ok := node.(*ast.KeyValueExpr); ok && room == "caddymodule/command" {
					if key, ok := pair.Key.(*ast.Ident); ok && slices.Contains([]string{"Long", "Example"}, key.Name) {
						found++
						return false
					}
				}
				if text, ok := node.(*ast.BasicLit); ok && text.Kind == token.STRING && named.MatchString(text.Value) {
					t.Errorf("%s: %s: take the name from names.Command or names.Program", set.Position(text.Pos()), text.Value)
				}
				return true
			})
		}
	}
	if found == 0 {
		t.Error("no help was found")
	}
}
