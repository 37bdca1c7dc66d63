package postgres

import (
	"encoding/binary"

	"github.com/jackc/pgx/v5/pgtype"
)

// array is an array that a statement is given, in the form in which the server takes it.
// The statements that are run for each event have dozens of them: to let pgx encode
// slices costs several times as much, and leaves as much garbage as the events are long.
//
// Nulls at its end are left out: arrays are unnested side by side with one that has no
// nulls, and the server fills up the shorter ones. Many arrays are nothing but nulls, and
// cost nothing.
type array struct {
	n     int
	nulls int // at the end, not in data
	null  bool
	data  []byte // of the elements: the length of each, and what it is
}

// keptOfArray is the memory that an array keeps for its next use.
const keptOfArray = 256 << 10

// clear empties the array.
func (a *array) clear() {
	if cap(a.data) > keptOfArray {
		a.data = nil
	}
	a.n, a.nulls, a.null, a.data = 0, 0, false, a.data[:0]
}

func (a *array) element(size int) {
	for ; a.nulls > 0; a.nulls-- {
		a.null = true
		a.data = append(a.data, 0xff, 0xff, 0xff, 0xff)
	}
	a.n++
	a.data = binary.BigEndian.AppendUint32(a.data, uint32(size))
}

func (a *array) addNull() {
	a.n++
	a.nulls++
}

func (a *array) addBool(b bool) {
	a.element(1)
	if b {
		a.data = append(a.data, 1)
	} else {
		a.data = append(a.data, 0)
	}
}

// addTrue adds true, and null for false.
func (a *array) addTrue(b bool) {
	if b {
		a.addBool(true)
	} else {
		a.addNull()
	}
}

func (a *array) addInt16(n int16) {
	a.element(2)
	a.data = binary.BigEndian.AppendUint16(a.data, uint16(n))
}

func (a *array) addInt32(n int32) {
	a.element(4)
	a.data = binary.BigEndian.AppendUint32(a.data, uint32(n))
}

func (a *array) addInt64(n int64) {
	a.element(8)
	a.data = binary.BigEndian.AppendUint64(a.data, uint64(n))
}

// addInt64OrNull adds null for nil.
func (a *array) addInt64OrNull(n *int64) {
	if n == nil {
		a.addNull()
	} else {
		a.addInt64(*n)
	}
}

func (a *array) addUUID(id [16]byte) {
	a.element(len(id))
	a.data = append(a.data, id[:]...)
}

// addBytes adds bytes, and null for none.
func (a *array) addBytes(b []byte) {
	if len(b) == 0 {
		a.addNull()
		return
	}
	a.element(len(b))
	a.data = append(a.data, b...)
}

// addRaw adds the bytes of a text, and null for none.
func (a *array) addRaw(text string) {
	if text == "" {
		a.addNull()
		return
	}
	a.element(len(text))
	a.data = append(a.data, text...)
}

// addText adds a text as encodeText writes it, and null for the empty one.
func (a *array) addText(text string) { a.addRaw(encodeText(text)) }

// sizeOfHeader is how many bytes append puts before the elements.
const sizeOfHeader = 5 * 4

// size is how many bytes append appends.
func (a *array) size() int { return sizeOfHeader + len(a.data) }

// append appends the array of elements of a type.
func (a *array) append(to []byte, element uint32) []byte {
	nulls := uint32(0)
	if a.null {
		nulls = 1
	}
	for _, part := range [...]uint32{1, nulls, element, uint32(a.n - a.nulls), 1} { // dimensions, …, the number of the first
		to = binary.BigEndian.AppendUint32(to, part)
	}
	return append(to, a.data...)
}

// arrayCodec is pgx's for arrays of a type, and takes an *array as well.
type arrayCodec struct {
	*pgtype.ArrayCodec
	room *room
}

func (c arrayCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(*array); ok && format == pgtype.BinaryFormatCode {
		return encodeArray{c.ElementType.OID, c.room}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

type encodeArray struct {
	element uint32
	room    *room
}

func (p encodeArray) Encode(value any, to []byte) ([]byte, error) {
	a := value.(*array)
	return a.append(p.room.grow(to, a.size()), p.element), nil
}

// takesArrays makes a connection take an *array wherever a statement is given an array.
func takesArrays(types *pgtype.Map, room *room) {
	for _, oid := range []uint32{pgtype.BoolArrayOID, pgtype.Int2ArrayOID, pgtype.Int4ArrayOID, pgtype.Int8ArrayOID, pgtype.TextArrayOID, pgtype.ByteaArrayOID, pgtype.UUIDArrayOID} {
		if known, ok := types.TypeForOID(oid); ok {
			if codec, ok := known.Codec.(*pgtype.ArrayCodec); ok {
				types.RegisterType(&pgtype.Type{Name: known.Name, OID: oid, Codec: arrayCodec{codec, room}})
			}
		}
	}
}
