package postgres

import (
	"context"
	"encoding/json"
	"os"
	"slices"
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
	// Nearly all tallies are added and only not vacuumed yet, as while a dump runs. The
	// server does not know: there were none when it analyzed the table.
	`INSERT INTO nodes (name, tallied) VALUES ('n', 29990)`,
	`INSERT INTO tallies (node, at, names, numbers, kinds, things, uses, first_uses, last_uses, ids, bytes, oldest, newest, actions, waiting, made)
		SELECT 1, n, '{ignored}', '{5}', '{rule}', '{r}', '{5}', '{1}', '{2}', ARRAY[n::bigint], '{100}', '{1}', '{2}', '{1}', '{5}', '{5}' FROM generate_series(1, 30000) AS n`,
}

// largeTables are those that grow with what is stored.
var largeTables = []string{"events", "attempts", "waiting", "additions", "counts", "samples", "notes", "tallies"}

// statement is one of the engine with values for its parameters.
type statement struct{ sql, args string }

// planner asks the server how it would carry out statements on large tables, in a session
// that is set up as those of the engine are.
type planner struct {
	*testing.T
	conn *pgx.Conn
}

// newPlanner fills the tables with 60,000 rows, or a million with EVENT_RELAY_LARGE in the
// environment.
func newPlanner(t *testing.T) planner {
	t.Helper()
	dsn, schema := pgtest.Schema(t)
	config, err := Options{DSN: dsn, Schema: schema}.withDefaults().poolConfig()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config.ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	if err := migrate(t.Context(), conn, schema); err != nil {
		t.Fatal(err)
	}
	if err := config.AfterConnect(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	p := planner{t, conn}
	rows := "60000"
	if os.Getenv("EVENT_RELAY_LARGE") != "" {
		rows = "1000000"
	}
	for _, sql := range largeHistory {
		p.run(strings.ReplaceAll(sql, "60000)", rows+")"))
	}
	return p
}

func (p planner) run(sql string) {
	p.Helper()
	if _, err := p.conn.Exec(p.Context(), sql); err != nil {
		p.Fatalf("%s: %v", sql, err)
	}
}

// findsByKey fails the test if a statement goes through the whole of a large table or of
// an index, whether the server plans it for the values that it is given or for any.
func (p planner) findsByKey(name string, s statement) {
	p.Helper()
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		p.run("SET plan_cache_mode = " + mode)
		p.run("PREPARE statement AS " + s.sql)
		execute := "EXECUTE statement"
		if s.args != "" {
			execute += "(" + s.args + ")"
		}
		var text string
		if err := p.conn.QueryRow(p.Context(), "EXPLAIN (FORMAT JSON) "+execute, pgx.QueryExecModeSimpleProtocol).Scan(&text); err != nil {
			p.Fatalf("%s: %v", name, err)
		}
		var plans []struct{ Plan plan }
		if err := json.Unmarshal([]byte(text), &plans); err != nil || len(plans) != 1 {
			p.Fatalf("%s: reading the plan: %v\n%s", name, err, text)
		}
		for _, fault := range plans[0].Plan.faults("", false) {
			p.Errorf("%s, %s: %s; the plan is\n%s", name, mode, fault, text)
		}
		p.run("DEALLOCATE statement")
	}
}

// plan is a step of what the server does.
type plan struct {
	Type      string `json:"Node Type"`
	Table     string `json:"Relation Name"`
	Index     string `json:"Index Name"`
	Condition string `json:"Index Cond"`
	Plans     []plan
}

// faults says what goes through the whole of a large table. table is that of the step
// above, and limited says that a step above ends it early.
func (p plan) faults(table string, limited bool) (found []string) {
	if p.Table != "" {
		table = p.Table
	}
	limited = limited || p.Type == "Limit"
	if slices.Contains(largeTables, table) {
		switch {
		case p.Type == "Seq Scan":
			found = append(found, "it goes through "+table)
		case p.Index != "" && p.Condition == "" && !limited:
			found = append(found, "it goes through "+p.Index+" of "+table)
		}
	}
	for _, below := range p.Plans {
		found = append(found, below.faults(table, limited)...)
	}
	return found
}
