package sqlite

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/rules"
)

// What happens is counted in the transaction that makes it happen, so that a
// crash neither loses nor doubles anything. The writer has the counts of the
// present minute in memory and writes one row for all that a transaction
// changed; when the minute is over, its counts are added to the rows of the
// longer times that it is part of. Thus a chart reads few rows, however long it
// reaches back.

const (
	minute = int64(60_000_000) // in microseconds
	// latencyClasses is enough for nine years: see latencyClass.
	latencyClasses = 96
)

// countedMinutes are the lengths of time for which counts are kept.
var countedMinutes = [...]int64{1, 10, 60}

// counted names what is counted: the columns of the table counts, in order.
var counted = [...]string{"action", "ignored", "rule_error", "disabled", "duplicate", "delivered", "failed", "expired", "cancelled", "retries"}

const (
	countedDecisions = 5 // the first of them
	countedRetries   = len(counted) - 1
)

// countedStates is the place of the counts of an end, which are in the order of
// the states.
const countedStates = countedDecisions - delivered

// counts is what happened in some time.
type counts struct {
	at        int64
	numbers   [len(counted)]int64
	latencies [latencyClasses]int64
	backlog   map[string]sample // never changed, only replaced
}

// sample is queue.BacklogSample as it stands in counts.backlog.
type sample struct {
	Count int   `json:"count"`
	Age   int64 `json:"age"`
}

// add adds what happened in another, later time.
func (c *counts) add(other *counts) {
	for i, n := range other.numbers {
		c.numbers[i] += n
	}
	for i, n := range other.latencies {
		c.latencies[i] += n
	}
	c.sample(other.backlog)
}

// sample notes a backlog that is later than what is known.
func (c *counts) sample(backlog map[string]sample) {
	switch {
	case len(backlog) == 0:
	case len(c.backlog) == 0:
		c.backlog = backlog
	default:
		c.backlog = maps.Clone(c.backlog)
		maps.Copy(c.backlog, backlog)
	}
}

// latencyClass returns n for what took from 2^(n/2) to 2^((n+1)/2)
// microseconds.
func latencyClass(took int64) int {
	return min(int(2*math.Log2(float64(max(took, 1)))), latencyClasses-1)
}

// latency returns how long it took for a part of all, as the middle of a class.
func (c *counts) latency(part float64) time.Duration {
	total := int64(0)
	for _, n := range c.latencies {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := int64(math.Ceil(part * float64(total)))
	for class, n := range c.latencies {
		if rank -= n; rank <= 0 {
			return time.Duration(math.Exp2((float64(class)+0.5)/2) * float64(time.Microsecond))
		}
	}
	return 0
}

// countNow returns the counts of the present minute.
func (tx *transaction) countNow() (*counts, error) {
	c := &tx.counts
	if tx.counted {
		return c, nil
	}
	tx.counted = true
	now := tx.now - mod(tx.now, minute)
	if c.at == now {
		return c, nil
	}
	if c.at != 0 {
		if err := tx.addCounts(c); err != nil {
			return nil, err
		}
		if err := execute(tx.conn, "DELETE FROM counts WHERE minutes = 0"); err != nil {
			return nil, err
		}
	}
	*c = counts{at: now}
	return c, nil
}

// addCounts adds the counts of a minute to all times that it is part of.
func (tx *transaction) addCounts(c *counts) error {
	for _, minutes := range countedMinutes {
		at := c.at - mod(c.at, minutes*minute)
		total := counts{at: at}
		if err := query(tx.conn, "SELECT "+countColumns+" FROM counts WHERE minutes = ? AND at = ?", func(row *sqlite.Stmt) error {
			total = readCounts(row)
			return nil
		}, minutes, at); err != nil {
			return err
		}
		total.add(c)
		if err := tx.putCounts(minutes, &total); err != nil {
			return err
		}
	}
	return nil
}

// putCounts writes a row of the table counts.
func (tx *transaction) putCounts(minutes int64, c *counts) error {
	s := tx.statements.putCounts
	s.BindInt64(1, minutes)
	s.BindInt64(2, c.at)
	for i, n := range c.numbers {
		s.BindInt64(3+i, n)
	}
	tx.text = c.appendLatencies(tx.text[:0])
	bindText(s, 3+len(c.numbers), string(tx.text))
	backlog := ""
	if len(c.backlog) > 0 {
		text, err := json.Marshal(c.backlog)
		if err != nil {
			return fmt.Errorf("encoding a backlog: %w", err)
		}
		backlog = string(text)
	}
	bindText(s, 4+len(c.numbers), backlog)
	return step(s)
}

func (c *counts) appendLatencies(text []byte) []byte {
	for class, n := range c.latencies {
		if n == 0 {
			continue
		}
		if len(text) > 0 {
			text = append(text, ' ')
		}
		text = strconv.AppendInt(text, int64(class), 10)
		text = append(text, ':')
		text = strconv.AppendInt(text, n, 10)
	}
	return text
}

var (
	countColumns = "at, " + strings.Join(counted[:], ", ") + ", latencies, backlog"
	putCounts    = "INSERT OR REPLACE INTO counts (minutes, " + countColumns + ") VALUES (?, ?" + strings.Repeat(", ?", len(counted)+2) + ")"
	listCounts   = "SELECT " + countColumns + " FROM counts WHERE minutes = ? AND at >= ? AND at < ? ORDER BY at"
)

// readCounts reads a row with countColumns. What cannot be read counts as
// nothing.
func readCounts(row *sqlite.Stmt) (c counts) {
	c.at = row.ColumnInt64(0)
	for i := range c.numbers {
		c.numbers[i] = row.ColumnInt64(1 + i)
	}
	for rest := row.ColumnText(1 + len(c.numbers)); rest != ""; {
		var pair string
		pair, rest, _ = strings.Cut(rest, " ")
		name, number, _ := strings.Cut(pair, ":")
		class, err := strconv.Atoi(name)
		n, err2 := strconv.ParseInt(number, 10, 64)
		if err == nil && err2 == nil && class >= 0 && class < latencyClasses {
			c.latencies[class] += n
		}
	}
	if text := columnBytes(row, 2+len(c.numbers)); text != nil {
		if json.Unmarshal(text, &c.backlog) != nil {
			c.backlog = nil
		}
	}
	return c
}

// loadCounts reads the counts of the present minute.
func (db *DB) loadCounts() error {
	db.counts = counts{}
	return query(db.conn, "SELECT "+countColumns+" FROM counts WHERE minutes = 0", func(row *sqlite.Stmt) error {
		db.counts = readCounts(row)
		return nil
	})
}

// countEvent counts an event that is being stored.
func (tx *transaction) countEvent(decision string, duplicate bool) error {
	c, err := tx.countNow()
	if err != nil {
		return err
	}
	if duplicate {
		decision = string(queue.DuplicateEvents)
	}
	for i, name := range counted[:countedDecisions] {
		if name == decision {
			c.numbers[i]++
		}
	}
	return nil
}

// countSettled counts what a settlement says, if it says anything: since is when
// the delivery began to wait, 0 if that is not known.
func (tx *transaction) countSettled(state int64, attempted bool, since, at int64) error {
	if state == pending && !attempted {
		return nil
	}
	c, err := tx.countNow()
	if err != nil {
		return err
	}
	if state == pending {
		c.numbers[countedRetries]++
		return nil
	}
	c.numbers[countedStates+state]++
	if state == delivered && since != 0 {
		c.latencies[latencyClass(at-since)]++
	}
	return nil
}

// point returns the counts as queue.Series has them.
func (c *counts) point() queue.Point {
	p := queue.Point{At: fromMicros(c.at), Retries: int(c.numbers[countedRetries]), P50: c.latency(0.5), P99: c.latency(0.99)}
	for i, n := range c.numbers[:countedRetries] {
		switch {
		case n == 0:
		case i < countedDecisions:
			if p.Events == nil {
				p.Events = make(map[rules.Decision]int)
			}
			p.Events[rules.Decision(counted[i])] = int(n)
		default:
			if p.Deliveries == nil {
				p.Deliveries = make(map[queue.State]int)
			}
			p.Deliveries[states[i-countedStates]] = int(n)
		}
	}
	for name, s := range c.backlog {
		if p.Backlog == nil {
			p.Backlog = make(map[string]queue.BacklogSample)
		}
		p.Backlog[name] = queue.BacklogSample{Count: s.Count, Age: time.Duration(s.Age) * time.Microsecond}
	}
	return p
}
