package sqlite

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
)

// After a crash SQLite reads the write-ahead log up to the first frame whose
// checksum does not fit, and takes that for its end, without a word: rightly for
// a transaction that was being written, wrongly for a bit that flipped, because
// then acknowledged events stand behind it. So the log is read here first, before
// SQLite opens it and begins it anew. A single bit is restored where the checksum
// shows which one it was; other damage is told.
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
	// committed are the frames that SQLite accepts, once the patches are applied.
	committed int
	// patches restore single bits, without which SQLite would accept fewer frames.
	patches []logPatch
	// lost are the frames of this log behind the damage, and lostCommits how many
	// of them end a transaction.
	lost, lostCommits int
}

// logPatch is what is to be written at a place of a log.
type logPatch struct {
	at   int64
	data []byte
}

// damaged reports whether the log holds more than a transaction that was being
// written when the program ended.
func (s logState) damaged() bool { return s.lostCommits > 0 || len(s.patches) > 0 }

// scanLog reads a write-ahead log. Its errors are of reading: whatever it holds,
// it has a state.
func scanLog(r io.Reader) (state logState, err error) {
	header := make([]byte, logHeaderSize)
	if _, err := io.ReadFull(r, header); err != nil {
		return state, ended(err)
	}
	number := func(b []byte, i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	// What follows the last commit of committed: patches, frames and commits. doubtful
	// are the pages of which a frame was mended with a content that may be wrong, and
	// that no later frame has written yet.
	var patches []logPatch
	frames, commits, doubtful := 0, 0, map[uint32]bool{}
	defer func() { // frames counts those that are of no use without what is missing
		if commits > 0 {
			state.lost += frames
			state.lostCommits += commits
		}
	}()
	sum, order, whole := readLogHeader(header)
	for bit := 0; !whole && bit < 8*logHeaderSize; bit++ {
		header[bit/8] ^= 1 << (bit % 8)
		if sum, order, whole = readLogHeader(header); whole {
			patches = append(patches, logPatch{int64(bit / 8), []byte{header[bit/8]}})
		} else {
			header[bit/8] ^= 1 << (bit % 8)
		}
	}
	page := number(header, 2)
	if page < smallestPage || page > largestPage || page&(page-1) != 0 {
		page = database.PageSize // what it is in our databases
	}
	salts := [2]uint32{number(header, 4), number(header, 5)}
	frame := make([]byte, frameHeaderSize+page)
	for n := 0; ; n++ {
		if _, err := io.ReadFull(r, frame); err != nil {
			return state, ended(err)
		}
		own := [2]uint32{number(frame, 2), number(frame, 3)}
		if n == 0 && !whole {
			salts = own // the header cannot be trusted
		}
		if whole {
			mended := mendFrame(frame, header[16:24], &sum, order)
			if mended.fits {
				if mended.data != nil {
					patches = append(patches, logPatch{logHeaderSize + int64(n)*int64(len(frame)) + int64(mended.at), mended.data})
				}
				frames++
				if of := number(frame, 0); mended.doubtful {
					doubtful[of] = true
				} else {
					delete(doubtful, of)
				}
				if number(frame, 1) != 0 {
					commits++
				}
				if number(frame, 1) != 0 && len(doubtful) == 0 {
					state.committed = n + 1
					state.patches = append(state.patches, patches...)
					patches, frames, commits = nil, 0, 0
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
			if number(frame, 1) != 0 {
				state.lostCommits++
			}
		}
	}
}

// readLogHeader returns the checksum of the header of a log, with which that of
// its first frame begins, and whether the header is whole.
func readLogHeader(header []byte) (sum logSum, order binary.ByteOrder, whole bool) {
	magic := binary.BigEndian.Uint32(header)
	order = binary.LittleEndian
	if magic&1 != 0 {
		order = binary.BigEndian
	}
	sum.add(order, header[:24])
	return sum, order, magic&^1 == logMagic && sum == readSum(header[24:])
}

// frameMend is what makes a frame fit its log.
type frameMend struct {
	// fits says that the frame fits with data written at a place of it. Without data
	// it fits as it is.
	fits bool
	at   int
	data []byte
	// doubtful says that what is in the page may be wrong all the same.
	doubtful bool
}

// mendFrame looks whether a frame fits the log, in which sum is the checksum of
// what stands before it, or would fit if one bit had not flipped. If so, it mends
// the frame, and sum goes on. The checksum has 64 bits and goes on from frame to
// frame: a frame that does not belong there does not fit by chance.
func mendFrame(frame, salts []byte, sum *logSum, order binary.ByteOrder) (mend frameMend) {
	next := *sum
	next.add(order, frame[:8])
	next.add(order, frame[frameHeaderSize:])
	stored := readSum(frame[16:])
	flippedSalts := readSum(frame[8:]).bitsFrom(readSum(salts))
	switch {
	case next == stored && flippedSalts == 0:
		mend.fits = true
	case next == stored && flippedSalts == 1: // the checksum does not cover the salts
		mend = frameMend{fits: true, at: 8, data: bytes.Clone(salts)}
	case flippedSalts > 0:
		// It is of an earlier turn of the log, or there is more damage.
	default:
		var found bool
		mend, found = flippedBit(frame, next, stored, order)
		switch {
		case next.bitsFrom(stored) != 1:
			next = stored
		case found: // it may be a bit of the page or one of the checksum
			return frameMend{}
		default:
			mend = frameMend{fits: true, at: 16, data: binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, next.a), next.b)}
		}
	}
	if mend.fits {
		copy(frame[mend.at:], mend.data)
		*sum = next
	}
	return mend
}

// doubtfulBit is the first bit of a number of which it is doubtful whether it is the
// one that flipped. For those below it, at least 32 bits of the checksum agree.
const doubtfulBit = 16

// flippedBit finds the bit of a frame that must be flipped to make its checksum
// the one that is wanted, and reports whether there is any. A checksum is a sum in
// which each number has a factor that depends on what follows, so it is enough to
// compare differences. Of the factors of high bits only the low part counts, so that bits elsewhere may
// have the same effect, and what is found is doubtful. Then it counts only if it is
// in the page, and a later frame writes that page again.
func flippedBit(frame []byte, is, wanted logSum, order binary.ByteOrder) (mend frameMend, found bool) {
	difference := logSum{wanted.a - is.a, wanted.b - is.b}
	// What the first and the second number of a pair add to the sum for each 1.
	first, second := logSum{1, 1}, logSum{0, 1}
	for pair := len(frame) - 8; pair >= 0; pair -= 8 {
		if pair == 8 || pair == 16 {
			continue // salts and checksum are not part of the sum
		}
		for i, factor := range []logSum{first, second} {
			number := frame[pair+4*i:][:4]
			value := order.Uint32(number)
			for bit := range 32 {
				change := uint32(1) << bit
				if value&change != 0 {
					change = -change
				}
				if (logSum{factor.a * change, factor.b * change}) != difference {
					continue
				}
				doubtful := found || bit >= doubtfulBit
				found = true
				if doubtful && pair == 0 {
					return frameMend{}, true
				}
				mend = frameMend{fits: true, at: pair + 4*i, data: make([]byte, 4), doubtful: doubtful}
				order.PutUint32(mend.data, value+change)
			}
		}
		first, second = first.onward(), second.onward()
	}
	return mend, found
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

// onward is what a difference of two sums becomes when both go on with the same
// pair of numbers.
func (s logSum) onward() logSum { return logSum{s.a + s.b, s.a + 2*s.b} }

// bitsFrom returns in how many bits two sums differ.
func (s logSum) bitsFrom(other logSum) int {
	return bits.OnesCount32(s.a^other.a) + bits.OnesCount32(s.b^other.b)
}

func readSum(b []byte) logSum {
	return logSum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

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
	state, err := scanLog(bufio.NewReaderSize(f, 1<<20))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("reading the write-ahead log: %w", err)
	}
	if !state.damaged() {
		return nil
	}
	kind := damagedLog
	if state.lostCommits == 0 {
		kind = mendedLog
	}
	kept := file + kind + db.now().UTC().Format("20060102T150405.000Z")
	if err := errors.Join(copyFile(file, kept), syncFile(kept)); err != nil {
		_ = os.Remove(kept) // it is not whole
		return fmt.Errorf("the write-ahead log %s is damaged; keeping a copy of it: %w", file, err)
	}
	if err := patchLog(file, state.patches); err != nil {
		_ = os.Remove(kept) // the next try keeps another
		return fmt.Errorf("the write-ahead log %s is damaged; restoring it: %w", file, err)
	}
	fields := []zap.Field{zap.String("file", file), zap.String("copy", kept), zap.Int("bits_restored", len(state.patches)),
		zap.Int("frames_read", state.committed), zap.Int("frames_lost", state.lost), zap.Int("transactions_lost", state.lostCommits)}
	if state.lostCommits == 0 {
		db.logger.Error("the write-ahead log was damaged and could be restored: nothing is missing; a copy of it as it was is kept; look after the disk", fields...)
	} else {
		db.logger.Error("the write-ahead log is damaged: what was committed behind the damage cannot be read, so events that were accepted may be missing; a copy is kept", fields...)
	}
	return nil
}

// patchLog writes patches into a log.
func patchLog(file string, patches []logPatch) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, patch := range patches {
		if _, err := f.WriteAt(patch.data, patch.at); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
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
		db.troubles.end(queue.TroubleLog)
		return nil
	}
	db.troubles.begin(queue.TroubleLog, found[len(found)-1], false)
	return found
}
