package caddyfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// Read reads text that stands in no file: an event_relay block, alone or among the
// global options of a whole Caddyfile, or what stands within such a block. whole says
// that it is a block. What else a Caddyfile has is passed over. The places of what is
// read, and of mistakes, are NAME:LINE.
//
// It reads nothing but the text: no file that is imported and no variable of the
// environment, which are mistakes. The text may come from a person who is not to see
// what is in files and in the environment of the server.
func Read(text, name string) (settings config.Relay, whole bool, err error) {
	tokens, err := caddyfile.Tokenize([]byte(text), name)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		if line := lexerLine.FindStringSubmatch(err.Error()); line != nil {
			return settings, false, &config.Mistake{Place: name + ":" + line[1], Err: err}
		}
		return settings, false, fmt.Errorf("reading the text: %w", err)
	case len(tokens) == 0:
		return settings, false, errors.New("there is nothing to read: write an event_relay block, or rules")
	}
	tokens, wrong := withoutOutside(tokens)
	if err := checkBraces(tokens); err != nil {
		wrong.Add("", err)
		return settings, false, wrong.Err()
	}
	if len(tokens) == 0 {
		return settings, false, wrong.Err()
	}
	block, whole, err := relayBlock(tokens, name)
	if err != nil {
		wrong.Add("", err)
		return settings, whole, wrong.Err()
	}
	option, err := parseOption(caddyfile.NewDispenser(block), nil)
	// A value that is not known is often wrong in its place, too.
	var inside config.Findings
	inside.Add("", err)
	for _, one := range inside {
		if !slices.ContainsFunc(wrong, func(known error) bool { return samePlace(known, one) }) {
			wrong = append(wrong, one)
		}
	}
	if err := wrong.Err(); err != nil {
		return settings, whole, err
	}
	// An option leaves nothing but its JSON.
	if err := json.Unmarshal(option.(httpcaddyfile.App).Value, &settings); err != nil {
		return settings, whole, fmt.Errorf("reading the text: %w", err)
	}
	return settings, whole, nil
}

func samePlace(a, b error) bool {
	one, ok := errors.AsType[*config.Mistake](a)
	other, also := errors.AsType[*config.Mistake](b)
	return ok && also && one.Place == other.Place
}

// variable finds {$NAME} and {$NAME:DEFAULT}, which Caddy replaces in the bytes of a
// file.
var variable = regexp.MustCompile(`\{\$([^}:]*)(:?)([^}]*)\}`)

// lexerLine finds the line in an error of Caddy's lexer.
var lexerLine = regexp.MustCompile(`line #(\d+)`)

// withoutOutside returns the tokens without what they would take from elsewhere, and
// a mistake for each of these.
func withoutOutside(tokens []caddyfile.Token) (kept []caddyfile.Token, wrong config.Findings) {
	for i := 0; i < len(tokens); i++ {
		token := tokens[i]
		if first(tokens, i) && token.Text == "import" {
			wrong.Add("", errAt(token, "a rehearsal reads no other file: put what the file holds in place of this line"))
			for i+1 < len(tokens) && !first(tokens, i+1) && !opens(tokens[i+1]) && !closes(tokens[i+1]) {
				i++
			}
			continue
		}
		token.Text = variable.ReplaceAllStringFunc(token.Text, func(found string) string {
			switch parts := variable.FindStringSubmatch(found); {
			case parts[1] != "":
				wrong.Add("", errAt(token, "a rehearsal reads no variable of the environment: write a value in place of %s", found))
			case parts[2] != "":
				// Caddy knows no variable without a name, so the default counts.
				return parts[3]
			}
			return found
		})
		kept = append(kept, token)
	}
	return kept, wrong
}

// first reports whether a token is the first on its line.
func first(tokens []caddyfile.Token, i int) bool {
	return i == 0 || tokens[i].Line > tokens[i-1].Line+tokens[i-1].NumLineBreaks()
}

func opens(token caddyfile.Token) bool  { return token.Text == "{" && !token.Quoted() }
func closes(token caddyfile.Token) bool { return token.Text == "}" && !token.Quoted() }

// checkBraces returns an error for a brace whose other half is missing.
func checkBraces(tokens []caddyfile.Token) error {
	var open []caddyfile.Token
	for _, token := range tokens {
		switch {
		case opens(token):
			open = append(open, token)
		case closes(token) && len(open) == 0:
			return errAt(token, "this } closes nothing: remove it, or add the { that is missing above")
		case closes(token):
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return errAt(open[len(open)-1], "the block that begins here has no end: add the } that is missing below")
	}
	return nil
}

// relayBlock returns the tokens of an event_relay block: the one in the text, or one
// around the text.
func relayBlock(tokens []caddyfile.Token, name string) (block []caddyfile.Token, whole bool, err error) {
	begins := func(i int) bool {
		return first(tokens, i) && !tokens[i].Quoted() && tokens[i].Text == sites.RelayHandler
	}
	if begins(0) {
		end := endOf(tokens, 0)
		if end < len(tokens) {
			return nil, true, errAt(tokens[end], "this stands behind the %s block: remove it, or write the whole Caddyfile with its global options in braces", sites.RelayHandler)
		}
		return tokens, true, nil
	}
	if opens(tokens[0]) {
		for i := 1; i < len(tokens) && !closes(tokens[i]); i = endOf(tokens, i) {
			switch {
			case !begins(i):
			case block != nil:
				return nil, true, errAt(tokens[i], "there are two %s blocks: put everything in one", sites.RelayHandler)
			default:
				block = tokens[i:endOf(tokens, i)]
			}
		}
		if block == nil {
			return nil, true, errAt(tokens[0], "there is no %s block among the global options", sites.RelayHandler)
		}
		return block, true, nil
	}
	last := tokens[len(tokens)-1]
	block = append(block, caddyfile.Token{File: name, Text: sites.RelayHandler}, caddyfile.Token{File: name, Text: "{"})
	block = append(block, tokens...)
	return append(block, caddyfile.Token{File: name, Line: last.Line + last.NumLineBreaks() + 1, Text: "}"}), false, nil
}

// endOf returns the index behind the line that begins at a token, and behind the block
// that the line opens.
func endOf(tokens []caddyfile.Token, i int) int {
	depth := 0
	for {
		switch {
		case opens(tokens[i]):
			depth++
		case closes(tokens[i]):
			depth--
		}
		i++
		if i == len(tokens) || depth < 0 || depth == 0 && (first(tokens, i) || closes(tokens[i])) {
			return i
		}
	}
}
