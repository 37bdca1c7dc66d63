package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/caddymodule/handover"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// handlerState is what a Handler has besides its configuration.
type handlerState struct {
	app *App

	// sources are the sources that may post here, all by name: a request that
	// outlives this configuration must not reach a source that a later one has
	// elsewhere.
	sources []string

	logger *zap.Logger
}

// Provision finds the relay and checks that the handler's sources exist.
func (h *Handler) Provision(ctx caddy.Context) error {
	app, err := ctx.AppIfConfigured("event_relay")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return fmt.Errorf("finding the relay: there is no event_relay block among the global options; add one with at least a source: %w", err)
	} else if err != nil {
		return err
	}
	h.app = app.(*App)
	h.logger = ctx.Logger()
	if err := h.Check(); err != nil {
		return fmt.Errorf("providing event_relay %s: %w", h.Path, err)
	}
	h.sources, err = h.app.generation.HandlerSources(h.Sources)
	if err != nil {
		return fmt.Errorf("providing event_relay %s: %w", h.Path, err)
	}
	if h.app.CloseConnections {
		return nil
	}
	if err := handover.Keep(ctx); err != nil {
		return fmt.Errorf("keeping the connections of the site of event_relay %s: %w", h.Path, err)
	}
	return nil
}

// ServeHTTP takes an event. It answers 2xx when the event is on stable
// storage, and never calls the next handler: what is below the mount is the
// relay's.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if !h.AccessLog {
		// Caddy's access log takes the request with its credentials, before any
		// handler can remove them.
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
	err := h.take(w, r)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, receive.ErrSenderGone):
		// A sender that only closed its side of the connection reads the status;
		// to one that left, nothing arrives. Neither is an error of this server,
		// but the access log takes a 5xx for one.
		caddyhttp.SetVar(r.Context(), caddyhttp.LogLevelVar, "info")
		var answer caddyhttp.HandlerError
		if errors.As(err, &answer) {
			w.WriteHeader(answer.StatusCode)
		}
		return nil
	case h.AccessLog:
		return err
	}
	return h.answerError(w, r, err)
}

// take stores the events of a request and answers it, or returns the error that
// is to be answered.
func (h *Handler) take(w http.ResponseWriter, r *http.Request) error {
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	address, _ := netip.ParseAddr(client)
	runtime, generation, err := h.app.service(r.Context())
	if err != nil {
		return notStored(w, runtime, address, err)
	}
	received, err := generation.Receive(r, receive.Origin{
		Mount: h.Path, Client: address, Sources: h.sources,
		SetReadDeadline: http.NewResponseController(w).SetReadDeadline,
	})
	if err != nil {
		return refuse(w, runtime, address, err)
	}
	if received.Ping {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	// The event is here. A sender that closes its side once it has sent must not
	// undo the storing of it: some do, and wait for the answer all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), storeTimeout)
	defer cancel()
	err = runtime.Accept(ctx, generation, received)
	if errors.Is(err, queue.ErrClosed) {
		// A reload gave the relay another queue while this request was read.
		if newest := newestApp(); newest != nil && newest.runtime != runtime {
			err = newest.runtime.Accept(ctx, newest.generation, received)
		}
	}
	if err != nil {
		return notStored(w, runtime, address, err)
	}
	return answer(w, received)
}

// storeTimeout is how long a disk may take to store an event before its sender
// is told to come again.
const storeTimeout = 30 * time.Second

// answer tells the sender that its events are stored.
func answer(w http.ResponseWriter, received *receive.Received) error {
	if received.Respond == http.StatusNoContent {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	body := make([]byte, 0, 64)
	if len(received.Events) == 1 {
		body = append(body, `{"id":"`...)
		body = append(body, received.Events[0].ID...)
		body = append(body, `"}`...)
	} else {
		ids := make([]string, len(received.Events))
		for i, event := range received.Events {
			ids[i] = event.ID
		}
		body, _ = json.Marshal(map[string][]string{"ids": ids})
	}
	w.Header()["Content-Type"] = jsonContentType
	w.WriteHeader(received.Respond)
	// The events are stored: a sender that hangs up before it reads this has
	// lost the answer and nothing else.
	_, _ = w.Write(append(body, '\n'))
	return nil
}

var jsonContentType = []string{"application/json"}

// refuse turns an error of receiving into Caddy's, so that handle_errors works
// and the outside learns nothing but the status.
func refuse(w http.ResponseWriter, runtime *relay.Runtime, client netip.Addr, err error) error {
	var refusal *receive.Refusal
	if !errors.As(err, &refusal) {
		return notStored(w, runtime, client, err)
	}
	runtime.Rejected(client, refusal)
	switch refusal.Status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", receive.Methods)
	case http.StatusUnsupportedMediaType:
		w.Header().Set("Accept-Encoding", receive.Encodings) // RFC 9110, 15.5.16
	}
	return caddyhttp.Error(refusal.Status, err)
}

// retryAfter asks a sender that can wait to come again, in seconds. Disk space
// and restarts take about that long to mend.
const retryAfter = "30"

// notStored counts a request whose events were not stored, and returns the error
// that answers it with 503. Without a runtime it is not counted.
func notStored(w http.ResponseWriter, runtime *relay.Runtime, client netip.Addr, err error) error {
	if runtime != nil {
		if errors.Is(err, receive.ErrSenderGone) {
			runtime.SenderGone(client)
		} else {
			runtime.Rejected(client, &receive.Refusal{Status: http.StatusServiceUnavailable, Reason: err.Error()})
		}
	}
	w.Header().Set("Retry-After", retryAfter)
	return caddyhttp.Error(http.StatusServiceUnavailable, fmt.Errorf("storing the event: %w", err))
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
