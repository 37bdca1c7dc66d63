package database

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"os"
)

// After a crash SQLite reads the write-ahead log up to the first frame whose
// checksum does not fit, takes that for its end, and says nothing. That is right for
// a transaction that was being written. It is wrong when a bit flipped: then events
// that were acknowledged stand behind it and are lost. So the log is read here first,
// before SQLite opens it and begins it anew. A single flipped bit is restored where
// the checksum shows which one it was; other damage is reported.
//
// The format is described at https://www.sqlite.org/fileformat2.html#walformat.

const (
	// LogHeaderSize is how many bytes stand before the first frame of a log.
	LogHeaderSize   = 32
	frameHeaderSize = 24
	// FrameSize is how many bytes a page takes in a log.
	FrameSize = frameHeaderSize + PageSize
	// logMagic is the first number of a log, but for its last bit, which says that
	// its checksums are of big-endian numbers.
	logMagic = 0x377f0682
	// smallestPage and largestPage bound the size of a page.
	smallestPage, largestPage = 512, 65536
)

// LogState is what a write-ahead log holds.
type LogState struct {
	// Committed are the frames that SQLite accepts, once the patches are applied.
	Committed int
	// Patches restore single bits, without which SQLite would accept fewer frames.
	Patches []LogPatch
	// Lost are the frames of this log behind the damage, and LostCommits how many
	// of them end a transaction.
	Lost, LostCommits int
	// Uncertain says that a frame was mended which may name another page than it did,
	// so that something may be missing all the same.
	Uncertain bool
}

// LogPatch is what is to be written at a place of a log.
type LogPatch struct {
	at   int64
	data []byte
}

// Damaged reports whether the log holds more than a transaction that was being
// written when the program ended.
func (s LogState) Damaged() bool { return s.LostCommits > 0 || len(s.Patches) > 0 }

// Restored reports whether nothing is missing once the patches are applied.
func (s LogState) Restored() bool { return s.LostCommits == 0 && !s.Uncertain }

// ScanLog reads a write-ahead log. It returns an error only if reading fails: damage
// is a part of the state.
func ScanLog(r io.Reader) (state LogState, err error) {
	header := make([]byte, LogHeaderSize)
	if _, err := io.ReadFull(r, header); err != nil {
		return state, ended(err)
	}
	number := func(b []byte, i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	// What follows the last commit of committed: patches, frames and commits. doubtful
	// are the pages of which a frame was mended with a content that may be wrong, and
	// that no later frame has written yet.
	var patches []LogPatch
	frames, commits, uncertain, doubtful := 0, 0, false, map[uint32]bool{}
	defer func() { // frames counts those that are of no use without what is missing
		if commits > 0 {
			state.Lost += frames
			state.LostCommits += commits
		}
	}()
	sum, order, whole := readLogHeader(header)
	for bit := 0; !whole && bit < 8*LogHeaderSize; bit++ {
		header[bit/8] ^= 1 << (bit % 8)
		if sum, order, whole = readLogHeader(header); whole {
			patches = append(patches, LogPatch{int64(bit / 8), []byte{header[bit/8]}})
		} else {
			header[bit/8] ^= 1 << (bit % 8)
		}
	}
	page := number(header, 2)
	if !whole || page < smallestPage || page > largestPage || page&(page-1) != 0 {
		page = PageSize // what it is in our databases
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
		hidden := false
		if whole {
			mended := mendFrame(frame, header[16:24], &sum, order)
			if mended.fits {
				if mended.data != nil {
					patches = append(patches, LogPatch{LogHeaderSize + int64(n)*int64(len(frame)) + int64(mended.at), mended.data})
				}
				frames++
				if of := number(frame, 0); mended.doubtful {
					doubtful[of] = true
				} else {
					delete(doubtful, of)
				}
				uncertain = uncertain || mended.uncertain
				if number(frame, 1) != 0 || mended.hidesCommit {
					commits++
				}
				if number(frame, 1) != 0 && len(doubtful) == 0 {
					state.Uncertain = uncertain
					state.Committed = n + 1
					state.Patches = append(state.Patches, patches...)
					patches, frames, commits = nil, 0, 0
				}
				continue
			}
			whole, hidden = false, mended.hidesCommit
		}
		// Frames of an earlier turn of the log have other salts: the first is
		// counted up at each turn, the second is random. One of them may be what is
		// damaged.
		if own[0] == salts[0] || own[1] == salts[1] {
			state.Lost++
			if hidden || number(frame, 1) != 0 {
				state.LostCommits++
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
	// doubtful says that what is in the page may be wrong all the same, and uncertain
	// that the frame may be one of another page.
	doubtful, uncertain bool
	// hidesCommit says that a frame that does not fit probably ended a transaction,
	// before the number that says so became 0.
	hidesCommit bool
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
			return frameMend{hidesCommit: mend.hidesCommit}
		default: // two bits of the last number of the page have the same effect
			mend = frameMend{fits: true, doubtful: true, uncertain: mend.uncertain, at: 16, data: binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, next.a), next.b)}
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
// compare differences. Of the factors of high bits only the low part counts, so that
// bits elsewhere may have the same effect, and what is found is doubtful. So it is in
// the last number of the page: two bits of the checksum have the same effect. Then it
// counts only if it is in the page, and a later frame writes that page again.
func flippedBit(frame []byte, is, wanted logSum, order binary.ByteOrder) (mend frameMend, found bool) {
	difference := logSum{wanted.a - is.a, wanted.b - is.b}
	// What the first and the second number of a pair add to the sum for each 1.
	first, second := logSum{1, 1}, logSum{0, 1}
	header := false // whether a bit of the header is what is found
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
				doubtful := found || bit >= doubtfulBit || pair+4*i == len(frame)-4
				found, header = true, pair == 0
				mend = frameMend{fits: true, at: pair + 4*i, data: make([]byte, 4), doubtful: doubtful}
				order.PutUint32(mend.data, value+change)
			}
		}
		if pair > 0 {
			first, second = first.onward(), second.onward()
		}
	}
	// There is always one page and one size with which the frame fits. They are likely
	// to be what the frame had if few of their bits differ from what it has.
	page, size := order.Uint32(frame), order.Uint32(frame[4:])
	otherPage := page + difference.a*second.b - difference.b*second.a
	otherSize := size + difference.b*first.a - difference.a*first.b
	if bits.OnesCount32(page^otherPage)+bits.OnesCount32(size^otherSize) <= 2 {
		if header && mend.doubtful {
			mend = frameMend{}
		}
		mend.uncertain = mend.doubtful || !found
		mend.hidesCommit = size == 0 && otherSize != 0
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

// PatchLog writes patches into a log and makes them durable. No connection may be
// open.
func PatchLog(file string, patches []LogPatch) error {
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
