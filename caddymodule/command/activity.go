package command

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

func activityCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "activity",
		Short: "Lists events, newest first, with what was decided and what became of it",
		Long: `
Lists events, newest first, with the verdict on each and the state of its
deliveries. All filters that are given must hold.

With --follow, the list begins with the oldest of the newest events, and goes on
with each event that comes or changes, until Ctrl-C. After a reload or a restart
it connects to the relay again. With --json, each event is a line of its own.

--text reads the stored events themselves and may take long: after half a minute
the search ends and says how far it looked.`,
		Example: `  caddy event-relay activity
  caddy event-relay activity --since 3d --state failed
  caddy event-relay activity --since tuesday --until wednesday --text Nordlicht
  caddy event-relay activity --follow --source pbx
  caddy event-relay activity --event project_created --json`,
		Args: cobra.NoArgs,
		RunE: talking(runActivity),
	}
	addFilter(command)
	command.Flags().IntP("number", "n", 20, "How many events to list")
	command.Flags().BoolP("follow", "f", false, "Go on with events as they come and change")
	return command
}

// searchFor bounds how long events are searched for.
const searchFor = 30 * time.Second

func runActivity(i *invocation, client *adminClient) error {
	wanted := i.Int("number")
	if wanted < 1 {
		return fmt.Errorf("reading --number: %d is not a number of events; use 1 or more", wanted)
	}
	filter, err := i.filter(client)
	if err != nil {
		return err
	}
	if i.Bool("follow") {
		if filter.Has("until") {
			return errors.New("following the activity: --until has no meaning with --follow")
		}
		return follow(i, client, filter, wanted)
	}
	progress := i.progress()
	list, err := client.activity(i.context, filter, wanted, progress)
	progress.end()
	if err != nil {
		return err
	}
	if i.Bool("json") {
		return writeJSON(i.out, list)
	}
	i.noteZone()
	return writeActivity(i.out, i.report, list, filter, terminalWidth(i.out))
}

// activity returns the newest events that a filter passes. The relay ends a
// search that takes long, and says where to go on.
func (c *adminClient) activity(ctx context.Context, filter url.Values, wanted int, progress *progress) (api.ActivityPage, error) {
	query := url.Values{}
	for key := range filter {
		query.Set(key, filter.Get(key))
	}
	list := api.ActivityPage{Events: []queue.Summary{}}
	for began := time.Now(); ; {
		query.Set("n", strconv.Itoa(min(wanted-len(list.Events), api.MostPerPage)))
		var page api.ActivityPage
		if _, err := c.get(ctx, "activity", query, &page); err != nil {
			return list, err
		}
		list.Events = append(list.Events, page.Events...)
		list.Next = page.Next
		if page.Next == "" || len(list.Events) >= wanted {
			return list, nil
		}
		if page.Early {
			progress.show(fmt.Sprintf("Searching: %d found, looked back to %s", len(list.Events), moment(page.Reached)))
			if time.Since(began) > searchFor {
				list.Early, list.Reached = true, page.Reached
				return list, nil
			}
		}
		query.Set("after", page.Next)
	}
}
