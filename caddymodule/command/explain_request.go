package command

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/textencoding"
)

// readRequest reads a request from a file, or from standard input if the file
// is called "-".
func readRequest(file string, in io.Reader) (*http.Request, error) {
	var raw []byte
	var err error
	if file == "-" {
		raw, err = io.ReadAll(in)
	} else {
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	request, err := ParseRequest(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the request in %s: %w", file, err)
	}
	return request, nil
}

// httpVersion matches the versions that programs name in the first line of what
// they captured: HTTP/1.0, HTTP/1.1, HTTP/2, HTTP/2.0, HTTP/3.
var httpVersion = regexp.MustCompile(`^HTTP/[1-9](\.[0-9])?$`)

// ParseRequest reads a request as it is in HTTP/1.1, or as people write it: see
// the help of explain.
func ParseRequest(raw []byte) (*http.Request, error) {
	_, raw = cutComments(textencoding.ToUTF8(raw))
	head, body := cutHead(raw)
	lines := strings.Split(strings.ReplaceAll(head, "\r\n", "\n"), "\n")
	switch words := strings.Fields(lines[0]); {
	case len(words) == 2, len(words) == 3 && httpVersion.MatchString(words[2]):
		// In HTTP/2 and 3 the request means the same.
		lines[0] = words[0] + " " + words[1] + " HTTP/1.1"
	default:
		return nil, fmt.Errorf("the first line is %q; it must be as in: POST /listen.php HTTP/1.1", shortened(lines[0], 80))
	}

	// The file says how long the body is, so these two headers are read only.
	framing := textproto.MIMEHeader{}
	kept := lines[:1]
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		switch name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)); name {
		case "Content-Length", "Transfer-Encoding":
			framing.Set(name, strings.TrimSpace(value))
		default:
			kept = append(kept, line)
		}
	}
	text := strings.Join(kept, "\r\n") + "\r\n\r\n"
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(framing.Get("Transfer-Encoding"), "chunked") {
		if body, err = io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(body))); err != nil {
			return nil, fmt.Errorf("the body is not as Transfer-Encoding: chunked says; leave that line out: %w", err)
		}
	} else {
		body = withoutLastLineEnd(body, framing.Get("Content-Length"))
	}
	request.Body, request.ContentLength = http.NoBody, int64(len(body))
	if len(body) > 0 {
		request.Body = io.NopCloser(bytes.NewReader(body))
	}
	return request, nil
}

// cutComments cuts the lines on top that are empty or begin with # from a request.
// No method begins so.
func cutComments(raw []byte) (comments []string, request []byte) {
	for len(raw) > 0 {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		text := string(bytes.TrimSuffix(line, []byte("\r")))
		if text != "" && text[0] != '#' {
			break
		}
		comments, raw = append(comments, text), rest
	}
	return comments, raw
}

// cutHead cuts a request at the first blank line.
func cutHead(raw []byte) (head string, body []byte) {
	for at := 0; at < len(raw); {
		line, _, found := bytes.Cut(raw[at:], []byte("\n"))
		if len(bytes.TrimSuffix(line, []byte("\r"))) == 0 {
			return strings.TrimRight(string(raw[:at]), "\r\n"), raw[min(at+len(line)+1, len(raw)):]
		}
		if !found {
			break
		}
		at += len(line) + 1
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

// withoutLastLineEnd takes off the line end with which editors end a file,
// unless the length says that it is meant.
func withoutLastLineEnd(body []byte, length string) []byte {
	if n, err := strconv.Atoi(length); err == nil && n >= 0 && n <= len(body) && len(bytes.Trim(body[n:], "\r\n")) == 0 {
		return body[:n]
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(body, []byte("\n")), []byte("\r"))
}
