package api

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile/printer"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/replay"
	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// rehearsedText is the name of the text of a rehearsal in places: rehearsal:12.
const rehearsedText = "rehearsal"

// ConfigurationText is the running configuration as text of a Caddyfile, to begin a
// rehearsal with.
type ConfigurationText struct {
	// Text is an event_relay block. Secrets that the Caddyfile itself holds are ***
	// in it, and Masked says that there are some.
	Text   string `json:"text"`
	Masked bool   `json:"masked,omitempty"`
	// Missing says what a Caddyfile cannot hold, which is not in Text.
	Missing string     `json:"missing,omitempty"`
	Rules   []RuleText `json:"rules"`
}

// RuleText is one rule of the running configuration as text of a Caddyfile.
type RuleText struct {
	replay.RuleAt
	Events      []string `json:"events"`
	Description string   `json:"description,omitempty"`
	Text        string   `json:"text"`
}

// Checked is what is wrong with the text of a rehearsal.
type Checked struct {
	// Whole says that the text is a whole configuration, Rules how many rules it has.
	Whole    bool      `json:"whole"`
	Rules    int       `json:"rules"`
	Mistakes []Mistake `json:"mistakes"`
}

// Mistake is one thing that is wrong with the text of a rehearsal.
type Mistake struct {
	// Line counts from 1. It is 0 if the mistake is at no line of the text: Place then
	// says where it is, if that is known.
	Line  int    `json:"line,omitempty"`
	Place string `json:"place,omitempty"`
	Text  string `json:"text"`
}

func rehearsalText(c *call) (any, error) {
	settings, err := replay.Running(c.Runtime)
	if err != nil {
		return nil, err
	}
	answer := ConfigurationText{Rules: make([]RuleText, len(settings.Rules))}
	if answer.Text, err = printer.Relay(&settings); err != nil {
		answer.Missing = err.Error()
	}
	answer.Masked = strings.Contains(answer.Text, secret.Masked)
	for i := range settings.Rules {
		rule := &settings.Rules[i]
		text, err := printer.Rule(rule, i)
		if err != nil {
			answer.Missing = err.Error()
		}
		answer.Rules[i] = RuleText{RuleAt: replay.RuleAt{Number: i + 1, Place: rule.Place}, Events: list(rule.Events), Description: rule.Description, Text: text}
	}
	return answer, nil
}

// rehearsed is what a request says to rehearse.
type rehearsed struct {
	IDs    []string          `json:"ids"`
	Filter map[string]string `json:"filter"`
	Text   string            `json:"text"`
	// Replace is the rule that the rules of a part take the place of.
	Replace *replay.RuleAt `json:"replace"`
}

// read reads the text. What is wrong with it are findings of config.
func (w *rehearsed) read(c *call) (replay.Rehearsal, error) {
	settings, whole, err := c.ReadCaddyfile(w.Text, rehearsedText)
	if err == nil && whole && w.Replace != nil {
		err = errors.New("the text is a whole configuration: only rules can take the place of a rule")
	}
	if err == nil && !whole && w.Replace != nil && len(settings.Rules) == 0 {
		err = errors.New("the text has no rule that could take the place of another")
	}
	return replay.Rehearsal{Settings: settings, Whole: whole, Replace: w.Replace}, err
}

func rehearsalCheck(c *call) (any, error) {
	var wanted rehearsed
	if err := c.decode(smallBody, &wanted); err != nil {
		return nil, err
	}
	if wanted.IDs != nil || wanted.Filter != nil {
		return nil, wrong("filter", "checking a text: no events are looked at, so leave ids and filter out")
	}
	rehearsal, err := wanted.read(c)
	checked := Checked{Whole: rehearsal.Whole, Rules: len(rehearsal.Settings.Rules), Mistakes: []Mistake{}}
	var found config.Findings
	found.Add("", withoutWrapping(err))
	// Also what could be read of a text with mistakes has a meaning.
	if err == nil || wanted.Replace == nil || checked.Rules > 0 {
		err = rehearsal.Check(c.Runtime)
		if errors.Is(err, relay.ErrNotInService) {
			return nil, err
		}
		var meaning config.Findings
		meaning.Add("", withoutWrapping(err))
		found.AddNew(meaning...)
	}
	lines := strings.Count(wanted.Text, "\n") + 1
	for _, one := range found {
		checked.Mistakes = append(checked.Mistakes, mistakeOf(one, lines))
	}
	return checked, nil
}

// withoutWrapping returns the mistakes of a configuration without what says that they
// are of one.
func withoutWrapping(err error) error {
	if input, ok := errors.AsType[*relay.WrongInput](err); ok {
		err = input.Err
	}
	if several, ok := errors.AsType[config.Mistakes](err); ok {
		return several
	}
	return err
}

func mistakeOf(err error, lines int) Mistake {
	placed, ok := errors.AsType[*config.Mistake](err)
	if !ok {
		return Mistake{Text: err.Error()}
	}
	text := strings.TrimSuffix(err.Error(), ", at "+placed.Place)
	if number, inText := strings.CutPrefix(placed.Place, rehearsedText+":"); inText {
		if line, err := strconv.Atoi(number); err == nil && line > 0 {
			return Mistake{Line: min(line, lines), Text: text}
		}
	}
	return Mistake{Place: placed.Place, Text: text}
}

func rehearse(c *call) error {
	var wanted rehearsed
	if err := c.decode(smallBody, &wanted); err != nil {
		return err
	}
	chosen := chosen{IDs: wanted.IDs, Filter: wanted.Filter}
	selection, err := chosen.selection(c)
	if err != nil {
		return err
	}
	rehearsal, err := wanted.read(c)
	if err != nil {
		return wrong("text", "reading the text: %w", err)
	}
	return c.long(func(ctx context.Context, progress func(replay.Progress)) (any, error) {
		return replay.Rehearse(ctx, c.Runtime, selection, rehearsal, progress)
	})
}
