package command

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/api"
)

// filterFlags are the flags that choose events. They are called like the query
// keys of the admin API.
var filterFlags = []struct{ name, usage string }{
	{"since", "Only events received since then: 2h, 3d, today, tuesday, 2026-03-13, \"2026-03-13 11:40\""},
	{"until", "Only events received before then"},
	{"source", "Only events of this source"},
	{"event", "Only events of this name"},
	{"verdict", "Only events with this verdict: action, ignored, rule_error, disabled"},
	{"action", "Only events with a delivery of this action"},
	{"state", "Only events with a delivery in this state: pending, delivered, failed, expired, cancelled, mended"},
	{"tenant", "Only events of this tenant"},
	{"text", "Only events with this text in their request, id, reason, error or answer"},
}

func addFilter(command *cobra.Command) {
	for _, flag := range filterFlags {
		command.Flags().String(flag.name, "", flag.usage)
	}
}

// filter returns the filter as the admin API takes it. Times are read by the
// clock of this machine and in the time zone of the relay.
func (i *invocation) filter(client *adminClient) (url.Values, error) {
	filter := url.Values{}
	for _, flag := range filterFlags {
		text := i.String(flag.name)
		if text == "" {
			continue
		}
		if flag.name == "since" || flag.name == "until" {
			moment, err := api.ParseMoment(text, time.Now().In(client.askZone(i.context)))
			if err != nil {
				return nil, fmt.Errorf("reading --%s: %w", flag.name, err)
			}
			text = moment.Format(time.RFC3339Nano)
		}
		filter.Set(flag.name, text)
	}
	return filter, nil
}

// selection is which events or deliveries a call is about, as the admin API
// takes it.
type selection struct {
	IDs    []string          `json:"ids,omitempty"`
	Filter map[string]string `json:"filter,omitempty"`
}

// selection returns what the arguments and the filter choose. It is an
// error to choose all events. A filter leaves out events that come from now on:
// otherwise more could be sent than was counted and confirmed.
func (i *invocation) selection(client *adminClient) (selection, error) {
	filter, err := i.filter(client)
	switch {
	case err != nil:
		return selection{}, err
	case len(i.Args()) > 0 && len(filter) > 0:
		return selection{}, errors.New("choosing events: give either ids or a filter, not both; to send one delivery again, give its id (show EVENT has it), or leave out the ids: --since 2h --state failed")
	case len(i.Args()) > 0:
		return selection{IDs: i.Args()}, nil
	case len(filter) == 0:
		return selection{}, errors.New("choosing events: give ids, or a filter such as --since 2h or --action NAME; without either it would be everything there is")
	}
	chosen := selection{Filter: map[string]string{"until": time.Now().Format(time.RFC3339Nano)}}
	for key := range filter {
		chosen.Filter[key] = filter.Get(key)
	}
	return chosen, nil
}
