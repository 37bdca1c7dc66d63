package postgres

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// Statements that are run for each event or delivery find their rows by a key, whether
// the server plans them for the values that they are given or for any. With
// EVENT_RELAY_LARGE in the environment the tables have a million rows.
func TestStatementsOfTheQueueFindByKey(t *testing.T) {
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
	rows := "60000"
	if os.Getenv("EVENT_RELAY_LARGE") != "" {
		rows = "1000000"
	}
	for _, sql := range largeHistory {
		run(strings.ReplaceAll(sql, "60000)", rows+")"))
	}
	run("UPDATE waiting SET order_key = 'k', key_hash = delivery % 1000 WHERE delivery % 4 = 0")
	run("ANALYZE waiting")
	const some = `ARRAY[2]::integer[], ARRAY[102402048]::bigint[]`
	large := regexp.MustCompile(`Seq Scan on (events|attempts|waiting|additions|counts)\b`)
	statements := map[string]struct{ sql, args string }{
		"taking what is due":      {takeDue, `2, 64, 30000000, 1, NULL`},
		"the next that is due":    {nextDue, `2`},
		"extending a lease":       {extendLease, `2, 102402048, 1, 1000000, NULL, 1`},
		"giving leases back":      {giveBackLeases, some + `, ARRAY[1]::integer[], 1`},
		"releasing keys":          {releaseKeys, `ARRAY[2]::integer[], ARRAY[7]::bigint[]`},
		"cancelling":              {endCancelled, `2, ARRAY[102402048]::bigint[], 1`},
		"listing what waits":      {listWaiting, `2, 0, 102402048, 512`},
		"the last that waits":     {lastWaiting, `2`},
		"making one due":          {tryOne, `2, 102402048`},
		"making some due":         {trySome, `2, 59000000, 512`},
		"moving":                  {moveWaiting, `2, ARRAY[102402048]::bigint[], 3`},
		"looking up what is":      {lookUp, `ARRAY['01890000-0000-0000-0000-000000000000']::uuid[]`},
		"counting the unfinished": {countPending, ``},
		"settling": {settleLeases, some + `, ARRAY[1]::integer[], ARRAY[1]::smallint[], ARRAY[0]::bigint[], ARRAY[1]::bigint[], ARRAY[1]::bigint[], ARRAY[200], ARRAY[NULL]::text[],
			ARRAY[NULL]::bytea[], ARRAY[NULL]::bytea[], ARRAY[NULL]::text[], ARRAY[false], ARRAY[1]::bigint[], 1, 1`},
	}
	statements["settling the first attempts"] = struct{ sql, args string }{settleFresh, statements["settling"].args}
	for parts, sql := range insertions {
		args := `ARRAY[1]::integer[], ARRAY[1]::bigint[], ARRAY[gen_random_uuid()], ARRAY[false], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::uuid[], ARRAY['{}'], ARRAY[NULL]::text[],
			ARRAY[NULL]::bytea[], ARRAY[NULL]::bytea[], ARRAY[1]::bigint[], ARRAY[1]::bigint[], 1, ARRAY['action'], ARRAY[1]::bigint[], ARRAY['rule'], ARRAY['r'], ARRAY[1]::bigint[], ARRAY[1]::bigint[], ARRAY[1]::bigint[], false`
		if parts.deliveries {
			args += `, ARRAY[1]::integer[], ARRAY[0]::integer[], ARRAY[2]::integer[], ARRAY[1]::bigint[], ARRAY[NULL]::bigint[], ARRAY['k']::bytea[], ARRAY[7]::bigint[], ARRAY[true], 30000000, 1,
				ARRAY[2]::integer[], ARRAY[1]::bigint[], ARRAY[1]::bigint[], ARRAY[1]::bigint[], ARRAY[1]::bigint[]`
		}
		if parts.additions {
			args += `, ARRAY[gen_random_uuid()], ARRAY[1]::integer[]`
		}
		statements[fmt.Sprintf("storing %+v", parts)] = struct{ sql, args string }{sql, args}
	}
	for name, s := range statements {
		for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
			run("SET plan_cache_mode = " + mode)
			run("PREPARE statement AS " + s.sql)
			execute := "EXECUTE statement"
			if s.args != "" {
				execute += "(" + s.args + ")"
			}
			planned, err := conn.Query(ctx, "EXPLAIN "+execute, pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			lines, err := pgx.CollectRows(planned, pgx.RowTo[string])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if plan := strings.Join(lines, "\n"); large.MatchString(plan) {
				t.Errorf("%s, %s: goes through a whole table:\n%s", name, mode, plan)
			}
			run("DEALLOCATE statement")
		}
	}
}
