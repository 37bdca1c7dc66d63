package postgres

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// troubles are what is wrong with a queue right now. It is safe for concurrent
// use.
type troubles struct {
	mu sync.Mutex
	of map[queue.TroubleKind]queue.Trouble
}

// begin notes a trouble. If there is one of its kind, only what it says changes.
// It reports whether that is news.
func (t *troubles) begin(kind queue.TroubleKind, message string, refusing bool) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, there := t.of[kind]
	if !there {
		known.Since = time.Now()
	}
	news = known.Message != message
	if t.of == nil {
		t.of = make(map[queue.TroubleKind]queue.Trouble)
	}
	t.of[kind] = queue.Trouble{Kind: kind, Message: message, Since: known.Since, Refusing: refusing}
	return news
}

// end notes that a trouble is over, and reports whether there was one.
func (t *troubles) end(kind queue.TroubleKind) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, there := t.of[kind]
	delete(t.of, kind)
	return there
}

// Troubles implements queue.Engine.
func (db *DB) Troubles() []queue.Trouble {
	db.troubles.mu.Lock()
	defer db.troubles.mu.Unlock()
	list := make([]queue.Trouble, 0, len(db.troubles.of))
	for _, one := range db.troubles.of {
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b queue.Trouble) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}
