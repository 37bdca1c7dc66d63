package api

import "strconv"

func status(c *call) (any, error) { return c.Runtime.Status(c.r.Context()) }

func catalogue(c *call) (any, error) { return list(c.Runtime.Catalogue()), nil }

func fields(c *call) (any, error) {
	query := c.r.URL.Query()
	for _, field := range []string{"source", "event"} {
		if query.Get(field) == "" {
			return nil, wrong(field, "reading the query: %s is missing; both source and event are needed", field)
		}
	}
	seen, err := c.Runtime.FieldsSeen(c.r.Context(), query.Get("source"), query.Get("event"))
	seen.Fields = list(seen.Fields)
	return seen, err
}

func actions(c *call) (any, error) {
	listed, err := c.Runtime.Actions(c.r.Context())
	return list(listed), err
}

func example(c *call) (any, error) { return c.Runtime.Example(c.r.Context(), c.name) }

func parameters(c *call) (any, error) { return list(c.Runtime.Parameters()), nil }

func snapshots(c *call) (any, error) {
	loaded, err := c.Runtime.Snapshots(c.r.Context())
	return list(loaded), err
}

func snapshot(c *call) (any, error) {
	id, err := strconv.ParseInt(c.name, 10, 64)
	if err != nil {
		return nil, wrong("id", "reading the id of a snapshot: %q is not a number", c.name)
	}
	return c.Runtime.Snapshot(c.r.Context(), id)
}

func check(c *call) (any, error) {
	found, err := c.Runtime.Check(c.r.Context())
	found.Database, found.Warnings = list(found.Database), list(found.Warnings)
	return found, err
}
