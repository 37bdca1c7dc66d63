package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	messageRow    = regexp.MustCompile("(?m)^\\| (`.*?) \\| ")
	quoted        = regexp.MustCompile("`([^`]+)`")
	concatenation = regexp.MustCompile(`"\s*\+\s*"`)
	mistake       = regexp.MustCompile(`Mistaken\("((?:[^"\\]|\\.)*)"`)
	beginning     = regexp.MustCompile(`^[^:;(,%]*[^:;(,% ]`)
	verb          = regexp.MustCompile(`%[a-zA-Z]`)
)

// TestMessagesExist looks in the source for every message that
// troubleshooting.md quotes. A message that was changed would not be found there.
func TestMessagesExist(t *testing.T) {
	sources := programText(t)
	_, messages, found := strings.Cut(read(t, "docs/troubleshooting.md"), "\n## By message\n")
	if !found {
		t.Fatal("docs/troubleshooting.md has no part about messages")
	}
	checked := 0
	for _, row := range messageRow.FindAllStringSubmatch(messages, -1) {
		for _, message := range quoted.FindAllStringSubmatch(row[1], -1) {
			checked++
			for _, part := range strings.Split(message[1], "…") {
				if part = strings.Trim(part, " :;,."); !strings.Contains(sources, part) {
					t.Errorf("the program says nowhere %q, of the message %q", part, message[1])
				}
			}
		}
	}
	if checked < 80 {
		t.Errorf("checked only %d messages", checked)
	}
}

// TestMistakesOfPostgresHaveRows: what keeps a node from starting has a row in
// troubleshooting.md.
func TestMistakesOfPostgresHaveRows(t *testing.T) {
	manual := read(t, "docs/troubleshooting.md")
	files, err := filepath.Glob("../../internal/queue/postgres/*.go")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range mistake.FindAllStringSubmatch(string(source), -1) {
			message := strings.ReplaceAll(verb.ReplaceAllString(match[1], "…"), `\"`, `"`)
			if start, _, _ := strings.Cut(message, "; "); strings.Trim(start, "…") == "" {
				continue // it is put together from others
			}
			checked++
			// Of its first words, which are read first, as many as a row has.
			if start := beginning.FindString(message); !strings.Contains(manual, start) {
				t.Errorf("%s: no row has %q, of %q", file, start, message)
			}
		}
	}
	if checked < 12 {
		t.Errorf("checked only %d messages", checked)
	}
}

// programText returns the source of the program, with texts that are put
// together from several lines as one.
func programText(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, source := range sources(t) {
		all.WriteString(source)
	}
	text := concatenation.ReplaceAllString(all.String(), "")
	return strings.ReplaceAll(verb.ReplaceAllString(text, "…"), `\"`, `"`)
}
