package caddyfile_test

import (
	"errors"
	"strings"
	"testing"

	relayfile "github.com/caddy-event-relay/event-relay/caddymodule/caddyfile"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// TestRead reads text that stands in no file, in each shape that it may have.
func TestRead(t *testing.T) {
	const rule = "on icfm:project_created {\n\twhen `body.status == \"Approved\"`\n\tdo folder\n}\n"
	const source = "\tsource icfm {\n\t\tauth bearer {env.EVENT_RELAY_READ}\n\t}\n"
	t.Setenv("EVENT_RELAY_READ", "must not be read")
	for _, test := range []struct {
		name, text, place string
		whole             bool
	}{
		{"a rule", rule, "text:1", false},
		{"a rule behind blank lines and a comment", "\n# {$HOME}\n\n" + rule, "text:4", false},
		{"a rule on one line more", "parameter a \"{$:{$}x}\"\n" + rule, "text:2", false},
		{"a block", "event_relay {\n" + source + rule + "}", "text:5", true},
		{"global options", "{\n\tadmin off\n\tevent_relay {\n" + source + rule + "\t}\n\tlog {\n\t\tlevel DEBUG\n\t}\n}\n", "text:7", true},
		{"a whole Caddyfile", "{\n\tevent_relay {\n" + source + rule + "\t}\n}\n\nevents.example {\n\tevent_relay /listen.php\n\trespond 404\n}\n", "text:6", true},
		{"a Caddyfile that takes from elsewhere, outside of the block", "{\n\tadmin {$ADMIN}\n\timport options.caddy\n\tevent_relay {\n" + source + rule + "\t}\n\temail {$MAIL:a@b.example}\n}\n\nimport sites/*\n\nhttp://{$SITE::8080} {\n\timport headers\n\trespond {$STATUS}\n}\nimport last\n", "text:8", true},
	} {
		settings, whole, err := relayfile.Read(test.text, "text")
		if err != nil || whole != test.whole || len(settings.Rules) != 1 {
			t.Errorf("%s: %+v, %v, %v", test.name, settings, whole, err)
			continue
		}
		if got := settings.Rules[0]; got.Place != test.place || got.When[0] != `body.status == "Approved"` {
			t.Errorf("%s: the rule is %+v, want it at %s", test.name, got, test.place)
		}
		if len(settings.Parameters) > 0 && settings.Parameters[0].Value != "{$x}" {
			t.Errorf("%s: the parameter is %q", test.name, settings.Parameters[0].Value)
		}
		if test.whole && settings.Sources[0].Auth[0].Values[0] != "{env.EVENT_RELAY_READ}" {
			t.Errorf("%s: a reference was followed: %+v", test.name, settings.Sources[0].Auth)
		}
	}
}

// TestReadMistakes finds all mistakes of a text with their lines, and refuses what
// stands elsewhere.
func TestReadMistakes(t *testing.T) {
	t.Setenv("EVENT_RELAY_READ", "must not be read")
	for _, test := range []struct {
		name, text string
		// want are the lines of the mistakes with a word of each.
		want []string
	}{
		{"nothing", " \n# only a comment\n", []string{": there is nothing to read"}},
		{"two mistakes", "on a {\n\twen `x`\n\tdo b\n}\non b {\n\twhen `x ==`\n\tdo b\n}", []string{"text:2: did you mean when", "text:6: "}},
		{"a file", "import /etc/passwd\non a {\n\tdo b\n\timport secrets.d/*\n}", []string{"text:1: reads no other file", "text:4: reads no other file"}},
		{"a quoted import", "on a {\n\tdo b\n\t\"import\" x\n}", []string{"text:3: reads no other file"}},
		{"only a file", "import x", []string{"text:1: reads no other file"}},
		{"a variable", "parameter a {$EVENT_RELAY_READ}\non a {\n\tdo {$EVENT_RELAY_READ:b}\n}", []string{"text:1: reads no variable", "text:3: in place of {$EVENT_RELAY_READ:b}"}},
		{"in a Caddyfile", "{\n\tadmin {$A}\n\tevent_relay {\n\t\tquiet {$B}\n\t\timport c\n\t}\n}\n{$D} {\n\timport e\n}", []string{"text:4: reads no variable", "text:5: reads no other file"}},
		{"before a Caddyfile", "import a\n{\n\tevent_relay {\n\t}\n}", []string{"text:1: reads no other file"}},
		{"behind a rule", "on a {\n\tdo b\n}\nimport c", []string{"text:4: reads no other file"}},
		{"no end in a Caddyfile", "{\n\tevent_relay {\n}\n{$SITE} {\n}", []string{"text:1: has no end"}},
		{"no end", "on a {\n\tdo b\n", []string{"text:1: has no end"}},
		{"no begin", "on a {\n\tdo b\n}\n}\n", []string{"text:4: closes nothing"}},
		{"two blocks", "{\n\tevent_relay {\n\t}\n\tevent_relay {\n\t}\n}", []string{"text:4: two event_relay blocks"}},
		{"no block", "{\n\tadmin off\n}\n", []string{"text:1: no event_relay block"}},
		{"behind the block", "event_relay {\n}\nevents.example {\n}", []string{"text:3: stands behind"}},
		{"a heredoc", "action a {\n\tpost http://a\n\tbody raw <<X Y\n", []string{"text:1: has no end"}},
		{"an open heredoc", "action a {\n\tpost http://a\n\tbody raw <<X\nY\n", []string{"text:5: incomplete heredoc"}},
	} {
		_, _, err := relayfile.Read(test.text, "text")
		var found config.Findings
		found.Add("", err)
		if len(found) != len(test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
			continue
		}
		for i, want := range test.want {
			place, says, _ := strings.Cut(want, ": ")
			mistake, placed := errors.AsType[*config.Mistake](found[i])
			if placed != (place != "") || placed && mistake.Place != place || !strings.Contains(found[i].Error(), says) {
				t.Errorf("%s: %v, want %s", test.name, found[i], want)
			}
			if strings.Contains(found[i].Error(), "must not be read") {
				t.Errorf("%s: %v", test.name, found[i])
			}
		}
	}
}

// FuzzRead looks for texts that panic, and for mistakes beyond the end of the text.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		"on a {\n\tdo b\n}", "{\n\tevent_relay {\n\t}\n}", "event_relay {\n\tsource icfm {\n\t\tauth none\n\t}\n}", "import x {\n}",
		"{$:{$}x}", "a {$X:{}", "} {", "\"a\nb\" {\n}", "action a {\n\tpost http://a\n\tbody raw <<X\n\t\tY\n\t\tX\n}", "event_relay", "{", "{\n\timport a\n\tevent_relay {\n\t\timport b\n\t}\n\timport c\n}\n{$A} {\n}\nimport d", "{ event_relay { } }",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, _, err := relayfile.Read(text, "text"); err != nil && err.Error() == "" {
			t.Error("an error without words")
		}
	})
}
