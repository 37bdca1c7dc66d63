package caddymodule

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// answerError answers a request with an error, as Caddy's server does with an
// error that a handler returns: by the error routes of the site (handle_errors),
// else with the bare status.
//
// The error is not returned to the server, because the server would log it, and
// each line of its error log holds the URI and the headers that it copied before
// any handler ran. A valid key in the URL of a refused request would then be in
// the log. The lines that are written here hold the client's address instead.
func (h *Handler) answerError(w http.ResponseWriter, r *http.Request, err error) error {
	answer := caddyhttp.Error(http.StatusInternalServerError, err)
	fields := []zap.Field{
		zap.Int("status", answer.StatusCode), zap.String("err_id", answer.ID), zap.Error(answer.Err),
		zap.Any("client_ip", caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey)),
	}
	// The runtime warns of refusals, once in a while for each status.
	h.logger.Debug("refused a request", fields...)

	server, _ := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if server == nil || server.Errors == nil || len(server.Errors.Routes) == 0 {
		w.WriteHeader(answer.StatusCode)
		return nil
	}
	routes := server.Errors.Routes.Compile(caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(answer.StatusCode)
		return nil
	}))
	restoreRequest(r)
	if err := routes.ServeHTTP(w, server.Errors.WithError(r, answer)); err != nil {
		// Its text may come from a handler that quotes the URL.
		status := http.StatusInternalServerError
		if failure, ok := errors.AsType[caddyhttp.HandlerError](err); ok {
			status = failure.StatusCode
		}
		h.logger.Error("handle_errors of the site failed; the sender got the status alone", append(fields, zap.Int("handle_errors_status", status))...)
		w.WriteHeader(answer.StatusCode)
	}
	return nil
}

// restoreRequest gives the request the method and URL back that it had before other
// handlers, such as handle_path, changed them, as the server does before its
// error routes. The URL is changed in place, because placeholders refer to it.
func restoreRequest(r *http.Request) {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || original.URL == nil {
		return
	}
	r.Method, r.RemoteAddr, r.RequestURI = original.Method, original.RemoteAddr, original.RequestURI
	*r.URL = *original.URL
}
