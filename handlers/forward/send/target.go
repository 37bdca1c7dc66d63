package send

import "strings"

// Target is what an action calls: the part of a URL that only the configuration
// can choose. Both parts are in lower case, and Host holds the port if one was
// written.
type Target struct{ Scheme, Host string }

// String returns the target as a URL.
func (t Target) String() string { return t.Scheme + "://" + t.Host }

// ports are the ports of schemes. That of smtp is the one where servers on a LAN take
// mail, as other programs have it for such URLs (curl); 587, where a provider takes
// mail from its customers, has to be written.
var ports = map[string]string{"http": ":80", "https": ":443", "smtp": ":25", "smtps": ":465"}

// WithPort returns the target with its port written, so that http://h and
// http://h:80 are the same.
func (t Target) WithPort() Target {
	if strings.LastIndexByte(t.Host, ':') <= strings.LastIndexByte(t.Host, ']') {
		t.Host += ports[t.Scheme]
	}
	return t
}
