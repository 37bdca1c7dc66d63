package postgres

import (
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// room is the memory in which a connection builds what it sends. pgx makes new slices
// for each statement and lets them grow: without room they would be more than half of
// all garbage, several times as much as the events are long.
type room struct {
	values  []byte // of a statement
	message []byte // with all of them
}

// mostRoom bounds each of the two that a connection keeps for its next statement.
const mostRoom = 1 << 20

// roomKey is where a connection keeps its room. It is for no other connection, because
// that may send at the same time.
const roomKey = "event-relay room"

// roomOf returns the room of a connection.
func roomOf(conn *pgx.Conn) *room {
	data := conn.PgConn().CustomData()
	r, ok := data[roomKey].(*room)
	if !ok {
		r = &room{}
		data[roomKey] = r
	}
	return r
}

// grow returns a slice of values with room for n bytes more. pgx begins each statement
// with a short slice, and has copied the values of the statement before by then.
func (r *room) grow(values []byte, n int) []byte {
	need := len(values) + n
	switch {
	case need <= cap(values):
		return values
	case need <= cap(r.values):
		return append(r.values[:0], values...)
	}
	grown := append(make([]byte, 0, need+need/2), values...)
	if cap(grown) <= mostRoom {
		r.values = grown
	}
	return grown
}

// makeRoom gives a connection room for a batch of statements, which it is about to send.
func makeRoom(conn *pgx.Conn, b *pgx.Batch) {
	size := 0
	for _, statement := range b.QueuedQueries {
		size += roomOfStatement
		for _, value := range statement.Arguments {
			if a, ok := value.(*array); ok {
				size += a.size()
			}
		}
	}
	r := roomOf(conn)
	if size > cap(r.message) {
		if size > mostRoom {
			return
		}
		r.message = make([]byte, 0, min(size+size/2, mostRoom))
	}
	conn.PgConn().Frontend().Send(onto(r.message))
}

// roomOfStatement is more than what is sent of a statement besides its arrays.
const roomOfStatement = 1 << 10

// onto is a message of no bytes: it only has those after it written to a slice.
type onto []byte

// Frontend implements pgproto3.FrontendMessage.
func (onto) Frontend() {}

// Decode implements pgproto3.Message.
func (onto) Decode([]byte) error { return nil }

// Encode implements pgproto3.Message.
func (o onto) Encode(before []byte) ([]byte, error) { return append(o[:0], before...), nil }

var _ pgproto3.FrontendMessage = onto(nil)
