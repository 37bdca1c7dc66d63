package caddymodule

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestAccessLogIsSkipped sends requests to handlers of a relay that has been
// cleaned up: whatever becomes of a request, the log must know beforehand.
func TestAccessLogIsSkipped(t *testing.T) {
	app := new(App)
	app.settled = make(chan struct{})
	close(app.settled)
	for _, logged := range []bool{false, true} {
		handler := Handler{AccessLog: logged}
		handler.app = app
		vars := make(map[string]any)
		request := httptest.NewRequest(http.MethodPost, "/listen.php?key=secret", nil)
		request = request.WithContext(context.WithValue(request.Context(), caddyhttp.VarsCtxKey, vars))
		if err := handler.ServeHTTP(httptest.NewRecorder(), request, nil); err == nil {
			t.Error("a relay that is not running took an event")
		}
		if skipped := vars[caddyhttp.LogSkipVar] == true; skipped == logged {
			t.Errorf("access_log %v: the access log is skipped: %v", logged, skipped)
		}
	}
}
