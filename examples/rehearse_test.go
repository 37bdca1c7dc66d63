package examples_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	relayfile "github.com/caddy-event-relay/event-relay/caddymodule/caddyfile"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// elsewhere finds what a rehearsal does not read: {$NAME:DEFAULT} and import FILE.
var elsewhere = regexp.MustCompile(`\{\$[A-Z]+:([^}]*)\}|\bimport (\S+)`)

// TestExamplesCanBePasted reads each example whole, as the console does for a
// rehearsal. Only what its event_relay block takes from elsewhere is a mistake, at its
// line; with values in the place of it the example is read.
func TestExamplesCanBePasted(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	senders, err := filepath.Glob("senders/*.caddy")
	if err != nil || len(files) == 0 || len(senders) == 0 {
		t.Fatalf("no examples: %v, %v, %v", files, senders, err)
	}
	for _, file := range append(files, senders...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		want := map[string]bool{}
		inside := false
		for i, line := range lines {
			switch {
			case line == "\tevent_relay {":
				inside = true
			case line == "\t}":
				inside = false
			case inside && !strings.HasPrefix(strings.TrimSpace(line), "#") && elsewhere.MatchString(line):
				want["text:"+strconv.Itoa(i+1)] = true
				lines[i] = elsewhere.ReplaceAllStringFunc(line, func(found string) string {
					parts := elsewhere.FindStringSubmatch(found)
					if parts[2] == "" {
						return parts[1]
					}
					imported, err := os.ReadFile(filepath.Join(filepath.Dir(file), parts[2]))
					if err != nil {
						t.Fatal(err)
					}
					return string(imported)
				})
				if strings.Contains(lines[i], "{$") { // in what was imported
					lines[i] = elsewhere.ReplaceAllString(lines[i], "$1")
				}
			}
		}
		_, _, err = relayfile.Read(string(text), "text")
		var found config.Findings
		found.Add("", err)
		for _, one := range found {
			mistake, placed := errors.AsType[*config.Mistake](one)
			if !placed || !want[mistake.Place] {
				t.Errorf("%s: %v", file, one)
				continue
			}
			delete(want, mistake.Place)
		}
		for place := range want {
			t.Errorf("%s: there is no mistake at %s", file, place)
		}
		settings, whole, err := relayfile.Read(strings.Join(lines, "\n"), "text")
		if err != nil || !whole || len(settings.Sources) == 0 {
			t.Errorf("%s, with values: %v, %v, %d sources", file, err, whole, len(settings.Sources))
		}
	}
}
