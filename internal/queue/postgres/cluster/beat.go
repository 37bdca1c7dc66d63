package cluster

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// Between two signs of life of a node passes a second, or a sixth of a short lease.
// Then it also sees what it was not notified of.
const (
	defaultBeat = time.Second
	beatsALease = 6
)

func (n *Node) beatEach() time.Duration {
	beat := n.options.Beat
	if beat == 0 {
		beat = defaultBeat
	}
	return min(beat, n.options.Lease/beatsALease)
}

// patience is how long a connection may take to answer before it is given up for
// another.
func (n *Node) patience() time.Duration { return max(n.options.Lease/3, time.Second) }

// channel is where nodes of a schema notify each other. PostgreSQL has one name space
// for all schemas of a database, and takes 63 bytes.
func channel(schema string) string {
	const prefix, most = "event_relay_", 63
	if len(prefix)+len(schema) > most {
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(schema))
		return fmt.Sprintf("%s%x", prefix, sum.Sum64())
	}
	return prefix + schema
}

// live gives signs of life and listens, until the node is stopped.
func (n *Node) live() {
	const shortest, longest = 50 * time.Millisecond, 2 * time.Second
	pause := shortest
	for first, told := true, false; ; first = false {
		began := time.Now()
		err := n.converse(n.stopped, first)
		if n.stopped.Err() != nil {
			return
		}
		if time.Since(began) > longest {
			pause, told = shortest, false
		}
		if !told {
			n.options.Logger.Warn("the connection on which this node gives signs of life was lost; trying again", zap.String("node", n.Name()), zap.Error(err))
			told = true
		}
		// Not all nodes at the same moment, when the database comes back.
		if n.pause(n.stopped, pause/2+rand.N(pause)) != nil {
			return
		}
		pause = min(2*pause, longest)
	}
}

// converse does so on one connection, until that fails.
func (n *Node) converse(ctx context.Context, first bool) error {
	conn, connected, err := n.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if !first {
		// What was told before the connection listened is lost.
		n.options.Told(queue.Changes{Missed: true})
	}
	for {
		next := time.Now().Add(n.beatEach())
		if err := n.beat(ctx, conn, connected); err != nil {
			return err
		}
		if err := n.hear(ctx, conn, next); err != nil {
			return err
		}
	}
}

// connect makes the connection, and returns when it was made, by which the database
// tells it from another with the same number.
func (n *Node) connect(ctx context.Context) (conn *pgx.Conn, at time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, n.patience())
	defer cancel()
	if conn, err = n.options.Connect(ctx); err != nil {
		return nil, at, err
	}
	if _, err = conn.Exec(ctx, "LISTEN "+pgx.Identifier{n.channel}.Sanitize()); err == nil {
		err = conn.QueryRow(ctx, "SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()").Scan(&at)
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, at, err
	}
	return conn, at, nil
}

// beat gives a sign of life, and obeys what was changed since the one before. If it
// cannot obey, it gives no sign until it can: others wait for it until its lease is over,
// and then it counts as dead.
func (n *Node) beat(ctx context.Context, conn *pgx.Conn, connected time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, n.patience())
	defer cancel()
	revived := n.over(n.alive.Load())
	if !n.confirms(ctx) {
		return nil
	}
	if revived {
		// It may have been taken for dead: what was changed did not wait for it. It
		// obeys before it is waited for again.
		if err := n.refresh(ctx, conn, math.MaxInt64); err != nil {
			return err
		}
		if !n.confirms(ctx) {
			return nil
		}
	}
	for {
		asked := n.options.Clock()
		seen, err := n.sign(ctx, conn, connected)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && seen.twin {
			n.options.Logger.Warn("this node was taken for dead, because it gave no sign of life for the time of a lease or had no connection when another of its name began; it goes on",
				zap.String("node", n.Name()))
			if err := n.enter(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		n.others.Store(seen.others)
		n.feed.watched.Store(seen.watched)
		if seen.epoch > n.confirmed.Load() {
			// Others go on once this node has confirmed it, with another sign of life.
			if err := n.refresh(ctx, conn, seen.epoch); err != nil {
				return err
			}
			if !n.confirms(ctx) {
				return nil
			}
			continue
		}
		if revived {
			// A change that was committed while it signed did not wait for it. From now on
			// changes do: it looks for that one, and lends only then.
			revived = false
			continue
		}
		n.alive.Store(n.believed(asked, n.options.Lease))
		if seen.leads {
			n.leads.Store(n.believed(asked, n.leadFor()))
			return nil
		}
		n.leads.Store(&span{})
		if seen.led {
			return nil
		}
		_, err = n.lead(ctx, conn)
		return err
	}
}

func (n *Node) confirms(ctx context.Context) bool {
	err := n.confirm(ctx)
	if err != nil && ctx.Err() == nil {
		n.options.Logger.Warn("a switch that another node turned is not obeyed yet; this node gives no sign of life until it is, and counts as dead after the time of a lease; trying again", zap.String("node", n.Name()), zap.Error(err))
	}
	return err == nil
}

// seen is what a node sees of the others with a sign of life.
type seen struct {
	epoch      int64
	others     int64 // that live
	watched    bool  // by one of them
	twin       bool  // one that began later has the name of this
	leads, led bool  // this node leads; one does
}

// sign gives a sign of life. It need not be on disk: after a crash of the database a
// node seems to have given its last sign a moment earlier, for which believed leaves
// room. One that is still on its way when the node closes changes nothing.
func (n *Node) sign(ctx context.Context, conn *pgx.Conn, connected time.Time) (s seen, err error) {
	description, asked := n.description.Load(), n.options.Clock()
	var shown int64
	err = conn.QueryRow(ctx, `WITH lead AS (
			UPDATE claims SET until = now_us() + $11 WHERE name = $10 AND holder = $12 AND until > now_us() RETURNING 1
		)
		UPDATE sessions n SET seen = now_us(), until = now_us() + $2, epoch = greatest(n.epoch, $3), watching = $4,
			version = $5, configuration = $6, delivers = $7, backend = pg_backend_pid(), connected = $8
		WHERE id = $1 AND NOT closed
		RETURNING (SELECT epoch FROM control),
			(SELECT count(*) FROM sessions o WHERE o.id <> $1 AND o.until > now_us()),
			EXISTS (SELECT 1 FROM sessions o WHERE o.id <> $1 AND o.until > now_us() AND o.watching),
			EXISTS (SELECT 1 FROM sessions o WHERE o.id > $1 AND o.until > now_us() AND o.name = $9),
			EXISTS (SELECT 1 FROM lead), EXISTS (SELECT 1 FROM claims WHERE name = $10 AND until > now_us()), now_us(),
			set_config('synchronous_commit', 'off', true)`,
		n.session, n.options.Lease.Microseconds(), n.confirmed.Load(), n.feed.watching.Load(), description.Version, description.Configuration, description.Delivers,
		connected, n.options.Encode(n.Name()), leader, n.leadFor().Microseconds(), n.holder()).Scan(&s.epoch, &s.others, &s.watched, &s.twin, &s.leads, &s.led, &shown, nil)
	if err == nil {
		n.showed(asked, shown)
	}
	return s, err
}

// hear listens until a time.
func (n *Node) hear(ctx context.Context, conn *pgx.Conn, until time.Time) error {
	listening, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for {
		notification, err := conn.WaitForNotification(listening)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case listening.Err() != nil && !conn.IsClosed():
			return nil
		case err != nil:
			return err
		}
		if n.take(notification.Payload) {
			return nil // confirmed with a sign of life
		}
	}
}

// take takes a message of another node. It reports whether that says that something
// was changed.
func (n *Node) take(message string) bool {
	words := strings.Split(message, "\n")
	if len(words) < 2 || words[1] == n.holder() {
		return false
	}
	switch kind, words := words[0], words[2:]; kind {
	case controlMessage:
		return true
	case dueMessage:
		for i, word := range words {
			words[i] = n.options.Decode(word)
		}
		n.options.Due(words)
	case eventsMessage, missedMessage:
		n.options.Told(queue.Changes{Events: words, Missed: kind == missedMessage})
	}
	return false
}
