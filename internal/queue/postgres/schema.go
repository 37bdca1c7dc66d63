package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// steps lead from one version of the schema to the next: the first makes version 1.
// A step that was released is never changed, and steps only add, so that for the
// time of a rolling update a program of the version before goes on working.
//
// The schema is shaped by what it costs to write, as the one of the SQLite engine is,
// and by three things that only a shared database has:
//
//   - A row that several nodes write in the transaction of a put makes each wait for
//     the sync of the other. So whatever is counted is counted in rows of each node's
//     own, and added up by those who read it. What puts count (see tally.go) and what
//     settlements count are rows of their own too: a node writes both at once.
//   - A lease stands in the row of the delivery. No index has a column that a lease
//     changes, so that taking a delivery rewrites its row in place.
//   - PostgreSQL's text takes neither a NUL nor what is no UTF-8. A text that a sender
//     can make up is written as encodeText does it, or as bytes.
var steps = []string{
	`
-- The clock: microseconds since 1970. All times that are compared with the present one are compared with this.
CREATE FUNCTION now_us() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint';

CREATE TABLE facts ( -- about this schema
	name text PRIMARY KEY,
	text text NOT NULL
);
INSERT INTO facts (name, text) VALUES ('identity', replace(gen_random_uuid()::text, '-', ''));

CREATE TABLE actions (
	id           integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	name         text NOT NULL UNIQUE,
	paused       boolean NOT NULL DEFAULT false,   -- while an administrator keeps its deliveries waiting
	barred_until bigint NOT NULL DEFAULT 0         -- while its deliveries are cancelled or moved
);

CREATE TABLE action_counts ( -- by node and part: 0 is what puts changed (see tallies), an odd one what settlements and changes did
	action    integer NOT NULL,
	node      integer NOT NULL,
	part      smallint NOT NULL,
	waiting   bigint NOT NULL DEFAULT 0, -- the sum over nodes and parts is the number of rows in waiting
	made      bigint NOT NULL DEFAULT 0, -- deliveries that were made, those of tests apart
	first     bigint,                    -- when the first of them was
	last      bigint,
	delivered bigint NOT NULL DEFAULT 0, -- deliveries that ended so, and are not mended
	failed    bigint NOT NULL DEFAULT 0,
	expired   bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (action, node, part)
) WITH (fillfactor = 50);

CREATE TABLE kinds ( -- what events have in common
	id       integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	digest   bytea NOT NULL UNIQUE, -- of the other columns, whatever their length
	source   text NOT NULL,
	event    text NOT NULL,
	decision text NOT NULL,
	actions  text NOT NULL, -- JSON list of the actions of the deliveries, '' for none
	unused   bigint         -- since when no event has it; null: one has, or had lately
);

CREATE SEQUENCE event_ids START 68719476736; -- below there is room for older events, which an import adds

CREATE TABLE events (
	id           bigint PRIMARY KEY, -- in the order of storing
	kind         integer NOT NULL,   -- kinds.id
	node         integer NOT NULL,   -- nodes.id of the one that received it
	received     bigint NOT NULL,
	uuid         uuid NOT NULL,
	test         boolean NOT NULL,
	tenant       text,
	parse_error  text,
	subject      text,
	duplicate_of uuid,  -- the event that this one repeats
	verdict      text,  -- JSON
	deliveries   text,  -- JSON list of what was to be done; delivery n of event e is e*2048+n elsewhere
	record       bytea, -- JSON: the event, without what stands in the other columns
	body         bytea, -- the request's body as it came
	checksum     bigint -- CRC-32C of record and body, one after the other
);
CREATE UNIQUE INDEX events_uuid ON events (uuid);
CREATE INDEX events_kind ON events (kind, id);

CREATE TABLE sizes ( -- how much the events of a block of 4096 ids take and when they were received, by node and part: 0 events, 1 attempts, 2 what was removed
	block  bigint NOT NULL,
	node   integer NOT NULL,
	part   smallint NOT NULL,
	bytes  bigint NOT NULL,
	oldest bigint, -- events.received of its events, or before, in part 0; null: any
	newest bigint, -- or after
	PRIMARY KEY (block, node, part)
) WITH (fillfactor = 50);

CREATE TABLE additions ( -- deliveries whose ids do not tell when their event was received
	uuid  uuid PRIMARY KEY,
	event bigint NOT NULL -- events.id
);
CREATE INDEX additions_event ON additions (event);

CREATE TABLE waiting ( -- the unfinished deliveries
	action        integer NOT NULL, -- actions.id
	delivery      bigint NOT NULL,  -- event*2048 + place in events.deliveries
	place         bigint NOT NULL,  -- since when it waits for its turn, or its time to come; 4611686018427387904 more behind another of its order key
	since         bigint,           -- when it was added to its event; null: it was stored with it
	attempts      integer NOT NULL DEFAULT 0,
	first_attempt bigint,
	order_key     bytea,
	key_hash      bigint,           -- of the order key, whatever its length
	lease         integer NOT NULL DEFAULT 0, -- how often it was leased
	leased_until  bigint,           -- null: it is not
	owner         integer,          -- sessions.id that has the lease
	PRIMARY KEY (action, delivery)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX waiting_place ON waiting (action, place, delivery);
CREATE INDEX waiting_key ON waiting (action, key_hash, delivery) WHERE key_hash IS NOT NULL;
CREATE INDEX waiting_since ON waiting (action, since) WHERE since IS NOT NULL;

CREATE TABLE attempts ( -- what was tried, and how deliveries ended
	id       bigint PRIMARY KEY, -- delivery*4096 + number of the attempt from 0
	action   integer NOT NULL,
	state    smallint NOT NULL, -- of the delivery, from then on: 0 pending 1 delivered 2 failed 3 expired 4 cancelled; 3 more when it is mended
	at       bigint NOT NULL,   -- pending: due again; else when it ended
	began    bigint,            -- null: the state changed without an attempt
	took     bigint,            -- microseconds
	status   integer,           -- of the answer, null if there was none
	error    text,
	request  bytea,
	response bytea,
	empty    text               -- JSON list of the tags that rendered as nothing
);
CREATE INDEX attempts_ended ON attempts (action, state, id) WHERE state > 1;

CREATE TABLE dedupe ( -- keys that make a later event a duplicate
	key     bytea PRIMARY KEY, -- the first 16 bytes of its SHA-256
	uuid    uuid NOT NULL,     -- the event that was stored with it
	stored  bigint NOT NULL,
	expires bigint NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX dedupe_expires ON dedupe (expires);

CREATE TABLE counts ( -- what happened in the minutes from a time on, by node
	minutes smallint NOT NULL, -- 1, 10 or 60
	at      bigint NOT NULL,
	name    text NOT NULL,     -- a decision, a state, duplicate, mended, retries, or l:N: deliveries that took from 2^(N/2) to 2^((N+1)/2) microseconds from receipt
	node    integer NOT NULL,
	n       bigint NOT NULL,
	PRIMARY KEY (minutes, at, name, node)
) WITH (fillfactor = 50);

CREATE TABLE samples ( -- what waited, as it was last noted in the minutes from a time on
	minutes smallint NOT NULL, -- 1, 10 or 60
	at      bigint NOT NULL,
	action  text NOT NULL,
	count   bigint NOT NULL,
	age     bigint NOT NULL, -- for how many microseconds the oldest
	PRIMARY KEY (minutes, at, action)
);

CREATE TABLE things ( -- what configurations have
	id    integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	kind  text NOT NULL, -- event, rule, action
	name  text NOT NULL, -- source:event, the rule's id, the action
	place text,          -- where the configuration has it
	since bigint NOT NULL, -- when a configuration had it first
	gone  bigint,          -- since when none has it; null: one has it
	UNIQUE (kind, name)
);
CREATE TABLE uses ( -- how often events came and rules held, by node and part; actions stand in action_counts
	thing integer NOT NULL, -- things.id
	node  integer NOT NULL,
	part  smallint NOT NULL DEFAULT 0,
	count bigint NOT NULL,
	first bigint NOT NULL,
	last  bigint NOT NULL,
	PRIMARY KEY (thing, node, part)
) WITH (fillfactor = 50);

CREATE TABLE switches ( -- what an administrator turned off
	kind   text NOT NULL, -- action (actions.paused is true then), event, all
	name   text NOT NULL,
	since  bigint NOT NULL,
	until  bigint, -- null: until it is turned on by hand
	reason text,
	PRIMARY KEY (kind, name)
);

CREATE TABLE notes ( -- facts about the relay itself
	id   bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	at   bigint NOT NULL,
	node text NOT NULL, -- the name of the one that made it
	kind text NOT NULL,
	name text,
	text text
);
CREATE INDEX notes_at ON notes (at);
CREATE INDEX notes_kind ON notes (kind, at);

CREATE TABLE imports ( -- queues of single machines that were added; what they counted stands in rows of the node 0
	identity text PRIMARY KEY,
	state    text NOT NULL,   -- of the queue when its import began
	first    bigint NOT NULL, -- the smallest id that its events can have
	shift    bigint NOT NULL, -- added to their numbers there
	reached  text NOT NULL    -- up to where it is in, as the queue says it
);

CREATE TABLE nodes ( -- the names that processes had which opened this schema
	id   integer PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
	name text NOT NULL UNIQUE
);

CREATE SEQUENCE session_ids AS integer;
CREATE TABLE sessions ( -- the processes that have this schema open, or had within a week
	id            integer PRIMARY KEY, -- a new one for each start
	name          text NOT NULL,
	started       bigint NOT NULL,
	seen          bigint NOT NULL, -- its last sign of life
	until         bigint NOT NULL, -- when it counts as dead
	closed        boolean NOT NULL DEFAULT false,
	version       text NOT NULL,
	configuration text NOT NULL,
	delivers      boolean NOT NULL,
	watching      boolean NOT NULL DEFAULT false, -- while it wants to be told what others change
	epoch         bigint NOT NULL, -- up to which it obeys control
	backend       integer,         -- the connection on which it gives signs of life: pg_stat_activity.pid
	connected     timestamptz      -- and backend_start
) WITH (fillfactor = 50);

CREATE TABLE control ( -- one row
	epoch    bigint NOT NULL, -- raised by each change that all nodes must obey
	switched bigint NOT NULL  -- the epoch of the last that turned a switch
);
INSERT INTO control (epoch, switched) VALUES (0, 0);
CREATE TABLE changed ( -- actions that were paused or not, cancelled, moved, or made due
	action text PRIMARY KEY,
	epoch  bigint NOT NULL -- of the last time
);

CREATE TABLE lanes ( -- actions that one node at a time may take
	action  text PRIMARY KEY,
	session integer NOT NULL, -- sessions.id
	until   bigint NOT NULL
);

CREATE TABLE claims ( -- what one node at a time does: leader, or exclusive and a name
	name   text PRIMARY KEY,
	holder text NOT NULL, -- sessions.id, and more for each who has a turn
	until  bigint NOT NULL
);
`,
	`
-- With the rows that count written in each transaction of a put, a node stored a twentieth fewer events.
CREATE TABLE tallies ( -- what such a transaction counted, until its node adds it to counts, uses, sizes and action_counts
	node       integer NOT NULL, -- nodes.id
	id         bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	at         bigint NOT NULL,
	names      text[] NOT NULL,  -- as counts.name
	numbers    bigint[] NOT NULL,
	kinds      text[] NOT NULL,  -- as things.kind
	things     text[] NOT NULL,  -- and things.name
	uses       bigint[] NOT NULL,
	first_uses bigint[] NOT NULL,
	last_uses  bigint[] NOT NULL,
	ids        bigint[] NOT NULL, -- of the first event for all if they are of one block, else of each
	bytes      bigint[] NOT NULL,
	oldest     bigint[] NOT NULL,
	newest     bigint[] NOT NULL,
	actions    integer[],         -- null: there were no deliveries
	waiting    bigint[],
	made       bigint[],
	first_made bigint[],
	last_made  bigint[],
	PRIMARY KEY (node, id)
) WITH (autovacuum_vacuum_cost_delay = 0, vacuum_truncate = false);
ALTER TABLE nodes ADD COLUMN tallied bigint NOT NULL DEFAULT 0; -- up to which tallies.id its rows are added, but for those that were committed late
`,
}

// schemaVersion is the version of the schema that this program writes.
func schemaVersion() int { return len(steps) }

// migrationLock is the advisory lock under which one node at a time makes or changes
// the schema: several may start at once.
const migrationLock = int64(0x45765271)<<32 | 0x10000

// migrate makes the schema, or brings it up to date, in one transaction.
func migrate(ctx context.Context, conn *pgx.Conn, schema string) error {
	version, err := versionOf(ctx, conn, schema)
	if err != nil || version == schemaVersion() {
		return err
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", migrationLock); err != nil {
			return err
		}
		// Another node may have been faster.
		if version, err = versionOf(ctx, tx, schema); err != nil || version == schemaVersion() {
			return err
		}
		name := pgx.Identifier{schema}.Sanitize()
		there := false
		if err := tx.QueryRow(ctx, "SELECT to_regnamespace($1) IS NOT NULL", name).Scan(&there); err != nil {
			return err
		}
		if !there {
			if _, err := tx.Exec(ctx, "CREATE SCHEMA "+name); err != nil {
				return err
			}
		}
		// While a step waits for a table, whatever comes after it waits too, such as the
		// puts of other nodes. A dump has all tables for as long as it takes.
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '100ms'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SET LOCAL search_path = "+name); err != nil {
			return err
		}
		for ; version < schemaVersion(); version++ {
			// Many statements at once need the simple protocol.
			if _, err := tx.Conn().PgConn().Exec(ctx, steps[version]).ReadAll(); err != nil {
				return fmt.Errorf("bringing the schema %s to version %d: %w", schema, version+1, err)
			}
		}
		_, err = tx.Exec(ctx, "INSERT INTO facts (name, text) VALUES ('version', $1) ON CONFLICT (name) DO UPDATE SET text = excluded.text", strconv.Itoa(version))
		return err
	})
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == lockNotAvailable {
		return fmt.Errorf("a transaction that is open has a table that must be changed, such as that of a dump: end it, or wait: %w", err)
	}
	if errors.As(err, &refused) && refused.Code == insufficientPrivilege {
		return queue.Mistaken("the user may not make or change the schema %s (%s): as an administrator of the database run: CREATE SCHEMA IF NOT EXISTS %s; ALTER SCHEMA %s OWNER TO the user of the DSN",
			schema, refused.Message, pgx.Identifier{schema}.Sanitize(), pgx.Identifier{schema}.Sanitize())
	}
	return err
}

// versionOf returns the version of a schema, 0 for one that is not there or empty.
func versionOf(ctx context.Context, q querier, schema string) (version int, err error) {
	table := pgx.Identifier{schema, "facts"}.Sanitize()
	there, tables := false, 0
	if err := q.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL, (SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace($2))",
		table, pgx.Identifier{schema}.Sanitize()).Scan(&there, &tables); err != nil {
		return 0, fmt.Errorf("reading the version of the schema: %w", err)
	}
	if !there {
		if tables > 0 {
			return 0, queue.Mistaken("the schema %s has tables of another program: give the relay a schema of its own with: schema NAME", schema)
		}
		return 0, nil
	}
	if err := q.QueryRow(ctx, "SELECT text::integer FROM "+table+" WHERE name = 'version'").Scan(&version); err != nil {
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == insufficientPrivilege {
			return 0, queue.Mistaken("the user may not read the tables of the schema %s (%s): let it own them, as the user who made them", schema, refused.Message)
		}
		return 0, fmt.Errorf("reading the version of the schema: %w", err)
	}
	if version > schemaVersion() {
		return version, queue.Mistaken("the schema %s has version %d and this program knows up to %d: a newer Event Relay has written it; use that one here too, or another schema with: schema NAME",
			schema, version, schemaVersion())
	}
	return version, nil
}
