package postgres

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// Statements that are sent in the memory of those before have their own values, however
// long they are, and whatever is sent between.
func TestStatementsHaveTheirOwnValues(t *testing.T) {
	dsn, schema := pgtest.Schema(t)
	config, err := Options{DSN: dsn, Schema: schema}.withDefaults().poolConfig()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config.ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := config.AfterConnect(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	const sql = `SELECT (SELECT string_agg(a, ',') FROM unnest($1::bytea[]) AS a), (SELECT string_agg(b, ',') FROM unnest($2::bytea[]) AS b), $3::text`
	for i, size := range []int{1, 3000, 10, 200000, 5, mostRoom, 7, 2 * mostRoom, 300000, 1} {
		b := &pgx.Batch{}
		var want [][3][]byte
		for n := range 3 {
			var values [3][]byte
			for j := range values {
				values[j] = bytes.Repeat([]byte{byte('a' + (i+n*3+j)%26)}, size/(n+1)+j)
			}
			first, second := &array{}, &array{}
			first.addBytes(values[0])
			second.addBytes(values[1])
			b.Queue(sql, first, second, string(values[2]))
			want = append(want, values)
		}
		if i%3 != 2 {
			makeRoom(conn, b)
		}
		results := conn.SendBatch(t.Context(), b)
		for n := range want {
			var got [3][]byte
			if err := results.QueryRow().Scan(&got[0], &got[1], &got[2]); err != nil {
				t.Fatal(err)
			}
			for j := range got {
				if !bytes.Equal(got[j], want[n][j]) {
					t.Errorf("%d bytes, statement %d: value %d is another one", size, n, j)
				}
			}
		}
		if err := results.Close(); err != nil {
			t.Fatal(err)
		}
		r := roomOf(conn)
		if cap(r.values) > mostRoom || cap(r.message) > mostRoom {
			t.Errorf("after %d bytes the connection keeps %d and %d", size, cap(r.values), cap(r.message))
		}
	}
}
