package sqlite

import (
	"math"
	"time"

	"go.uber.org/zap"
)

// Options says where the queue lives and how much it may hold.
type Options struct {
	// Dir is the directory of the database and of its lock file. It is created,
	// with its parents, if it does not exist. It must be on a local disk:
	// network file systems do not lock reliably.
	Dir string

	// KeepTrying makes Open succeed although the database cannot be opened right
	// now: it is tried again until it can, and meanwhile all calls that need it
	// return queue.ErrUnavailable with the reason. What trying again cannot mend
	// (queue.ErrMisconfigured) is an error all the same.
	KeepTrying bool

	// MinFree is the number of free bytes on Dir's file system below which Put
	// answers queue.ErrFull, so that settlements and pruning still have room.
	// 0 means 256 MiB, a negative number switches the check off.
	MinFree int64

	// MaxPending is the number of unfinished deliveries beyond which Put
	// answers queue.ErrFull. 0 means 1,000,000.
	MaxPending int

	// Lease is how long a lease lasts that is not extended. 0 means one minute.
	Lease time.Duration

	// Clock tells the time. Nil means time.Now, whose monotonic part keeps leases
	// from expiring when the clock of the machine is set.
	Clock func() time.Time

	// Logger is told what an administrator should know: errors of the disk, a
	// full disk and its end, rows that cannot be read. Nil means silence.
	Logger *zap.Logger

	limits limits
}

// limits are what is not for administrators to set. Tests make them small.
type limits struct {
	// fresh is how many deliveries of one action are kept in memory when they
	// were never attempted. Further limits are fractions of it (see scheduler/ready.go).
	fresh int
	// actionBytes and totalBytes bound the estimated memory of events that wait,
	// for one action and for all.
	actionBytes, totalBytes int64
	// settleDelay is how long a settlement waits for company before it is
	// committed. It may be long, because losing a settlement only leads to a
	// repeat.
	settleDelay time.Duration
	// walIdle is the number of bytes in the WAL from which the writer checkpoints
	// when it has nothing else to do, walBusy that from which it does so between
	// two commits, and walLimit that at which it bars readers to do it.
	walIdle, walBusy, walLimit int64
	// free tells the free bytes of the file system; freeEvery is how old its
	// answer may be.
	free      func(dir string) (int64, error)
	freeEvery time.Duration
	// retryOpening is how long it takes until a database that cannot be opened is
	// tried again, the first time.
	retryOpening time.Duration
	// maxPages bounds the size of the database, as a full disk does. 0: no bound.
	maxPages int64
	// blockEvents is the number of events in one block (see blocks.go).
	blockEvents int64
	// countEvents is the number of events after which their uses are written (see
	// uses.go), and so many at most are counted again after a crash.
	countEvents int64
	// elapsed tells the time since some moment, by which leases expire. It does not
	// jump when the clock of the machine is set.
	elapsed func() time.Duration
}

func (o Options) withDefaults() Options {
	def := func(n *int64, value int64) {
		if *n == 0 {
			*n = value
		}
	}
	def(&o.MinFree, 256<<20)
	if o.MinFree < 0 {
		o.MinFree = math.MinInt64
	}
	if o.MaxPending == 0 {
		o.MaxPending = 1_000_000
	}
	if o.Lease == 0 {
		o.Lease = time.Minute
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	l := &o.limits
	if l.fresh == 0 {
		l.fresh = 4096
	}
	def(&l.actionBytes, 16<<20)
	def(&l.totalBytes, 64<<20)
	if l.settleDelay == 0 {
		l.settleDelay = 5 * time.Millisecond
	}
	def(&l.walIdle, 1<<20)
	def(&l.walBusy, 16<<20)
	def(&l.walLimit, 64<<20)
	if l.free == nil {
		l.free = freeBytes
	}
	if l.retryOpening == 0 {
		l.retryOpening = time.Second
	}
	if l.freeEvery == 0 {
		l.freeEvery = 500 * time.Millisecond // status and the end of refusing follow within a second
	}
	def(&l.blockEvents, 1024)
	def(&l.countEvents, 4096)
	if l.elapsed == nil {
		clock := o.Clock
		begin := clock() // Sub goes by the monotonic parts, which time.Now gives
		l.elapsed = func() time.Duration { return clock().Sub(begin) }
	}
	return o
}
