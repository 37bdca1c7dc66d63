package secret

import (
	"net/url"
	"regexp"
	"strings"
)

// plainInDSN are the parameters of libpq whose values are no secrets. Of others, the
// values are masked.
var plainInDSN = map[string]bool{
	"application_name": true, "channel_binding": true, "client_encoding": true, "connect_timeout": true, "database": true, "dbname": true,
	"gssencmode": true, "host": true, "hostaddr": true, "keepalives": true, "keepalives_count": true, "keepalives_idle": true,
	"keepalives_interval": true, "load_balance_hosts": true, "max_protocol_version": true, "min_protocol_version": true, "passfile": true, "port": true,
	"require_auth": true, "service": true, "servicefile": true, "ssl": true, "sslcert": true, "sslkey": true, "sslmode": true,
	"sslnegotiation": true, "sslrootcert": true, "sslsni": true, "target_session_attrs": true, "tcp_user_timeout": true, "timezone": true, "user": true,
}

// hostInDSN is a host of a URL, with its port. Where another text stands, a part of a
// password may.
var hostInDSN = regexp.MustCompile(`^(?:\[[0-9A-Fa-f:.%]*\]|[^:\[\]]*)(?::[0-9]*)?$`)

// DSN masks what is secret of the text with which a database is reached, as libpq takes
// it. A text in which it is not certain where a password begins and ends is masked as
// a whole. A reference to where it stands stays.
func DSN(text string) string {
	if text == "" || IsReference(text) {
		return text
	}
	for _, scheme := range []string{"postgres://", "postgresql://"} {
		if rest, is := strings.CutPrefix(text, scheme); is {
			if masked, certain := maskURL(rest); certain {
				return scheme + masked
			}
			return Masked
		}
	}
	if masked, certain := maskPairs(text); certain {
		return masked
	}
	return Masked
}

// maskURL masks what follows the scheme. It divides the text as libpq does: the user
// ends at the first @ before any slash.
func maskURL(text string) (masked string, certain bool) {
	var b strings.Builder
	if at := strings.IndexAny(text, "@/"); at >= 0 && text[at] == '@' {
		user, password, has := strings.Cut(text[:at], ":")
		b.WriteString(user)
		if has {
			b.WriteString(":" + Literal(password))
		}
		b.WriteByte('@')
		text = text[at+1:]
	}
	place, query, asks := strings.Cut(text, "?")
	hosts, _, _ := strings.Cut(place, "/")
	for _, host := range strings.Split(hosts, ",") {
		if !hostInDSN.MatchString(host) {
			return "", false
		}
	}
	if strings.ContainsAny(text, "@") {
		return "", false // it belongs to a password, or does it?
	}
	b.WriteString(place)
	if !asks {
		return b.String(), true
	}
	for i, pair := range strings.Split(query, "&") {
		if i == 0 {
			b.WriteByte('?')
		} else {
			b.WriteByte('&')
		}
		b.WriteString(maskPair(pair))
	}
	return b.String(), true
}

// maskPair masks a parameter of a URL, with its name if that is none of libpq's: a
// password that holds & goes on there.
func maskPair(pair string) string {
	written, _, has := strings.Cut(pair, "=")
	name, err := url.QueryUnescape(written)
	switch {
	case !has || err != nil:
		return Masked
	case plainInDSN[name]:
		return pair
	case name == "password" || name == "sslpassword":
		return written + "=" + Masked
	}
	return Masked
}

// pairInDSN finds a name and its value, as it is written, at the beginning of a text.
// A backslash takes the meaning from what follows it.
var pairInDSN = regexp.MustCompile(`^([a-z_]+)[ \t\n\r\v\f]*=[ \t\n\r\v\f]*('(?:[^'\\]|\\[\s\S])*'|(?:[^ \t\n\r\v\f'\\]|\\[\s\S])(?:[^ \t\n\r\v\f\\]|\\[\s\S])*|)(?:[ \t\n\r\v\f]+|$)`)

// maskPairs masks pairs of a name and a value.
func maskPairs(text string) (masked string, certain bool) {
	var pairs []string
	for text = strings.TrimSpace(text); text != ""; {
		if rest, is := strings.CutPrefix(text, Masked); is && (rest == "" || rest[0] == ' ') {
			// It was masked before.
			pairs = append(pairs, Masked)
			text = strings.TrimLeft(rest, " ")
			continue
		}
		found := pairInDSN.FindStringSubmatch(text)
		if found == nil {
			return "", false
		}
		switch name := found[1]; {
		case plainInDSN[name]:
			pairs = append(pairs, name+"="+found[2])
		case name == "password" || name == "sslpassword":
			pairs = append(pairs, name+"="+Masked)
		default:
			pairs = append(pairs, Masked)
		}
		text = text[len(found[0]):]
	}
	return strings.Join(pairs, " "), true
}
