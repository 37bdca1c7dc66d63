package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	sourcePath = regexp.MustCompile(`^[\w.*-]+(/[\w.*-]+)+$`)
	identifier = regexp.MustCompile(`^([a-z]+)\.([A-Z]\w*)(?:\.([A-Z]\w*))?$`)
	testName   = regexp.MustCompile(`^Test[A-Z]\w*$`)
	packageOf  = regexp.MustCompile(`(?m)^package (\w+)$`)
)

// TestNamesOfTheSourceExist looks for the files and identifiers that the pages
// for contributors name. A name that was changed would lead nowhere.
func TestNamesOfTheSourceExist(t *testing.T) {
	packages := sources(t)
	files, tests := testsAndFiles(t)
	checked := 0
	for _, page := range []string{"docs/architecture.md", "CONTRIBUTING.md"} {
		for _, span := range quoted.FindAllStringSubmatch(fence.ReplaceAllString(read(t, page), ""), -1) {
			name := span[1]
			switch parts := identifier.FindStringSubmatch(name); {
			case parts != nil && parts[1] != "caddy":
				checked++
				if !declares(packages[parts[1]], parts[2], parts[3]) {
					t.Errorf("%s: there is no %s", page, name)
				}
			case testName.MatchString(name):
				checked++
				if !strings.Contains(tests, "\nfunc "+name+"(") {
					t.Errorf("%s: there is no test %s", page, name)
				}
			case strings.HasSuffix(name, ".go") && !strings.Contains(name, "/"):
				checked++
				if !files[name] {
					t.Errorf("%s: there is no file %s in any room", page, name)
				}
			case sourcePath.MatchString(name):
				checked++
				if found, err := filepath.Glob(filepath.Join(root, name)); err != nil || len(found) == 0 {
					t.Errorf("%s: there is no file %s", page, name)
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("checked only %d names", checked)
	}
}

// declares reports whether a package has a type, function or variable of that
// name, and if a method is named, whether it belongs to it.
func declares(source, name, method string) bool {
	if method == "" {
		return regexp.MustCompile(`(?m)^(func|type|var|const) ` + name + `\b|^\t` + name + `\b`).MatchString(source)
	}
	_, inInterface, found := strings.Cut(source, "\ntype "+name+" interface {")
	if found {
		inInterface, _, _ = strings.Cut(inInterface, "\n}")
		return strings.Contains(inInterface, "\n\t"+method+"(")
	}
	return regexp.MustCompile(`(?m)^func \(\w+ \*?` + name + `\) ` + method + `\(`).MatchString(source)
}

// testsAndFiles returns the names of all Go files, and the source of all tests.
func testsAndFiles(t *testing.T) (files map[string]bool, tests string) {
	t.Helper()
	files = map[string]bool{}
	var all strings.Builder
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".go") {
			return err
		}
		files[entry.Name()] = true
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		content, err := os.ReadFile(name)
		all.Write(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, all.String()
}

// sources returns the source of each package of the program, by its name.
func sources(t *testing.T) map[string]string {
	t.Helper()
	packages := map[string]string{}
	for _, room := range []string{"caddymodule", "handlers", "internal", "rules"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
				return err
			}
			content, err := os.ReadFile(name)
			if found := packageOf.FindSubmatch(content); found != nil {
				packages[string(found[1])] += string(content)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return packages
}
