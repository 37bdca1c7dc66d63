package postman

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"

	actiontemplate "github.com/caddy-event-relay/event-relay/handlers/forward/template"
)

// wire is a request as it came over the wire.
type wire struct {
	method, target, host string
	headers              [][2]string
	body                 string
}

// recorder takes requests for any host on a loopback address and keeps the
// bytes of each: net/http's own server would refuse some targets, and clean
// others.
type recorder struct {
	t         *testing.T
	client    *http.Transport
	recorded  chan wire
	addresses net.Addr
}

func newRecorder(t *testing.T) *recorder {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{t: t, recorded: make(chan wire, 1), addresses: listener.Addr()}
	r.client = &http.Transport{DisableKeepAlives: true, DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			r.recorded <- record(connection)
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return r
}

func record(connection net.Conn) (w wire) {
	defer connection.Close()
	reader := bufio.NewReader(connection)
	line, _ := reader.ReadString('\n')
	w.method, line, _ = strings.Cut(strings.TrimSuffix(line, "\r\n"), " ")
	w.target = strings.TrimSuffix(line, " HTTP/1.1")
	length := 0
	for {
		line, err := reader.ReadString('\n')
		line = strings.TrimSuffix(line, "\r\n")
		if err != nil || line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		value = textproto.TrimString(value)
		switch strings.ToLower(name) {
		case "host":
			w.host = value
		case "content-length":
			length, _ = strconv.Atoi(value)
		default:
			w.headers = append(w.headers, [2]string{strings.ToLower(name), value})
		}
	}
	body := make([]byte, length)
	n, _ := io.ReadFull(reader, body)
	w.body = string(body[:n])
	_, _ = io.WriteString(connection, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
	return w
}

// send sends a rendered request, to whatever host, to the recorder.
func (r *recorder) send(request *actiontemplate.Request) (wire, error) {
	url := *request.URL
	url.Scheme = "http"
	sent := &http.Request{Method: request.Method, URL: &url, Host: request.Host, Header: request.Header,
		ContentLength: int64(len(request.Body)), Body: io.NopCloser(strings.NewReader(string(request.Body)))}
	if len(request.Body) == 0 {
		sent.Body = nil
	}
	response, err := r.client.RoundTrip(sent)
	if err != nil {
		return wire{}, err
	}
	_ = response.Body.Close()
	return <-r.recorded, nil
}
