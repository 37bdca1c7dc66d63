package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Mount says where events come in, and from which sources.
type Mount struct {
	// The path under which events come in, without a slash at the end. What
	// follows it in a request's path can name the event, as in
	// `/listen.php/incoming_call`. The route's matcher must let the path
	// itself and everything below it through. Default: empty, so that the
	// whole path is what follows.
	Path string `json:"path,omitempty"`

	// The names of the sources that may post here. Default: all sources.
	Sources []string `json:"sources,omitempty"`

	// Whether requests appear in Caddy's access log. It takes them as they
	// came, with the secrets in their URLs and headers, before any handler
	// could remove those. Default: `false`.
	AccessLog bool `json:"access_log,omitempty"`
}

// Check finds what the parser of the directive refuses, and writes the path as
// the parser does.
func (m *Mount) Check() (err error) {
	if m.Path, err = MountPath(m.Path); err != nil {
		return err
	}
	for i, source := range m.Sources {
		if slices.Contains(m.Sources[:i], source) {
			return fmt.Errorf("source %s is given twice", source)
		}
	}
	return nil
}

// MountPath returns the path of a mount without a slash at its end; empty for the
// whole site. It returns an error for what is no plain path.
func MountPath(text string) (string, error) {
	mount := strings.TrimSuffix(strings.TrimSuffix(text, "/*"), "/")
	if strings.ContainsAny(mount, "*{}%?#\\") || mount != "" && mount[0] != '/' {
		return "", fmt.Errorf("%s cannot be a mount: it is a plain path, which stands for itself and everything below it, as in /listen.php; "+
			"for anything else use a named matcher", text)
	}
	if mount != "" && path.Clean(mount) != mount {
		return "", fmt.Errorf("%s cannot be a mount, because requests arrive with their paths cleaned; write %s", text, path.Clean(mount))
	}
	return mount, nil
}

// Console says where the page of the relay is, and who may open it.
type Console struct {
	// The path of the page, without a slash at the end. The route's matcher must
	// let the path itself and everything below it through. Default: empty, so
	// that the page is the whole site.
	Path string `json:"path,omitempty"`

	// The networks from which the page may be opened besides this machine: each
	// is in CIDR notation, a single IP address, or `private_ranges`. Default:
	// none.
	Allow []string `json:"allow,omitempty"`

	// The names under which the page may be opened besides `localhost` and
	// loopback addresses: host names or addresses as they stand in a browser's
	// address bar, without a port. That keeps other sites from reaching it by
	// pointing a name of theirs at this machine (DNS rebinding). Default: none.
	Hosts []string `json:"hosts,omitempty"`
}
