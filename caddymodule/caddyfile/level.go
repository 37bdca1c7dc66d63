package caddyfile

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// level is one kind of block in the Caddyfile, with every setting that may
// stand in it. A setting that is not in the table is an error: a typing error
// that is swallowed would switch off whatever it was meant to configure.
type level[T any] struct {
	// name is what messages call the block, with its article.
	name     string
	settings []setting[T]
}

// setting is one line of a block: a name, arguments, perhaps a block.
type setting[T any] struct {
	name string

	// usage shows the arguments, and wants says in words what they are.
	usage, wants string

	// least and most bound the number of arguments. A negative most is no
	// bound.
	least, most int

	// repeat lets the setting be given more than once.
	repeat bool

	// excludes is the name under which settings exclude each other. Empty means
	// the setting's own name.
	excludes string

	// block lets a block follow. A setting with kinds leaves that to its kinds.
	block bool

	// named says that the setting defines something, which its first argument names.
	named bool

	// read puts the line into the structure, with the block if one may follow. With
	// an error, what it has put there stays, because it can still be checked: it is
	// to be nothing that is wrong, and nothing that would lead to more mistakes.
	read func(l *line, to *T) error

	// standIn puts something in the place of a line that could not be read at all,
	// so that the rest can be checked: what needs the line would else be a mistake.
	// Nil if nothing needs it.
	standIn func(l *line, to *T)
}

// line is a setting as it stands in the Caddyfile.
type line struct {
	d *caddyfile.Dispenser

	// words are the tokens that lead to the arguments: the setting's name, and
	// the kind where a setting has kinds.
	words []caddyfile.Token
	args  []caddyfile.Token

	// seen holds what the block has already, and where.
	seen map[string]caddyfile.Token
}

// tried holds the settings that a block has, whether they could be read or not: also
// the one that a misspelt setting is likely to be, and "" if anything may stand
// there. What is tried is not missing.
type tried map[string]bool

// any reports whether one of the settings is there, or may be.
func (t tried) any(settings ...string) bool {
	return t[""] || slices.ContainsFunc(settings, func(setting string) bool { return t[setting] })
}

// cutError says that the tokens behind a mistake are parts of a text. Reading them
// as settings would tell of mistakes that there are not.
type cutError struct{ error }

func (e cutError) Unwrap() error { return e.error }

// tornError says that behind a mistake blocks may begin and end in wrong places. What
// is defined there may seem to be missing.
type tornError struct{ error }

func (e tornError) Unwrap() error { return e.error }

// isTorn reports whether names may be missing only because of a mistake in the form
// of the blocks.
func isTorn(err error) bool {
	_, cut := errors.AsType[cutError](err)
	_, torn := errors.AsType[tornError](err)
	return cut || torn
}

// read reads the block that follows on the dispenser's line, if there is one. It goes
// on behind a mistake, so that all mistakes of a file are told together.
func (lv *level[T]) read(d *caddyfile.Dispenser, to *T) (tried, error) {
	seen := make(map[string]caddyfile.Token)
	had := make(tried)
	var wrong config.Findings
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		inside := d.Nesting()
		if err := lv.readSetting(d, to, seen, had); err != nil {
			wrong.Add("", err)
			if cut := (cutError{}); errors.As(err, &cut) {
				had[""] = true
				break
			}
			skipSetting(d, inside)
		}
	}
	return had, wrong.Err()
}

// readSetting reads the setting at which the dispenser stands.
func (lv *level[T]) readSetting(d *caddyfile.Dispenser, to *T, seen map[string]caddyfile.Token, had tried) error {
	name := d.Token()
	l := &line{d: d, words: []caddyfile.Token{name}, args: d.RemainingArgsAsTokens(), seen: seen}
	s := lv.find(name.Text)
	if s == nil {
		had[lv.meant(name.Text)] = true
		return lv.takeUnknown(l, to)
	}
	had[s.name] = true
	if !s.repeat {
		if err := s.onlyOnce(name, seen); err != nil {
			return err
		}
	}
	return s.take(l, to)
}

// takeUnknown returns the error for a line whose setting is not in the table, and
// reads what of it others may need.
func (lv *level[T]) takeUnknown(l *line, to *T) error {
	name := l.words[0].Text
	err := lv.unknown(l.words[0])
	opens := l.opensBlock()
	if s := lv.find(lv.meant(name)); s != nil {
		switch {
		case s.block && opens && names.Nearest(name, lv.names()) == s.name:
			// A misspelt word before a block: what is wrong in the block is told as well.
			var wrong config.Findings
			wrong.Add("", err)
			wrong.Add("", s.take(l, to))
			return wrong.Err()
		case !s.block && !opens:
			// If the line can be read as what it is likely to be, it is checked as that.
			_ = s.take(l, to)
		case s.standIn != nil:
			s.standIn(l, to)
		}
		return err
	}
	if slices.Contains(homes[name], relayLevelName) || lv.name == relayLevelName && (len(homes[name]) > 0 || opens || len(l.args) > 1) {
		return tornError{err}
	}
	for i := range lv.settings {
		if s := &lv.settings[i]; s.named && s.standIn != nil {
			s.standIn(l, to)
		}
	}
	return err
}

// skipSetting moves the dispenser behind what is left of a setting, its block
// included. The setting stands in a block of that nesting.
func skipSetting(d *caddyfile.Dispenser, nesting int) {
	d.RemainingArgs()
	for d.NextBlock(nesting) {
	}
}

// pick reads a line whose first argument says which of the level's settings it
// is, as in `auth bearer VALUE`.
func (lv *level[T]) pick(l *line, to *T) error {
	name := l.args[0].Text
	kind := &line{d: l.d, words: append(l.words, l.args[0]), args: l.args[1:], seen: l.seen}
	if s := lv.find(name); s != nil {
		return s.take(kind, to)
	}
	var wrong config.Findings
	wrong.Add("", errAt(l.args[0], "%w", names.Unknown(lv.name+" kind", name, lv.names(), "")))
	if s := lv.find(names.Nearest(name, lv.names())); s != nil && s.block && l.opensBlock() {
		wrong.Add("", s.take(kind, to))
	}
	return wrong.Err()
}

func (lv *level[T]) find(name string) *setting[T] {
	for i := range lv.settings {
		if lv.settings[i].name == name {
			return &lv.settings[i]
		}
	}
	return nil
}

// unknown returns the error for a setting that is not in the table.
func (lv *level[T]) unknown(name caddyfile.Token) error {
	if err := refuseTag(name); err != nil {
		return err
	}
	home := ""
	if len(homes[name.Text]) > 0 {
		// Mostly due to a brace too few or too many.
		home = fmt.Sprintf(" (%s belongs in %s)", name.Text, strings.Join(homes[name.Text], " or "))
	}
	meant := names.DidYouMean(lv.meant(name.Text))
	if meant == "" {
		meant = "."
	}
	return errAt(name, "unknown setting %s in %s%s%s It takes: %s",
		name.Text, lv.name, home, meant, strings.Join(lv.names(), ", "))
}

// otherWords are words that people write for a setting, from other
// configurations, and that are not spelled like it.
var otherWords = map[string]string{
	"if": "when", "where": "when", "condition": "when",
	"then": "do", "run": "do", "call": "do",
	"rule": "on", "event": "on",
	"url": "post", "method": "post",
	"token": "auth", "secret": "auth", "key": "auth",
	"content": "body", "data": "body",
	"retries": "retry_for", "retry": "retry_for",
	"smtp": "mail", "email": "mail", "recipient": "to", "title": "subject", "message": "text",
}

// meant returns the setting that an unknown one is likely to be, "" if none is.
func (lv *level[T]) meant(name string) string {
	if other := otherWords[name]; other != "" && lv.find(other) != nil {
		return other
	}
	return names.Nearest(name, lv.names())
}

func (lv *level[T]) names() []string {
	names := make([]string, len(lv.settings))
	for i, s := range lv.settings {
		names[i] = s.name
	}
	return names
}

func (s *setting[T]) onlyOnce(name caddyfile.Token, seen map[string]caddyfile.Token) error {
	key := s.excludes
	if key == "" {
		key = s.name
	}
	first, given := seen[key]
	if !given {
		seen[key] = name
		return nil
	}
	if first.Text == name.Text {
		return errAt(name, "%s is given twice, first at %s; keep one of them", name.Text, place(first))
	}
	return errAt(name, "%s cannot be given beside %s, at %s; keep one of them", name.Text, first.Text, place(first))
}

// take checks the shape of a line and reads it, or lets something stand in for it.
func (s *setting[T]) take(l *line, to *T) error {
	err := s.checkShape(l)
	if err == nil {
		return s.read(l, to)
	}
	if s.block && s.most >= 0 && len(l.args) > s.most && l.opensBlock() && !isTorn(err) {
		// Words too many before a block: what is wrong in the block is told as well.
		l.args = l.args[:s.most]
		var wrong config.Findings
		wrong.Add("", err)
		wrong.Add("", s.read(l, to))
		return wrong.Err()
	}
	if s.standIn != nil {
		s.standIn(l, to)
	}
	return err
}

func (s *setting[T]) checkShape(l *line) error {
	if err := l.refuseCutHeredoc(); err != nil {
		return err
	}
	for _, arg := range l.args {
		if err := refuseTag(arg); err != nil {
			return err
		}
	}
	if !s.block {
		if err := l.refuseBlock(); err != nil {
			return err
		}
	}
	if len(l.args) < s.least || s.most >= 0 && len(l.args) > s.most {
		return s.wrongCount(l)
	}
	return nil
}

func (s *setting[T]) wrongCount(l *line) error {
	words := make([]string, len(l.words))
	for i, word := range l.words {
		words[i] = word.Text
	}
	name := strings.Join(words, " ")
	if s.most == 0 && s.wants == "" {
		return l.errf("%s takes nothing after it, but %q follows", name, l.args[0].Text)
	}
	verb := "needs"
	if s.least == 0 {
		verb = "takes"
	}
	return l.errf("%s %s %s: %s %s", name, verb, s.wants, name, s.usage)
}

// opensBlock reports whether a block follows the line.
func (l *line) opensBlock() bool {
	if !l.d.Next() {
		return false
	}
	defer l.d.Prev()
	return opens(l.d.Token())
}

// refuseBlock returns an error if a block follows the line. The likeliest
// reason is not a block at all, but `caddy fmt`: it takes a template that
// stands without quotes for one.
func (l *line) refuseBlock() error {
	if !l.d.Next() {
		return nil
	}
	defer l.d.Prev()
	if brace := l.d.Token(); brace.Text != "{" || brace.Quoted() {
		return nil
	}
	name := l.words[0].Text
	if l.d.Next() {
		defer l.d.Prev()
		if rest := l.d.Token(); !rest.Quoted() && strings.HasPrefix(rest.Text, "{") && strings.Contains(rest.Text, "}") {
			return l.errf("%s opens no block; this looks like a template without quotes, which `caddy fmt` has torn apart: "+
				"remove the braces and line breaks that it added, and put the template in quotes: \"…{%s…\"", name, rest.Text)
		}
	}
	return l.errf("%s opens no block: remove the { after it, or put it in quotes if it belongs to a text", name)
}

// refuseCutHeredoc returns an error if a heredoc of the line has ended inside
// its own text. Caddy ends one at the first place where its closing word stands,
// also in the middle of another word: then more follows it on the line, or nothing
// is left of its first line.
func (l *line) refuseCutHeredoc() error {
	for i, arg := range l.args {
		if isHeredoc(arg) && (i < len(l.args)-1 || strings.TrimSpace(arg.Text) == "") {
			return cutError{errAt(arg, "the heredoc after %s ends before its text does, because its closing word stands in the text: "+
				"choose a word that does not, such as <<END_OF_TEXT", l.words[0].Text)}
		}
	}
	return nil
}

// isHeredoc reports whether a token was written as a heredoc: it is quoted, and
// its raw text has no quotes.
func isHeredoc(token caddyfile.Token) bool {
	d := caddyfile.NewDispenser([]caddyfile.Token{token})
	return d.Next() && token.Quoted() && d.ValRaw() == token.Text
}

// refuseTag returns an error for a template without quotes. Caddy would read
// it, until `caddy fmt` takes its braces for blocks.
func refuseTag(token caddyfile.Token) error {
	if token.Quoted() || !strings.Contains(token.Text, "{{") {
		return nil
	}
	whole := token.Text
	if !strings.Contains(whole, "}}") {
		whole += " … }}"
	}
	return errAt(token, "a template needs quotes, or `caddy fmt` would tear it apart: put the whole of %s in \"…\"", whole)
}

// unique returns an error if the block has something of that kind and name
// already.
func (l *line) unique(kind, name string) error {
	key := kind + " " + name
	if first, given := l.seen[key]; given {
		return l.errf("%s is defined twice, first at %s; rename or remove one of them", key, place(first))
	}
	l.seen[key] = l.words[0]
	return nil
}

// each reads the arguments from one on, each by itself, so that a mistake in one does
// not hide those in others.
func (l *line) each(from int, read func(i int, arg caddyfile.Token) error) error {
	var wrong config.Findings
	for i := from; i < len(l.args); i++ {
		wrong.Add("", read(i, l.args[i]))
	}
	return wrong.Err()
}

// errf returns an error at the place of the line.
func (l *line) errf(format string, args ...any) error { return errAt(l.words[0], format, args...) }

// place returns where the line stands, as the configuration keeps it.
func (l *line) place() string { return place(l.words[0]) }

// text returns an argument's text, or "" if there are not as many.
func (l *line) text(i int) string {
	if i < len(l.args) {
		return l.args[i].Text
	}
	return ""
}

// errAt returns an error that ends with the place of a token, in the form of
// Caddy's own. Of a token that was imported, the lines that import it follow.
func errAt(token caddyfile.Token, format string, args ...any) error {
	d := caddyfile.NewDispenser([]caddyfile.Token{token})
	d.Next()
	chain := ""
	if _, imports, imported := strings.Cut(d.Err("").Error(), " import chain "); imported {
		chain = " import chain " + directories.ReplaceAllString(imports, "'")
	}
	var wrong config.Findings
	wrong.Add(place(token)+chain, fmt.Errorf(format, args...))
	return wrong[0]
}

// directories finds the directories of the files in Caddy's import chain.
var directories = regexp.MustCompile(`'[^']*/`)

// place returns where a token stands, by the file's base name: imported files
// come with absolute paths, and messages and the history are to say the same
// wherever the configuration lies.
func place(token caddyfile.Token) string {
	return fmt.Sprintf("%s:%d", filepath.Base(token.File), token.Line)
}

// homes maps the name of a setting to the blocks that it may stand in.
var homes = make(map[string][]string)

func init() {
	note(&relayLevel)
	note(&postgresLevel)
	note(&parameterLevel)
	note(&sourceLevel)
	note(&hmacLevel)
	note(&standardWebhooksLevel)
	note(&actionLevel)
	note(&mailLevel)
	note(&ruleLevel)
	note(&mountLevel)
	note(&consoleLevel)
}

func note[T any](lv *level[T]) {
	for _, name := range lv.names() {
		homes[name] = append(homes[name], lv.name)
	}
}
