package receive_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// encoders apply one content encoding each. A "deflate" has a zlib header or has
// none, and a zstd frame says how long it is, or does not.
var encoders = map[string]func(io.Writer) io.WriteCloser{
	"gzip":    func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"zlib":    func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
	"deflate": func(w io.Writer) io.WriteCloser { return must(flate.NewWriter(w, 9)) },
	"zstd":    func(w io.Writer) io.WriteCloser { return must(zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))) },
	"sized":   func(w io.Writer) io.WriteCloser { return &sizedZstd{w: w} },
}

// sizedZstd makes a frame that begins with its length.
type sizedZstd struct {
	bytes.Buffer
	w io.Writer
}

func (s *sizedZstd) Close() error {
	_, err := s.w.Write(must(zstd.NewWriter(nil)).EncodeAll(s.Bytes(), nil))
	return err
}

// encoded applies encoders in order.
func encoded(t testing.TB, text string, names ...string) string {
	t.Helper()
	for _, name := range names {
		var packed bytes.Buffer
		w := encoders[name](&packed)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		text = packed.String()
	}
	return text
}

func TestContentEncoding(t *testing.T) {
	const body = `{"event":"x","id":5}`
	for name, test := range map[string]struct {
		lines  []string // of Content-Encoding
		body   string
		damage bool // kept as it came, with a parse error
		status int
	}{
		"gzip":              {lines: []string{"gzip"}, body: encoded(t, body, "gzip")},
		"x-gzip":            {lines: []string{"X-GZIP"}, body: encoded(t, body, "gzip")},
		"zlib":              {lines: []string{"deflate"}, body: encoded(t, body, "zlib")},
		"deflate":           {lines: []string{"Deflate"}, body: encoded(t, body, "deflate")},
		"zstd":              {lines: []string{"zstd"}, body: encoded(t, body, "zstd")},
		"zstd with length":  {lines: []string{" ZSTD "}, body: encoded(t, body, "sized")},
		"two frames":        {lines: []string{"zstd"}, body: encoded(t, body[:9], "zstd") + encoded(t, body[9:], "sized")},
		"two gzip members":  {lines: []string{"gzip"}, body: encoded(t, body[:9], "gzip") + encoded(t, body[9:], "gzip")},
		"identity":          {lines: []string{"identity"}, body: body},
		"none":              {lines: []string{"none"}, body: body},
		"empty":             {lines: []string{""}, body: body},
		"charset":           {lines: []string{"UTF-8"}, body: body},
		"charset and gzip":  {lines: []string{"utf-8, gzip"}, body: encoded(t, body, "gzip")},
		"gzip and identity": {lines: []string{"gzip, identity"}, body: encoded(t, body, "gzip")},
		"in order":          {lines: []string{"zstd, gzip"}, body: encoded(t, body, "zstd", "gzip")},
		"two lines":         {lines: []string{"zstd", "gzip,deflate"}, body: encoded(t, body, "zstd", "gzip", "zlib")},
		"the same twice":    {lines: []string{"zstd,,zstd"}, body: encoded(t, body, "zstd", "sized")},
		"four":              {lines: []string{"deflate", "x-gzip", "zstd", "gzip", "identity"}, body: encoded(t, body, "deflate", "gzip", "zstd", "gzip")},
		"no body":           {lines: []string{"gzip"}, body: ""},

		"not encoded":         {lines: []string{"gzip"}, body: body, damage: true},
		"not encoded zstd":    {lines: []string{"zstd"}, body: body, damage: true},
		"wrong order":         {lines: []string{"gzip, zstd"}, body: encoded(t, body, "zstd", "gzip"), damage: true},
		"half undone":         {lines: []string{"gzip, gzip"}, body: encoded(t, body, "gzip"), damage: true},
		"rubbish behind":      {lines: []string{"zstd"}, body: encoded(t, body, "zstd") + "rubbish", damage: true},
		"rubbish behind gzip": {lines: []string{"gzip"}, body: encoded(t, body, "gzip") + "rubbish", damage: true},

		"br":             {lines: []string{"br"}, status: 415},
		"br inside":      {lines: []string{"br, gzip"}, status: 415},
		"br on a line":   {lines: []string{"gzip", "BR"}, status: 415},
		"compress":       {lines: []string{"compress"}, status: 415},
		"unknown":        {lines: []string{"gzip;q=1"}, status: 415},
		"not divided":    {lines: []string{"gzip deflate"}, status: 415},
		"dictionary":     {lines: []string{"dcz"}, status: 415},
		"five":           {lines: []string{"gzip,gzip", "gzip,gzip,gzip"}, status: 415},
		"control":        {lines: []string{"gzip\x00"}, status: 415},
		"very many":      {lines: []string{strings.Repeat("zstd,", 10_000)}, status: 415},
		"many that lack": {lines: []string{strings.Repeat(" ,", 10_000), "gzip"}, body: encoded(t, body, "gzip")},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t, receive.Options{}, open(config.Source{}))
			request := post("?event=x", "application/json", test.body)
			request.Header["Content-Encoding"] = test.lines
			if test.status != 0 {
				request.Body, request.ContentLength = unread{t}, 10
				if _, err := r.Receive(request, origin); status(err) != test.status {
					t.Errorf("got %v, want %d", err, test.status)
				}
				return
			}
			e := r.one(t, request)
			want := body
			if test.damage || test.body == "" {
				want = test.body
			}
			if string(e.RawBody) != want || (e.ParseError != "") != test.damage {
				t.Errorf("got %q, %q", e.RawBody, e.ParseError)
			}
			if !test.damage && test.body != "" && r.value(t, e, "body.id") != int64(5) {
				t.Errorf("id is %v", r.value(t, e, "body.id"))
			}
			checkEvent(t, e)
		})
	}
	t.Run("without a body", func(t *testing.T) {
		r := newRelay(t, receive.Options{}, open(config.Source{}))
		request := post("?event=x", "", "")
		request.Body = http.NoBody
		request.Header.Set("Content-Encoding", "br")
		r.one(t, request)
	})
	t.Run("without credentials", func(t *testing.T) {
		r := newRelay(t, receive.Options{}, config.Source{Name: "a", Auth: bearer("a")})
		request := post("?event=x", "", "x")
		request.Header.Set("Content-Encoding", "br")
		if _, err := r.Receive(request, origin); status(err) != http.StatusUnauthorized {
			t.Errorf("got %v, want 401", err)
		}
	})
}

// TestDamagedContent cuts encoded bodies short everywhere and flips bits of
// those that have a checksum. A body that cannot be decoded is kept byte for
// byte, and what is decoded is what was sent.
func TestDamagedContent(t *testing.T) {
	body := `{"event":"x","list":["` + strings.Repeat(`abc", "`, 40) + `"]}`
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for name, encoding := range map[string]string{"gzip": "gzip", "zlib": "deflate", "deflate": "deflate", "zstd": "zstd", "sized": "zstd"} {
		send := func(sent string) (*receive.Received, error) {
			request := post("?event=x", "text/plain", sent)
			request.Header.Set("Content-Encoding", encoding)
			return r.Receive(request, origin)
		}
		whole := encoded(t, body, name)
		for cut := 1; cut < len(whole); cut++ {
			received, err := send(whole[:cut])
			if err != nil {
				t.Fatalf("%s cut at %d: %v", name, cut, err)
			}
			if e := received.Events[0]; e.ParseError == "" || string(e.RawBody) != whole[:cut] {
				t.Fatalf("%s cut at %d: kept %.40q, %q", name, cut, e.RawBody, e.ParseError)
			}
		}
		for bit := range 8 * len(whole) {
			flipped := []byte(whole)
			flipped[bit/8] ^= 1 << (bit % 8)
			received, err := send(string(flipped))
			switch {
			case name == "deflate":
				// It has no checksum: a wrong letter is not noticed.
			case status(err) == http.StatusRequestEntityTooLarge:
				// The length at the beginning claims more than max_body.
			case err != nil:
				t.Fatalf("%s flipped at %d: %v", name, bit, err)
			default:
				e := received.Events[0]
				if want := map[bool]string{true: body, false: string(flipped)}[e.ParseError == ""]; string(e.RawBody) != want {
					t.Fatalf("%s flipped at %d: kept %.40q, %q", name, bit, e.RawBody, e.ParseError)
				}
			}
		}
	}
}

// TestDecodedLimit checks that max_body is exact for the decoded body, whatever
// it holds.
func TestDecodedLimit(t *testing.T) {
	const limit = 300_000
	r := newRelay(t, receive.Options{}, open(config.Source{MaxBody: limit}))
	words := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	for text.Len() < 2*limit {
		text.WriteString([]string{"project ", "status ", "approved\n", "x"}[words.IntN(4)])
	}
	for name, encoding := range map[string]string{"gzip": "gzip", "zlib": "deflate", "deflate": "deflate", "zstd": "zstd", "sized": "zstd"} {
		for kind, whole := range map[string]string{"even": strings.Repeat("x", 2*limit), "words": text.String()} {
			for size, want := range map[int]int{1: 0, 64 << 10: 0, 64<<10 + 1: 0, 200_000: 0, limit: 0, limit + 1: 413, 2 * limit: 413} {
				body := whole[:size]
				request := post("?event=x", "text/plain", encoded(t, body, name))
				request.Header.Set("Content-Encoding", encoding)
				received, err := r.Receive(request, origin)
				if status(err) != want {
					t.Errorf("%s, %s, %d bytes: got %v, want %d", name, kind, size, err, want)
				} else if err == nil && (string(received.Events[0].RawBody) != body || received.Events[0].ParseError != "") {
					t.Errorf("%s, %s, %d bytes: kept %d bytes, %q", name, kind, size, len(received.Events[0].RawBody), received.Events[0].ParseError)
				}
			}
		}
	}
}

// TestBomb checks that a small body which is huge when decoded is refused
// without the memory that it asks for, with proven credentials and without.
func TestBomb(t *testing.T) {
	r := newRelay(t, receive.Options{},
		config.Source{Name: "a", Auth: bearer("a")},
		config.Source{Name: "b", Auth: []config.Credential{
			{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: []string{"b"}}}})
	huge := strings.Repeat("x", 40<<20)
	for encoding, bomb := range map[string]string{
		"gzip":             encoded(t, huge, "gzip"),
		"deflate":          encoded(t, huge, "zlib"),
		"zstd":             encoded(t, huge, "sized"),
		"zstd, identity":   encoded(t, huge, "zstd"),
		"gzip, zstd":       encoded(t, huge, "gzip", "zstd"),
		"zstd, gzip":       encoded(t, huge, "zstd", "gzip"),
		"gzip, gzip, zstd": encoded(t, huge, "gzip", "gzip", "sized"),
		// A frame that claims 2^62 bytes.
		"zstd,": "\x28\xb5\x2f\xfd\xe0\x00\x00\x00\x00\x00\x00\x00\x40\x01\x00\x00",
	} {
		for _, token := range []string{"a", ""} {
			request := post("", "application/json", bomb)
			request.Header.Set("Content-Encoding", encoding)
			request.Header.Set("Authorization", "Bearer "+token)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, err := r.Receive(request, origin); status(err) != http.StatusRequestEntityTooLarge {
				t.Errorf("%s: got %v, want 413", encoding, err)
			}
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
				t.Errorf("%s: took %d bytes", encoding, grown)
			}
		}
	}
}

// TestSignedCompressed checks that a signature may be over the body as sent or
// as meant.
func TestSignedCompressed(t *testing.T) {
	const body = `{"event":"x"}`
	r := newRelay(t, receive.Options{}, config.Source{Name: "s", Auth: []config.Credential{
		{Kind: auth.HMAC, Name: "X-Sig", Algorithm: "sha256", Values: []string{"k"}}}})
	packed := encoded(t, body, "zstd", "gzip")
	for name, signed := range map[string]string{"as sent": packed, "as meant": body} {
		request := post("", "application/json", packed)
		request.Header.Set("Content-Encoding", "zstd, gzip")
		request.Header.Set("X-Sig", hex.EncodeToString(mac(sha256.New, "k", signed)))
		if e := r.one(t, request); string(e.RawBody) != body {
			t.Errorf("%s: raw body is %q", name, e.RawBody)
		}
	}
}
