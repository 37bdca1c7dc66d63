package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// What is remembered of rejected requests is bounded, because any client can
// send them.
const (
	// maxRejections is how many different rejections are listed, and maxNoMount how
	// many requests that no mount took.
	maxRejections, maxNoMount = 256, 64
	// maxOfClient is how many of them one client can have. An IPv6 network of 64
	// bits is one client.
	maxOfClient = 8
	// longestRefusal bounds a reason, in characters.
	longestRefusal = 300
	// rejectionLogEvery is how often a kind of rejection is worth a line in the
	// log.
	rejectionLogEvery = time.Minute
	// keepWithin bounds how long an exit waits for the list to be stored.
	keepWithin = time.Second
)

// Lately is for how long a rejected request is a reason to look at the relay:
// `status` ends with 2 and the console shows it.
const Lately = time.Hour

// mostProbes is how many requests without a credential a client can send, with no
// pause as long as Lately, before they are a reason to look: a lone scanner sends one
// or two.
const mostProbes = 2

// Sign says how likely it is that a rejected request came from a sender.
type Sign string

const (
	// SignSender means that the request carries a credential, that its address is in
	// an allow, or that its path or host nearly leads to a mount. It was nearly
	// an event, so that one is a reason to look.
	SignSender Sign = "sender"
	// SignUnclear means that the request came to the path of a mount and carries no
	// credential. A sender that was never given one does this, and so may a scanner.
	SignUnclear Sign = "unclear"
	// SignProbe means that any scanner does this. It is listed and never a reason to
	// look.
	SignProbe Sign = "probe"
)

// Rejection is a request that was refused or that no mount took, and others like it.
// Of a refused request only its origin is kept.
type Rejection struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	Count int       `json:"count"`
	// Recent counts those since RecentSince, between which there was no pause as long
	// as Lately.
	Recent      int       `json:"recent"`
	RecentSince time.Time `json:"recent_since"`
	Address     string    `json:"address"`
	// Status is what was answered. It is 200 for a request that Caddy answered because
	// no handler did.
	Status int    `json:"status"`
	Reason string `json:"reason"`
	// Request is the method, with the beginning of the path or the host, of a request
	// that no mount took. It is empty for one that a mount refused.
	Request string `json:"request,omitempty"`
	Sign    Sign   `json:"sign"`
}

// NeedsLook reports whether the rejection is a reason to look at the relay now.
func (r *Rejection) NeedsLook(now time.Time) bool {
	return now.Sub(r.Last) < Lately && (r.Sign == SignSender || r.Sign == SignUnclear && r.Recent > mostProbes)
}

func (r *Rejection) isLike(other *Rejection) bool {
	return r.Address == other.Address && r.Status == other.Status && r.Reason == other.Reason && r.Request == other.Request
}

// add adds what was counted of the same rejection.
func (r *Rejection) add(more *Rejection) {
	earlier, later := r, more
	if more.Last.Before(r.Last) {
		earlier, later = more, r
	}
	recent, since := later.Recent, later.RecentSince
	if later.RecentSince.Sub(earlier.Last) < Lately {
		recent, since = earlier.Recent+later.Recent, earlier.RecentSince
	}
	first, last := r.First, later.Last
	if more.First.Before(first) {
		first = more.First
	}
	if more.Sign.rank() > r.Sign.rank() {
		r.Sign = more.Sign
	}
	r.First, r.Last, r.Count, r.Recent, r.RecentSince = first, last, r.Count+more.Count, recent, since
}

func (s Sign) rank() int { return slices.Index([]Sign{SignProbe, SignUnclear, SignSender}, s) }

// client returns what counts as one client. Addresses that cannot be read are one.
func (r *Rejection) client() netip.Prefix {
	address, err := netip.ParseAddr(r.Address)
	if err != nil {
		return netip.Prefix{}
	}
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	client, _ := address.Prefix(bits)
	return client
}

// rejectionList is a bounded list, ordered by Last, oldest first.
type rejectionList []Rejection

// add adds a rejection. If there are too many, those of the client itself go first,
// and then those that most likely came from no sender: so a flood displaces little
// else than itself.
func (l *rejectionList) add(entry Rejection, most int) {
	if i := slices.IndexFunc(*l, func(known Rejection) bool { return known.isLike(&entry) }); i >= 0 {
		known := (*l)[i]
		known.add(&entry)
		entry = known
		*l = slices.Delete(*l, i, i+1)
	} else {
		l.makeRoom(entry.client(), most)
	}
	at := len(*l)
	for at > 0 && (*l)[at-1].Last.After(entry.Last) {
		at--
	}
	*l = slices.Insert(*l, at, entry)
}

// makeRoom removes a rejection if one more of a client would be too many.
func (l *rejectionList) makeRoom(client netip.Prefix, most int) {
	ofClient, own, weakest := 0, -1, -1
	for i := range *l {
		known := &(*l)[i]
		if known.client() == client {
			if ofClient++; own < 0 {
				own = i
			}
		}
		if weakest < 0 || known.Sign.rank() < (*l)[weakest].Sign.rank() {
			weakest = i
		}
	}
	switch {
	case ofClient >= maxOfClient:
		*l = slices.Delete(*l, own, own+1)
	case len(*l) >= most:
		*l = slices.Delete(*l, weakest, weakest+1)
	}
}

// rejections is what is remembered of rejected requests. It outlives reloads, and
// restarts as far as it was stored: once a minute and at the end.
type rejections struct {
	mutex   sync.Mutex
	refused rejectionList
	noMount rejectionList
	logged  map[string]time.Time

	// recalled says that what was stored has been read, and credentials is what it
	// says of these. stored is what is stored now. keeping is held while it is stored.
	recalled    bool
	credentials []receive.Remembered
	keeping     sync.Mutex
	stored      string
	// receiver is that of the newest generation, also once it went out of service.
	receiver *receive.Receiver
}

// storedRejections is the text of the note.
type storedRejections struct {
	Refused     []Rejection          `json:"refused"`
	NoMount     []Rejection          `json:"no_mount"`
	Credentials []receive.Remembered `json:"credentials"`
}

// add takes note of a rejection and reports whether it is worth a log line.
func (r *rejections) add(now time.Time, entry Rejection) bool {
	entry.First, entry.Last, entry.RecentSince, entry.Count, entry.Recent = now, now, now, 1, 1
	entry.Reason = event.Shortened(entry.Reason, longestRefusal)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	kind := fmt.Sprint(entry.Status)
	if entry.Request == "" {
		r.refused.add(entry, maxRejections)
	} else {
		kind = "no mount"
		r.noMount.add(entry, maxNoMount)
	}
	if now.Sub(r.logged[kind]) < rejectionLogEvery {
		return false
	}
	if r.logged == nil {
		r.logged = make(map[string]time.Time)
	}
	r.logged[kind] = now
	return true
}

// list returns all, newest first.
func (r *rejections) list() []Rejection {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	all := slices.Concat(r.refused, r.noMount)
	slices.SortStableFunc(all, func(a, b Rejection) int { return b.Last.Compare(a.Last) })
	return all
}

// lately returns the rejections that are a reason to look, newest first, and how many
// other requests were rejected lately.
func (r *rejections) lately(now time.Time) (reasons []Rejection, probes int) {
	reasons = []Rejection{}
	for _, entry := range r.list() {
		switch {
		case entry.NeedsLook(now):
			reasons = append(reasons, entry)
		case now.Sub(entry.Last) < Lately:
			probes += entry.Recent
		}
	}
	return reasons, probes
}

// notStored takes note of a request whose events were not stored.
func (r *Runtime) notStored(origin receive.Origin, err error) {
	if refusal, isRefusal := errors.AsType[*receive.Refusal](err); isRefusal {
		sign := SignUnclear
		switch {
		case refusal.Carried:
			sign = SignSender
		case origin.Mount == "" || refusal.Status == http.StatusMethodNotAllowed:
			// All paths of the site are the mount's, so that scanners come to it too. And no
			// sender uses such a method.
			sign = SignProbe
		}
		r.refused(origin.Client, refusal, sign)
	} else if errors.Is(err, receive.ErrSenderGone) {
		r.senderGone(origin.Client)
	} else {
		r.refused(origin.Client, &receive.Refusal{Status: http.StatusServiceUnavailable, Reason: err.Error()}, SignSender)
	}
}

func (r *Runtime) refused(client netip.Addr, refusal *receive.Refusal, sign Sign) {
	r.metrics.refused(refusal.Status)
	address := addressText(client)
	if r.rejections.add(time.Now(), Rejection{Address: address, Status: refusal.Status, Reason: refusal.Reason, Sign: sign}) {
		r.logger.Warn("refused a request; "+names.Command("rejections")+" lists them",
			zap.String("address", address), zap.Int("status", refusal.Status), zap.String("reason", refusal.Reason))
	}
}

// statusSenderGone stands in the list of rejections for a sender that closed the
// connection before it was answered. nginx logs such requests with it.
const statusSenderGone = 499

// senderGone takes note of a request whose sender went away before it was
// complete. Nothing is logged, because any client can do that.
func (r *Runtime) senderGone(client netip.Addr) {
	r.metrics.refused(statusSenderGone)
	r.rejections.add(time.Now(), Rejection{
		Address: addressText(client), Status: statusSenderGone, Reason: "the sender went away before its request was complete", Sign: SignProbe,
	})
}

// Unmounted is a request to a server with a mount that no mount took, so that it
// became no event.
type Unmounted struct {
	Client netip.Addr
	// Request is its method, and as much of its path or host as an administrator
	// needs. It is masked before it is kept.
	Request string
	// Status is what was answered, 200 if no handler did.
	Status int
	// Reason says for an administrator why no mount took it.
	Reason string
	// Near says that it nearly led to a mount.
	Near bool
}

// NoMount takes note of a request that no mount took, in the newest generation.
func (s *Stack) NoMount(request Unmounted) {
	generation := s.Newest()
	if generation == nil {
		return
	}
	r := generation.life.runtime
	entry := Rejection{
		Address: addressText(request.Client), Status: request.Status, Reason: request.Reason, Request: generation.Mask(request.Request), Sign: SignProbe,
	}
	if request.Near || generation.Receiver.Expects(request.Client) {
		entry.Sign = SignSender
	}
	r.metrics.noMount()
	if r.rejections.add(time.Now(), entry) && entry.Sign == SignSender {
		r.logger.Warn("no mount took a request that may hold an event; "+names.Command("rejections")+" lists them",
			zap.String("address", entry.Address), zap.String("request", entry.Request), zap.Int("status", entry.Status), zap.String("reason", entry.Reason))
	}
}

func addressText(client netip.Addr) string {
	if !client.IsValid() {
		return "unknown"
	}
	return client.String()
}

// Rejections returns the requests that were refused and those that no mount took,
// newest first, like ones together, bounded in number. What was known before a
// restart is among them, but for the last minute before a crash.
func (r *Runtime) Rejections() []Rejection { return r.rejections.list() }

// recallRejections reads what was stored of rejected requests and adds it to what has
// come meanwhile.
func (r *Runtime) recallRejections(ctx context.Context) error {
	note, err := r.engine.FindNote(ctx, queue.NoteRefusals, r.node())
	var stored storedRejections
	switch {
	case errors.Is(err, queue.ErrNotFound):
	case err != nil:
		return fmt.Errorf("reading which requests were refused before: %w", err)
	default:
		if err := json.Unmarshal([]byte(note.Text), &stored); err != nil {
			// It is written anew.
			r.logger.Warn("the list of refused requests cannot be read and is begun anew", zap.Error(err))
			stored = storedRejections{}
		}
	}
	r.rejections.mutex.Lock()
	defer r.rejections.mutex.Unlock()
	if r.rejections.recalled {
		return nil
	}
	for _, entry := range stored.Refused {
		r.rejections.refused.add(entry, maxRejections)
	}
	for _, entry := range stored.NoMount {
		r.rejections.noMount.add(entry, maxNoMount)
	}
	r.rejections.credentials, r.rejections.recalled = stored.Credentials, true
	return nil
}

// recallCredentials tells the newest generation when its credentials were last used,
// as far as that was stored.
func (r *Runtime) recallCredentials(generation *Generation) {
	r.rejections.mutex.Lock()
	known := r.rejections.credentials
	r.rejections.receiver = generation.Receiver
	r.rejections.mutex.Unlock()
	generation.Receiver.Recall(known)
}

// keepRejections stores the list if it has changed. It takes one small write, however
// many requests were refused. While storage is full or unavailable the list stays in
// memory: queue.Trouble tells of that.
func (r *Runtime) keepRejections(ctx context.Context) error {
	r.rejections.keeping.Lock()
	defer r.rejections.keeping.Unlock()
	r.rejections.mutex.Lock()
	if !r.rejections.recalled {
		r.rejections.mutex.Unlock()
		return nil
	}
	if r.rejections.receiver != nil {
		r.rejections.credentials = r.rejections.receiver.Remember()
	}
	text, err := json.Marshal(storedRejections{Refused: r.rejections.refused, NoMount: r.rejections.noMount, Credentials: r.rejections.credentials})
	r.rejections.mutex.Unlock()
	if err != nil || string(text) == r.rejections.stored {
		return err
	}
	err = r.engine.Note(ctx, queue.Note{Kind: queue.NoteRefusals, Name: r.node(), Text: string(text), Replace: true})
	if errors.Is(err, queue.ErrFull) || errors.Is(err, queue.ErrUnavailable) {
		return nil
	}
	if err == nil {
		r.rejections.stored = string(text)
	}
	return err
}
