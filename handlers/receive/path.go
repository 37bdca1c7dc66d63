package receive

import (
	"net/url"
	"path"
	"strings"
)

// segmentsAfter returns the unescaped segments of a URL's path that follow the
// mount. A slash that was sent escaped does not divide segments, so it can stand
// in an event's name or a token.
func segmentsAfter(mount string, u *url.URL) []string {
	if u.Path == mount || u.Path == "" || u.Path == "/" {
		return nil
	}
	// Caddy matches cleaned paths, so //listen.php may arrive here too.
	escaped := path.Clean("/" + u.EscapedPath())
	all := strings.FieldsFunc(escaped, isSlash)
	skip := len(strings.FieldsFunc(mount, isSlash))
	if len(all) <= skip {
		return nil
	}
	segments := all[skip:]
	for i, s := range segments {
		if plain, err := url.PathUnescape(s); err == nil {
			segments[i] = validText(plain)
		}
	}
	return segments
}

// pathOf puts a path together again.
func pathOf(mount string, segments []string) string {
	if len(segments) == 0 && mount != "" {
		return mount
	}
	return strings.TrimSuffix(mount, "/") + "/" + strings.Join(segments, "/")
}

func isSlash(r rune) bool { return r == '/' }
