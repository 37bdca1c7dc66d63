package eventrelay_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/caddy-event-relay/event-relay"

// rooms are the packages of the program, from the top to the bottom. A room imports only rooms that
// stand below it: so a change can be followed in one direction. docs/architecture.md has the same
// list with what each room holds.
var rooms = []string{
	"cmd/caddy",
	".",
	"caddymodule",
	"caddymodule/command",
	"caddymodule/caddyfile",
	"caddymodule/handover",
	"caddymodule/environment",
	"caddymodule/unmounted",
	"caddymodule/sites",
	"internal/console",
	"internal/api",
	"internal/inspect",
	"internal/replay",
	"internal/relay",
	"internal/postman",
	"caddymodule/caddyfile/printer",
	"internal/queue/postgres",
	"internal/queue/sqlite",
	"internal/queue/sqlite/scheduler",
	"internal/queue/sqlite/history",
	"internal/queue/sqlite/database",
	"internal/queue/postgres/cluster",
	"internal/queue/activity",
	"internal/queue/layout",
	"handlers/forward",
	"handlers/forward/template",
	"handlers/forward/send",
	"internal/queue",
	"handlers/receive",
	"internal/resolve",
	"rules",
	"rules/tags",
	"rules/language",
	"internal/preset",
	"handlers/receive/auth",
	"internal/config",
	"internal/event",
	"internal/secret",
	"internal/escape",
	"internal/textencoding",
	"internal/names",
}

// aside are packages that only tests and examples are made of.
var aside = []string{"examples", "internal/config/configtest", "internal/event/eventtest", "internal/processtest", "internal/queue/postgres/pgtest", "internal/queue/queuetest", "internal/relay/relaytest", "test"}

// knowsCaddy are the rooms that may import Caddy. The engine is a plain library.
var knowsCaddy = []string{"cmd/caddy", "caddymodule", "caddymodule/command", "caddymodule/caddyfile", "caddymodule/handover", "caddymodule/environment", "caddymodule/unmounted", "caddymodule/sites"}

func TestRoomsImportOnlyWhatIsBelow(t *testing.T) {
	for _, name := range packages(t) {
		if slices.ContainsFunc(aside, func(known string) bool { return name == known || strings.HasPrefix(name, known+"/") }) {
			continue
		}
		own := slices.Index(rooms, name)
		if own < 0 {
			t.Errorf("the package %s is no room: add it to the list in the place where it belongs, and to docs/architecture.md", name)
			continue
		}
		found, err := build.ImportDir(name, 0)
		if err != nil {
			t.Errorf("reading the package %s: %v", name, err)
			continue
		}
		for _, imported := range found.Imports {
			if strings.HasPrefix(imported, "github.com/caddyserver/caddy/") && !slices.Contains(knowsCaddy, name) {
				t.Errorf("%s imports %s: a room of the engine must not know Caddy", name, imported)
			}
			below, isOwn := strings.CutPrefix(imported, module)
			if !isOwn {
				continue
			}
			below = strings.TrimPrefix(below, "/")
			if below == "" {
				below = "."
			}
			if at := slices.Index(rooms, below); at <= own {
				t.Errorf("%s imports %s, which does not stand below it", name, below)
			}
		}
	}
}

// TestRoomsAreDescribed keeps the list of the document like the one above.
func TestRoomsAreDescribed(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, room := range rooms[2:] {
		next := strings.Index(string(text[at:]), "\n| `"+room+"` |")
		if next < 0 {
			t.Errorf("docs/architecture.md does not have %s in its place", room)
			continue
		}
		at += next
	}
}

// packages returns the directories that hold Go files other than tests.
func packages(t *testing.T) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "testdata" || strings.HasPrefix(entry.Name(), ".") && name != ".") {
			return fs.SkipDir
		}
		if dir := path.Dir(name); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && !slices.Contains(found, dir) {
			found = append(found, dir)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < len(rooms) {
		t.Fatalf("found only the packages %v", found)
	}
	return found
}

// TestEngineNamesNoSender keeps what is known of single senders in internal/preset.
// A comment may say where a fact comes from.
func TestEngineNamesNoSender(t *testing.T) {
	sender := regexp.MustCompile(`(?i)icfm|ceta|pbx|bicom`)
	for _, name := range rooms {
		if name == "internal/preset" || slices.Contains(knowsCaddy, name) || name == "." {
			continue
		}
		files, err := filepath.Glob(filepath.Join(name, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("looking for the files of %s: %v, %v", name, files, err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(node ast.Node) bool {
				text := ""
				switch node := node.(type) {
				case *ast.Ident:
					text = node.Name
				case *ast.BasicLit:
					text = node.Value
				}
				if found := sender.FindString(text); found != "" {
					t.Errorf("%s: %s names a sender: what is known of one stands in internal/preset", set.Position(node.Pos()), text)
				}
				return true
			})
		}
	}
}
