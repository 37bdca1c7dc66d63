package sqlite

import (
	"errors"
	"hash/crc32"

	"zombiezen.com/go/sqlite"
)

// SQLite checks the structure of its pages, not what stands in them: a bit that
// flips on the disk would be sent to a target. So each event has a checksum over
// its record and body, which is checked whenever they are read.

// castagnoli is the polynomial of CRC-32C, which processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// noChecksum stands for the checksum of an event that was stored before there
// were any.
const noChecksum = -1

// errChecksum says that an event is not what was stored.
var errChecksum = errors.New("it is damaged: its checksum does not fit what is stored; nothing is sent of it; restore it from a backup")

func checksum(record, body []byte) int64 {
	sum := crc32.Update(0, castagnoli, record)
	return int64(crc32.Update(sum, castagnoli, body))
}

// checkSum returns an error if an event is not what was stored.
func checkSum(sum int64, record, body []byte) error {
	if sum != noChecksum && sum != checksum(record, body) {
		return errChecksum
	}
	return nil
}

// columnChecksum returns a column events.checksum.
func columnChecksum(row *sqlite.Stmt, column int) int64 {
	if row.ColumnType(column) == sqlite.TypeNull {
		return noChecksum
	}
	return row.ColumnInt64(column)
}
