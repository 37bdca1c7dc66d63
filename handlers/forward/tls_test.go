package forward

import (
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// An error of TLS names the setting that could help, and the value for it.
func TestRemedyTLS(t *testing.T) {
	server := func(config *tls.Config) *httptest.Server {
		target := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		target.Config.ErrorLog = zap.NewStdLog(zap.NewNop())
		target.TLS = config
		target.StartTLS()
		t.Cleanup(target.Close)
		return target
	}
	unknown := server(nil)
	old := server(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10})
	for url, want := range map[string]string{
		unknown.URL: fmt.Sprintf("; to accept this certificate alone, compare its fingerprint with what the target itself shows and write tls_pin sha256:%x;", sha256.Sum256(unknown.Certificate().Raw)),
		old.URL:     "; if the target speaks only an old version of TLS, write tls_protocols tls1.0;",
	} {
		w := newWorkbench(t)
		w.Use([]*Prepared{prepare(t, config.Action{URL: url})})
		r := w.attempted(t, w.queue.add("test", eventtest.With(nil), 1)[0], 1)
		if r.state != queue.Pending || !strings.Contains(r.attempts[0].Error, want) {
			t.Errorf("%s: %s", r.state, r.attempts[0].Error)
		}
	}
}

// A Dispatcher closes what its actions do not need any more.
func TestTLSConnectionsOfADispatcher(t *testing.T) {
	w := newWorkbench(t)
	var open atomic.Int32
	target := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	target.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	target.StartTLS()
	t.Cleanup(target.Close)
	url := target.URL
	id := w.queue.add("test", eventtest.With(nil), 1)[0]
	w.Use([]*Prepared{prepare(t, config.Action{URL: url, TLS: &config.TLS{InsecureSkipVerify: true}})})
	eventually(t, "it is delivered", func() bool { return w.queue.get(id).state == queue.Delivered })
	if n := open.Load(); n != 1 {
		t.Errorf("%d connections are open", n)
	}
	w.Use([]*Prepared{prepare(t, config.Action{URL: url})})
	eventually(t, "the connection is closed", func() bool { return open.Load() == 0 })
}
