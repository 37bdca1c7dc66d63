package sqlite

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// crashed returns the files of a queue as a crash leaves them, with events that
// stand in the write-ahead log only.
func crashed(t testing.TB, events int) (db, log []byte) {
	t.Helper()
	open := benchOpen(t, Options{MinFree: -1})
	for range events {
		if _, err := open.Put(context.Background(), []queue.Entry{benchEntry("x")}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(suffix string) []byte {
		data, err := os.ReadFile(open.file + suffix)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	return read(""), read("-wal")
}

// reopened opens a queue with these files, and returns how many events it has.
func reopened(t *testing.T, db, log []byte) (*DB, int) {
	t.Helper()
	dir := t.TempDir()
	for suffix, data := range map[string][]byte{"": db, "-wal": log} {
		if err := os.WriteFile(filepath.Join(dir, database.FileName+suffix), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opened := benchOpen(t, Options{Dir: dir, MinFree: -1})
	// A page may end early, so all are read.
	events, after := 0, queue.Cursor("")
	for {
		page, err := opened.Page(context.Background(), queue.Filter{}, queue.NewestFirst, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if events, after = events+len(page.Events), page.Next; after == "" {
			return opened, events
		}
	}
}

// Whatever bits of a write-ahead log flip, a copy of it is kept as it was found, and
// it is said whether events are missing. Most single bits are restored. What cannot be
// told from the checksum are the high bits of a number in a page that is not written
// again.
func TestFlippedBitsInTheLog(t *testing.T) {
	t.Parallel()
	const events = 20
	db, log := crashed(t, events)
	if _, n := reopened(t, db, log); n != events {
		t.Fatalf("an undamaged log has %d events, want %d", n, events)
	}
	frame := func(n int) int { return database.LogHeaderSize + n*database.FrameSize }
	places := []int{0, 9, 17, 22, 27, frame(3) + 1, frame(3) + 9, frame(3) + 13, frame(3) + 17, frame(3) + 23, frame(4) - 1, len(log) - 1, len(log) - database.FrameSize + 7}
	for at := 100; at < len(log); at += len(log)/50 + 1 {
		places = append(places, at)
	}
	var mended, lossy, missing [3]int
	for _, at := range places {
		for _, width := range []int{1, 2} {
			flipped := bytes.Clone(log)
			flipped[at] ^= byte(1<<width-1) << (at % 7)
			opened, n := reopened(t, db, flipped)
			kept := opened.keptLogs()
			says := ""
			switch {
			case n < events:
				lossy[width]++
				missing[width] += events - n
				says = "may be missing"
			case len(kept) > 0 && strings.Contains(kept[0], mendedLog):
				mended[width]++
				says = "nothing is missing"
			default: // what is behind the damage is no event
				says = "may be missing"
			}
			if len(kept) != 1 {
				t.Errorf("byte %d: %d events are missing, and the copies are %q", at, events-n, kept)
				continue
			}
			if copied, err := os.ReadFile(kept[0]); err != nil || !bytes.Equal(copied, flipped) {
				t.Errorf("byte %d: the copy is not the log as it was found (%v)", at, err)
			}
			told := func(text string) bool { return strings.Contains(text, kept[0]) && strings.Contains(text, says) }
			troubles := opened.Troubles()
			if len(troubles) != 1 || troubles[0].Kind != queue.TroubleLog || !told(troubles[0].Message) {
				t.Errorf("byte %d: the troubles are %+v", at, troubles)
			}
			if found, err := opened.Verify(context.Background()); err != nil || len(found) != 1 || !told(found[0]) {
				t.Errorf("byte %d: the check found %q and gave %v", at, found, err)
			}
			// Told until the copy is deleted, also after a restart.
			if err := os.Remove(kept[0]); err != nil {
				t.Fatal(err)
			}
			if troubles := opened.Troubles(); len(troubles) > 0 {
				t.Errorf("byte %d: with the copy deleted there still is %+v", at, troubles)
			}
			opened.Close()
		}
	}
	t.Logf("of %d logs with one bit and with two bits flipped %v were restored, and %v lost events, %v in all", len(places), mended[1:], lossy[1:], missing[1:])
	if mended[1] < len(places)/2 || lossy[2] < 10 {
		t.Error("this shows little")
	}
}
