package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// adminClient talks to the relay in a running Caddy, over Caddy's admin API.
type adminClient struct {
	address string
	// url is what requests begin with, origin the value of their Origin header,
	// empty for none.
	url, origin string
	http        *http.Client
}

// refusal is an error that the admin API answered with.
type refusal struct {
	status  int
	message string
}

func (r *refusal) Error() string { return printable(r.message) }

// newAdminClient finds the admin API as `caddy reload` does.
func newAdminClient(flags caddycmd.Flags) (*adminClient, error) {
	address, err := adminAddress(flags)
	if err != nil {
		return nil, fmt.Errorf("finding the admin API: %w", err)
	}
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 {
		return nil, fmt.Errorf("finding the admin API: %q is not an address such as localhost:2019 or unix//run/caddy.sock", address)
	}
	relayZone.Store(nil)
	client := &adminClient{address: address, url: "http://" + parsed.JoinHostPort(0)}
	client.origin = client.url
	if parsed.IsUnixNetwork() {
		// The address may end in the permissions of the socket.
		parsed.Host, _, _ = strings.Cut(parsed.Host, "|")
		// A socket has no origins: Caddy answers a request that names one with 403.
		client.url, client.origin = "http://127.0.0.1", ""
	}
	client.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, parsed.Network, parsed.JoinHostPort(0))
		},
	}}
	return client, nil
}

// open makes a request and returns the answer, which the caller closes. An
// answer that is an error is returned as one.
func (c *adminClient) open(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	target := c.url + "/event_relay/" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("asking the relay at %s: %w", c.address, err)
	}
	if c.origin != "" {
		request.Header.Set("Origin", c.origin)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.unanswered(err)
	}
	learnZone(response)
	if response.StatusCode < 400 {
		return response, nil
	}
	defer response.Body.Close()
	return nil, c.refused(response)
}

// unanswered adds to an error of connecting what an administrator can do.
func (c *adminClient) unanswered(err error) error {
	var cause *url.Error
	if errors.As(err, &cause) {
		err = cause.Err
	}
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("asking the relay at %s: nothing answers there; is Caddy running? "+
			"If its admin API listens elsewhere, say where with --address HOST:PORT, or with --config and Caddy's configuration: %w", c.address, err)
	}
	return fmt.Errorf("asking the relay at %s: %w", c.address, err)
}

// maxRefusal bounds how much of an error is read.
const maxRefusal = 64 << 10

func (c *adminClient) refused(response *http.Response) error {
	var answer struct{ Error string }
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
	if err != nil {
		return fmt.Errorf("reading the relay's answer: %w", err)
	}
	if json.Unmarshal(raw, &answer) == nil && answer.Error != "" {
		return &refusal{response.StatusCode, answer.Error}
	}
	if response.StatusCode == http.StatusNotFound {
		return &refusal{response.StatusCode, fmt.Sprintf("asking the relay at %s: the Caddy there has no %s; "+
			"check that it is built with Event Relay, and of the version of this command", c.address, response.Request.URL.Path)}
	}
	return &refusal{response.StatusCode, fmt.Sprintf("asking the relay at %s: it answers %s: %s", c.address, response.Status, shortened(strings.TrimSpace(string(raw)), 300))}
}

// get reads a resource into result, and returns it as it came too.
func (c *adminClient) get(ctx context.Context, path string, query url.Values, result any) ([]byte, error) {
	response, err := c.open(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return readAnswer(response.Body, result)
}

// post sends a value and reads the answer into result.
func (c *adminClient) post(ctx context.Context, path string, value, result any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("asking the relay at %s: %w", c.address, err)
	}
	response, err := c.open(ctx, http.MethodPost, path, nil, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = readAnswer(response.Body, result)
	return err
}

func readAnswer(body io.Reader, result any) ([]byte, error) {
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("reading the relay's answer: %w", err)
	}
	if err := decodeNumbers(raw, result); err != nil {
		return nil, fmt.Errorf("reading the relay's answer: %w", err)
	}
	return raw, nil
}

// decodeNumbers decodes JSON and keeps the digits of its numbers.
func decodeNumbers(raw []byte, result any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return decoder.Decode(result)
}

// long makes a call that reports its progress, and reads its result. When ctx ends,
// the relay stops the work; what was done stays done.
func (c *adminClient) long(ctx context.Context, path string, body io.Reader, progress func(replay.Progress), result any) error {
	response, err := c.open(ctx, http.MethodPost, path, nil, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	for {
		var line struct {
			Progress *replay.Progress
			Result   json.RawMessage
			Error    string
		}
		err := decoder.Decode(&line)
		switch {
		case errors.Is(err, io.EOF):
			return fmt.Errorf("reading the relay's answer: it ended before the work was done; what was done stays done. Was Caddy stopped?")
		case err != nil:
			return fmt.Errorf("reading the relay's answer: %w; what was done stays done", err)
		case line.Error != "":
			return &refusal{response.StatusCode, line.Error}
		case line.Result != nil:
			return decodeNumbers(line.Result, result)
		case line.Progress != nil:
			progress(*line.Progress)
		}
	}
}
