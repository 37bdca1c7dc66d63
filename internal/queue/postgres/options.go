package postgres

import (
	"time"

	"go.uber.org/zap"
)

// Options says where the queue lives and how much it may hold.
type Options struct {
	// DSN names the database, as libpq does: a URL, or pairs of a keyword and a
	// value. It may name several hosts. It is a secret: nothing prints it.
	DSN string

	// Schema is the schema that holds the tables. It is made if the user may.
	// Empty means DefaultSchema.
	Schema string

	// Node is the name of this process among those that use the schema. Empty means
	// the name of the machine.
	Node string

	// Lease is how long a lease lasts that is not extended, and how long after its
	// last sign of life a node counts as gone. 0 means DefaultLease.
	Lease time.Duration

	// Connections is how many connections to the database this process has at most.
	// 0 means DefaultConnections; at least MinConnections are needed.
	Connections int

	// ReceiveOnly makes Take wait until its context ends: this process only
	// receives, and others deliver.
	ReceiveOnly bool

	// KeepTrying makes Open succeed although the database cannot be reached right
	// now: it is tried again until it can, and meanwhile all calls that need it
	// return queue.ErrUnavailable with the reason. What trying again cannot mend
	// (queue.ErrMisconfigured) is an error all the same.
	KeepTrying bool

	// MaxPending is the number of unfinished deliveries of all nodes beyond which Put
	// answers queue.ErrFull. It may be exceeded by what all nodes store within a
	// second. 0 means 1,000,000.
	MaxPending int

	// Logger is told what an administrator should know. Nil means silence.
	Logger *zap.Logger

	limits limits
}

// What Options mean when they are not set.
const (
	DefaultSchema      = "event_relay"
	DefaultLease       = 30 * time.Second
	DefaultConnections = 8
	// MinLease is several times as long as a node needs for a sign of life.
	MinLease = 5 * time.Second
	// MinConnections are one that puts, one that settles, one that listens, and one
	// for everything else.
	MinConnections = 4
)

// limits are what is not for administrators to set. Tests make them small.
type limits struct {
	// ready is how many deliveries of one action are kept in memory for takers, and
	// readyBytes and totalBytes bound the estimated memory of their events, for one
	// action and for all.
	ready                  int
	readyBytes, totalBytes int64
	// lookBytes bounds the estimated memory of the events that a look through the table
	// takes at once, but for the last of them.
	lookBytes int64
	// settleDelay is how long a settlement waits for company before it is
	// committed. It may be long, because losing a settlement only leads to a
	// repeat.
	settleDelay time.Duration
	// poll is how often the table is looked through for what other nodes left.
	poll time.Duration
	// beat is how long it is from one sign of life of this node to the next.
	beat time.Duration
	// retry is how long it takes until a database that cannot be reached is tried
	// again, the first time.
	retry time.Duration
	// patience is how long Open tries before it says that the database is down, and
	// startPatience the same where it goes on trying by itself: the start of the program,
	// with everything else that it serves, waits that long.
	patience, startPatience time.Duration
	// closing is how long Close waits for the server at each of its steps.
	closing time.Duration
	// clock is this machine's. Only the time that passes by it counts: times of day
	// are the database's.
	clock func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Schema == "" {
		o.Schema = DefaultSchema
	}
	if o.Lease == 0 {
		o.Lease = DefaultLease
	}
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	if o.MaxPending == 0 {
		o.MaxPending = 1_000_000
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	l := &o.limits
	if l.ready == 0 {
		l.ready = 1024
	}
	if l.readyBytes == 0 {
		l.readyBytes = 16 << 20
	}
	if l.totalBytes == 0 {
		l.totalBytes = 64 << 20
	}
	if l.lookBytes == 0 {
		l.lookBytes = 16 << 20
	}
	for d, value := range map[*time.Duration]time.Duration{
		&l.settleDelay: 5 * time.Millisecond, &l.poll: 250 * time.Millisecond, &l.beat: time.Second, &l.retry: 250 * time.Millisecond, &l.patience: 10 * time.Second,
		&l.startPatience: 2 * time.Second, &l.closing: 5 * time.Second,
	} {
		if *d == 0 {
			*d = value
		}
	}
	if l.clock == nil {
		l.clock = time.Now
	}
	return o
}
