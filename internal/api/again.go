package api

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// chosen says which events or deliveries to do something with again, and whether
// to do it.
type chosen struct {
	IDs    []string          `json:"ids"`
	Filter map[string]string `json:"filter"`
	DryRun bool              `json:"dry_run"`
	// Configuration is what decides, and Only names the actions of which the difference
	// is made; only deciding has use for them.
	Configuration json.RawMessage `json:"configuration"`
	Only          []string        `json:"only"`
}

// selection returns what was chosen. A request without both is
// refused, so that it does not mean everything: that takes an empty filter.
func (ch *chosen) selection(c *call) (replay.Selection, error) {
	if (len(ch.IDs) > 0) == (ch.Filter != nil) {
		return replay.Selection{}, wrong("ids", "choosing events: give ids, or else a filter, which may be {} for all")
	}
	filter, err := filterOf(ch.Filter, c.now())
	return replay.Selection{IDs: ch.IDs, Filter: filter}, err
}

func resend(c *call) error {
	var wanted chosen
	if err := c.decode(smallBody, &wanted); err != nil {
		return err
	}
	if wanted.Configuration != nil {
		return wrong("configuration", "sending again: a configuration has no place here; the actions are those of the running one")
	}
	if wanted.Only != nil {
		return wrong("only", "sending again: only has no place here; choose an action with the filter action")
	}
	selection, err := wanted.selection(c)
	if err != nil {
		return err
	}
	return c.long(func(ctx context.Context, progress func(replay.Progress)) (any, error) {
		return replay.Resend(ctx, c.Runtime, selection, wanted.DryRun, progress)
	})
}

func decide(c *call) error {
	var wanted chosen
	if err := c.decode(eventBody, &wanted); err != nil {
		return err
	}
	selection, err := wanted.selection(c)
	if err != nil {
		return err
	}
	options := replay.DecideOptions{Configuration: wanted.Configuration, Dry: wanted.DryRun, Only: wanted.Only}
	if options.Only != nil && len(options.Only) == 0 {
		return wrong("only", "deciding again: only is empty; name actions, or leave it out for the whole difference")
	}
	if bytes.Equal(options.Configuration, []byte("null")) {
		options.Configuration = nil
	}
	return c.long(func(ctx context.Context, progress func(replay.Progress)) (any, error) {
		return replay.Decide(ctx, c.Runtime, selection, options, progress)
	})
}
