package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/caddymodule/handover"
	"github.com/caddy-event-relay/event-relay/caddymodule/unmounted"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
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
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && !h.app.watched[server] {
		h.app.watched[server] = true
		unmounted.Watch(server, h.app.served.MountsOf(server.Name()), generations.NoMount)
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
	if err == nil {
		return nil
	}
	unmounted.Taken(w)
	switch {
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
	received, err := generations.Ingest(h.app.generation, r, receive.Origin{
		Mount: h.Path, Client: address, Sources: h.sources,
		SetReadDeadline: http.NewResponseController(w).SetReadDeadline,
	})
	if err != nil {
		return refuse(w, err)
	}
	if received.Ping {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	return answer(w, received)
}

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

// refuse turns an error of taking a request into Caddy's, so that handle_errors
// works and the outside learns nothing but the status: 503 for what is no refusal.
func refuse(w http.ResponseWriter, err error) error {
	status := http.StatusServiceUnavailable
	if refusal, ok := errors.AsType[*receive.Refusal](err); ok {
		status = refusal.Status
	} else {
		err = fmt.Errorf("storing the event: %w", err)
	}
	switch status {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", receive.Methods)
	case http.StatusUnsupportedMediaType:
		w.Header().Set("Accept-Encoding", receive.Encodings) // RFC 9110, 15.5.16
	}
	return caddyhttp.Error(status, err)
}

// retryAfter asks a sender that can wait to come again, in seconds. Disk space
// and restarts take about that long to mend.
const retryAfter = "30"

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
