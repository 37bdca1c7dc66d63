package postgres

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

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

// has reports whether there is a trouble of a kind.
func (t *troubles) has(kind queue.TroubleKind) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, there := t.of[kind]
	return there
}

// failing notes that the database cannot be written.
func (db *DB) failing(err error) {
	remedy := "events are refused until it can be again"
	switch {
	case fateOf(err) == overfull:
		remedy = "its disk is full: make room there; " + remedy
	case isReadOnly(err):
		remedy = "it is a standby or was made read-only: name all servers in the DSN and add target_session_attrs=read-write; " + remedy
	}
	db.mu.Lock()
	db.failed, db.unwritable = true, true
	db.mu.Unlock()
	if db.troubles.begin(queue.TroubleUnwritable, fmt.Sprintf("the database cannot be written: %v; %s", err, remedy), true) {
		db.logger.Error("the queue cannot be written", zap.Error(err))
	}
}

func isReadOnly(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == readOnly
}

// working notes that the database can be written.
func (db *DB) working() {
	db.mu.Lock()
	failed := db.failed
	db.failed, db.unwritable = false, false
	if failed {
		for _, l := range db.lanes {
			l.signal()
		}
	}
	db.mu.Unlock()
	if failed && db.troubles.end(queue.TroubleUnwritable) {
		db.logger.Info("the queue can be written again", zap.String("schema", db.options.Schema))
	}
}
