package unmounted

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

const (
	// longestPart bounds a host or path that is shown, in characters.
	longestPart = 80
	// mostNamed is how many mounts or hosts a reason names.
	mostNamed = 5
	// leastPrefix is how long a path must be to be the beginning of a mount's that was
	// cut off.
	leastPrefix = 4
)

// explain says why no mount took a request, and how near it came to one. The query is
// left out, and of the path what is deeper than any mount: both may hold a key.
func (w *watch) explain(method, host, path string, status int) relay.Unmounted {
	path = strings.ToValidUTF8(path, "\uFFFD")
	host = event.Shortened(strings.ToValidUTF8(host, "\uFFFD"), longestPart)
	depth := 0
	var paths, hosts []string
	atPath, atHost := false, false
	for _, mount := range w.mounts {
		whole := mount.WholePath()
		depth = max(depth, strings.Count(whole, "/"))
		if !slices.Contains(paths, whole) {
			paths = append(paths, whole)
		}
		if isBelow(path, whole) {
			atPath = true
			atHost = atHost || len(mount.Hosts) == 0 || slices.ContainsFunc(mount.Hosts, func(of string) bool { return strings.EqualFold(of, host) })
			for _, of := range mount.Hosts {
				if !slices.Contains(hosts, of) {
					hosts = append(hosts, of)
				}
			}
		}
	}
	shown := event.Shortened(beginning(path, depth), longestPart)
	request := relay.Unmounted{Request: method + " " + shown, Status: status}
	switch {
	case atPath && !atHost:
		request.Request = method + " " + host + shown
		request.Reason = "no site with a mount at this path has this host name; those that have one: " + named(hosts)
		// A scanner asks for / at an address.
		request.Near = !slices.Contains(paths, "")
	case atPath:
		request.Reason = "a mount has this path, but a matcher before it, or another route, kept the request from it"
		request.Near = true
	default:
		request.Reason = "no mount has this path; mounts: " + named(paths)
		request.Near = isNear(path, paths)
	}
	if status == 0 {
		request.Status = http.StatusOK
		request.Reason += "; Caddy answered it with an empty 200, which a sender takes for success: end the site with respond 404"
	}
	return request
}

// beginning returns the first parts of a path, and a mark if there are more.
func beginning(path string, depth int) string {
	for i := range len(path) {
		if path[i] != '/' {
			continue
		}
		if depth--; depth < 0 {
			if i == len(path)-1 {
				return path
			}
			return path[:i] + "/…"
		}
	}
	return path
}

func named(all []string) string {
	if len(all) > mostNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:mostNamed], ", "), len(all)-mostNamed)
	}
	return strings.Join(all, ", ")
}

// isNear reports whether a path looks like a misspelt or cut one of a mount, or like a
// mount behind another path.
func isNear(path string, mounts []string) bool {
	for _, mount := range mounts {
		if mount == "" {
			continue
		}
		begins := strings.TrimSuffix(beginning(path, strings.Count(mount, "/")), "/…")
		// A JSON configuration can leave out the slash at the beginning.
		last := mount[max(strings.LastIndexByte(mount, '/'), 0):]
		if names.Nearest(event.Shortened(begins, longestPart), []string{mount}) != "" || strings.HasSuffix(path, last) || strings.Contains(path, last+"/") ||
			strings.HasPrefix(begins, mount) || len(begins) >= leastPrefix && strings.HasPrefix(mount, begins) {
			return true
		}
	}
	return false
}
