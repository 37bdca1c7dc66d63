package sqlite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// After a crash SQLite reads the write-ahead log up to the first frame whose
// checksum does not fit, and takes that for its end, without a word: rightly for
// a transaction that was being written, wrongly for a bit that flipped, because
// then acknowledged events stand behind it. So the log is read here first, before
// SQLite opens it and begins it anew.
// The format is described at https://www.sqlite.org/fileformat2.html#walformat.

const (
	logHeaderSize   = 32
	frameHeaderSize = 24
	// logMagic is the first number of a log, but for its last bit, which says that
	// its checksums are of big-endian numbers.
	logMagic = 0x377f0682
	// smallestPage and largestPage bound the size of a page.
	smallestPage, largestPage = 512, 65536
)

// logState is what a write-ahead log holds.
type logState struct {
	// committed are the frames that SQLite accepts.
	committed int
	// lost are the frames of this log behind the damage, and lostCommits how many
	// of them end a transaction.
	lost, lostCommits int
}

// damaged reports whether the log holds more than a transaction that was being
// written when the program ended.
func (s logState) damaged() bool { return s.lostCommits > 0 }

// scanLog reads a write-ahead log. Its errors are of reading: whatever it holds,
// it has a state.
func scanLog(r io.Reader) (state logState, err error) {
	header := make([]byte, logHeaderSize)
	if _, err := io.ReadFull(r, header); err != nil {
		return state, ended(err)
	}
	number := func(b []byte, i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	magic, page := number(header, 0), number(header, 2)
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 != 0 {
		order = binary.BigEndian
	}
	var sum logSum
	sum.add(order, header[:24])
	whole := magic&^1 == logMagic && sum == logSum{number(header, 6), number(header, 7)}
	if page < smallestPage || page > largestPage || page&(page-1) != 0 {
		page = pageSize // what it is in our databases
	}
	salts := [2]uint32{number(header, 4), number(header, 5)}
	frame := make([]byte, frameHeaderSize+page)
	for frames := 0; ; frames++ {
		if _, err := io.ReadFull(r, frame); err != nil {
			return state, ended(err)
		}
		own := [2]uint32{number(frame, 2), number(frame, 3)}
		if frames == 0 && !whole {
			salts = own // the header cannot be trusted
		}
		commit := number(frame, 1) != 0
		if whole {
			next := sum
			next.add(order, frame[:8])
			next.add(order, frame[frameHeaderSize:])
			if own == salts && next == (logSum{number(frame, 4), number(frame, 5)}) {
				sum = next
				if commit {
					state.committed = frames + 1
				}
				continue
			}
			whole = false
		}
		// Frames of an earlier turn of the log have other salts: the first is
		// counted up at each turn, the second is random. One of them may be what is
		// damaged.
		if own[0] == salts[0] || own[1] == salts[1] {
			state.lost++
			if commit {
				state.lostCommits++
			}
		}
	}
}

// ended makes the end of a log no error.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// logSum is the checksum of a log, which goes on from frame to frame.
type logSum struct{ a, b uint32 }

func (s *logSum) add(order binary.ByteOrder, data []byte) {
	for ; len(data) >= 8; data = data[8:] {
		s.a += order.Uint32(data) + s.b
		s.b += order.Uint32(data[4:]) + s.a
	}
}

// damagedLog is between the name of a log and the time in the name of a copy of
// it that is kept.
const damagedLog = ".damaged-"

// keepDamagedLog keeps a copy of a write-ahead log of which SQLite would not read
// all that was committed. No connection may be open.
func (db *DB) keepDamagedLog() error {
	file := db.file + "-wal"
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("reading the write-ahead log: %w", err)
	}
	state, err := scanLog(bufio.NewReaderSize(f, 1<<20))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("reading the write-ahead log: %w", err)
	}
	if !state.damaged() {
		return nil
	}
	kept := file + damagedLog + db.now().UTC().Format("20060102T150405.000Z")
	if err := errors.Join(copyFile(file, kept), syncFile(kept)); err != nil {
		_ = os.Remove(kept) // it is not whole
		return fmt.Errorf("the write-ahead log %s is damaged; keeping a copy of it: %w", file, err)
	}
	db.logger.Error("the write-ahead log is damaged: what was committed behind the damage cannot be read, so events that were accepted may be missing; a copy is kept",
		zap.String("file", file), zap.String("copy", kept), zap.Int("frames_read", state.committed), zap.Int("frames_lost", state.lost), zap.Int("transactions_lost", state.lostCommits))
	return nil
}

// keptLogs returns the copies of damaged logs that are kept, oldest first.
func (db *DB) keptLogs() []string {
	kept, _ := filepath.Glob(globEscape(db.file) + "-wal" + damagedLog + "*")
	slices.Sort(kept)
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
		found = append(found, fmt.Sprintf("the write-ahead log was damaged: events that were accepted shortly before the crash may be missing; "+
			"a copy is %s: compare with what the senders sent, and delete it when that is done", kept))
	}
	if len(found) == 0 {
		db.troubles.end(queue.TroubleLog)
		return nil
	}
	db.troubles.begin(queue.TroubleLog, found[len(found)-1], false)
	return found
}
