package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is what senders post: events with the ids 0 to n-1, each once.
type load struct {
	address, path string
	// status is that of the project in each event.
	status     string
	n, senders int
	size       int
	// rate is how many are posted in a second, 0 for as many as possible.
	rate float64
	// batch is how many events a request holds, 0 for one that is no list. Above 40, the
	// ids in the answer become more than readHead reads.
	batch int
}

// posted is what came of a load.
type posted struct {
	took time.Duration
	// began and answered are times by id, in nanoseconds.
	began, answered []int64
}

// post posts a load. An event that is not answered 200 is an error.
func post(l load) (*posted, error) {
	p := &posted{began: make([]int64, l.n), answered: make([]int64, l.n)}
	senders := make([]*sender, min(l.senders, l.n))
	for i := range senders {
		connection, err := net.Dial("tcp", l.address)
		if err != nil {
			return nil, fmt.Errorf("connecting to Caddy: %w", err)
		}
		defer connection.Close()
		senders[i] = &sender{connection: connection, reader: bufio.NewReader(connection)}
	}
	pad := strings.Repeat("x", max(0, l.size-len(l.body(0, ""))))
	var next atomic.Int64
	var running sync.WaitGroup
	var mu sync.Mutex
	var failed error
	start := time.Now()
	for _, s := range senders {
		running.Go(func() {
			for {
				each := max(1, l.batch)
				id := int(next.Add(int64(each))) - each
				if id >= l.n {
					return
				}
				began := time.Now()
				if l.rate > 0 {
					// A sender that comes too late has waited for an earlier answer: its event
					// began when it was due.
					due := start.Add(time.Duration(float64(id) / l.rate * float64(time.Second)))
					if began.Before(due) {
						time.Sleep(due.Sub(began))
						began = time.Now()
					} else {
						began = due
					}
				}
				p.began[id] = began.UnixNano()
				body := l.body(id, pad)
				if l.batch > 0 {
					all := make([]string, min(l.batch, l.n-id))
					for i := range all {
						all[i] = l.body(id+i, pad)
					}
					body = "[" + strings.Join(all, ",") + "]"
				}
				if err := s.post(l.path, l.address, body); err != nil {
					mu.Lock()
					failed = errors.Join(failed, fmt.Errorf("posting event %d: %w", id, err))
					mu.Unlock()
					return
				}
				p.answered[id] = time.Now().UnixNano()
			}
		})
	}
	running.Wait()
	p.took = time.Since(start)
	return p, failed
}

// body returns the body of an event.
func (l *load) body(id int, pad string) string {
	return fmt.Sprintf(`{"event":"project_status_change","id":"%d","status":"%s","project":{"id":%d,"name":"Autumn campaign – flight 2","client":"Northlight Films"},`+
		`"old_status":"Quoted","user":"producer1","timestamp":"2026-11-21T16:20:00Z","notes":"%s"}`, id, l.status, 48000+id, pad)
}

// latencies returns, in milliseconds, how long the answers took.
func (p *posted) latencies() (all []float64) {
	for id, answered := range p.answered {
		all = append(all, float64(answered-p.began[id])/1e6)
	}
	return all
}

// latenciesTo returns, in milliseconds, how long it took until the events were at the
// target.
func (p *posted) latenciesTo(a *arrivals) (all []float64) {
	for id := range a.times {
		all = append(all, float64(a.times[id].Load()-p.began[id])/1e6)
	}
	return all
}

// sender posts one request after the other on a connection that it keeps.
type sender struct {
	connection net.Conn
	reader     *bufio.Reader
	request    []byte
}

func (s *sender) post(path, host, body string) error {
	s.request = fmt.Appendf(s.request[:0], "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, host, len(body), body)
	if err := s.connection.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := s.connection.Write(s.request); err != nil {
		return err
	}
	first, length, err := readHead(s.reader)
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if _, err := io.CopyN(io.Discard, s.reader, int64(length)); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if statusOf(first) != 200 {
		return fmt.Errorf("the answer is %q", first)
	}
	return nil
}
