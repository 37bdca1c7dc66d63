package receive

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"time"

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

// Received is what a request told.
type Received struct {
	// Source is the name of the source that sent the request, and Respond the
	// status it wants for a stored event.
	Source  string
	Respond int

	// Ping says that the request only tried whether somebody is there. It has
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
func New(sources []Source, language *language.Language, options Options) (*Receiver, error) {
	if options.BodyTimeout == 0 {
		options.BodyTimeout = DefaultBodyTimeout
	}
	if options.UnprovenBytes == 0 {
		options.UnprovenBytes = DefaultUnprovenBytes
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	r := &Receiver{
		language: language,
		options:  options,
		decoding: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	var problems []error
	var largest int64
	for i, config := range sources {
		if slices.ContainsFunc(sources[:i], func(o Source) bool { return o.Name == config.Name }) {
			problems = append(problems, fmt.Errorf("%s is defined twice; rename one", config.title()))
		}
		s, err := compileSource(config, language)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		r.sources = append(r.sources, s)
		if slices.ContainsFunc(s.credentials, func(c *credential) bool { return !c.inHead() }) {
			largest = max(largest, s.MaxBody)
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	// A body is held as it came, half decoded and decoded.
	need := 3*(largest+1) + zstdBlock
	r.unproven.limit = max(options.UnprovenBytes, need)
	r.unproven.share = max(options.UnprovenBytes/8, need)
	return r, nil
}

// Uses returns when each value of each credential was last used.
func (r *Receiver) Uses() []Use {
	var uses []Use
	r.eachSecret(func(s *source, c *credential, value *secret) {
		use := Use{Source: s.Name, Credential: c.position, Kind: c.Kind, Value: value.number}
		if used := value.used.Load(); used != 0 {
			use.Last = time.Unix(0, used)
		}
		uses = append(uses, use)
	})
	return uses
}

// Inherit takes over from the Receiver of an earlier configuration when its
// credentials were last used, for those that are still the same.
func (r *Receiver) Inherit(earlier *Receiver) {
	type key struct {
		source string
		kind   Kind
		digest [32]byte
	}
	last := map[key]int64{}
	earlier.eachSecret(func(s *source, c *credential, value *secret) {
		k := key{s.Name, c.Kind, value.digest}
		last[k] = max(last[k], value.used.Load())
	})
	r.eachSecret(func(s *source, c *credential, value *secret) {
		value.used.CompareAndSwap(0, last[key{s.Name, c.Kind, value.digest}])
	})
}

func (r *Receiver) eachSecret(do func(*source, *credential, *secret)) {
	for _, s := range r.sources {
		for _, c := range s.credentials {
			for i := range c.values {
				do(s, c, &c.values[i])
			}
		}
	}
}

// visit is one request on its way to becoming events.
type visit struct {
	receiver *Receiver
	request  *http.Request
	origin   Origin
	now      time.Time
	client   netip.Addr
	// test and named are what ReceiveTest says of the events.
	test  bool
	named string

	query    map[string][]string
	segments []string // of the path, after the mount

	allowed []*source // by address
	proven  []bool    // by credentials, for each of allowed
	carried []bool    // by one that is no signature, for each of allowed

	// presented are the values that proved the request, signatures the
	// credentials whose signature did.
	presented  []string
	signatures []*credential
	// flags and places are room for the lists above, for a few sources.
	flags  [3][8]bool
	places [8]*source
	// contentProblem is what was wrong with the Content-Encoding.
	contentProblem string
	// pathToken says that the last segment is one of them.
	pathToken bool
	// untimely says what was wrong with the time of a signature.
	untimely string
}

// Receive turns a request into events. Its error is a *Refusal, or wraps
// ErrSenderGone. The request's body may be read no further afterwards.
func (r *Receiver) Receive(request *http.Request, origin Origin) (*Received, error) {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete:
	default:
		return nil, refuse(http.StatusMethodNotAllowed, "the method is none of %s", Methods)
	}
	v := r.visit(request, origin)
	if err := v.admit(); err != nil {
		return nil, err
	}
	if limit := v.maxBody(nil); request.ContentLength > limit {
		return nil, tooLargeRefusal(limit)
	}

	// What stands before the body.
	waiting, anyone := v.proveByHead()
	if !anyone && !slices.Contains(waiting, true) {
		return nil, refuse(http.StatusUnauthorized, "%s", v.whyNot())
	}
	in := &intake{limit: v.maxBody(waiting)}
	if request.ContentLength > in.limit {
		return nil, tooLargeRefusal(in.limit)
	}
	if !anyone {
		in.charge = r.unproven.open(clientOf(v.client), origin.SetReadDeadline)
		defer in.charge.close()
	}

	// What stands in the body.
	wire, raw, err := v.body(in)
	if err != nil {
		return nil, err
	}
	anyone = v.proveBySignature(wire, raw) || anyone
	doc, anyone, err := v.proveByBody(waiting, raw, anyone)
	if err != nil {
		return nil, err
	}
	if !anyone {
		return nil, refuse(http.StatusUnauthorized, "%s", v.whyNot())
	}
	return v.settle(doc)
}

// ReceiveAs turns a request that an administrator made up into events of a
// source, as if the request had proven to come from there. Its error is as that
// of Receive.
func (r *Receiver) ReceiveAs(name string, request *http.Request, origin Origin) (*Received, error) {
	return r.visit(request, origin).as(name)
}

// ReceiveTest is ReceiveAs for a request whose events are tests, and are called
// event, spelled as the source declares it, whatever else the request says.
func (r *Receiver) ReceiveTest(name, event string, request *http.Request) (*Received, error) {
	v := r.visit(request, Origin{})
	v.test, v.named = true, event
	return v.as(name)
}

// as reads the request as one of a source.
func (v *visit) as(name string) (*Received, error) {
	for _, s := range v.receiver.sources {
		if s.Name == name {
			v.origin.Sources = []string{name}
			v.allowed, v.proven, v.carried = []*source{s}, []bool{true}, []bool{true}
		}
	}
	if v.allowed == nil {
		return nil, fmt.Errorf("there is no source %q", name)
	}
	in := &intake{limit: v.maxBody(nil)}
	_, raw, err := v.body(in)
	if err != nil {
		return nil, err
	}
	return v.settle(v.decode(raw))
}

func (r *Receiver) visit(request *http.Request, origin Origin) *visit {
	return &visit{
		receiver: r,
		request:  request,
		origin:   origin,
		now:      r.options.Now().UTC().Round(0),     // without the monotonic clock, as it will be read back
		client:   origin.Client.Unmap().WithZone(""), // no network contains an address with a zone
		query:    parseQuery(request.URL.RawQuery),
		segments: segmentsAfter(origin.Mount, request.URL),
	}
}

// admit finds the sources that allow the sender's address.
func (v *visit) admit() error {
	v.allowed = v.places[:0]
	for _, s := range v.receiver.sources {
		if !v.atMount(s) {
			continue
		}
		if len(s.Allow) == 0 || slices.ContainsFunc(s.Allow, func(p netip.Prefix) bool { return contains(p, v.client) }) {
			v.allowed = append(v.allowed, s)
		}
	}
	if len(v.allowed) == 0 {
		return refuse(http.StatusForbidden, "no source allows the address %v; to let it in, add it to allow of a source", v.client)
	}
	v.proven = append(v.flags[0][:0], make([]bool, len(v.allowed))...)
	v.carried = append(v.flags[2][:0], make([]bool, len(v.allowed))...)
	return nil
}

// contains also takes a network that is written as IPv4-mapped IPv6.
func contains(network netip.Prefix, client netip.Addr) bool {
	if a := network.Addr(); a.Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(a.Unmap(), network.Bits()-96)
	}
	return network.Contains(client)
}

// maxBody returns the largest body that any source takes that is proven or
// waiting; of all that are allowed, if waiting is nil.
func (v *visit) maxBody(waiting []bool) int64 {
	var limit int64
	for i, s := range v.allowed {
		if waiting == nil || waiting[i] || v.proven[i] {
			limit = max(limit, s.MaxBody)
		}
	}
	return limit
}

// proveByHead checks the credentials that stand before the body. waiting says
// which sources may yet be proven by the body.
func (v *visit) proveByHead() (waiting []bool, anyone bool) {
	waiting = append(v.flags[1][:0], make([]bool, len(v.allowed))...)
	empty := v.request.Body == nil || v.request.Body == http.NoBody
	for i, s := range v.allowed {
		for _, c := range s.credentials {
			switch {
			case c.inHead():
				if presented, ok := v.provenByHead(c); ok {
					v.prove(i, presented)
					if c.Kind == Basic {
						v.presented = append(v.presented, basicForms(presented)...)
					}
					v.pathToken = v.pathToken || c.Kind == Path
					anyone = true
				}
			case c.signs():
				waiting[i] = v.signed(c) || waiting[i]
			default:
				waiting[i] = !empty || waiting[i]
			}
		}
	}
	return waiting, anyone
}

// proveBySignature checks signatures over the body.
func (v *visit) proveBySignature(wire, raw []byte) (anyone bool) {
	for i, s := range v.allowed {
		for _, c := range s.credentials {
			if c.signs() && v.signed(c) && v.provenBySignature(c, wire, raw) {
				v.proven[i] = true
				v.signatures = append(v.signatures, c)
				anyone = true
			}
		}
	}
	return anyone
}

// proveByBody decodes the body and checks the credentials in it. When nobody is
// proven yet and no field of the body could do so, the body is left alone.
func (v *visit) proveByBody(waiting []bool, raw []byte, anyone bool) (*document, bool, error) {
	if !anyone {
		inBody := func(c *credential) bool { return c.Kind == APIKey && c.In == InBody }
		hopeful := false
		for i, s := range v.allowed {
			hopeful = hopeful || waiting[i] && slices.ContainsFunc(s.credentials, inBody)
		}
		if !hopeful {
			return nil, false, nil
		}
		select {
		case v.receiver.decoding <- struct{}{}:
			defer func() { <-v.receiver.decoding }()
		case <-v.request.Context().Done():
			return nil, false, fmt.Errorf("waiting to decode body: %w: %w", ErrSenderGone, v.request.Context().Err())
		}
	}
	v.blankBody(raw)
	doc := v.decode(raw)
	for i, s := range v.allowed {
		for _, c := range s.credentials {
			if c.Kind != APIKey || c.In != InBody {
				continue
			}
			if presented, ok := doc.key(c.Name); ok && c.accepts(presented, v.now) {
				v.prove(i, presented)
				anyone = true
			}
		}
	}
	return doc, anyone, nil
}

// prove notes that the request carries a credential of a source, which is no
// signature.
func (v *visit) prove(i int, presented string) {
	v.proven[i], v.carried[i] = true, true
	if presented != "" && !slices.Contains(v.presented, presented) {
		v.presented = append(v.presented, presented)
	}
}

// signedOnly reports whether nothing but a signature proves the request to a
// source. Only the body is then the sender's word: path, query and headers are
// not signed, so whoever has read such a request can send it again with others.
func (v *visit) signedOnly(s *source) bool {
	at := slices.Index(v.allowed, s)
	return at >= 0 && !v.carried[at]
}

// settle takes the credentials out of a proven request, chooses its source
// among those it proved, and makes the events.
func (v *visit) settle(doc *document) (*Received, error) {
	size := int64(len(doc.raw)) // before anything is taken out
	clean := v.withoutCredentials(doc)
	var candidates []*source
	var limit int64
	for i, s := range v.allowed {
		if v.proven[i] {
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
			doc = v.decode(doc.raw)
		}
		received, known, err := v.read(s, clean, doc)
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
