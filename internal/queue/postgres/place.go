package postgres

import (
	"cmp"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// place is where a queue is, as its DSN and schema say: nothing of it is secret.
type place struct {
	// hosts are those that may hold it, in the order in which they are tried: a name or
	// an address, or the directory of a socket.
	hosts                  []host
	database, user, schema string
}

type host struct {
	name string
	port uint16
}

// String returns the host as people write it.
func (h host) String() string {
	if strings.HasPrefix(h.name, "/") {
		return h.name
	}
	return net.JoinHostPort(h.name, strconv.Itoa(int(h.port)))
}

// placeOf reads where a queue is from the settings of a connection.
func placeOf(c *pgconn.Config, schema string) place {
	p := place{hosts: []host{{c.Host, c.Port}}, database: cmp.Or(c.Database, c.User), user: c.User, schema: cmp.Or(schema, DefaultSchema)}
	for _, other := range c.Fallbacks {
		// The same host may follow once more, without TLS.
		if h := (host{other.Host, other.Port}); !slices.Contains(p.hosts, h) {
			p.hosts = append(p.hosts, h)
		}
	}
	return p
}

// written returns the hosts as people write them.
func (p place) written() string {
	texts := make([]string, len(p.hosts))
	for i, h := range p.hosts {
		texts[i] = h.String()
	}
	return strings.Join(texts, ",")
}

// key is the same in whatever order the hosts are written.
func (p place) key() string {
	hosts := make([]string, len(p.hosts))
	for i, h := range p.hosts {
		hosts[i] = h.name + ":" + strconv.Itoa(int(h.port))
	}
	slices.Sort(hosts)
	return fmt.Sprintf("postgres:%s/%s/%s", strings.Join(hosts, ","), p.database, p.schema)
}

// needsNoQuotes matches what is one value for libpq and one word for a shell.
var needsNoQuotes = regexp.MustCompile(`^[A-Za-z0-9_.:/-]+$`)

// commands returns what an administrator types to copy the schema and to put the copy
// back, also over a schema that is there: all of it or nothing. The password is asked for.
func (p place) commands() (backup, restore string) {
	var names, ports []string
	for _, h := range p.hosts {
		names, ports = append(names, h.name), append(ports, strconv.Itoa(int(h.port)))
	}
	values := append(slices.Clone(names), p.user, p.database, p.schema)
	if slices.ContainsFunc(values, func(value string) bool { return !needsNoQuotes.MatchString(value) }) {
		return "pg_dump --format=custom --schema=SCHEMA --file=event-relay.dump DATABASE", "pg_restore --clean --if-exists --single-transaction --dbname=DATABASE event-relay.dump"
	}
	to := fmt.Sprintf("host=%s port=%s user=%s dbname=%s", strings.Join(names, ","), strings.Join(ports, ","), p.user, p.database)
	if len(names) > 1 {
		// A standby may be behind, and takes no copy back.
		to += " target_session_attrs=read-write"
	}
	return fmt.Sprintf("pg_dump --format=custom --schema=%s --file=event-relay.dump --dbname='%s'", p.schema, to),
		fmt.Sprintf("pg_restore --clean --if-exists --single-transaction --dbname='%s' event-relay.dump", to)
}
