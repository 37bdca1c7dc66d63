package api

import (
	"strconv"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
)

func status(c *call) (any, error) { return inspect.StatusOf(c.r.Context(), c.Runtime) }

func catalogue(c *call) (any, error) {
	return list(inspect.Catalogue(c.r.Context(), c.Runtime)), nil
}

func listRules(c *call) (any, error) {
	listed, err := inspect.Rules(c.r.Context(), c.Runtime)
	return list(listed), err
}

// TimezoneHeader is the header of each answer that names the relay's time zone. A client
// shows times in it.
const TimezoneHeader = "Event-Relay-Timezone"

// Timezone answers a client that reads times before it asks for anything else.
type Timezone struct {
	Timezone string    `json:"timezone"`
	Now      time.Time `json:"now"`
}

func timezone(c *call) (any, error) {
	now := c.now()
	return Timezone{Timezone: now.Location().String(), Now: now}, nil
}

func fields(c *call) (any, error) {
	query := c.r.URL.Query()
	for _, field := range []string{"source", "event"} {
		if query.Get(field) == "" {
			return nil, wrong(field, "reading the query: %s is missing; both source and event are needed", field)
		}
	}
	seen, err := inspect.Fields(c.r.Context(), c.Runtime, query.Get("source"), query.Get("event"))
	seen.Fields = list(seen.Fields)
	return seen, err
}

func actions(c *call) (any, error) {
	listed, err := inspect.Actions(c.r.Context(), c.Runtime)
	return list(listed), err
}

func example(c *call) (any, error) { return inspect.Example(c.r.Context(), c.Runtime, c.name) }

func written(c *call) (any, error) { return inspect.Written(c.Runtime, c.name) }

func parameters(c *call) (any, error) { return list(inspect.Parameters(c.Runtime)), nil }

func snapshots(c *call) (any, error) {
	loaded, err := inspect.Snapshots(c.r.Context(), c.Runtime)
	return list(loaded), err
}

func snapshot(c *call) (any, error) {
	id, err := strconv.ParseInt(c.name, 10, 64)
	if err != nil {
		return nil, wrong("id", "reading the id of a snapshot: %q is not a number", c.name)
	}
	return inspect.FindSnapshot(c.r.Context(), c.Runtime, id)
}

func check(c *call) (any, error) {
	found, err := inspect.Check(c.r.Context(), c.Runtime)
	found.Database, found.Warnings, found.Notes = list(found.Database), list(found.Warnings), list(found.Notes)
	return found, err
}
