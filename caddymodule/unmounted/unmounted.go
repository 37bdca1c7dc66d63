// Package unmounted notices requests to a server with a mount that no mount took: a
// sender that was given a wrong path or host name gets 404, and without this nothing
// would say that it tried.
//
// Caddy has no place for a handler that sees the requests of all sites of a server. So
// the server's own handler is wrapped when its first connection comes, as package
// handover does. It costs the requests that a mount takes nothing but a look at their
// host and path. HTTP/3 goes another way and is not seen: senders of webhooks do not
// use it.
package unmounted

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// Watch has requests to the HTTP server that is being provisioned reported that none of
// its mounts took, until the server ends. Call it from the Provision of a handler, once
// for each server; outside of a server it does nothing.
func Watch(server *caddyhttp.Server, mounts []sites.Mount, report func(relay.Unmounted)) {
	w := &watch{site: server, mounts: mounts, report: report}
	server.RegisterConnContext(w.connected)
}

// watch is what this package adds to one of Caddy's HTTP servers.
type watch struct {
	site   *caddyhttp.Server
	mounts []sites.Mount
	report func(relay.Unmounted)

	once sync.Once
	next http.Handler
}

// connected takes hold of the server's handler before the first request.
func (w *watch) connected(ctx context.Context, _ net.Conn) context.Context {
	w.once.Do(func() {
		server := ctx.Value(http.ServerContextKey).(*http.Server)
		w.next, server.Handler = server.Handler, w
	})
	return ctx
}

// ServeHTTP implements http.Handler.
func (w *watch) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !mayHoldEvent(r) || w.surelyMounted(r) {
		w.next.ServeHTTP(rw, r)
		return
	}
	// Handlers may change the URL in place.
	method, host, path := r.Method, hostOf(r.Host), r.URL.Path
	answer := &answer{ResponseWriter: rw}
	w.next.ServeHTTP(answer, r)
	if answer.taken || !isNoOnes(answer.status) || rw.Header().Get("Via") != "" {
		return
	}
	request := w.explain(method, host, path, answer.status)
	// Caddy alone knows which proxies are trusted.
	prepared := caddyhttp.PrepareRequest(r, caddy.NewReplacer(), rw, w.site)
	client, _ := caddyhttp.GetVar(prepared.Context(), caddyhttp.ClientIPVarKey).(string)
	request.Client, _ = netip.ParseAddr(client)
	w.report(request)
}

// mayHoldEvent reports whether a request may have been meant as an event. Pages that
// browsers and scanners read have neither a body nor a query.
func mayHoldEvent(r *http.Request) bool {
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return true
	case http.MethodGet, http.MethodDelete:
		return (r.URL.RawQuery != "" || r.ContentLength != 0) && r.Header.Get("Upgrade") == ""
	}
	return false
}

// isNoOnes reports whether a status is the answer of a server that has nothing at a
// path: what another handler answers properly is its own business. Without a status no
// handler answered, and Caddy's answer is an empty 200.
func isNoOnes(status int) bool {
	switch status {
	case 0, http.StatusNotFound, http.StatusGone, http.StatusMisdirectedRequest:
		return true
	}
	return false
}

// surelyMounted reports whether a mount takes the request for certain.
func (w *watch) surelyMounted(r *http.Request) bool {
	for i := range w.mounts {
		mount := &w.mounts[i]
		if mount.Sure && isBelow(r.URL.Path, mount.Path) && (len(mount.Hosts) == 0 || slices.Contains(mount.Hosts, hostOf(r.Host))) {
			return true
		}
	}
	return false
}

func isBelow(path, mount string) bool {
	return strings.HasPrefix(path, mount) && (len(path) == len(mount) || mount == "" || path[len(mount)] == '/')
}

// hostOf returns the host name of a Host header without its port.
func hostOf(header string) string {
	if strings.IndexByte(header, ':') < 0 {
		return header
	}
	if host, _, err := net.SplitHostPort(header); err == nil {
		return host
	}
	return strings.Trim(header, "[]")
}

// Taken says that the relay has answered the request of a response writer: whatever the
// sender gets, such as from handle_errors, a mount took it.
func Taken(rw http.ResponseWriter) {
	for {
		switch writer := rw.(type) {
		case *answer:
			writer.taken = true
			return
		case interface{ Unwrap() http.ResponseWriter }:
			rw = writer.Unwrap()
		default:
			return
		}
	}
}

// answer is a response writer that notes the status.
type answer struct {
	http.ResponseWriter
	// status is 0 while nothing was answered.
	status int
	taken  bool
}

// Unwrap gives http.ResponseController the writer below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(body []byte) (int, error) {
	a.begin()
	return a.ResponseWriter.Write(body)
}

// ReadFrom keeps the way on which the kernel sends files.
func (a *answer) ReadFrom(body io.Reader) (int64, error) {
	a.begin()
	return io.Copy(a.ResponseWriter, body)
}

// Flush implements http.Flusher, which some handlers ask for.
func (a *answer) Flush() { _ = a.FlushError() }

// FlushError is Flush for http.ResponseController.
func (a *answer) FlushError() error {
	a.begin()
	return http.NewResponseController(a.ResponseWriter).Flush()
}

func (a *answer) begin() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
}

// Interface guards
var (
	_ http.Flusher  = (*answer)(nil)
	_ io.ReaderFrom = (*answer)(nil)
)
