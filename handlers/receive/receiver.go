package receive

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Defaults of Options.
const (
	DefaultBodyTimeout   = 30 * time.Second
	DefaultUnprovenBytes = 64 << 20
)

// Options are limits of a Receiver that are not a source's own.
type Options struct {
	// BodyTimeout is how long a body may take to arrive. While its sender has not
	// proven itself, 10 KiB of it, or the rest, must arrive in each third of this
	// time. 0 means DefaultBodyTimeout.
	BodyTimeout time.Duration

	// UnprovenBytes bounds the bytes that are held, over all requests, for
	// senders that have not proven themselves yet because their credentials
	// are in the body or a signature over it. One client, which is an IPv4
	// address or a /64 of IPv6, gets an eighth of it. Both are at least what one
	// body of the largest max_body needs. 0 means DefaultUnprovenBytes.
	UnprovenBytes int64

	// Timezone is the zone of the times of sources that have none of their own. Nil
	// means UTC.
	Timezone *time.Location

	// Now is the clock. Nil means time.Now.
	Now func() time.Time
}

// Receiver turns requests into events. It is safe for concurrent use and
// starts nothing in the background.
type Receiver struct {
	sources  []*source
	language *language.Language
	options  Options
	unproven budget

	// decoding bounds how many bodies of unproven senders are decoded at once:
	// decoded, a body can take forty times the memory.
	decoding chan struct{}
}

// privateHeaders are left out of every event. A Referer may
// repeat a URL that holds a key.
var privateHeaders = map[string]bool{"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "Referer": true}

// Origin says where a request came in.
type Origin struct {
	// Mount is the path that the handler is mounted at, such as /listen.php.
	// What follows it may name the event.
	Mount string

	// Client is the sender's address as Caddy determined it. It may be invalid,
	// and then passes no source that has Allow.
	Client netip.Addr

	// Sources are the names of the sources that the handler takes. Empty means
	// all.
	Sources []string

	// SetReadDeadline bounds how long the body may take:
	// http.NewResponseController(w).SetReadDeadline. Nil means no bound.
	SetReadDeadline func(time.Time) error
}

// Received is what a request became.
type Received struct {
	// Source is the name of the source that sent the request, and Respond the
	// status it wants for a stored event.
	Source  string
	Respond int

	// Ping says that the request only tried whether a receiver is there. It has
	// no events.
	Ping bool

	// Events are the events, to be stored together or not at all.
	Events []*event.Event

	// DedupeKeys holds the dedupe key of each event, empty for an event that
	// nothing identifies. Nil when there is no DedupeWindow.
	DedupeKeys   []string
	DedupeWindow time.Duration
}

// New checks the sources and returns a Receiver. The language must know the
// sources' fields. All that is wrong is reported together.
func New(sources []config.Source, language *language.Language, options Options) (*Receiver, error) {
	if options.BodyTimeout == 0 {
		options.BodyTimeout = DefaultBodyTimeout
	}
	if options.UnprovenBytes == 0 {
		options.UnprovenBytes = DefaultUnprovenBytes
	}
	if options.Timezone == nil {
		options.Timezone = time.UTC
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	r := &Receiver{
		language: language,
		options:  options,
		decoding: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	var problems config.Findings
	var largest int64
	for i, settings := range sources {
		if slices.ContainsFunc(sources[:i], func(o config.Source) bool { return o.Name == settings.Name }) {
			problems.Add(settings.Place, fmt.Errorf("source %s is defined twice; rename one", settings.Name))
		}
		s, err := compileSource(settings, language, options.Timezone)
		if err != nil {
			problems.Add("", err)
			continue
		}
		r.sources = append(r.sources, s)
		if slices.ContainsFunc(s.credentials, func(c auth.Authenticator) bool { return c.Traits().Needs != auth.Head }) {
			largest = max(largest, s.MaxBody)
		}
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	// A body is held as it came, half decoded and decoded.
	need := 3*(largest+1) + zstdBlock
	r.unproven.limit = max(options.UnprovenBytes, need)
	r.unproven.share = max(options.UnprovenBytes/8, need)
	return r, nil
}

// request is one request on its way to becoming events.
type request struct {
	receiver *Receiver
	request  *http.Request
	origin   Origin
	now      time.Time
	client   netip.Addr
	// test and named are what ReceiveTest says of the events.
	test  bool
	named string

	allowed []*source // by address
	proofs  []proof   // for each of allowed
	// places and room hold the lists above, for a few sources.
	places [8]*source
	room   [8]proof

	// seen is what credentials may look at. query is its map when it is the request's
	// own: no event has it.
	seen  auth.Request
	query map[string][]string
	// presented are the texts that proved the request, and forms how a sender may
	// repeat the first formed of them.
	presented, forms []string
	formed           int
	// why says what was wrong with a credential that was nearly right.
	why string

	// contentProblem is what was wrong with the Content-Encoding.
	contentProblem string

	// document is where the body stands once it is decoded.
	document document
}

// requests are requests that have been received. Nothing that became of them refers
// to them.
var requests = sync.Pool{New: func() any { return new(request) }}

// mostKept is how many keys a query may have for its map to be used again.
const mostKept = 64

// reuse ends the use of a request. Of its query it keeps the map, if no event has it:
// that of a sender which only proves itself there is the largest thing that the request
// needs besides.
func (req *request) reuse() {
	query := req.query
	if len(query) > mostKept {
		query = nil
	}
	clear(query)
	*req = request{query: query}
	requests.Put(req)
}

// Receive turns a request into events. Its error is a *Refusal, or wraps
// ErrSenderGone. The request's body may be read no further afterwards.
func (r *Receiver) Receive(request *http.Request, origin Origin) (*Received, error) {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
	default:
		return nil, refuse(http.StatusMethodNotAllowed, "the method is none of %s", Methods)
	}
	req := r.begin(request, origin)
	defer req.reuse()
	received, err := req.receive()
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		// A copy, because some refusals are shared.
		return nil, &Refusal{Status: refusal.Status, Reason: refusal.Reason, Carried: req.carried()}
	}
	return received, err
}

// receive proves the request as early as it can be, and reads it.
func (req *request) receive() (*Received, error) {
	r, request, origin := req.receiver, req.request, req.origin
	if err := req.admit(); err != nil {
		return nil, err
	}
	if limit := req.maxBody(true); request.ContentLength > limit {
		return nil, tooLargeRefusal(limit)
	}

	// What stands before the body.
	anyone := req.ask(auth.Head)
	if !anyone && !req.mayYet(auth.Bytes) {
		return nil, refuse(http.StatusUnauthorized, "%s", req.whyNot())
	}
	in := &intake{limit: req.maxBody(false)}
	if request.ContentLength > in.limit {
		return nil, tooLargeRefusal(in.limit)
	}
	if !anyone {
		in.charge = r.unproven.open(clientOf(req.client), origin.SetReadDeadline)
		defer in.charge.close()
	}

	// What stands in the body.
	var err error
	if req.seen.Sent, req.seen.Body, err = req.body(in); err != nil {
		return nil, err
	}
	if anyone = req.ask(auth.Bytes); !anyone {
		// When no field of the body could prove anything, it is left alone.
		if !req.mayYet(auth.Fields) {
			return nil, refuse(http.StatusUnauthorized, "%s", req.whyNot())
		}
		select {
		case r.decoding <- struct{}{}:
			defer func() { <-r.decoding }()
		case <-request.Context().Done():
			return nil, fmt.Errorf("waiting to decode body: %w: %w", ErrSenderGone, request.Context().Err())
		}
	}
	req.blankBody(req.seen.Body)
	doc := req.decode(req.seen.Body)
	req.seen.Field = doc.key
	if !req.ask(auth.Fields) {
		return nil, refuse(http.StatusUnauthorized, "%s", req.whyNot())
	}
	return req.settle(doc)
}

// ReceiveAs turns a request that an administrator made up into events of a
// source, as if the request had proven to come from there. Its error is as that
// of Receive.
func (r *Receiver) ReceiveAs(name string, request *http.Request, origin Origin) (*Received, error) {
	return r.begin(request, origin).as(name)
}

// ReceiveTest is ReceiveAs for a request whose events are tests, and are called
// event, spelled as the source declares it, whatever else the request says.
func (r *Receiver) ReceiveTest(name, event string, request *http.Request) (*Received, error) {
	req := r.begin(request, Origin{})
	req.test, req.named = true, event
	return req.as(name)
}

// as reads the request as one of a source.
func (req *request) as(name string) (*Received, error) {
	for _, s := range req.receiver.sources {
		if s.Name == name {
			req.origin.Sources = []string{name}
			req.allowed, req.proofs = []*source{s}, []proof{{proven: true}}
		}
	}
	if req.allowed == nil {
		return nil, fmt.Errorf("there is no source %q", name)
	}
	in := &intake{limit: req.maxBody(true)}
	_, raw, err := req.body(in)
	if err != nil {
		return nil, err
	}
	return req.settle(req.decode(raw))
}

func (r *Receiver) begin(from *http.Request, origin Origin) *request {
	now := r.options.Now().UTC().Round(0) // without the monotonic clock, as it will be read back
	req := requests.Get().(*request)
	req.receiver, req.request, req.origin, req.now = r, from, origin, now
	req.client = origin.Client.Unmap().WithZone("") // no network contains an address with a zone
	query := parseQuery(from.URL.RawQuery, req.query)
	if query != nil {
		req.query = query
	}
	req.seen = auth.Request{
		Header:   from.Header,
		Query:    query,
		Segments: segmentsAfter(origin.Mount, from.URL),
		Now:      now,
		HasBody:  from.Body != nil && from.Body != http.NoBody,
	}
	return req
}

// admit finds the sources that allow the sender's address.
func (req *request) admit() error {
	req.allowed = req.places[:0]
	for _, s := range req.receiver.sources {
		if !req.atMount(s) {
			continue
		}
		if len(s.allow) == 0 || slices.ContainsFunc(s.allow, func(p netip.Prefix) bool { return contains(p, req.client) }) {
			req.allowed = append(req.allowed, s)
		}
	}
	if len(req.allowed) == 0 {
		return refuse(http.StatusForbidden, "no source allows the address %q; to let it in, add it to allow of a source", req.client)
	}
	req.proofs = append(req.room[:0], make([]proof, len(req.allowed))...)
	return nil
}

// contains also takes a network that is written as IPv4-mapped IPv6.
func contains(network netip.Prefix, client netip.Addr) bool {
	if a := network.Addr(); a.Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(a.Unmap(), network.Bits()-96)
	}
	return network.Contains(client)
}

// maxBody returns the largest body that any allowed source takes; unless all is
// set, of those alone that are proven or may yet be.
func (req *request) maxBody(all bool) int64 {
	var limit int64
	for i, s := range req.allowed {
		if all || req.proofs[i].later || req.proofs[i].proven {
			limit = max(limit, s.MaxBody)
		}
	}
	return limit
}

// proofOf returns what the credentials say of a source, the zero proof if the
// sender's address is not one of its.
func (req *request) proofOf(s *source) proof {
	if at := slices.Index(req.allowed, s); at >= 0 {
		return req.proofs[at]
	}
	return proof{}
}

// settle takes the credentials out of a proven request, chooses its source
// among those it proved, and makes the events.
func (req *request) settle(doc *document) (*Received, error) {
	size := int64(len(doc.raw)) // before anything is taken out
	kept := req.withoutCredentials(doc)
	var candidates []*source
	var limit int64
	for i, s := range req.allowed {
		if req.proofs[i].proven {
			limit = max(limit, s.MaxBody)
			if size <= s.MaxBody {
				candidates = append(candidates, s)
			}
		}
	}
	if len(candidates) == 0 {
		// It was read because another source, not proven, takes more.
		return nil, tooLargeRefusal(limit)
	}
	var first *Received
	for i, s := range candidates {
		if i > 0 {
			// The candidate before took the document apart.
			doc = req.decode(doc.raw)
		}
		received, known, err := req.read(s, kept, doc)
		if err != nil {
			return nil, err
		}
		if known {
			return received, nil
		}
		if first == nil {
			first = received
		}
	}
	return first, nil
}
