package postgres

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
)

// An array is what pgx makes of a slice, without the nulls at its end.
func TestArraysAreAsPgxEncodesThem(t *testing.T) {
	number, text, yes := int64(-7), "größer", true
	id := [16]byte{1, 2, 3}
	for name, test := range map[string]struct {
		oid   uint32
		add   func(*array)
		slice any
	}{
		"booleans":        {pgtype.BoolArrayOID, func(a *array) { a.addBool(true); a.addBool(false) }, []bool{true, false}},
		"true or null":    {pgtype.BoolArrayOID, func(a *array) { a.addTrue(false); a.addTrue(true); a.addTrue(false) }, []*bool{nil, &yes}},
		"two bytes":       {pgtype.Int2ArrayOID, func(a *array) { a.addInt16(-2); a.addInt16(300) }, []int16{-2, 300}},
		"four bytes":      {pgtype.Int4ArrayOID, func(a *array) { a.addInt32(-2); a.addInt32(1 << 30) }, []int32{-2, 1 << 30}},
		"eight bytes":     {pgtype.Int8ArrayOID, func(a *array) { a.addInt64(-2); a.addInt64(1 << 62) }, []int64{-2, 1 << 62}},
		"with null":       {pgtype.Int8ArrayOID, func(a *array) { a.addInt64OrNull(nil); a.addInt64OrNull(&number) }, []*int64{nil, &number}},
		"null at the end": {pgtype.Int8ArrayOID, func(a *array) { a.addInt64(5); a.addNull(); a.addNull() }, []int64{5}},
		"nulls":           {pgtype.Int8ArrayOID, func(a *array) { a.addNull(); a.addNull() }, []int64{}},
		"texts":           {pgtype.TextArrayOID, func(a *array) { a.addText(text); a.addText(""); a.addRaw(""); a.addRaw(text) }, []*string{&text, nil, nil, &text}},
		"bytes":           {pgtype.ByteaArrayOID, func(a *array) { a.addBytes(nil); a.addBytes([]byte{0, 255}) }, [][]byte{nil, {0, 255}}},
		"ids":             {pgtype.UUIDArrayOID, func(a *array) { a.addNull(); a.addUUID(id) }, []pgtype.UUID{{}, {Bytes: id, Valid: true}}},
		"none":            {pgtype.Int8ArrayOID, func(*array) {}, []int64{}},
		"once more":       {pgtype.Int8ArrayOID, func(a *array) { a.addNull(); a.clear(); a.addInt64(5) }, []int64{5}},
		"after a large":   {pgtype.ByteaArrayOID, func(a *array) { a.addBytes(make([]byte, 2*keptOfArray)); a.clear(); a.addBytes([]byte{1}) }, [][]byte{{1}}},
	} {
		types := pgtype.NewMap()
		want, err := types.Encode(test.oid, pgtype.BinaryFormatCode, test.slice, nil)
		if err != nil {
			t.Fatal(err)
		}
		takesArrays(types, &room{})
		a := &array{}
		test.add(a)
		got, err := types.Encode(test.oid, pgtype.BinaryFormatCode, a, []byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		if want = append([]byte("before"), want...); !bytes.Equal(got, want) {
			t.Errorf("%s: %x, want %x", name, got, want)
		}
		if got, err := types.Encode(test.oid, pgtype.BinaryFormatCode, test.slice, []byte("before")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s, a slice: %x, want %x; %v", name, got, want, err)
		}
		if cap(a.data) > keptOfArray {
			t.Errorf("%s: %d bytes are kept", name, cap(a.data))
		}
	}
}
