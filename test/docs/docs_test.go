// Package docs_test checks what the documents print: every link leads
// somewhere, and every piece of a Caddyfile is one.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/caddy-event-relay/event-relay/caddymodule"
)

const root = "../.."

// documents returns the names of all Markdown files, relative to the root.
func documents(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "testdata" || entry.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(name, ".md") {
			relative, err := filepath.Rel(root, name)
			names = append(names, relative)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 20 {
		t.Fatalf("found only the documents %v", names)
	}
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

var (
	fence   = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```[ \t]*$")
	code    = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.*)$`)
	punct   = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)
)

// anchors returns what a document's headings are called in links.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for _, match := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := punct.ReplaceAllString(strings.ToLower(strings.TrimSpace(match[1])), "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}

func TestLinksLeadSomewhere(t *testing.T) {
	checked := 0
	for _, name := range documents(t) {
		text := code.ReplaceAllString(fence.ReplaceAllString(read(t, name), ""), "")
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			checked++
			path := name
			if target != "" {
				path = filepath.Join(filepath.Dir(name), target)
				if _, err := os.Stat(filepath.Join(root, path)); err != nil {
					t.Errorf("%s: the link to %s leads nowhere", name, match[1])
					continue
				}
			}
			if anchor != "" && strings.HasSuffix(path, ".md") && !anchors(read(t, path))[anchor] {
				t.Errorf("%s: %s has no heading for the link to %s", name, path, match[1])
			}
		}
	}
	if checked < 50 {
		t.Errorf("checked only %d links", checked)
	}
}

var caddyfileBlock = regexp.MustCompile("(?ms)^([ \t]*)```caddyfile\n(.*?)^[ \t]*```[ \t]*$")

// TestCaddyfilesAdapt reads each printed piece of a Caddyfile as Caddy does: a
// whole file as it is, a part in the place where it belongs.
func TestCaddyfilesAdapt(t *testing.T) {
	adapter := caddyconfig.GetAdapter("caddyfile")
	pieces := 0
	for _, name := range documents(t) {
		for _, match := range caddyfileBlock.FindAllStringSubmatch(read(t, name), -1) {
			block := unindent(match[2], match[1])
			if strings.Contains(block, " exec ") {
				continue // of a plugin that Caddy does not come with
			}
			pieces++
			if formatted := string(caddyfile.Format([]byte(block))); formatted != block {
				t.Errorf("%s: caddy fmt changes\n%s\nto\n%s", name, block, formatted)
			}
			var problems []string
			for _, whole := range places(block) {
				_, _, err := adapter.Adapt([]byte(whole), map[string]any{"filename": "Caddyfile"})
				if err == nil {
					problems = nil
					break
				}
				problems = append(problems, err.Error())
			}
			if problems != nil {
				t.Errorf("%s: none of the places where this can stand takes it:\n%s\n%s", name, block, strings.Join(problems, "\n"))
			}
		}
	}
	if pieces < 20 {
		t.Errorf("read only %d blocks", pieces)
	}
}

func unindent(text, indent string) string {
	lines := strings.SplitAfter(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], indent)
	}
	return strings.Join(lines, "")
}

// places returns the whole configurations in which a piece can stand: as it is,
// in the relay, in a source, in an action, in a site, and among the global
// options.
func places(block string) []string {
	in := func(before, after string) string { return before + block + after }
	return []string{
		block,
		in("{\n\tevent_relay {\n", "\t}\n}\n"),
		in("{\n\tevent_relay {\n\t\tsource example {\n", "\t\t}\n\t}\n}\n"),
		in("{\n\tevent_relay {\n\t\taction example {\n", "\t\t}\n\t}\n}\n"),
		in("{\n\tevent_relay {\n\t\taction example {\n\t\t\tpost http://127.0.0.1/\n", "\t\t}\n\t}\n}\n"),
		in("{\n\tevent_relay {\n\t\ton example {\n", "\t\t}\n\t}\n}\n"),
		in("{\n\tevent_relay {\n\t\tsource example {\n\t\t\tauth none\n\t\t}\n\t}\n}\nexample.com {\n", "}\n"),
		in("{\n", "}\n"),
	}
}
