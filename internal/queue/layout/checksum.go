package layout

import (
	"errors"
	"hash/crc32"
)

// A database checks the structure of its pages, not what stands in them: a bit that
// flips on the disk would be sent to a target. So each event has a checksum over
// its record and body, which is checked whenever they are read.

// castagnoli is the polynomial of CRC-32C, which processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// NoChecksum stands for the checksum of an event that was stored before there
// were any.
const NoChecksum = -1

// ErrChecksum says that an event is not what was stored.
var ErrChecksum = errors.New("it is damaged: its checksum does not fit what is stored; nothing is sent of it; restore it from a backup")

// Checksum returns the CRC-32C of a record and a body, one after the other.
func Checksum(record, body []byte) int64 {
	sum := crc32.Update(0, castagnoli, record)
	return int64(crc32.Update(sum, castagnoli, body))
}

// VerifyChecksum returns ErrChecksum if record and body are not what was stored with
// the sum. NoChecksum fits everything.
func VerifyChecksum(sum int64, record, body []byte) error {
	if sum != NoChecksum && sum != Checksum(record, body) {
		return ErrChecksum
	}
	return nil
}
