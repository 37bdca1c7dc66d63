package caddymodule

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// TestAccessLogIsSkipped sends requests to handlers of a relay that has been
// cleaned up: whatever becomes of a request, the log must know beforehand.
func TestAccessLogIsSkipped(t *testing.T) {
	app := provisioned(t, t.TempDir())
	must(t, app.Cleanup())
	for _, logged := range []bool{false, true} {
		handler := Handler{Mount: config.Mount{AccessLog: logged}}
		handler.app, handler.logger = app, zap.NewNop()
		vars := make(map[string]any)
		request := httptest.NewRequest(http.MethodPost, "/listen.php?key=secret", nil)
		request = request.WithContext(context.WithValue(request.Context(), caddyhttp.VarsCtxKey, vars))
		recorder := httptest.NewRecorder()
		err := handler.ServeHTTP(recorder, request, nil)
		if err == nil && recorder.Code != http.StatusServiceUnavailable {
			t.Errorf("a relay that is not running took an event: %d", recorder.Code)
		}
		// Caddy logs a request as it came when a handler returns an error.
		if (err != nil) != logged {
			t.Errorf("access_log %v: the handler returned %v", logged, err)
		}
		if skipped := vars[caddyhttp.LogSkipVar] == true; skipped == logged {
			t.Errorf("access_log %v: the access log is skipped: %v", logged, skipped)
		}
	}
}
