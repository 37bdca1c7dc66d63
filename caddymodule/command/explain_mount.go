package command

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
)

// mountFor returns the mount that Caddy would give a request to: the one with the
// longest path among those for its host, or for any, if there is none for its
// host. A request in a file seldom names the public host.
func mountFor(request *http.Request, mounts []sites.Mount) (sites.Mount, error) {
	var best *sites.Mount
	var bestIsForHost bool
	var paths []string
	for i := range mounts {
		m := &mounts[i]
		whole := m.WholePath()
		if !slices.Contains(paths, whole) {
			paths = append(paths, whole)
		}
		if !isBelow(whole, request.URL.Path) {
			continue
		}
		isForHost := isForHost(m, request.Host)
		if best == nil || isForHost && !bestIsForHost || isForHost == bestIsForHost && len(whole) > len(best.WholePath()) {
			best, bestIsForHost = m, isForHost
		}
	}
	if best != nil {
		return *best, nil
	}
	if len(paths) == 0 {
		return sites.Mount{}, errors.New("no site has event_relay; add it to a site, or name the sender with --source")
	}
	return sites.Mount{}, fmt.Errorf("no event_relay of the configuration takes the path %s; there are: %s", request.URL.Path, strings.Join(paths, ", "))
}

// stripPath takes away from the path of a request what routes before its mount do.
func stripPath(request *http.Request, mount sites.Mount) {
	requested, length := request.URL.Path, len(mount.Stripped)
	if length > 0 && len(requested) >= length && strings.EqualFold(requested[:length], mount.Stripped) {
		request.URL.Path, request.URL.RawPath = requested[length:], ""
	}
}

// isForHost reports whether requests to a host lead to a mount.
func isForHost(mount *sites.Mount, host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return len(mount.Hosts) == 0 || slices.ContainsFunc(mount.Hosts, func(pattern string) bool {
		if strings.EqualFold(pattern, host) {
			return true
		}
		_, rest, _ := strings.Cut(host, ".")
		return strings.HasPrefix(pattern, "*.") && strings.EqualFold(pattern[2:], rest)
	})
}

// isBelow reports whether a path is a mount or below it. Caddy does not look at
// the case of paths.
func isBelow(mount, requested string) bool {
	mount = strings.ToLower(strings.TrimSuffix(mount, "/"))
	requested = strings.ToLower(path.Clean("/" + requested))
	return mount == "" || requested == mount || strings.HasPrefix(requested, mount+"/")
}
