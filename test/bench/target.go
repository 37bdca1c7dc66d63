package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// target is the service on the LAN that events lead to. It spends little, so that the
// figures are those of Caddy: it reads a request's head and body, notes the event's id
// and when it came, and says ok.
type target struct {
	listener net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool
	arrivals atomic.Pointer[arrivals]
	// delay is how long it waits before it answers, in nanoseconds.
	delay atomic.Int64
}

// arrivals are the events of one measure that have come to the target.
type arrivals struct {
	times  []atomic.Int64 // by id: when it came first, in nanoseconds
	first  atomic.Int64   // how many came
	again  atomic.Int64   // how many came once more
	stray  atomic.Int64   // how many were no events of this measure
	latest atomic.Int64
}

func newTarget() (*target, error) { return newTargetAt("127.0.0.1:0") }

// newTargetAt starts a target at an address, which one that was closed may have had.
func newTargetAt(address string) (*target, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("starting the target: %w", err)
	}
	t := &target{listener: listener, open: map[net.Conn]bool{}}
	t.expect(0)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			t.mu.Lock()
			t.open[connection] = true
			t.mu.Unlock()
			go t.serve(connection)
		}
	}()
	return t, nil
}

func (t *target) address() string { return t.listener.Addr().String() }

// close stops the target: from then on it cannot be connected to.
func (t *target) close() {
	_ = t.listener.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	for connection := range t.open {
		_ = connection.Close()
	}
}

// expect begins a measure of events with the ids 0 to n-1.
func (t *target) expect(n int) *arrivals {
	a := &arrivals{times: make([]atomic.Int64, n)}
	a.latest.Store(time.Now().UnixNano())
	t.arrivals.Store(a)
	return a
}

const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\nok"

func (t *target) serve(connection net.Conn) {
	defer func() {
		t.mu.Lock()
		delete(t.open, connection)
		t.mu.Unlock()
		_ = connection.Close()
	}()
	reader := bufio.NewReader(connection)
	var body []byte
	for {
		_, length, err := readHead(reader)
		if err != nil {
			return
		}
		if cap(body) < length {
			body = make([]byte, length)
		}
		if _, err := io.ReadFull(reader, body[:length]); err != nil {
			return
		}
		t.arrivals.Load().note(body[:length])
		if delay := t.delay.Load(); delay > 0 {
			time.Sleep(time.Duration(delay))
		}
		if _, err := io.WriteString(connection, answer); err != nil {
			return
		}
	}
}

// note notes the event whose id stands in a body.
func (a *arrivals) note(body []byte) {
	const before = `"id":`
	at := bytes.Index(body, []byte(before))
	id := -1
	if at >= 0 {
		text, _, _ := bytes.Cut(bytes.TrimLeft(body[at+len(before):], ` "`), []byte(`"`))
		if n, err := strconv.Atoi(string(text)); err == nil {
			id = n
		}
	}
	now := time.Now().UnixNano()
	switch {
	case id < 0 || id >= len(a.times):
		a.stray.Add(1)
	case a.times[id].CompareAndSwap(0, now):
		a.first.Add(1)
		a.latest.Store(now)
	default:
		a.again.Add(1)
	}
}

// wait waits until so many events have come, and no longer than patience after the
// last that did.
func (a *arrivals) wait(n int) error {
	for a.first.Load() < int64(n) {
		if since := time.Since(time.Unix(0, a.latest.Load())); since > patience {
			return fmt.Errorf("waiting for %d events at the target: %d are lost", n, int64(n)-a.first.Load())
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// readHead reads the head of a request or an answer, and returns its first line and
// the length of the body. What has no length has no body.
func readHead(reader *bufio.Reader) (first string, length int, err error) {
	for n := 0; ; n++ {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return "", 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		name, value, found := bytes.Cut(line, []byte(":"))
		switch {
		case n == 0:
			first = string(line)
		case len(line) == 0:
			return first, length, nil
		case found && strings.EqualFold(string(name), "Content-Length"):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil || length < 0 || length > 64<<20 {
				return "", 0, fmt.Errorf("reading a head: the length is %q", value)
			}
		case found && strings.EqualFold(string(name), "Transfer-Encoding"):
			return "", 0, errors.New("reading a head: chunks are not read here")
		}
	}
}

// statusOf returns the status that the first line of an answer names, 0 for none.
func statusOf(line string) int {
	_, rest, _ := strings.Cut(line, " ")
	text, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(text)
	if err != nil || http.StatusText(status) == "" {
		return 0
	}
	return status
}
