package forward

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Targets says which addresses actions may call. The check is made on each
// address that is dialled, after name resolution, so that a name which changes
// its address between a check and its use gains nothing.
type Targets struct {
	words    []string
	prefixes []netip.Prefix
	hosts    map[string]bool
	refuse   []netip.AddrPort
}

// DefaultTargets is what the targets setting holds when it is not given.
var DefaultTargets = []string{"private_ranges", "loopback"}

// The words that stand for networks. private_ranges is what Caddy means by it.
var targetWords = map[string][]netip.Prefix{
	"private_ranges": prefixes("192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.0/8", "fd00::/8", "::1/128"),
	"loopback":       prefixes("127.0.0.0/8", "::1/128"),
}

// neverPrefixes are refused whatever is configured: link-local and multicast
// networks, and the addresses where clouds hand out credentials.
var neverPrefixes = []struct {
	what     string
	networks []netip.Prefix
}{
	{"a metadata address", prefixes("169.254.169.254/32", "fd00:ec2::254/128", "fd20:ce::254/128", "100.100.100.200/32")},
	{"a link-local address", prefixes("169.254.0.0/16", "fe80::/10")},
	{"a multicast or broadcast address", prefixes("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")},
}

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// NewTargets reads the targets setting: private_ranges, loopback, addresses,
// networks and host names. A host name allows whatever it resolves to. Empty
// means DefaultTargets. The refused addresses (Caddy's admin endpoint) are never
// called; one that is unspecified stands for all of the machine's own.
func NewTargets(words []string, refused ...netip.AddrPort) (*Targets, error) {
	if len(words) == 0 {
		words = DefaultTargets
	}
	t := &Targets{words: words, hosts: map[string]bool{}}
	for _, address := range refused {
		t.refuse = append(t.refuse, netip.AddrPortFrom(address.Addr().Unmap(), address.Port()))
	}
	for _, word := range words {
		if networks, ok := targetWords[word]; ok {
			t.prefixes = append(t.prefixes, networks...)
			continue
		}
		prefix, err := netip.ParsePrefix(word)
		if err != nil {
			if address, addressErr := netip.ParseAddr(strings.Trim(word, "[]")); addressErr == nil {
				address = address.Unmap().WithZone("")
				prefix, err = netip.PrefixFrom(address, address.BitLen()), nil
			}
		}
		if err == nil {
			prefix = prefix.Masked()
			if what := never(prefix.Addr()); what != "" && coversAll(prefix) {
				return nil, fmt.Errorf("targets: %s is %s and is always refused", word, what)
			}
			t.prefixes = append(t.prefixes, prefix)
			continue
		}
		host := strings.TrimSuffix(strings.ToLower(word), ".")
		if !isHostName(host) {
			return nil, fmt.Errorf("targets: %q is no network, address or host name; write such as private_ranges, 203.0.113.0/24, 203.0.113.7 or mail.example.com (without scheme or port)", word)
		}
		t.hosts[host] = true
	}
	return t, nil
}

// coversAll reports whether all of a network is always refused.
func coversAll(prefix netip.Prefix) bool {
	for _, kind := range neverPrefixes {
		for _, network := range kind.networks {
			if network.Bits() <= prefix.Bits() && network.Contains(prefix.Addr()) {
				return true
			}
		}
	}
	return false
}

func isHostName(host string) bool {
	if host == "" || len(host) > 253 || strings.Trim(host, "0123456789.") == "" {
		return false
	}
	return !strings.ContainsFunc(host, func(c rune) bool {
		return c < 0x80 && !isUnreserved(byte(c)) || c == '~'
	})
}

// same reports whether two settings allow the same.
func (t *Targets) same(other *Targets) bool {
	return other != nil && slices.Equal(t.words, other.words) && slices.Equal(t.refuse, other.refuse)
}

// TargetError says that an action may not call a target.
type TargetError struct {
	// Host is the host as the action names it, Address what it stands for.
	Host    string
	Address netip.AddrPort
	// Reason says why, and Remedy is the line that would allow it, empty where
	// none can.
	Reason, Remedy string
}

// Error says what was refused, why, and what would allow it.
func (e *TargetError) Error() string {
	text := "the target " + e.Host
	if address := e.Address.Addr().String(); address != e.Host {
		text += " (" + address + ")"
	}
	text += " " + e.Reason
	if e.Remedy != "" {
		text += "; to allow it, write in event_relay: " + e.Remedy
	}
	return text
}

// check decides about an address to be dialled for a host.
func (t *Targets) check(host string, dialled netip.AddrPort) error {
	refusal := &TargetError{Host: host, Address: dialled}
	address := dialled.Addr().WithZone("").Unmap()
	if address.IsUnspecified() {
		address = loopbackFor(address)
	}
	inner := embedded(address)
	for _, a := range []netip.Addr{address, inner} {
		if what := never(a); what != "" {
			refusal.Reason = "is " + what + ", which is always refused"
			return refusal
		}
		if t.isRefused(a, dialled.Port()) {
			refusal.Reason = "is Caddy's own admin endpoint, which is always refused"
			return refusal
		}
	}
	if t.hosts[strings.TrimSuffix(strings.ToLower(host), ".")] {
		return nil
	}
	for _, prefix := range t.prefixes {
		if prefix.Contains(inner) || prefix.Contains(address) {
			return nil
		}
	}
	refusal.Reason = "is not among the targets that actions may call"
	refusal.Remedy = "targets " + address.String() + " " + strings.Join(t.words, " ")
	return refusal
}

// never says what an address is that is always refused.
func never(address netip.Addr) string {
	for _, kind := range neverPrefixes {
		for _, network := range kind.networks {
			if network.Contains(address) {
				return kind.what
			}
		}
	}
	return ""
}

// isRefused reports whether address and port are of the refused ones.
func (t *Targets) isRefused(address netip.Addr, port uint16) bool {
	for _, refused := range t.refuse {
		if refused.Port() != port {
			continue
		}
		switch own := refused.Addr(); {
		case own == address, own.IsLoopback() && address.IsLoopback():
			return true
		case own.IsUnspecified() && (address.IsLoopback() || isOwn(address)):
			return true
		}
	}
	return false
}

// isOwn reports whether an address is one of this machine's.
func isOwn(address netip.Addr) bool {
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		if network, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(network.IP); ok && ip.Unmap() == address {
				return true
			}
		}
	}
	return false
}

func loopbackFor(address netip.Addr) netip.Addr {
	if address.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
	compatible = netip.MustParsePrefix("::/96")
)

// embedded returns the IPv4 address that an IPv6 address leads to by one of the
// ways of transition, or the address itself.
func embedded(address netip.Addr) netip.Addr {
	if !address.Is6() || address.IsLoopback() {
		return address
	}
	bytes := address.As16()
	inner := address
	switch {
	case nat64.Contains(address), nat64Local.Contains(address), compatible.Contains(address):
		inner = netip.AddrFrom4([4]byte(bytes[12:]))
	case sixToFour.Contains(address):
		inner = netip.AddrFrom4([4]byte(bytes[2:6]))
	case teredo.Contains(address):
		var client [4]byte
		binary.BigEndian.PutUint32(client[:], ^binary.BigEndian.Uint32(bytes[12:]))
		inner = netip.AddrFrom4(client)
	}
	if inner.IsUnspecified() {
		return loopbackFor(inner)
	}
	return inner
}

// parseDialled reads the address that a dialer is about to use.
func parseDialled(address string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(ip, uint16(number)), nil
}
