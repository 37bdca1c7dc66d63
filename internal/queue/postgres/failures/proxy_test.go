//go:build unix

package failures

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between a node and the database.
type proxy struct {
	listener net.Listener
	upstream string
	// loses is how many of a thousand answers of the database get lost, with their
	// connection: what was asked for is carried out.
	loses atomic.Int32

	mu    sync.Mutex
	dark  bool
	light *sync.Cond // that it is not dark any more
	pairs map[*pair]bool
}

// pair is a connection of the node and one to the database.
type pair struct{ client, server net.Conn }

func (p *pair) close() {
	p.client.Close()
	p.server.Close()
}

func newProxy(t *testing.T, upstream string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, upstream: upstream, pairs: make(map[*pair]bool)}
	p.light = sync.NewCond(&p.mu)
	go p.serve()
	t.Cleanup(func() {
		listener.Close()
		p.join(false)
	})
	return p
}

func (p *proxy) dsn() string {
	return "postgres://postgres@" + p.listener.Addr().String() + "/postgres?sslmode=disable"
}

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go func() {
			p.wait()
			server, err := net.Dial("tcp", p.upstream)
			if err != nil {
				client.Close()
				return
			}
			both := &pair{client, server}
			p.mu.Lock()
			p.pairs[both] = true
			p.mu.Unlock()
			go p.carry(both, client, server, false)
			p.carry(both, server, client, true)
			p.mu.Lock()
			delete(p.pairs, both)
			p.mu.Unlock()
		}()
	}
}

// wait waits until something can pass.
func (p *proxy) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.dark {
		p.light.Wait()
	}
}

func (p *proxy) carry(both *pair, from, to net.Conn, answers bool) {
	defer both.close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		p.wait()
		if answers && rand.Int32N(1000) < p.loses.Load() {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// part lets nothing pass any more. Neither side is told.
func (p *proxy) part() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dark = true
}

// join ends the partition: what was sent meanwhile arrives now, or the connections are
// lost.
func (p *proxy) join(arrives bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !arrives {
		for both := range p.pairs {
			both.close()
		}
	}
	p.dark = false
	p.light.Broadcast()
}
