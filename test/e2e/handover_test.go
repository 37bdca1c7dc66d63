package e2e_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// stream posts numbered events at a rate until it is stopped. It never repeats one.
type stream struct {
	name   string
	post   []func(id int) error // one for each connection that may be used at a time
	rate   int                  // a second
	ids    []int
	failed []string
	sent   int

	mutex sync.Mutex
}

// run sends at the rate, whether the answers are quick or slow, as long as a sender
// is free.
func (s *stream) run(next *atomic.Int64, stop <-chan struct{}) {
	free := make(chan func(int) error, len(s.post))
	for _, post := range s.post {
		free <- post
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	began := time.Now()
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		case <-time.After(time.Until(began.Add(time.Duration(n) * time.Second / time.Duration(s.rate)))):
		}
		post := <-free
		sending.Go(func() {
			id := int(next.Add(1))
			err := post(id)
			s.mutex.Lock()
			defer s.mutex.Unlock()
			if s.sent++; err == nil {
				s.ids = append(s.ids, id)
			} else {
				s.failed = append(s.failed, err.Error())
			}
			free <- post
		})
	}
}

func statusChange(id int) string {
	return fmt.Sprintf(`{"event":"project_status_change","id":"%d","status":"Approved"}`, id)
}

// rawPosts returns posts over connections of their own.
func rawPosts(count int, fresh bool, dial func() (net.Conn, error), host string) []func(int) error {
	posts := make([]func(int) error, count)
	for i := range posts {
		sender := &processtest.Sender{Dial: dial, Fresh: fresh}
		posts[i] = func(id int) error {
			status, answer, err := sender.Post(host, "/listen.php?key=icfm-key", statusChange(id))
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("answered %d %s", status, answer)
			}
			return err
		}
	}
	return posts
}

// http2Posts returns posts over HTTP/2 connections of their own, whose bodies
// cannot be sent again.
func http2Posts(count int, address, host string) []func(int) error {
	posts := make([]func(int) error, count)
	for i := range posts {
		transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: host}}
		transport.Protocols.SetHTTP2(true)
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		client := &http.Client{Transport: transport, Timeout: patience}
		posts[i] = func(id int) error {
			response, err := client.Post("https://"+host+"/listen.php?key=icfm-key", "application/json", io.MultiReader(strings.NewReader(statusChange(id))))
			if err != nil {
				return err
			}
			defer response.Body.Close()
			answer, err := io.ReadAll(response.Body)
			if err == nil && (response.StatusCode != http.StatusOK || response.ProtoMajor != 2) {
				err = fmt.Errorf("answered %s %s %s", response.Proto, response.Status, answer)
			}
			return err
		}
	}
	return posts
}

// TestReloadsLoseNoRequest changes the configuration while senders post in each
// way that they have, some of the changes failing at their start: no request may
// fail, no event may be lost or doubled, another site of the same server must not
// notice, and nothing may pile up.
func TestReloadsLoseNoRequest(t *testing.T) {
	t.Parallel()
	reloads, rate := 10, 10
	if fullSize() {
		reloads, rate = 50, 1
	}
	machine := newInstallation(t)
	service := newLANService(t)
	secure := freeAddress(t)
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	configure := func(generation int) string {
		caddyfile := strings.Replace(reloadCaddyfile(machine, service, generation, ""), "auto_https off", "auto_https disable_redirects\n\tlocal_certs", 1)
		_, port, _ := net.SplitHostPort(machine.site)
		_, securePort, _ := net.SplitHostPort(secure)
		return caddyfile + fmt.Sprintf(`
http://other.example:%s {
	respond "generation %d"
}

https://events.example:%s {
	event_relay /listen.php
	respond 404
}
`, port, generation, securePort)
	}
	caddy := machine.start(configure(0))
	plain := func() (net.Conn, error) { return net.Dial("tcp", machine.site) }
	encrypted := func() (net.Conn, error) {
		return tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true, ServerName: "events.example"})
	}
	waitFor(t, "a certificate", func() bool {
		conn, err := encrypted()
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	streams := []*stream{
		{name: "new connections", rate: 1500 / rate, post: rawPosts(64, true, plain, machine.site)},
		{name: "kept connections", rate: 200 / rate, post: rawPosts(8, false, plain, machine.site)},
		{name: "TLS, new connections", rate: 100 / rate, post: rawPosts(16, true, encrypted, "events.example")},
		{name: "TLS, kept connections", rate: 200 / rate, post: rawPosts(8, false, encrypted, "events.example")},
		{name: "HTTP/2", rate: 100 / rate, post: http2Posts(4, secure, "events.example")},
		{name: "another site, new connections", rate: 100 / rate, post: rawPosts(8, true, plain, "other.example")},
		{name: "another site, kept connections", rate: 100 / rate, post: rawPosts(8, false, plain, "other.example")},
	}
	var next atomic.Int64
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, s := range streams {
		running.Go(func() { s.run(&next, stop) })
	}
	var goroutines, files int
	for generation := 1; generation <= reloads; generation++ {
		caddyfile, fails := configure(generation), generation%5 == 0
		if fails {
			caddyfile += fmt.Sprintf("\nhttp://%s {\n\trespond 404\n}\n", occupied.Addr())
		}
		before := next.Load()
		if status, answer := caddy.load(caddyfile); fails == (status == http.StatusOK) {
			t.Fatalf("reload %d was answered %d %s", generation, status, answer)
		}
		waitFor(t, "requests to go on", func() bool { return next.Load() > before+20 })
		if generation == reloads/2 {
			goroutines, files = caddy.goroutines(), caddy.files()
		}
	}
	close(stop)
	running.Wait()
	var ids []int
	for _, s := range streams {
		t.Logf("%s: %d of %d failed", s.name, len(s.failed), s.sent)
		if len(s.failed) > 0 {
			t.Errorf("%s: the first that failed: %s", s.name, s.failed[0])
		}
		if !strings.HasPrefix(s.name, "another site") {
			ids = append(ids, s.ids...)
		}
	}
	waitFor(t, "all events to be delivered", func() bool { return service.missing(ids) == 0 })
	if repeated := service.repeated(); len(repeated) > 0 {
		t.Errorf("%d of %d events were delivered more than once", len(repeated), len(ids))
	}
	// At rest there must be no more than there was under load in the middle.
	waitFor(t, "goroutines to end", func() bool { return caddy.goroutines() <= goroutines })
	waitFor(t, "files to be closed", func() bool { return caddy.files() <= files })
	caddy.Stop()
}

// TestRestartWithSocketOfSystemdRefusesNothing restarts Caddy as systemd does with
// the manual's event-relay.socket: the listening socket is the file descriptor 3 of
// each process. Connections wait in it while there is none, and handshakes wait until
// the new process has loaded the certificate.
func TestRestartWithSocketOfSystemdRefusesNothing(t *testing.T) {
	// Not beside other tests: an exit waits only seconds for requests in flight.
	machine := newInstallation(t)
	service := newLANService(t)
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listening.Addr().String()
	socket, err := listening.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	listening.Close() // The file holds the socket, as systemd does.
	defer socket.Close()
	config := machine.write(strings.NewReplacer(
		"http://"+machine.site+" {", "events.studio.example {\n\tbind fd/3 {\n\t\tprotocols h1 h2\n\t}",
		"auto_https off", "local_certs").Replace(reloadCaddyfile(machine, service, 1, "")))
	launch := func() *server {
		// systemd sets LISTEN_PID to the process that it starts.
		command := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh", binary, "run", "--config", config, "--adapter", "caddyfile")
		command.Env = append(machine.environment(), "LISTEN_FDS=1", "LISTEN_FDNAMES=event-relay.socket")
		command.ExtraFiles = []*os.File{socket}
		return machine.serve(command)
	}
	restarts := 3
	if fullSize() {
		restarts = 10
	}
	dial := func() (net.Conn, error) {
		return tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: "events.studio.example"})
	}
	posting := &stream{rate: 200, post: rawPosts(2000, true, dial, "events.studio.example")}
	stop := make(chan struct{})
	var next atomic.Int64
	var running sync.WaitGroup
	caddy := launch()
	running.Go(func() { posting.run(&next, stop) })
	answered := func() int {
		posting.mutex.Lock()
		defer posting.mutex.Unlock()
		return posting.sent
	}
	for range restarts {
		before := answered()
		waitFor(t, "requests to be answered", func() bool { return answered() > before+20 })
		caddy.Stop()
		caddy = launch()
	}
	close(stop)
	running.Wait()
	t.Logf("%d of %d failed over %d restarts", len(posting.failed), posting.sent, restarts)
	if len(posting.failed) > 0 {
		t.Errorf("the first that failed: %s\n%s", posting.failed[0], caddy.Output)
	}
	waitFor(t, "all events to be delivered", func() bool { return service.missing(posting.ids) == 0 })
	caddy.Stop()
}

// TestExitAnswersWhatHasBegun ends Caddy while half of a request has come.
func TestExitAnswersWhatHasBegun(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, option string
		begun        string // what the log says once Caddy shuts its servers down
		finish       bool   // the other half comes
		another      bool   // new requests are answered meanwhile
	}{
		{"without a bound", "", "shutting down with eternal grace period", true, false},
		{"grace_period, request in time", "grace_period 1m", "grace period initiated", true, false},
		{"grace_period, request that does not end", "grace_period 100ms", "grace period initiated", false, false},
		{"shutdown_delay", "shutdown_delay 5s", "shutdown scheduled", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			machine := newInstallation(t)
			service := newLANService(t)
			caddyfile := reloadCaddyfile(machine, service, 1, "")
			caddy := machine.start(strings.Replace(caddyfile, "auto_https off", "auto_https off\n\t"+test.option, 1))
			conn, err := net.Dial("tcp", machine.site)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			body := statusChange(1)
			// The server asks for the body when the relay reads it.
			if _, err := fmt.Fprintf(conn, "POST /listen.php?key=icfm-key HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
				"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n", machine.site, len(body)); err != nil {
				t.Fatal(err)
			}
			reader := bufio.NewReader(conn)
			if line, err := reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
				t.Fatalf("the body was not asked for: %q, %v", line, err)
			}
			_, _ = reader.ReadString('\n')
			caddy.Signal(syscall.SIGTERM)
			waitFor(t, "the servers to be shut down", func() bool { return strings.Contains(caddy.Output.String(), test.begun) })
			ids := []int{}
			if test.another {
				if err := rawPosts(1, true, func() (net.Conn, error) { return net.Dial("tcp", machine.site) }, machine.site)[0](2); err != nil {
					t.Errorf("during the delay: %v", err)
				}
				ids = append(ids, 2)
			}
			if test.finish {
				if _, err := io.WriteString(conn, body); err != nil {
					t.Fatal(err)
				}
				response, err := http.ReadResponse(reader, nil)
				if err != nil || response.StatusCode != http.StatusOK {
					t.Errorf("the answer is %v, error %v\n%s", response, err, caddy.Output)
				}
				ids = append(ids, 1)
			}
			caddy.Stop()
			caddy = machine.start(caddyfile)
			waitFor(t, "the events to be delivered", func() bool { return service.missing(ids) == 0 })
			caddy.Stop()
		})
	}
}
