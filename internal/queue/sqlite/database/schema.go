package database

import (
	"fmt"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// ApplicationID marks the file as a queue of Event Relay ("EvRq"), so that
// another program's database is never taken for one.
const ApplicationID = 0x45765271

// steps lead from one version of the schema (PRAGMA user_version) to the next:
// the first makes version 1 from an empty file. A step that was released is
// never changed.
//
// The schema is shaped by what it costs to write, because every event passes
// here before its sender is answered. An event with one delivery is one row in
// events, one entry in its only index, and one small row in waiting; to settle
// it is one row deleted there and one added to attempts. So:
//
//   - Deliveries are not rows: what never changes of them stands in the event's
//     row, what is still to be done in waiting, what was tried in attempts.
//   - Integer keys carry the tree: a delivery is its event's id and its place
//     in the list, an attempt is its delivery's id and its number (see ids.go).
//     All rows of an event are therefore one range, and no index is needed to
//     find them.
//   - There is no index on UUIDs or times: blocks says which ids a time can
//     have, and UUIDs of version 7 begin with their time.
//   - kinds stands for source, event name, decision and the actions of the
//     deliveries in one number, so that one index serves all those filters.
//   - The other indexes are partial and empty in ordinary work: deliveries
//     with a time of their own (retries), with an order key, or that ended
//     badly.
var steps = []string{
	`
CREATE TABLE actions (
	id      INTEGER PRIMARY KEY,
	name    TEXT NOT NULL UNIQUE,
	paused  INTEGER NOT NULL DEFAULT 0, -- 1 while an administrator keeps its deliveries waiting
	waiting INTEGER NOT NULL DEFAULT 0  -- number of its rows in the table waiting
) STRICT;

CREATE TABLE kinds ( -- what events have in common
	id       INTEGER PRIMARY KEY,
	source   TEXT NOT NULL,
	event    TEXT NOT NULL,
	decision TEXT NOT NULL,
	actions  TEXT NOT NULL, -- JSON list of the actions of the deliveries, '' for none
	UNIQUE (source, event, decision, actions)
) STRICT;

CREATE TABLE events (
	id           INTEGER PRIMARY KEY, -- in the order of storing
	kind         INTEGER NOT NULL,    -- kinds.id
	received     INTEGER NOT NULL,    -- all times are microseconds since 1970
	uuid         TEXT NOT NULL,
	test         INTEGER,
	tenant       TEXT,
	parse_error  TEXT,
	duplicate_of TEXT, -- uuid of the event that this one repeats
	verdict      TEXT, -- JSON
	deliveries   TEXT, -- JSON list of what was to be done; delivery n of event e is e*2048+n elsewhere
	record       TEXT, -- JSON: the event, without what stands in the other columns
	body         BLOB  -- the request's body as it came
) STRICT;
CREATE INDEX events_kind ON events (kind);

CREATE TABLE waiting ( -- the unfinished deliveries
	action        INTEGER NOT NULL, -- actions.id
	delivery      INTEGER NOT NULL, -- event*2048 + place in events.deliveries
	due           INTEGER,          -- null: since it was stored; 4611686018427387904 and more: behind another of its order key
	attempts      INTEGER NOT NULL DEFAULT 0,
	first_attempt INTEGER,
	order_key     TEXT,
	PRIMARY KEY (action, delivery)
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_due ON waiting (action, due) WHERE due IS NOT NULL;
CREATE INDEX waiting_order ON waiting (action, order_key, delivery) WHERE order_key IS NOT NULL;

CREATE TABLE attempts ( -- what was tried, and how deliveries ended
	id       INTEGER PRIMARY KEY, -- delivery*4096 + number of the attempt from 0
	action   INTEGER NOT NULL,
	state    INTEGER NOT NULL, -- of the delivery, from then on: 0 pending 1 delivered 2 failed 3 expired 4 cancelled
	at       INTEGER NOT NULL, -- pending: due again; else when it ended
	began    INTEGER,          -- null: the state changed without an attempt
	took     INTEGER,          -- microseconds
	status   INTEGER,          -- of the answer, null if there was none
	error    TEXT,
	request  TEXT,
	response TEXT,
	empty    TEXT              -- JSON list of the tags that rendered as nothing
) STRICT;
CREATE INDEX attempts_ended ON attempts (action, state) WHERE state > 1;

CREATE TABLE dedupe ( -- keys that make a later event a duplicate
	key     BLOB PRIMARY KEY, -- the first 16 bytes of its SHA-256
	uuid    TEXT NOT NULL,    -- the event that was stored with it
	stored  INTEGER NOT NULL,
	expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dedupe_expires ON dedupe (expires);

CREATE TABLE blocks ( -- which times the ids from first up to the next block can have
	first  INTEGER PRIMARY KEY,
	oldest INTEGER NOT NULL,
	newest INTEGER NOT NULL
) STRICT;

CREATE VIEW event_list AS -- for people
SELECT e.id, e.uuid, strftime('%Y-%m-%d %H:%M:%f', e.received / 1e6, 'unixepoch') AS received_utc,
	k.source, k.event, k.decision, e.verdict ->> 'reason' AS reason, e.verdict ->> 'rule' AS rule,
	e.tenant, e.duplicate_of, e.parse_error, e.record, CAST(e.body AS TEXT) AS body
FROM events e JOIN kinds k ON k.id = e.kind;

CREATE VIEW delivery_list AS -- for people
SELECT d.value ->> 'id' AS uuid, e.uuid AS event, d.value ->> 'action' AS action,
	CASE coalesce(a.state, 0) WHEN 0 THEN 'pending' WHEN 1 THEN 'delivered' WHEN 2 THEN 'failed'
		WHEN 3 THEN 'expired' WHEN 4 THEN 'cancelled' END AS state,
	strftime('%Y-%m-%d %H:%M:%f', a.at / 1e6, 'unixepoch') AS due_or_ended_utc,
	a.status, a.error, e.id * 2048 + d.key AS delivery
FROM events e JOIN json_each(e.deliveries) d LEFT JOIN attempts a ON a.id = (
	SELECT max(id) FROM attempts WHERE id >= (e.id * 2048 + d.key) * 4096 AND id < (e.id * 2048 + d.key + 1) * 4096);
`,
	`
CREATE TABLE switches ( -- what an administrator turned off
	kind     TEXT NOT NULL, -- action (actions.paused is 1 then), event, all
	name     TEXT NOT NULL,
	since    INTEGER NOT NULL,
	until    INTEGER, -- null: until it is turned on by hand
	reason   TEXT,
	PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
INSERT INTO switches (kind, name, since) SELECT 'action', name, CAST(unixepoch('subsec') * 1000000 AS INTEGER) FROM actions WHERE paused;

CREATE TABLE notes ( -- facts about the relay itself
	id   INTEGER PRIMARY KEY,
	at   INTEGER NOT NULL,
	kind TEXT NOT NULL,
	name TEXT,
	text TEXT
) STRICT;
CREATE INDEX notes_at ON notes (at);
CREATE INDEX notes_kind ON notes (kind, at);

CREATE TABLE additions ( -- deliveries that were added to an event later: their ids do not tell when it was stored
	uuid  TEXT PRIMARY KEY,
	event INTEGER NOT NULL -- events.id
) STRICT, WITHOUT ROWID;

-- null: since the event was received; else since then, because it was added later.
ALTER TABLE waiting ADD COLUMN since INTEGER;
CREATE INDEX waiting_since ON waiting (action, since) WHERE since IS NOT NULL;

CREATE TABLE counts ( -- what happened in the minutes from a time on
	minutes    INTEGER NOT NULL, -- 1, 10 or 60; 0: the present minute, which the others do not hold yet
	at         INTEGER NOT NULL,
	action     INTEGER NOT NULL DEFAULT 0, -- events by decision
	ignored    INTEGER NOT NULL DEFAULT 0,
	rule_error INTEGER NOT NULL DEFAULT 0,
	disabled   INTEGER NOT NULL DEFAULT 0,
	duplicate  INTEGER NOT NULL DEFAULT 0,
	delivered  INTEGER NOT NULL DEFAULT 0, -- deliveries that ended, by state
	failed     INTEGER NOT NULL DEFAULT 0,
	expired    INTEGER NOT NULL DEFAULT 0,
	cancelled  INTEGER NOT NULL DEFAULT 0,
	retries    INTEGER NOT NULL DEFAULT 0, -- attempts after which a delivery was to be tried again
	latencies  TEXT, -- pairs of n:count: deliveries that took from 2^(n/2) to 2^((n+1)/2) microseconds from receipt
	backlog    TEXT, -- JSON by action: how many deliveries waited, and for how many microseconds the oldest
	PRIMARY KEY (minutes, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE facts ( -- about this database
	name TEXT PRIMARY KEY,
	text TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO facts (name, text) VALUES ('identity', lower(hex(randomblob(16))));

CREATE TABLE merged ( -- the databases whose history was added to this one
	identity TEXT PRIMARY KEY,
	counted  INTEGER NOT NULL -- their minutes up to this one are in counts
) STRICT, WITHOUT ROWID;
`,
	`
-- CRC-32C of record and body, one after the other; null: stored before there were checksums
ALTER TABLE events ADD COLUMN checksum INTEGER;
`,
	`
ALTER TABLE events ADD COLUMN subject TEXT; -- one line for people: what the event is about

DROP VIEW event_list;
CREATE VIEW event_list AS -- for people
SELECT e.id, e.uuid, strftime('%Y-%m-%d %H:%M:%f', e.received / 1e6, 'unixepoch') AS received_utc,
	k.source, k.event, e.subject, k.decision, e.verdict ->> 'reason' AS reason, e.verdict ->> 'rule' AS rule,
	e.tenant, e.duplicate_of, e.parse_error, e.record, CAST(e.body AS TEXT) AS body
FROM events e JOIN kinds k ON k.id = e.kind;

-- attempts.state of a delivery that is mended, because one that repeats it arrived: 5 instead of 2, 6 instead of 3, 7 instead of 4
UPDATE attempts SET state = state + 3 WHERE state BETWEEN 2 AND 4 AND id IN (
	WITH RECURSIVE plans (event, delivery, uuid, repeated) AS MATERIALIZED (
		SELECT e.id, e.id * 2048 + d.key, d.value ->> 'id', d.value ->> 'of'
		FROM events e CROSS JOIN json_each(CASE WHEN json_valid(e.deliveries) THEN e.deliveries END) d WHERE e.id IN (SELECT event FROM additions)
	), arrived (event, repeated) AS (
		SELECT event, repeated FROM plans WHERE repeated IS NOT NULL
			AND EXISTS (SELECT 1 FROM attempts WHERE id >= delivery * 4096 AND id < (delivery + 1) * 4096 AND state = 1)
		UNION SELECT p.event, p.repeated FROM arrived r JOIN plans p ON p.event = r.event AND p.uuid = r.repeated WHERE p.repeated IS NOT NULL
	)
	SELECT (SELECT max(id) FROM attempts WHERE id >= p.delivery * 4096 AND id < (p.delivery + 1) * 4096)
	FROM arrived r JOIN plans p ON p.event = r.event AND p.uuid = r.repeated);

ALTER TABLE counts ADD COLUMN mended INTEGER NOT NULL DEFAULT 0; -- deliveries that ended then, and are mended: they are not in failed, expired and cancelled any more

DROP VIEW delivery_list;
CREATE VIEW delivery_list AS -- for people
SELECT d.value ->> 'id' AS uuid, e.uuid AS event, d.value ->> 'action' AS action,
	CASE coalesce(a.state, 0) WHEN 0 THEN 'pending' WHEN 1 THEN 'delivered' WHEN 2 THEN 'failed'
		WHEN 3 THEN 'expired' WHEN 4 THEN 'cancelled' ELSE 'mended' END AS state,
	strftime('%Y-%m-%d %H:%M:%f', a.at / 1e6, 'unixepoch') AS due_or_ended_utc,
	a.status, a.error, e.id * 2048 + d.key AS delivery
FROM events e JOIN json_each(e.deliveries) d LEFT JOIN attempts a ON a.id = (
	SELECT max(id) FROM attempts WHERE id >= (e.id * 2048 + d.key) * 4096 AND id < (e.id * 2048 + d.key + 1) * 4096);

CREATE TABLE uses ( -- what configurations have, and how often events came and rules held
	kind  TEXT NOT NULL,    -- event, rule, action
	name  TEXT NOT NULL,    -- source:event, the rule's id, the action
	place TEXT,             -- where the configuration has it
	since INTEGER NOT NULL, -- when a configuration had it first
	gone  INTEGER,          -- since when none has it; null: one has it
	count INTEGER NOT NULL DEFAULT 0, -- of actions in the table actions
	first INTEGER,
	last  INTEGER,
	PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
-- The events up to this one are counted in the table uses.
INSERT INTO facts (name, text) SELECT 'counted', max(coalesce((SELECT max(id) FROM events), 0), coalesce((SELECT max(first) FROM blocks), 0));

ALTER TABLE actions ADD COLUMN made INTEGER NOT NULL DEFAULT 0; -- deliveries that were made
ALTER TABLE actions ADD COLUMN first INTEGER; -- when the first of them was
ALTER TABLE actions ADD COLUMN last INTEGER;
ALTER TABLE actions ADD COLUMN delivered INTEGER NOT NULL DEFAULT 0; -- deliveries that ended so
ALTER TABLE actions ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE actions ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;

ALTER TABLE merged ADD COLUMN uses TEXT; -- JSON: how much of their uses is in uses and actions
`,
}

// Version returns the version of the schema that this program writes.
func Version() int64 { return int64(len(steps)) }

// Migrate brings the schema of an open database up to date. Each step is one
// transaction.
func Migrate(conn *sqlite.Conn, file string) error { return MigrateTo(conn, file, Version()) }

// MigrateTo brings the schema of an open database up to a version, at most that of
// Version. Databases of earlier versions are made with it in tests.
func MigrateTo(conn *sqlite.Conn, file string, version int64) error {
	have, err := QueryInt(conn, "PRAGMA user_version")
	if err != nil {
		return err
	}
	if have > Version() {
		return queue.Mistaken("database %s has schema version %d and this program knows up to %d: it was written by a newer "+
			"Event Relay; use that one, or give this one its own directory with: queue sqlite DIR", file, have, Version())
	}
	for ; have < version; have++ {
		script := fmt.Sprintf("%s\nPRAGMA application_id = %d;\nPRAGMA user_version = %d;", steps[have], ApplicationID, have+1)
		if err := sqlitex.ExecuteScript(conn, script, nil); err != nil {
			return fmt.Errorf("bringing the schema of %s to version %d: %w", file, have+1, err)
		}
	}
	return nil
}
