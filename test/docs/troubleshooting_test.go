package docs_test

import (
	"regexp"
	"strings"
	"testing"
)

var (
	messageRow    = regexp.MustCompile("(?m)^\\| (`.*?) \\| ")
	quoted        = regexp.MustCompile("`([^`]+)`")
	concatenation = regexp.MustCompile(`"\s*\+\s*"`)
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
