//go:build unix

package send

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A connection that the target closed, or on which it said something, while nothing was
// asked is not used again: a POST is neither lost nor sent twice, and what was said is
// no answer to it.
func TestIdleConnectionIsLookedAt(t *testing.T) {
	for name, meanwhile := range map[string]func(net.Conn){
		"closed": func(c net.Conn) { _ = c.Close() },
		"reset": func(c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		},
		"half closed": func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() },
		"said something": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 500 Unasked\r\nContent-Length: 0\r\n\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			act := make(chan bool)
			address := listen(t, func(c net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
					return
				}
				requests.Add(1)
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
				<-act
				meanwhile(c)
			})
			defer close(act)
			sender := newSender(t)
			direct := &sender.Current().direct
			for i := range 5 {
				result := directly(t)(sender.Current(), t.Context(), requestTo(t, "http://"+address+"/"), time.Minute)
				if result.Status != 200 || requests.Load() != int64(i+1) || direct.kept() != 1 {
					t.Fatalf("%d: %+v after %d requests", i, result, requests.Load())
				}
				act <- true
				waitFor(t, "what the target did is seen", func() bool {
					c := direct.take(address)
					seen := hasNews(t, c)
					direct.keep(address, c)
					return seen
				})
			}
		})
	}
}

// hasNews looks whether something has come on a connection, or its end, and leaves
// it there.
func hasNews(t testing.TB, c *connection) (news bool) {
	t.Helper()
	if err := c.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	err := c.raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
		news = err != syscall.EAGAIN
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return news
}
