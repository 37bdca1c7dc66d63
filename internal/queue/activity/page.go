package activity

import (
	"fmt"
	"strconv"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
)

// pageTime bounds how long one page may search, and textTime one that looks for
// a text. What it has found by then is the page, and its cursor goes on from
// there: a filter that few events pass costs many short transactions and never a
// long one.
const (
	pageTime = 50 * time.Millisecond
	textTime = 60 * time.Millisecond
)

// LeastSearched is how many events a page looks at even when its time is over, or a
// search of a few events would end early on a machine that is busy.
const LeastSearched = 100

// longestPage bounds a page.
const longestPage = 1000

// BytesOfPage bounds the bodies in a page that has them: it ends with the event that
// goes beyond.
const BytesOfPage = 1 << 20

// SearchTime returns how long a page may search.
func SearchTime(filter *queue.Filter) time.Duration {
	if filter.Text != "" {
		return textTime
	}
	return pageTime
}

// PageFrom returns the event behind which a page begins, layout.MaxEvent or 0 where it
// begins at the end, and how many events it may hold.
func PageFrom(order queue.Order, after queue.Cursor, n int) (event int64, room int, err error) {
	event = layout.MaxEvent
	if order == queue.OldestFirst {
		event = 0
	}
	if after != "" {
		if event, err = strconv.ParseInt(string(after), 10, 64); err != nil || event < 0 || event > layout.MaxEvent {
			return 0, 0, fmt.Errorf("%q is %w", after, queue.ErrCursor)
		}
	}
	if n < 1 {
		return 0, 0, fmt.Errorf("a page must have room for at least 1 event, not %d", n)
	}
	return event, min(n, longestPage), nil
}

// Cursor returns the cursor of the page that follows an event.
func Cursor(event int64) queue.Cursor { return queue.Cursor(strconv.FormatInt(event, 10)) }
