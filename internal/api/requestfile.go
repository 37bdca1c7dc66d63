package api

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
)

// eventAsFile answers with the request of an event as a .http file.
func eventAsFile(c *call) error {
	detail, err := inspect.Show(c.r.Context(), c.Runtime, c.name)
	if err != nil {
		return err
	}
	contentType := "text/plain; charset=utf-8"
	if detail.Request.Binary != nil {
		contentType = "application/octet-stream"
	}
	header(c.w, contentType)
	_, _ = c.w.Write(RequestFile(detail.Request))
	return nil
}

// RequestFile writes the request of an event as a .http file, which `caddy
// event-relay explain --request` reads back, and editors with an HTTP client
// send again. Credentials are not in it, because they are not stored. The body
// follows as it came, byte for byte, also one that is not text.
func RequestFile(r inspect.Request) []byte {
	var file strings.Builder
	method := r.Method
	if !isToken(method) {
		method = "POST"
	}
	// An event's path may begin with two slashes, which are no host here.
	path := (&url.URL{Path: "/" + strings.TrimPrefix(r.Path, "/")}).EscapedPath()
	file.WriteString(method + " " + path)
	if len(r.Query) > 0 {
		file.WriteString("?" + url.Values(r.Query).Encode())
	}
	file.WriteString(" HTTP/1.1\nHost: localhost\n")
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		if !isToken(name) || slices.Contains(framing, strings.ToLower(name)) {
			continue
		}
		for _, value := range r.Headers[name] {
			file.WriteString(name + ": " + oneLine(value) + "\n")
		}
	}
	body := r.Body
	if r.Binary != nil {
		body = string(r.Binary)
	}
	if body != "" {
		// The length says which line ends at the end of the file are the body's.
		fmt.Fprintf(&file, "Content-Length: %d\n", len(body))
	}
	file.WriteString("\n" + body)
	return []byte(file.String())
}

// framing are the headers that say where a request ends and where it goes, which
// this file says by itself.
var framing = []string{"host", "content-length", "transfer-encoding", "trailer"}

// isToken reports whether a text can be a method or the name of a header.
func isToken(text string) bool {
	return text != "" && strings.IndexFunc(text, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}) < 0
}

// oneLine keeps the value of a header from ending its line: what follows would
// be a header that the sender did not send.
func oneLine(value string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, value))
}
