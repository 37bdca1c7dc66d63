package e2e_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// TestRefusalsNameWhatIsTaken checks the headers that tell a sender what it may
// use instead.
func TestRefusalsNameWhatIsTaken(t *testing.T) {
	t.Parallel()
	machine, service := newInstallation(t), newLANService(t)
	machine.start(queueCaddyfile(machine, filepath.Join(t.TempDir(), "queue"), service.URL))
	for _, test := range []struct {
		method, encoding string
		status           int
		header, value    string
	}{
		{http.MethodPost, "br", http.StatusUnsupportedMediaType, "Accept-Encoding", "gzip, deflate, zstd"},
		{http.MethodOptions, "", http.StatusMethodNotAllowed, "Allow", "GET, HEAD, PUT, POST, PATCH, DELETE"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, "http://"+machine.site+"/listen.php?key=icfm-key", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Encoding", test.encoding)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != test.status || response.Header.Get(test.header) != test.value {
			t.Errorf("%s %s: answered %d, %s %q", test.method, test.encoding, response.StatusCode, test.header, response.Header.Get(test.header))
		}
	}
}
