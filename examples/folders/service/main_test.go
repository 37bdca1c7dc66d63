package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// post asks a service for folders and returns the status.
func post(s *service, token, key, body string) int {
	request := httptest.NewRequest(http.MethodPost, "/projects", strings.NewReader(body))
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Idempotency-Key", key)
	recorder := httptest.NewRecorder()
	s.ServeHTTP(recorder, request)
	return recorder.Code
}

func TestStatuses(t *testing.T) {
	s, err := open(t.TempDir(), "token")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		token, key, body string
		want             int
	}{
		{"", "1", `{"id": 1}`, 401},
		{"wrong", "1", `{"id": 1}`, 401},
		{"token", "1", `{"id": "1"}`, 400},
		{"token", "1", `{"id": 1`, 400},
		{"token", "", `{"id": 1}`, 400},
		{"token", "1", `{"name": "Nordlicht"}`, 422},
		{"token", "1", `{"id": 1}`, 201},
	} {
		if got := post(s, test.token, test.key, test.body); got != test.want {
			t.Errorf("%+v was answered with %d", test, got)
		}
	}
}

// TestTwice takes a folder away between two requests: only a new delivery makes
// it again.
func TestTwice(t *testing.T) {
	root := t.TempDir()
	s, err := open(root, "token")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(root, "1_Nordlicht")
	for _, test := range []struct {
		key    string
		status int
		there  bool
	}{{"first", 201, true}, {"first", 200, false}, {"second", 201, true}} {
		if status := post(s, "token", test.key, `{"id": 1, "name": "Nordlicht"}`); status != test.status {
			t.Errorf("%s was answered with %d, want %d", test.key, status, test.status)
		}
		if _, err := os.Stat(filepath.Join(folder, tree[0])); (err == nil) != test.there {
			t.Errorf("after %s: %v", test.key, err)
		}
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFolderName(t *testing.T) {
	for name, want := range map[string]string{
		"Nordlicht":               "7_Nordlicht",
		"":                        "7",
		"..":                      "7",
		"../../etc":               "7_.._.._etc",
		`a\b:c*d?e"f<g>h|i`:       "7_a_b_c_d_e_f_g_h_i",
		"a\x00b\nc\u202ed":        "7_a_b_c_d",
		"end. ":                   "7_end",
		strings.Repeat("🎬", 1000): "7_" + strings.Repeat("🎬", 50),
	} {
		if got := folderName(7, name); got != want {
			t.Errorf("%q becomes %q, want %q", name, got, want)
		}
	}
}
