package sqlite

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// damagedLog and mendedLog are between the name of a log and the time in the name
// of a copy of it that is kept: of one that hides transactions, and of one in which
// everything could be restored.
const (
	damagedLog = ".damaged-"
	mendedLog  = ".mended-"
)

// keepDamagedLog keeps a copy of a write-ahead log of which SQLite would not read
// all that was committed, and restores in the log the bits that are known to have
// flipped. No connection may be open.
func (db *DB) keepDamagedLog() error {
	file := db.file + "-wal"
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("reading the write-ahead log: %w", err)
	}
	state, err := database.ScanLog(bufio.NewReaderSize(f, 1<<20))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("reading the write-ahead log: %w", err)
	}
	if !state.Damaged() {
		return nil
	}
	kind := damagedLog
	if state.Restored() {
		kind = mendedLog
	}
	kept := file + kind + db.now().UTC().Format("20060102T150405.000Z")
	if err := errors.Join(database.CopyFile(file, kept), database.SyncFile(kept)); err != nil {
		_ = os.Remove(kept) // it is not whole
		return fmt.Errorf("the write-ahead log %s is damaged; keeping a copy of it: %w", file, err)
	}
	if err := database.PatchLog(file, state.Patches); err != nil {
		_ = os.Remove(kept) // the next try keeps another
		return fmt.Errorf("the write-ahead log %s is damaged; restoring it: %w", file, err)
	}
	fields := []zap.Field{zap.String("file", file), zap.String("copy", kept), zap.Int("bits_restored", len(state.Patches)),
		zap.Int("frames_read", state.Committed), zap.Int("frames_lost", state.Lost), zap.Int("transactions_lost", state.LostCommits)}
	if state.Restored() {
		db.logger.Error("the write-ahead log was damaged and could be restored: nothing is missing; a copy of it as it was is kept; look after the disk", fields...)
	} else {
		db.logger.Error("the write-ahead log is damaged: what was committed behind the damage cannot be read, so events that were accepted may be missing; a copy is kept", fields...)
	}
	return nil
}

// keptLogs returns the copies of damaged logs that are kept: those of restored ones
// first, and of each kind the oldest.
func (db *DB) keptLogs() (kept []string) {
	for _, kind := range []string{mendedLog, damagedLog} { // the last is what status tells
		some, _ := filepath.Glob(globEscape(db.file) + "-wal" + kind + "*")
		slices.Sort(some)
		kept = append(kept, some...)
	}
	return kept
}

// globEscape makes a path match itself only.
func globEscape(path string) string {
	var escaped []byte
	for _, c := range []byte(path) {
		switch c {
		case '*', '?', '[', ']':
			escaped = append(escaped, '[', c, ']')
			continue
		case '\\':
			if filepath.Separator != '\\' {
				escaped = append(escaped, '\\')
			}
		}
		escaped = append(escaped, c)
	}
	return string(escaped)
}

// tellOfKeptLogs notes whether copies of damaged logs are kept, and returns what
// there is to say about them.
func (db *DB) tellOfKeptLogs() (found []string) {
	for _, kept := range db.keptLogs() {
		if strings.HasPrefix(kept, db.file+"-wal"+mendedLog) {
			found = append(found, fmt.Sprintf("the write-ahead log was damaged and could be restored: nothing is missing; "+
				"look after the disk, and delete the copy %s", kept))
			continue
		}
		found = append(found, fmt.Sprintf("the write-ahead log was damaged: events that were accepted shortly before the crash may be missing; "+
			"a copy is %s: compare with what the senders sent, and delete it when that is done", kept))
	}
	if len(found) == 0 {
		db.troubles.End(queue.TroubleLog)
		return nil
	}
	db.troubles.Begin(queue.TroubleLog, found[len(found)-1], false)
	return found
}
