package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestConfigurationIsDocumented holds the structures to what Caddy's site
// makes of them: the comments are the manual of the JSON form.
func TestConfigurationIsDocumented(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+(_[a-z]+)*(,omitempty)?$`)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fields := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok {
				return true
			}
			structure, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			tagged := func(field *ast.Field) bool { return field.Tag != nil }
			if !slices.ContainsFunc(structure.Fields.List, tagged) {
				return true // not a part of the configuration
			}
			for _, field := range structure.Fields.List {
				if len(field.Names) == 0 || !field.Names[0].IsExported() {
					continue // what is made from the configuration
				}
				fields++
				where := spec.Name.Name + "." + field.Names[0].Name
				if text := strings.TrimSpace(field.Doc.Text()); !strings.HasSuffix(text, ".") {
					t.Errorf("the comment of %s is not made of full sentences: %q", where, text)
				}
				if field.Tag == nil {
					t.Errorf("%s has no name in JSON", where)
					continue
				}
				tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("json")
				if !name.MatchString(tag) {
					t.Errorf("%s is called %q in JSON, which is not snake case", where, tag)
				}
			}
			return true
		})
	}
	if fields < 100 {
		t.Fatalf("only %d fields were found", fields)
	}
}
