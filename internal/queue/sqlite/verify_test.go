package sqlite

import (
	"context"
	"sync"
	"testing"
	"time"
)

// However many ask for a check at once, deliveries can be read meanwhile.
func TestChecksLeaveReadersToOthers(t *testing.T) {
	db := benchOpen(t, Options{MinFree: -1})
	db.readers.bar(time.Second) // whoever reads waits in its place
	var checks sync.WaitGroup
	for range 2 * readersAtOnce {
		checks.Go(func() {
			if _, err := db.Verify(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "a check begins", func() bool { return len(db.readers.slots) > 0 })
	for deadline := time.Now().Add(30 * time.Millisecond); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if n := len(db.readers.slots); n > 1 {
			t.Errorf("the checks hold %d of %d places", n, readersAtOnce)
			break
		}
	}
	db.readers.unbar()
	checks.Wait()
}
