package send

import "strings"

// Target is what an action calls: the part of a URL that only the configuration
// can choose. Both parts are in lower case, and Host holds the port if one was
// written.
type Target struct{ Scheme, Host string }

// String returns the target as a URL.
func (t Target) String() string { return t.Scheme + "://" + t.Host }

// WithPort returns the target with its port written, so that http://h and
// http://h:80 are the same.
func (t Target) WithPort() Target {
	switch {
	case strings.LastIndexByte(t.Host, ':') > strings.LastIndexByte(t.Host, ']'):
	case t.Scheme == "https":
		t.Host += ":443"
	default:
		t.Host += ":80"
	}
	return t
}
