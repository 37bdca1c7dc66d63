package postgres

import "testing"

// Statements of the history must find their rows in large tables by a key, in either order.
func TestStatementsOfTheHistoryFindByKey(t *testing.T) {
	planner := newPlanner(t)
	const (
		ids   = `ARRAY[50000, 50001, 50002]::bigint[]`
		after = `30000, 1, 51`
		uuids = `'01890000-0000-0000-0000-000000000000'::uuid, '01890000-ffff-ffff-ffff-ffffffffffff'::uuid`
	)
	statements := map[string]statement{
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
		"uses":                    {listUses, ``},
		"a stretch of time":       {findBlocks, `1000, 2000`},
		"how much is stored":      {sumSizes, ``},
		"counts":                  {listCounts, `1, 600000000000, 660000000000, 0, 60000000`},
		"adding counts up":        {rollCounts, `600000000000, 660000000000`},
		"tallies that are left":   {findLeft, `100`},
		"samples":                 {listSamples, `1, 600000000000, 660000000000, 60000000`},
		"notes":                   {listNotes, `true, 20000, 20100, 10`},
		"notes of a kind":         {listNotesOfKind, `true, 20000, 20100, 10, 'k1'`},
		"a note":                  {findNote, `'k1', 'x'`},
		"old blocks":              {findOld, `30000000`},
		"finished":                {findFinished, `7, 30000000`},
		"finished, of any age":    {findFinished, `7, 9223372036854775807`},
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
		planner.findsByKey(name, s)
		if backwards := ascending(s.sql); backwards != s.sql {
			planner.findsByKey(name+", oldest first", statement{backwards, s.args})
		}
	}
}
