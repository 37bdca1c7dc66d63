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
	c.idle = false
	err := c.raw.Read(c.look)
	return err == nil && c.idle
}

// lookAt looks whether something has come, without waiting for it.
func (c *connection) lookAt(fd uintptr) bool {
	_, err := syscall.Read(int(fd), c.one[:])
	c.idle = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	return true
}
