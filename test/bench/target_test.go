package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// An event that never comes ends a measure with an error that counts it; one that
// comes twice, or was not asked for, is told apart.
func TestLostEvent(t *testing.T) {
	target, err := newTarget()
	if err != nil {
		t.Fatal(err)
	}
	defer target.close()
	came := target.expect(3)
	connection, err := net.Dial("tcp", target.address())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for _, body := range []string{`{"id": "2"}`, `{"id":"0"}`, `{"id":"2"}`, `{"id":"3"}`, "none"} {
		s := sender{connection: connection, reader: reader}
		if err := s.post("/", "target", body); err != nil {
			t.Fatal(err)
		}
	}
	if first, again, stray := came.first.Load(), came.again.Load(), came.stray.Load(); first != 2 || again != 1 || stray != 2 {
		t.Errorf("%d came, %d twice, %d strays", first, again, stray)
	}
	if err := came.wait(2); err != nil {
		t.Error(err)
	}
	came.latest.Store(time.Now().Add(-patience).UnixNano())
	if err := came.wait(3); err == nil || !strings.Contains(err.Error(), "1 are lost") {
		t.Errorf("got %v", err)
	}
}

// Every answer but 200 is an error.
func TestRefusedEvent(t *testing.T) {
	for _, answer := range []string{"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "SSH\r\n\r\n", ""} {
		here, there := net.Pipe()
		go func() {
			_, _ = io.CopyN(io.Discard, there, 10)
			go func() { _, _ = io.Copy(io.Discard, there) }()
			_, _ = io.WriteString(there, answer)
			_ = there.Close()
		}()
		s := sender{connection: here, reader: bufio.NewReader(here)}
		if err := s.post("/", "caddy", "{}"); err == nil {
			t.Errorf("%q is taken for 200", answer)
		}
		_ = here.Close()
	}
}
