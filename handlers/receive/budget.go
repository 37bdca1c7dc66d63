package receive

import (
	"container/list"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"
)

// leastCharge is what a request without proven credentials counts at least:
// about what its connection costs beside its body.
const leastCharge = 4 << 10

var (
	errTooLarge = errors.New("body is too large")
	errNoBudget = errors.New("too many bytes are held for requests without proven credentials")
)

// budget bounds the bytes that are held for requests whose senders have not
// proven themselves, over all such requests and for each client. Bounding each
// request alone would let many of them fill memory together.
//
// When a bound is reached, the request gives way that has waited longest for
// bytes of its body: of the same client if its share is used up, else of all.
// It is answered 503, and its bytes count no longer. So connections that stall,
// however many and from wherever, shut out no sender whose body arrives. A
// request is itself refused only if no other is waiting.
type budget struct {
	limit, share int64

	mutex   sync.Mutex
	held    int64
	clients map[netip.Prefix]*client
	waiting list.List // *charge, the one that has waited longest first
}

// client is an IPv4 address or a /64 of IPv6, which is what one subscriber gets.
type client struct {
	held    int64
	charges int
	waiting list.List // as in budget
}

// clientOf returns what counts as one client. The zero Prefix stands for all
// whose address is not known.
func clientOf(address netip.Addr) netip.Prefix {
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits)
	return prefix
}

// charge is what one request holds of a budget. The budget's mutex guards its
// fields.
type charge struct {
	budget  *budget
	address netip.Prefix
	client  *client
	room    int64 // bytes that the request holds
	counted int64 // the same, at least leastCharge

	// inAll and inClient are the places in the lists of those that wait. Nil once
	// the body is there, and for a request that gave way.
	inAll, inClient *list.Element
	gaveWay         bool
	deadline        deadline
}

// open begins to count for a request whose body is awaited. setDeadline bounds
// the reading of it. Nil means that it cannot be bounded.
func (b *budget) open(address netip.Prefix, setDeadline func(time.Time) error) *charge {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	own := b.clients[address]
	if own == nil {
		own = new(client)
		if b.clients == nil {
			b.clients = make(map[netip.Prefix]*client)
		}
		b.clients[address] = own
	}
	own.charges++
	c := &charge{budget: b, address: address, client: own}
	c.deadline.set = setDeadline
	c.inAll, c.inClient = b.waiting.PushBack(c), own.waiting.PushBack(c)
	return c
}

// take counts n more bytes, or less if n is negative. To make room for more it
// lets others give way.
func (c *charge) take(n int64) error {
	b := c.budget
	b.mutex.Lock()
	gone, err := c.grow(n)
	b.mutex.Unlock()
	for _, other := range gone {
		other.deadline.interrupt()
	}
	return err
}

func (c *charge) grow(n int64) (gone []*charge, err error) {
	b := c.budget
	if c.gaveWay {
		return nil, errNoBudget
	}
	more := max(c.room+n, leastCharge) - c.counted
	for more > 0 && (c.client.held+more > b.share || b.held+more > b.limit) {
		from := &b.waiting
		if c.client.held+more > b.share {
			from = &c.client.waiting
		}
		longest := from.Front()
		if longest != nil && longest.Value == c {
			longest = longest.Next()
		}
		if longest == nil {
			return gone, errNoBudget
		}
		other := longest.Value.(*charge)
		other.stopWaiting()
		other.count(-other.counted)
		other.gaveWay = true
		gone = append(gone, other)
	}
	c.room += n
	c.count(more)
	return gone, nil
}

func (c *charge) count(n int64) {
	c.counted += n
	c.client.held += n
	c.budget.held += n
}

func (c *charge) stopWaiting() {
	if c.inAll != nil {
		c.budget.waiting.Remove(c.inAll)
		c.client.waiting.Remove(c.inClient)
		c.inAll, c.inClient = nil, nil
	}
}

// progressed notes that bytes have arrived.
func (c *charge) progressed() {
	c.budget.mutex.Lock()
	defer c.budget.mutex.Unlock()
	if c.inAll != nil {
		c.budget.waiting.MoveToBack(c.inAll)
		c.client.waiting.MoveToBack(c.inClient)
	}
}

// arrived notes that the whole body is there: the request gives way to no other
// from now on, because it is over soon. It fails if the request gave way before.
func (c *charge) arrived() error {
	c.budget.mutex.Lock()
	defer c.budget.mutex.Unlock()
	c.stopWaiting()
	if c.gaveWay {
		return errNoBudget
	}
	return nil
}

// close gives back all that was taken.
func (c *charge) close() {
	c.deadline.end()
	b := c.budget
	b.mutex.Lock()
	defer b.mutex.Unlock()
	c.stopWaiting()
	if !c.gaveWay {
		c.count(-c.counted)
	}
	if c.client.charges--; c.client.charges == 0 {
		delete(b.clients, c.address)
	}
}

// deadline is until when the next bytes of a body must be there. Another request
// may move it into the past, but not once this request is over: its connection
// may then serve another.
type deadline struct {
	mutex sync.Mutex
	set   func(time.Time) error // nil if the connection knows no deadline
	ended bool
}

// move sets the deadline. The zero time lifts it.
func (d *deadline) move(at time.Time) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.set != nil && !d.ended {
		// A writer that knows no deadlines is no reason to refuse: what stands in
		// front of it has its own.
		_ = d.set(at)
	}
}

// interrupt ends the reading now.
func (d *deadline) interrupt() {
	d.move(time.Unix(1, 0))
	d.end()
}

// end leaves the deadline as it is from now on.
func (d *deadline) end() {
	d.mutex.Lock()
	d.ended = true
	d.mutex.Unlock()
}

// leastArrival is how much of a body must arrive in each third of BodyTimeout
// while its sender has not proven itself, or the rest of it. A request that
// stalls is then over before BodyTimeout.
const leastArrival = 10 << 10

// arrival reads the body of a sender that has not proven itself.
type arrival struct {
	body   io.Reader
	charge *charge
	until  time.Time     // the whole body must be there
	window time.Duration // for the next leastArrival
	came   int           // in this window
}

// next begins a window.
func (a *arrival) next() {
	at := time.Now().Add(a.window)
	if at.After(a.until) {
		at = a.until
	}
	a.came = 0
	a.charge.deadline.move(at)
}

func (a *arrival) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	if n > 0 {
		a.charge.progressed()
		if a.came += n; a.came >= leastArrival && err == nil {
			a.next()
		}
	}
	return n, err
}
