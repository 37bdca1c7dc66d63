package history_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/history"
)

func TestPageOfEventsEndsWithLargeBodies(t *testing.T) {
	q := open(t)
	var want, got []string
	for i := range 7 {
		e := entry()
		size := 600 << 10
		if i == 3 {
			size = 2 << 20 // alone is enough
		}
		e.Event.RawBody = []byte(`"` + strings.Repeat("y", size) + `"`)
		want = append(want, e.Event.ID)
		put(t, q, e)
	}
	slices.Reverse(want)
	for after := queue.Cursor(""); ; {
		page, err := q.Events(context.Background(), queue.Filter{}, queue.NewestFirst, after, 100)
		if err != nil || len(page.Events) > 2 {
			t.Fatalf("the page has %d events and %v, want at most 2", len(page.Events), err)
		}
		for _, e := range page.Events {
			got = append(got, e.Summary.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages have %q, want %q", got, want)
	}
}

// TestPageSearchesSomeEventsWhateverTheTime keeps a page whole that is filled by few
// events on a busy machine, and ends one early that a filter lets search on and on.
func TestPageSearchesSomeEventsWhateverTheTime(t *testing.T) {
	history.WithoutSearchTime(t)
	q := open(t)
	entries := make([]queue.Entry, 150)
	for i := range entries {
		entries[i] = entry()
	}
	for _, e := range entries {
		put(t, q, e)
	}
	for _, filter := range []queue.Filter{{}, {Text: "id"}} {
		if page, err := q.Page(context.Background(), filter, queue.NewestFirst, "", 50); err != nil || len(page.Events) != 50 || page.Early {
			t.Errorf("%+v: the page has %d events, early %v, error %v; want 50", filter, len(page.Events), page.Early, err)
		}
	}
	page, err := q.Page(context.Background(), queue.Filter{Text: "elsewhere"}, queue.NewestFirst, "", 50)
	if err != nil || !page.Early || page.Next == "" || page.Reached.IsZero() {
		t.Errorf("a search that finds nothing ended with %+v and %v, want it to end early", page, err)
	}
}
