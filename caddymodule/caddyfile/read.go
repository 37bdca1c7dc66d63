package caddyfile

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// Read reads text that stands in no file: an event_relay block, alone or among the
// global options of a whole Caddyfile, or what stands within such a block. whole says
// that it is a block. What else a Caddyfile has is passed over. The places of what is
// read, and of mistakes, are NAME:LINE. With an error, the settings are what could be read,
// to be checked for their meaning; none if that would lead to mistakes that there are not.
//
// It reads nothing but the text: no file that is imported and no variable of the
// environment, which are mistakes within the block. The text may come from a person who
// is not to see what is in files and in the environment of the server.
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
	tokens, taken := withoutOutside(tokens)
	begin, end, whole, err := relayBlock(tokens)
	if len(tokens) > 0 && opens(tokens[0]) {
		taken = taken.within(begin, end)
	}
	wrong := taken.mistakes()
	if err != nil {
		wrong.Add("", err)
	}
	if err != nil || len(tokens) == 0 {
		return settings, whole, wrong.Err()
	}
	block := tokens[begin:end]
	if !whole {
		block = surrounded(block, name)
	}
	d := caddyfile.NewDispenser(block)
	d.Next()
	settings, err = readRelay(&line{d: d, words: []caddyfile.Token{d.Token()}})
	if len(wrong) > 0 {
		// What is taken from elsewhere may define anything.
		settings = config.Relay{}
	}
	// A value that is not known is often wrong in its place, too.
	var inside config.Findings
	inside.Add("", err)
	for _, one := range inside {
		if !slices.ContainsFunc(wrong, func(known error) bool { return samePlace(known, one) }) {
			wrong = append(wrong, one)
		}
	}
	return settings, whole, wrong.Err()
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

// taking is a mistake: something is taken from elsewhere.
type taking struct {
	at  int // the token where it is, or the one behind it if it is left out
	err error
}

type takings []taking

// within returns those in a block of the tokens, and those before all else, because
// they may bring the block.
func (t takings) within(begin, end int) takings {
	return slices.DeleteFunc(t, func(one taking) bool { return one.at > 0 && (one.at <= begin || one.at >= end) })
}

func (t takings) mistakes() (wrong config.Findings) {
	for _, one := range t {
		wrong.Add("", one.err)
	}
	return wrong
}

// withoutOutside returns the tokens without what they would take from elsewhere, and
// a mistake for each of these.
func withoutOutside(tokens []caddyfile.Token) (kept []caddyfile.Token, taken takings) {
	for i := 0; i < len(tokens); i++ {
		token := tokens[i]
		if first(tokens, i) && token.Text == "import" {
			taken = append(taken, taking{len(kept), errAt(token, "a rehearsal reads no other file: put what the file holds in place of this line")})
			for i+1 < len(tokens) && !first(tokens, i+1) && !opens(tokens[i+1]) && !closes(tokens[i+1]) {
				i++
			}
			continue
		}
		token.Text = variable.ReplaceAllStringFunc(token.Text, func(found string) string {
			switch parts := variable.FindStringSubmatch(found); {
			case parts[1] != "":
				taken = append(taken, taking{len(kept), errAt(token, "a rehearsal reads no variable of the environment: write a value in place of %s", found)})
			case parts[2] != "":
				// Caddy knows no variable without a name, so the default counts.
				return parts[3]
			}
			return found
		})
		kept = append(kept, token)
	}
	return kept, taken
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

// relayBlock returns where an event_relay block begins and ends, alone or among the
// global options of a Caddyfile. Without any (whole is false) everything is what stands
// within one.
func relayBlock(tokens []caddyfile.Token) (begin, end int, whole bool, err error) {
	if err := checkBraces(tokens); err != nil || len(tokens) == 0 {
		return 0, 0, false, err
	}
	begins := func(i int) bool {
		return first(tokens, i) && !tokens[i].Quoted() && tokens[i].Text == sites.RelayHandler
	}
	switch {
	case begins(0):
		if end = endOf(tokens, 0); end < len(tokens) {
			err = errAt(tokens[end], "this stands behind the %s block: remove it, or write the whole Caddyfile with its global options in braces", sites.RelayHandler)
		}
		return 0, end, true, err
	case !opens(tokens[0]):
		return 0, len(tokens), false, nil
	}
	for i := 1; i < len(tokens) && !closes(tokens[i]); i = endOf(tokens, i) {
		switch {
		case !begins(i):
		case begin > 0:
			return 0, 0, true, errAt(tokens[i], "there are two %s blocks: put everything in one", sites.RelayHandler)
		default:
			begin, end = i, endOf(tokens, i)
		}
	}
	if begin == 0 {
		return 0, 0, true, errAt(tokens[0], "there is no %s block among the global options", sites.RelayHandler)
	}
	return begin, end, true, nil
}

// surrounded returns tokens within an event_relay block.
func surrounded(tokens []caddyfile.Token, name string) []caddyfile.Token {
	last := tokens[len(tokens)-1]
	block := append([]caddyfile.Token{{File: name, Text: sites.RelayHandler}, {File: name, Text: "{"}}, tokens...)
	return append(block, caddyfile.Token{File: name, Line: last.Line + last.NumLineBreaks() + 1, Text: "}"})
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
