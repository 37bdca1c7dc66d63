package postgres

import (
	"fmt"
	"testing"
)

// Statements that are run for each event or delivery find their rows by a key.
func TestStatementsOfTheQueueFindByKey(t *testing.T) {
	planner := newPlanner(t)
	planner.run("UPDATE waiting SET order_key = 'k', key_hash = delivery % 1000 WHERE delivery % 4 = 0")
	planner.run("ANALYZE waiting")
	const some = `ARRAY[2]::integer[], ARRAY[102402048]::bigint[]`
	statements := map[string]statement{
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
		"adding tallies":          {addTallies, `1, 100, 10000`},
		"settling": {settleLeases, some + `, ARRAY[1]::integer[], ARRAY[1]::smallint[], ARRAY[0]::bigint[], ARRAY[1]::bigint[], ARRAY[1]::bigint[], ARRAY[200], ARRAY[NULL]::text[],
			ARRAY[NULL]::bytea[], ARRAY[NULL]::bytea[], ARRAY[NULL]::text[], ARRAY[NULL]::boolean[], ARRAY[1]::bigint[], 1, 1`},
	}
	statements["settling the first attempts"] = statement{settleFresh, statements["settling"].args}
	for parts, sql := range insertions {
		args := `ARRAY[1]::integer[], ARRAY[1]::bigint[], ARRAY[gen_random_uuid()], ARRAY[NULL]::boolean[], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::text[], ARRAY[NULL]::uuid[], ARRAY['{}'], ARRAY[NULL]::text[],
			ARRAY[NULL]::bytea[], ARRAY[NULL]::bytea[], ARRAY[1]::bigint[], ARRAY[1]::bigint[], 1, ARRAY['action'], ARRAY[1]::bigint[], ARRAY['rule'], ARRAY['r'], ARRAY[1]::bigint[], ARRAY[1]::bigint[], ARRAY[1]::bigint[], false, 1, 1, 1`
		if parts.deliveries {
			args += `, ARRAY[1]::integer[], ARRAY[0]::integer[], ARRAY[2]::integer[], ARRAY[1]::bigint[], ARRAY[NULL]::bigint[], ARRAY['k']::bytea[], ARRAY[7]::bigint[], ARRAY[true], 30000000, 1,
				ARRAY[2]::integer[], ARRAY[1]::bigint[], ARRAY[1]::bigint[], ARRAY[1]::bigint[], ARRAY[1]::bigint[]`
		}
		if parts.additions {
			args += `, ARRAY[gen_random_uuid()], ARRAY[1]::integer[]`
		}
		statements[fmt.Sprintf("storing %+v", parts)] = statement{sql, args}
	}
	for name, s := range statements {
		planner.findsByKey(name, s)
	}
	planner.run(onlyLookups)
	for _, name := range []string{"settling", "settling the first attempts"} {
		planner.findsByKey(name+" in its session", statements[name])
	}
}
