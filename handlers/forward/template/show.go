package template

import (
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// String shows the request as it is sent, for an administrator: credentials and
// secrets masked, and cut to 4 KiB.
func (r *Request) String() string {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	size := 64 + len(r.path) + len(r.URL.RawQuery) + len(r.URL.Host) + len(host) + min(len(r.Body), 2*shownBytes)
	names := make([]string, 0, 16)
	for name, values := range r.Header {
		names = append(names, name)
		for _, value := range values {
			size += len(name) + len(value) + 3
		}
	}
	slices.Sort(names)
	var b strings.Builder
	b.Grow(size)
	for _, s := range []string{r.Method, " ", r.URL.Scheme, "://", r.URL.Host, r.path} {
		b.WriteString(s)
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		b.WriteByte('?')
		if r.shownQuery > 0 {
			b.WriteString(r.URL.RawQuery[:r.shownQuery])
			b.WriteString(secret.Masked)
		} else {
			b.WriteString(r.URL.RawQuery)
		}
	}
	b.WriteString(" HTTP/1.1\nHost: ")
	b.WriteString(host)
	for _, name := range names {
		for _, value := range r.Header[name] {
			b.WriteByte('\n')
			b.WriteString(name)
			b.WriteString(": ")
			if name == r.authHeader && name != "Authorization" {
				value = secret.Masked
			}
			b.WriteString(secret.Header(name, value))
		}
	}
	b.WriteByte('\n')
	if len(r.Body) > 0 {
		b.WriteByte('\n')
		body := r.Body
		if r.Masker == nil {
			body = body[:min(len(body), shownBytes)]
		}
		b.Write(body)
	}
	return r.Masker.MaskTo(b.String(), shownBytes)
}
