//go:build unix

package failures

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// attempt is one request, as the target saw it.
type attempt struct {
	node         string
	began, ended time.Time
	ok           bool
}

// target is what is delivered to. It refuses one request of ten.
type target struct {
	*httptest.Server
	mu       sync.Mutex
	attempts map[string][]*attempt // by delivery
	ok       int
}

func newTarget(t *testing.T) *target {
	g := &target{attempts: make(map[string][]*attempt)}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *target) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &attempt{node: r.Header.Get("Node"), ok: rand.IntN(10) > 0, began: time.Now()}
	time.Sleep(time.Millisecond + rand.N(3*time.Millisecond))
	if !a.ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	a.ended = time.Now()
	id := r.Header.Get("Idempotency-Key")
	g.attempts[id] = append(g.attempts[id], a)
	if a.ok {
		g.ok++
	}
}

func (g *target) delivered() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ok
}

// of returns the attempts of a delivery in the order in which they began.
func (g *target) of(delivery string) []*attempt {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := slices.Clone(g.attempts[delivery])
	slices.SortFunc(all, func(a, b *attempt) int { return cmp.Compare(a.began.UnixNano(), b.began.UnixNano()) })
	return all
}
