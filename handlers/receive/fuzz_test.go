package receive_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// FuzzRequest turns raw requests into events. Whatever comes: no panic, a status
// of the list, nothing of a credential in an event, and every event can be
// stored and read again.
func FuzzRequest(f *testing.F) {
	files, err := filepath.Glob("testdata/senders/*.http")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, file := range files {
		f.Add(must(os.ReadFile(file)))
	}
	sources := senders()
	sources = append(sources, config.Source{
		Name: "odd", Preset: "pbxware", Auth: []config.Credential{
			{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: []string{"odd-token-of-some-length"}},
			{Kind: auth.Path, Values: []string{"odd-token-of-some-length"}},
		},
		NameFrom: "body.kind", Batch: "body.list", Dedupe: &config.Dedupe{Window: 1}, Redact: []string{"body.a.b", "query.q", "caller_id"},
		Fields: []config.Field{{Name: "leading", Expression: "body.list[0]"}, {Name: "date", Expression: "body.day"}},
	})
	f.Add([]byte("POST /listen.php/odd-token-of-some-length HTTP/1.1\r\nHost: x\r\nContent-Length: 66\r\n\r\n{\"kind\":\"k\",\"list\":[{\"a\":{\"b\":1}},{\"token\":\"x\"}],\"day\":\"2026-01-01\"}"))
	r := newRelay(f, receive.Options{}, sources...)
	f.Fuzz(func(t *testing.T, text []byte) {
		request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			return
		}
		received, err := r.Receive(request, origin)
		if err != nil {
			if s := status(err); s == 0 && err == nil || s != 0 && (s < 400 || s > 503) {
				t.Errorf("status %d: %v", s, err)
			}
			return
		}
		if received.Ping == (len(received.Events) > 0) {
			t.Errorf("ping %v with %d events", received.Ping, len(received.Events))
		}
		for _, e := range received.Events {
			checkEvent(t, e)
			if received.Source == "odd" {
				checkNoSecret(t, e, "odd-token-of-some-length")
			}
		}
	})
}

// FuzzBody decodes bodies under any Content-Type.
func FuzzBody(f *testing.F) {
	files, _ := filepath.Glob("testdata/senders/*.http")
	for _, file := range files {
		request := parse(f, string(must(os.ReadFile(file))))
		body, err := io.ReadAll(request.Body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(request.Header.Get("Content-Type"), request.Header.Get("Content-Encoding"), body)
	}
	f.Add("application/json", "gzip", []byte(encoded(f, `{"event":"x"}`, "gzip")))
	f.Add("application/json", "zstd, deflate", []byte(encoded(f, `{"event":"x"}`, "zstd", "zlib")))
	f.Add("text/plain; charset=shift_jis", "deflate", []byte("\x83\x65"))
	r := newRelay(f, receive.Options{}, open(config.Source{Preset: "pbxware", Dedupe: &config.Dedupe{Window: 1}}))
	f.Fuzz(func(t *testing.T, contentType, encoding string, body []byte) {
		request := post("", contentType, string(body))
		request.Header.Set("Content-Encoding", encoding)
		received, err := r.Receive(request, origin)
		switch status(err) {
		case http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType:
		default:
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range received.Events {
				checkEvent(t, e)
			}
		}
	})
}
