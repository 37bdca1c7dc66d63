package database

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// written returns a write-ahead log to which some transactions were committed.
func written(t testing.TB, transactions int) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), FileName)
	if err := MakeFile(file); err != nil {
		t.Fatal(err)
	}
	conn, err := ConnectWriter(file, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := Migrate(conn, file); err != nil {
		t.Fatal(err)
	}
	for i := range transactions {
		if err := Execute(conn, fmt.Sprintf("INSERT INTO notes (at, kind, text) VALUES (%d, 'test', hex(randomblob(300)))", i)); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.ReadFile(file + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// A transaction that was being written when the program ended was not acknowledged:
// it is no damage.
func TestUnfinishedTransactionsAreNoDamage(t *testing.T) {
	log := written(t, 5)
	for cut := len(log) - 1; cut > 0; cut -= 997 {
		if state, err := ScanLog(bytes.NewReader(log[:cut])); err != nil || state.Damaged() {
			t.Errorf("a log that ends after %d bytes gives %+v and %v", cut, state, err)
		}
	}
	// The same with what an earlier turn of the log left behind it.
	earlier := bytes.Clone(log)
	for at := LogHeaderSize; at < len(earlier); at += FrameSize {
		salt := earlier[at+8 : at+16]
		binary.BigEndian.PutUint32(salt, binary.BigEndian.Uint32(salt)-1)
		salt[7] ^= 0x55
	}
	frames := (len(log) - LogHeaderSize) / FrameSize
	mixed := append(bytes.Clone(log[:LogHeaderSize+frames/2*FrameSize]), earlier[LogHeaderSize+frames/2*FrameSize:]...)
	if state, err := ScanLog(bytes.NewReader(mixed)); err != nil || state.Damaged() {
		t.Errorf("a log with what an earlier one left gives %+v and %v", state, err)
	}
}

// Whatever a log holds, reading it ends and needs no more memory than a frame.
func FuzzScanLog(f *testing.F) {
	log := written(f, 2)
	f.Add(log)
	f.Add(log[:LogHeaderSize])
	f.Add([]byte("no log"))
	flipped := bytes.Clone(log)
	flipped[len(log)/2] ^= 4
	f.Add(flipped)
	f.Fuzz(func(t *testing.T, data []byte) {
		state, err := ScanLog(bytes.NewReader(data))
		if err != nil || state.Committed < 0 || (state.Committed+state.Lost)*frameHeaderSize > len(data) {
			t.Errorf("a log of %d bytes gives %+v and %v", len(data), state, err)
		}
		patched := bytes.Clone(data)
		for _, patch := range state.Patches {
			copy(patched[patch.at:], patch.data)
		}
		if again, err := ScanLog(bytes.NewReader(patched)); err != nil || again.Committed != state.Committed || len(again.Patches) > 0 {
			t.Errorf("with the patches of %+v it gives %+v and %v", state, again, err)
		}
	})
}

// smallLog returns a log of these frames, each with a page, the size that ends a
// transaction or 0, and random content.
func smallLog(random *rand.Rand, frames ...[2]uint32) []byte {
	put := binary.BigEndian.PutUint32
	log := make([]byte, LogHeaderSize, LogHeaderSize+len(frames)*FrameSize)
	for i, number := range []uint32{logMagic, 3007000, PageSize, 7, random.Uint32(), random.Uint32()} {
		put(log[4*i:], number)
	}
	order := binary.LittleEndian
	var sum logSum
	sum.add(order, log[:24])
	put(log[24:], sum.a)
	put(log[28:], sum.b)
	for _, numbers := range frames {
		frame := make([]byte, FrameSize)
		put(frame, numbers[0])
		put(frame[4:], numbers[1])
		copy(frame[8:16], log[16:24])
		for at := frameHeaderSize; at < FrameSize; at++ {
			frame[at] = byte(random.Uint32())
		}
		sum.add(order, frame[:8])
		sum.add(order, frame[frameHeaderSize:])
		put(frame[16:], sum.a)
		put(frame[20:], sum.b)
		log = append(log, frame...)
	}
	return log
}

// Whichever one or two bits flip in the header of a log, in that of a frame or in the
// last number of a page, it is seen. A log is restored only if every frame is one of
// the page that it was, and if each page is at last written as it was.
func TestFlippedBitsOfHeaders(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	restored, lost := 0, 0
	for round := range 12 {
		size := uint32(1) << round
		frames := [][2]uint32{{1, 0}, {2, size}, {3, 0}, {2, 0}, {1, 3 * size}, {3, size}}
		log := smallLog(random, frames...)
		if state, err := ScanLog(bytes.NewReader(log)); err != nil || state.Damaged() || state.Committed != len(frames) {
			t.Fatalf("an undamaged log gives %+v and %v", state, err)
		}
		var places []int
		for at := range LogHeaderSize {
			places = append(places, at)
		}
		for n := range frames {
			begin := LogHeaderSize + n*FrameSize
			for at := range frameHeaderSize {
				places = append(places, begin+at)
			}
			for at := FrameSize - 8; at < FrameSize; at++ {
				places = append(places, begin+at)
			}
		}
		for _, at := range places {
			for bit := range 15 {
				flipped := bytes.Clone(log)
				if bit < 8 {
					flipped[at] ^= 1 << bit
				} else {
					flipped[at] ^= 3 << (bit - 8)
				}
				state, err := ScanLog(bytes.NewReader(flipped))
				if err != nil || !state.Damaged() {
					t.Errorf("size %d, byte %d, bit %d: it gives %+v and %v", size, at, bit, state, err)
				}
				if !state.Restored() {
					lost++
					continue
				}
				restored++
				for _, patch := range state.Patches {
					copy(flipped[patch.at:], patch.data)
				}
				last := make(map[uint32]bool) // pages that a later frame writes
				for n := len(frames) - 1; n >= 0; n-- {
					is, was := flipped[LogHeaderSize+n*FrameSize:][:FrameSize], log[LogHeaderSize+n*FrameSize:][:FrameSize]
					if of := frames[n][0]; !bytes.Equal(is[:4], was[:4]) || !last[of] && !bytes.Equal(is[frameHeaderSize:], was[frameHeaderSize:]) {
						t.Errorf("size %d, byte %d, bit %d: it counts as restored, but frame %d is another", size, at, bit, n)
					}
					last[frames[n][0]] = true
				}
			}
		}
	}
	t.Logf("%d were restored, %d were not", restored, lost)
	if restored < 1000 || lost < 1000 {
		t.Error("this shows little")
	}
}
