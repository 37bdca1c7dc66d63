package relay

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
)

// What is remembered of rejected requests is bounded, because any client can
// send them.
const (
	// maxRejections is how many different rejections are listed.
	maxRejections = 256
	// rejectionLogEvery is how often a kind of rejection is worth a line in the
	// log.
	rejectionLogEvery = time.Minute
)

// Rejection is a request that was refused, and others like it. Of the request
// itself only its origin is kept.
type Rejection struct {
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Count   int       `json:"count"`
	Address string    `json:"address"`
	Status  int       `json:"status"`
	Reason  string    `json:"reason"`
}

// rejections is the bounded list of rejected requests. It outlives reloads but
// not the process.
type rejections struct {
	mutex sync.Mutex
	// list is ordered by Last, oldest first.
	list   []Rejection
	logged map[int]time.Time
}

// add takes note of a rejection and reports whether it is worth a log line.
func (r *rejections) add(now time.Time, address string, refusal *receive.Refusal) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	entry := Rejection{First: now, Address: address, Status: refusal.Status, Reason: refusal.Reason}
	for i, known := range r.list {
		if known.Address == entry.Address && known.Status == entry.Status && known.Reason == entry.Reason {
			entry = known
			r.list = append(r.list[:i], r.list[i+1:]...)
			break
		}
	}
	entry.Last = now
	entry.Count++
	if len(r.list) == maxRejections {
		r.list = append(r.list[:0], r.list[1:]...)
	}
	r.list = append(r.list, entry)

	if now.Sub(r.logged[refusal.Status]) < rejectionLogEvery {
		return false
	}
	if r.logged == nil {
		r.logged = make(map[int]time.Time)
	}
	r.logged[refusal.Status] = now
	return true
}

// notStored takes note of a request whose events were not stored.
func (r *Runtime) notStored(client netip.Addr, err error) {
	if refusal, isRefusal := errors.AsType[*receive.Refusal](err); isRefusal {
		r.refused(client, refusal)
	} else if errors.Is(err, receive.ErrSenderGone) {
		r.senderGone(client)
	} else {
		r.refused(client, &receive.Refusal{Status: http.StatusServiceUnavailable, Reason: err.Error()})
	}
}

func (r *Runtime) refused(client netip.Addr, refusal *receive.Refusal) {
	r.metrics.refused(refusal.Status)
	address := addressText(client)
	if r.rejections.add(time.Now(), address, refusal) {
		r.logger.Warn("refused a request; caddy event-relay rejections lists them",
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
	r.rejections.add(time.Now(), addressText(client), &receive.Refusal{
		Status: statusSenderGone, Reason: "the sender went away before its request was complete",
	})
}

func addressText(client netip.Addr) string {
	if !client.IsValid() {
		return "unknown"
	}
	return client.String()
}

// Rejections returns the requests that were refused since the process began, newest
// first, like ones together, bounded in number.
func (r *Runtime) Rejections() []Rejection {
	r.rejections.mutex.Lock()
	defer r.rejections.mutex.Unlock()
	list := make([]Rejection, len(r.rejections.list))
	for i, entry := range r.rejections.list {
		list[len(list)-1-i] = entry
	}
	return list
}
