package handover

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// TestConnectionsThatWaitedAreAccepted opens a socket that systemd holds, in which
// a connection has waited since the process before ended.
func TestConnectionsThatWaitedAreAccepted(t *testing.T) {
	if !supported {
		t.Skip("connections are left to Caddy on this system")
	}
	for round := range 1000 {
		listening, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held, err := listening.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", listening.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		listening.Close()
		l, err := join(context.Background(), caddy.NetworkAddress{Network: "fd", Host: fmt.Sprint(held.Fd())}, net.ListenConfig{})
		if err != nil {
			t.Fatal(err)
		}
		l.start()
		served := make(chan error, 1)
		go func() {
			conn, err := l.Accept()
			if err == nil {
				_, err = conn.Write([]byte("x"))
				conn.Close()
			}
			served <- err
		}()
		_ = client.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := <-served; err != nil {
			t.Fatal(err)
		}
		client.Close()
		l.Close()
		held.Close()
	}
}
