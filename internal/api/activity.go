package api

import (
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// MostPerPage bounds what one answer of the activity holds in memory.
const MostPerPage = 1000

// ActivityPage is a page of events, newest first.
type ActivityPage struct {
	Events []queue.Summary `json:"events"`
	// Next is the value of after for the following page, absent at the end.
	Next string `json:"next,omitempty"`
	// Early says that the search ended because it took long, and Reached down to
	// which time of receipt it looked.
	Early   bool      `json:"early,omitempty"`
	Reached time.Time `json:"reached,omitzero"`
}

func activity(c *call) (any, error) {
	query := c.r.URL.Query()
	filter, err := parseFilter(query, c.now())
	if err != nil {
		return nil, err
	}
	count, err := parseCount("n", query.Get("n"), 50, MostPerPage)
	if err != nil {
		return nil, err
	}
	page, err := c.Runtime.Store().Page(c.r.Context(), filter, queue.NewestFirst, queue.Cursor(query.Get("after")), count)
	if err != nil {
		return nil, err
	}
	inspect.SayWhy(c.Runtime, page.Events)
	return ActivityPage{Events: list(page.Events), Next: string(page.Next), Early: page.Early, Reached: page.Reached}, nil
}

func event(c *call) (any, error) { return inspect.Show(c.r.Context(), c.Runtime, c.name) }

func stored(c *call) (any, error) { return inspect.Stored(c.r.Context(), c.Runtime, c.name) }

// ExplainedThen is what the configuration of its time did about an event.
type ExplainedThen struct {
	Explanation inspect.Explanation `json:"explanation"`
	// Snapshot is that configuration, without its text.
	Snapshot inspect.Snapshot `json:"snapshot"`
}

func explain(c *call) (any, error) {
	by := c.r.URL.Query().Get("by")
	at, err := parseMoment("at", c.r.URL.Query().Get("at"), c.now())
	switch {
	case err != nil:
		return nil, err
	case by == "":
		return inspect.Explain(c.r.Context(), c.Runtime, c.name, at)
	case by == "then" && !at.IsZero():
		return nil, wrong("at", "reading the query: by=then is at the time when the event came; give by or at")
	case by == "then":
		explanation, snapshot, err := inspect.ExplainThen(c.r.Context(), c.Runtime, c.name)
		if err != nil {
			return nil, err
		}
		snapshot.Text, snapshot.Changes = "", ""
		return ExplainedThen{Explanation: explanation, Snapshot: snapshot}, nil
	}
	return nil, wrong("by", "reading the query: by can be then, for the configuration that was in force when the event came, but it is %q", by)
}

func backlog(c *call) (any, error) {
	waiting, err := inspect.BacklogOf(c.r.Context(), c.Runtime)
	return list(waiting), err
}

// Rejections lists refused requests, and when each credential was last used.
type Rejections struct {
	Rejections  []relay.Rejection `json:"rejections"`
	Credentials []receive.Use     `json:"credentials"`
	// Secrets says which secrets were left out or have changed since they were read.
	Secrets []string `json:"secrets"`
}

func rejections(c *call) (any, error) {
	answer := Rejections{Rejections: list(c.Runtime.Rejections()), Credentials: []receive.Use{}, Secrets: []string{}}
	if generation := c.Runtime.Generation(); generation != nil {
		answer.Credentials, answer.Secrets = list(generation.Receiver.Uses()), list(generation.SecretWarnings())
	}
	return answer, nil
}
