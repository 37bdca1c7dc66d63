package queue

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Trouble is something about a queue that an administrator should know while it
// lasts.
type Trouble struct {
	Kind TroubleKind `json:"kind"`
	// Message says what is wrong, where, and what to do about it.
	Message string `json:"message"`
	// Since is when it began, or when it was noticed.
	Since time.Time `json:"since"`
	// Refusing says that events are refused because of it, with status 503.
	Refusing bool `json:"refusing,omitempty"`
}

// TroubleKind distinguishes troubles. There is at most one trouble of a kind.
type TroubleKind string

const (
	// TroubleUnavailable means that the queue could not be opened yet.
	TroubleUnavailable TroubleKind = "unavailable"
	// TroubleUnwritable means that the queue is open and cannot be written.
	TroubleUnwritable TroubleKind = "unwritable"
	// TroubleSpace means that less space is free than must be.
	TroubleSpace TroubleKind = "min_free"
	// TroublePending means that as many deliveries are unfinished as may be.
	TroublePending TroubleKind = "max_pending"
	// TroubleLog means that accepted events may be missing after a crash, because
	// what was written last could not be read.
	TroubleLog TroubleKind = "log"
	// TroubleClock means that the clock of the machine jumped ahead.
	TroubleClock TroubleKind = "clock"
	// TroubleDamage means that something stored was found to be damaged.
	TroubleDamage TroubleKind = "damage"
)

// Troubles are what is wrong with a queue right now, as an engine keeps them. The zero
// value has none. It is safe for concurrent use.
type Troubles struct {
	mu sync.Mutex
	of map[TroubleKind]Trouble
}

// Begin notes a trouble. If there is one of its kind, only what it says changes.
// It reports whether that is news.
func (t *Troubles) Begin(kind TroubleKind, message string, refusing bool) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, there := t.of[kind]
	if !there {
		known.Since = time.Now()
	}
	news = known.Message != message
	if t.of == nil {
		t.of = make(map[TroubleKind]Trouble)
	}
	t.of[kind] = Trouble{Kind: kind, Message: message, Since: known.Since, Refusing: refusing}
	return news
}

// Damaged notes that a stored event cannot be read as it was stored.
func (t *Troubles) Damaged(event string) {
	t.Begin(TroubleDamage, fmt.Sprintf("at least one stored event is damaged, such as %s: nothing is sent of it, its deliveries fail; run %s",
		event, names.Command("check")), false)
}

// End notes that a trouble is over, and reports whether there was one.
func (t *Troubles) End(kind TroubleKind) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, there := t.of[kind]
	delete(t.of, kind)
	return there
}

// Get returns the trouble of a kind, if there is one.
func (t *Troubles) Get(kind TroubleKind) (Trouble, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one, there := t.of[kind]
	return one, there
}

// List returns all troubles, the oldest first.
func (t *Troubles) List() []Trouble {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := make([]Trouble, 0, len(t.of))
	for _, one := range t.of {
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Trouble) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Kind, b.Kind))
	})
	return list
}
