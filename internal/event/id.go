package event

import (
	"bufio"
	"crypto/rand"
	"sync"

	"github.com/google/uuid"
)

// random holds readers of random bytes. They read ahead, because to ask the system for
// the bytes of each id is most of what an id costs.
var random = sync.Pool{New: func() any { return bufio.NewReaderSize(rand.Reader, 512) }}

// NewID returns a UUID of version 7, as events and deliveries have: in the order in
// which they are made. It panics only when the system has no randomness, and then
// nothing else works either.
func NewID() string {
	reader := random.Get().(*bufio.Reader)
	defer random.Put(reader)
	return uuid.Must(uuid.NewV7FromReader(reader)).String()
}
