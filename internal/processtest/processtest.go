// Package processtest holds what tests need that wait for conditions, use ports of the machine, or
// start the real program.
package processtest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Patience is how long a condition may take to come true before a test fails.
// It is no measure of speed.
const Patience = 60 * time.Second

// WaitFor waits until a condition is true, and fails the test when that takes
// longer than Patience.
func WaitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !Becomes(condition) {
		t.Fatalf("waited %v in vain for %s", Patience, what)
	}
}

// Becomes waits until a condition holds and reports whether it did within
// Patience, for tests that say more than WaitFor when it did not.
func Becomes(condition func() bool) bool {
	for deadline := time.Now().Add(Patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// FreeAddress returns a loopback address on which no program listens, each once. It
// is none that the system gives to connections or to listeners without a port:
// one of those could get it before Caddy does, and Caddy would share it.
func FreeAddress(t *testing.T) string {
	t.Helper()
	addresses.Lock()
	defer addresses.Unlock()
	for range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if addresses.given[address] {
			continue
		}
		listener, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		listener.Close()
		addresses.given[address] = true
		return address
	}
	t.Fatal("there is no free port from 10000 to 29999")
	return ""
}

var addresses = struct {
	sync.Mutex
	given map[string]bool
}{given: make(map[string]bool)}

// Output collects what a process writes while tests read it.
type Output struct {
	mutex  sync.Mutex
	buffer bytes.Buffer
}

// Write implements io.Writer.
func (b *Output) Write(p []byte) (int, error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.Write(p)
}

// String returns what was written so far.
func (b *Output) String() string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.buffer.String()
}
