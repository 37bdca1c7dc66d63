package database

import (
	"bytes"
	"encoding/binary"
	"fmt"
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
