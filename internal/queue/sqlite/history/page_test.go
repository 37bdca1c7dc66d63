package history_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue"
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
