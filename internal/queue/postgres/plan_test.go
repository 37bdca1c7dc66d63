package postgres

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// largeHistory are statements that fill the tables so that going through one of them as
// a whole costs more than any other way.
var largeHistory = []string{
	`INSERT INTO actions (name) SELECT 'action' || n FROM generate_series(1, 20) AS n`,
	`INSERT INTO kinds (digest, source, event, decision, actions) SELECT ('\x' || lpad(to_hex(n), 8, '0'))::bytea, 's', 'e' || n, 'action', '["action1"]' FROM generate_series(1, 30) AS n`,
	`INSERT INTO events (id, kind, node, received, uuid, test, verdict, deliveries, record) SELECT n, 1 + n % 30, 1, n * 1000::bigint, gen_random_uuid(), false,
		'{}', '[{"id":"01890000-1111-7000-8000-000000000001","action":"action1"}]', '{}' FROM generate_series(1, 60000) AS n`,
	`INSERT INTO attempts (id, action, state, at, began, took) SELECT n::bigint << 23, 1 + n % 20, CASE n % 100 WHEN 0 THEN 2 ELSE 1 END, n * 1000, n * 1000, 5 FROM generate_series(1, 60000) AS n`,
	`INSERT INTO waiting (action, delivery, place) SELECT 1 + n % 3, n::bigint << 11, n * 1000 FROM generate_series(1, 60000, 3) AS n`,
	`INSERT INTO additions (uuid, event) SELECT gen_random_uuid(), n FROM generate_series(1, 60000, 3) AS n`,
	`INSERT INTO counts (minutes, at, name, node, n) SELECT 1, n * 60000000::bigint, 'action', 1, 5 FROM generate_series(1, 30000) AS n`,
	`INSERT INTO samples (minutes, at, action, count, age) SELECT 1, n * 60000000::bigint, 'action1', 5, 5 FROM generate_series(1, 30000) AS n`,
	`INSERT INTO notes (at, node, kind, name, text) SELECT n, 'n', 'k' || n % 5, 'x', 'y' FROM generate_series(1, 30000) AS n`,
	`INSERT INTO sizes (block, node, part, bytes, oldest, newest) SELECT n, 1, 0, 100000, n * 4096000::bigint, (n + 1) * 4096000 FROM generate_series(0, 14) AS n`,
	`ANALYZE`,
}

// Statements of the history must find their rows in large tables by a key, whether the
// server plans them for the values that they are given or for any.
func TestStatementsOfTheHistoryFindByKey(t *testing.T) {
	dsn, schema := pgtest.Schema(t)
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := migrate(ctx, conn, schema); err != nil {
		t.Fatal(err)
	}
	run := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	run("SET search_path = " + schema)
	for _, sql := range largeHistory {
		run(sql)
	}
	const (
		ids   = `ARRAY[50000, 50001, 50002]::bigint[]`
		after = `30000, 1, 51`
		uuids = `'01890000-0000-0000-0000-000000000000'::uuid, '01890000-ffff-ffff-ffff-ffffffffffff'::uuid`
	)
	large := regexp.MustCompile(`Seq Scan on (events|attempts|waiting|additions|counts|samples|notes)\b`)
	statements := map[string]struct{ sql, args string }{
		"all events":              {listAll, after},
		"events of some":          {listChosen, `30000, 1, 4096, 'T', 0, 9223372036854775807, NULL`},
		"events of kinds":         {listByKind, after + `, ARRAY[1, 2, 3]`},
		"events by state":         {listByState, after + `, ARRAY[1, 2], ARRAY[2, 2]::smallint[], ARRAY[1, 2]`},
		"rows of events":          {listEvents, ids + `, 0, 9223372036854775807, '', NULL`},
		"whole rows of events":    {listWhole, ids + `, 0, 9223372036854775807, '', NULL, 4194304`},
		"states":                  {listAttempts, ids},
		"text of attempts":        {textOfAttempts, ids},
		"time near":               {receivedFrom, `30000`},
		"time up to":              {receivedUpTo, `30000`},
		"events by their ids":     {listByUUID, `ARRAY['01890000-0000-0000-0000-000000000000']::uuid[]`},
		"an event by its id":      {findEvents, uuids + `, 10`},
		"an added delivery":       {findAdded, uuids + `, 10`},
		"a delivery":              {findByDelivery, `30000000, 31000000, '"id":"01890000', 10`},
		"attempts of an event":    {listTries, `30000::bigint << 23, 30001::bigint << 23`},
		"heads":                   {findHeads, ids},
		"backlog":                 {listBacklog, ``},
		"sample":                  {putSamples, ``},
		"counts":                  {listCounts, `1, 600000000000, 660000000000, 0, 60000000`},
		"adding counts up":        {rollCounts, `600000000000, 660000000000`},
		"samples":                 {listSamples, `1, 600000000000, 660000000000, 60000000`},
		"notes":                   {listNotes, `true, 20000, 20100, 10`},
		"notes of a kind":         {listNotesOfKind, `true, 20000, 20100, 10, 'k1'`},
		"a note":                  {findNote, `'k1', 'x'`},
		"finished":                {findFinished, `0, 0, 30000000, 4096`},
		"finished, of any age":    {findFinished, `0, 0, 9223372036854775807, 4096`},
		"locking what is old":     {lockFinished, ids},
		"what still waits":        {stillWaiting, ids},
		"removing":                {deleteEvents, ids + `, 1`},
		"removing kinds":          {removeKinds, `1::bigint`},
		"finding unused kinds":    {findUnused, ``},
		"what may be mended":      {mayBeMended, ids},
		"marking what is mended":  {markMended, `ARRAY[102400000, 102402048]::bigint[]`},
		"counting what is mended": {countMended, `1, ARRAY[600000000000]::bigint[], ARRAY['failed']`},
	}
	for name, s := range statements {
		for _, order := range []string{s.sql, ascending(s.sql)} {
			for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
				run("SET plan_cache_mode = " + mode)
				run("PREPARE statement AS " + order)
				execute := "EXECUTE statement"
				if s.args != "" {
					execute += "(" + s.args + ")"
				}
				rows, err := conn.Query(ctx, "EXPLAIN "+execute, pgx.QueryExecModeSimpleProtocol)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if plan := strings.Join(lines, "\n"); large.MatchString(plan) {
					t.Errorf("%s, %s: goes through a whole table:\n%s", name, mode, plan)
				}
				run("DEALLOCATE statement")
			}
			if order == ascending(s.sql) {
				break
			}
		}
	}
}
