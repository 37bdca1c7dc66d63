package e2e_test

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// TestSenderThatClosesItsSideIsServed: some senders close their side of the
// connection once they have sent, and wait for the answer all the same. Go
// takes that for a request whose sender has gone.
func TestSenderThatClosesItsSideIsServed(t *testing.T) {
	t.Parallel()
	machine, service := newInstallation(t), newLANService(t)
	machine.start(queueCaddyfile(machine, filepath.Join(t.TempDir(), "queue"), service.URL))
	const events = 300
	var ids []int
	for id := range events {
		ids = append(ids, id)
		connection, err := net.Dial("tcp", machine.site)
		if err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf(`{"event":"project_status_change","id":"%d"}`, id)
		if _, err := fmt.Fprintf(connection, "POST /listen.php?key=icfm-key HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s",
			machine.site, len(body), body); err != nil {
			t.Fatal(err)
		}
		if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(connection)
		connection.Close()
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
			t.Fatalf("event %d was answered %q, %v", id, answer, err)
		}
	}
	waitFor(t, "all events to be delivered", func() bool { return service.missing(ids) == 0 })
}
