//go:build unix

package send

import "syscall"

// checksIdle says that isIdle can tell. Without it a POST on a kept connection that the
// target has closed would be lost, so everything is left to net/http.
const checksIdle = true

// isIdle reports whether a kept connection is open and nothing has come on it: what
// comes before a request is no answer to it.
func (c *connection) isIdle() bool {
	if c.raw == nil {
		return true // not a connection of the system
	}
	idle := false
	err := c.raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, err := syscall.Read(int(fd), one[:])
		idle = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true // without waiting
	})
	return err == nil && idle
}
