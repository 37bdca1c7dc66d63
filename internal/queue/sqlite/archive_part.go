package sqlite

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/layout"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/database"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite/history"
	"github.com/caddy-event-relay/event-relay/rules"
)

// One part has this much at most, but for an event that is larger.
const (
	partEvents = 512
	partBytes  = 4 << 20
	partRows   = 2048 // of what is small
)

// archivePlace is a queue.Place.
type archivePlace struct {
	Step string `json:"step"`
	// After is the number, the time or the key of what was read last in the step.
	After int64  `json:"after,omitempty"`
	Key   string `json:"key,omitempty"`
	Read  int64  `json:"read,omitempty"` // events so far
}

// archiveSteps are what is read, in order. Each reads what follows a place in its
// step, and says where it is then; it ends when that does not change.
var archiveSteps = []struct {
	name string
	read func(*Archive, *archivePlace, *queue.Part) error
}{
	{"switches", (*Archive).partOfSwitches},
	{"marks", (*Archive).partOfMarks},
	{"unfinished", (*Archive).partOfUnfinished},
	{"waiting", (*Archive).partWhenWaiting},
	{"events", (*Archive).partOfEvents},
	{"notes", (*Archive).partOfNotes},
	{"minutes", (*Archive).partOfMinutes},
	{"present", (*Archive).partOfPresent},
	{"uses", (*Archive).partOfUses},
	{"end", func(*Archive, *archivePlace, *queue.Part) error { return nil }},
}

// Part implements queue.Archive.
func (a *Archive) Part(ctx context.Context, after queue.Place) (part queue.Part, err error) {
	a.conn.SetInterrupt(ctx.Done())
	place := archivePlace{Step: archiveSteps[0].name}
	if after != "" {
		if err := json.Unmarshal([]byte(after), &place); err != nil {
			return part, fmt.Errorf("reading the place %q where an import ended: %w", after, err)
		}
	}
	known := false
	for i, step := range archiveSteps {
		if known = known || step.name == place.Step; !known {
			continue
		}
		if place.Step != step.name {
			place = archivePlace{Step: step.name, Read: place.Read}
		}
		before := place
		if err := step.read(a, &place, &part); err != nil {
			return part, a.failed(ctx, err)
		}
		if place != before || i == len(archiveSteps)-1 {
			text, err := json.Marshal(place)
			part.Reached, part.Read = queue.Place(text), place.Read
			return part, err
		}
	}
	return part, fmt.Errorf("a newer version of the program began this import, at the step %q: use that one", place.Step)
}

// once reports whether what is read as a whole is still to be read.
func (p *archivePlace) once() bool {
	first := p.After == 0
	p.After = 1
	return first
}

func (a *Archive) partOfSwitches(place *archivePlace, part *queue.Part) (err error) {
	if place.once() {
		part.Switches, err = history.ReadSwitches(a.conn)
	}
	return err
}

func (a *Archive) partOfMarks(place *archivePlace, part *queue.Part) error {
	return database.Query(a.conn, "SELECT key, uuid, stored, expires FROM dedupe WHERE key > unhex(?) AND expires > ? ORDER BY key LIMIT ?", func(row *sqlite.Stmt) error {
		key := database.ColumnBytes(row, 0)
		place.Key = hex.EncodeToString(key)
		mark := queue.DedupeMark{Event: row.ColumnText(1), Stored: layout.FromMicros(row.ColumnInt64(2)), Expires: layout.FromMicros(row.ColumnInt64(3))}
		if copy(mark.Key[:], key) == len(mark.Key) && isUUID(mark.Event) {
			part.Marks = append(part.Marks, mark)
		}
		return nil
	}, place.Key, a.now, int64(partRows))
}

func (*Archive) partWhenWaiting(place *archivePlace, part *queue.Part) error {
	part.WaitingIn = place.once()
	return nil
}

func (a *Archive) partOfNotes(place *archivePlace, part *queue.Part) error {
	bytes := 0
	err := database.Query(a.conn, "SELECT id, at, kind, name, text FROM notes WHERE id > ? ORDER BY id LIMIT ?", func(row *sqlite.Stmt) error {
		place.After = row.ColumnInt64(0)
		part.Notes = append(part.Notes, queue.Note{At: layout.FromMicros(row.ColumnInt64(1)), Kind: queue.NoteKind(row.ColumnText(2)), Name: row.ColumnText(3), Text: row.ColumnText(4)})
		if bytes += row.ColumnLen(3) + row.ColumnLen(4); bytes > partBytes {
			return database.ErrEnough
		}
		return nil
	}, place.After, int64(partRows))
	return unlessEnough(err)
}

// partOfMinutes reads the counts of the minutes that are over: those of longer times
// are made of them.
func (a *Archive) partOfMinutes(place *archivePlace, part *queue.Part) error {
	return a.minutes(place, part, "minutes = 1 AND at > ? ORDER BY at LIMIT ?", place.After, int64(partRows))
}

func (a *Archive) partOfPresent(place *archivePlace, part *queue.Part) error {
	if !place.once() {
		return nil
	}
	return a.minutes(&archivePlace{}, part, "minutes = 0")
}

func (a *Archive) minutes(place *archivePlace, part *queue.Part, which string, args ...any) error {
	columns, err := database.CountColumnsOf(a.conn)
	if err != nil {
		return err
	}
	return database.Query(a.conn, "SELECT "+columns+" FROM counts WHERE "+which, func(row *sqlite.Stmt) error {
		counts := database.ReadCounts(row)
		place.After = counts.At
		part.Minutes = append(part.Minutes, countedMinute(&counts))
		return nil
	}, args...)
}

func countedMinute(c *layout.Counts) queue.CountedMinute {
	minute := queue.CountedMinute{At: layout.FromMicros(c.At), Retries: c.Numbers[layout.CountedRetries]}
	for i, name := range layout.Counted[:layout.CountedDecisions] {
		if n := c.Numbers[i]; n != 0 {
			if minute.Events == nil {
				minute.Events = make(map[rules.Decision]int64)
			}
			minute.Events[rules.Decision(name)] = n
		}
	}
	for i, name := range layout.Counted[layout.CountedDecisions:layout.CountedRetries] {
		if n := c.Numbers[layout.CountedDecisions+i]; n != 0 {
			if minute.Deliveries == nil {
				minute.Deliveries = make(map[queue.State]int64)
			}
			minute.Deliveries[queue.State(name)] = n
		}
	}
	for class, n := range c.Latencies {
		if n != 0 {
			if minute.Latencies == nil {
				minute.Latencies = make(map[int]int64)
			}
			minute.Latencies[class] = n
		}
	}
	for action, sample := range c.Backlog {
		if minute.Backlog == nil {
			minute.Backlog = make(map[string]queue.BacklogSample)
		}
		minute.Backlog[action] = queue.BacklogSample{Count: sample.Count, Age: time.Duration(sample.Age) * time.Microsecond}
	}
	return minute
}

func (a *Archive) partOfUses(place *archivePlace, part *queue.Part) (err error) {
	if place.once() {
		part.Uses, err = a.uses()
	}
	return err
}

// uses returns how often things were used, those after the last that was written
// included.
func (a *Archive) uses() ([]queue.Use, error) {
	if have, err := database.QueryInt(a.conn, "PRAGMA user_version"); err != nil || have < 4 {
		return nil, err // it counted none
	}
	things, actions, err := usesOf(a.conn)
	if err != nil {
		return nil, err
	}
	made := make(map[string]actionUses, len(actions))
	for _, action := range actions {
		made[action.name] = action.uses
	}
	uses := make([]queue.Use, len(things))
	for i := range things {
		uses[i] = things[i].use(made[things[i].Name])
	}
	return uses, nil
}

func unlessEnough(err error) error {
	if errors.Is(err, database.ErrEnough) {
		return nil
	}
	return err
}
