package send

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/escape"
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

// The words that stand for networks.
var targetWords = map[string][]netip.Prefix{
	config.PrivateRangesWord: config.PrivateRanges,
	config.LoopbackWord:      prefixes("127.0.0.0/8", "::1/128"),
}

// neverPrefixes are refused whatever is configured: link-local and multicast
// networks, and the addresses where clouds hand out credentials. Those inside
// fd00::/8 would be among private_ranges otherwise. Sources:
// docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html (fd00:ec2::23),
// docs.cloud-init.io/en/latest/reference/datasources/ (scaleway, akamai), and the
// address that Oracle's scripts for OKE fall back to without IPv4.
var neverPrefixes = []struct {
	what     string
	networks []netip.Prefix
}{
	{"a metadata address", prefixes(
		"169.254.169.254/32",
		"168.63.129.16/32",       // Azure, the host's own services
		"192.0.0.192/32",         // Oracle Cloud, by another name
		"100.100.100.200/32",     // Alibaba Cloud
		"fd00:ec2::254/128",      // AWS
		"fd00:ec2::23/128",       // AWS, EKS Pod Identity Agent
		"fd20:ce::254/128",       // Google Cloud
		"fd00:42::42/128",        // Scaleway
		"fd00:c1::a9fe:a9fe/128", // Oracle Cloud
		"fd00:a9fe:a9fe::1/128",  // Akamai (Linode)
	)},
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
// networks and host names. A host name allows whatever it resolves to. The refused
// addresses (Caddy's admin endpoint) are never called; one that is unspecified stands
// for all of the machine's own.
func NewTargets(words []string, refused ...netip.AddrPort) (*Targets, error) {
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
		return c < 0x80 && !escape.Unreserved[byte(c)] || c == '~'
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
	if address := e.Address.Addr().String(); e.Address.IsValid() && address != e.Host {
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
	for _, a := range append(embedded(address), address) {
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
	// What is dialled must be allowed itself: where an address inside it leads to,
	// gateways decide that are not ours.
	for _, prefix := range t.prefixes {
		if prefix.Contains(address) {
			return nil
		}
	}
	refusal.Reason, refusal.Remedy = notListed, t.With(address.String())
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

// embeddings are the IPv6 networks whose addresses lead to an IPv4 address inside
// them, and at which byte that stands. RFC 6052 leaves a byte free in the middle of
// the address for the lengths that a local network of NAT64 may have.
var embeddings = []struct {
	network netip.Prefix
	at      [4]int
	// inverted says that the bits are.
	inverted bool
}{
	{network: netip.MustParsePrefix("64:ff9b::/96"), at: [4]int{12, 13, 14, 15}},              // NAT64
	{network: netip.MustParsePrefix("64:ff9b:1::/48"), at: [4]int{12, 13, 14, 15}},            // local NAT64, as /96
	{network: netip.MustParsePrefix("64:ff9b:1::/48"), at: [4]int{9, 10, 11, 12}},             // as /64
	{network: netip.MustParsePrefix("64:ff9b:1::/48"), at: [4]int{7, 9, 10, 11}},              // as /56
	{network: netip.MustParsePrefix("64:ff9b:1::/48"), at: [4]int{6, 7, 9, 10}},               // as /48
	{network: netip.MustParsePrefix("2002::/16"), at: [4]int{2, 3, 4, 5}},                     // 6to4
	{network: netip.MustParsePrefix("2001::/32"), at: [4]int{12, 13, 14, 15}, inverted: true}, // Teredo
	{network: netip.MustParsePrefix("::/96"), at: [4]int{12, 13, 14, 15}},                     // compatible
	{network: netip.MustParsePrefix("::ffff:0:0:0/96"), at: [4]int{12, 13, 14, 15}},           // translated
}

// embedded returns the IPv4 addresses that an IPv6 address may lead to by one of
// the ways of transition.
func embedded(address netip.Addr) (all []netip.Addr) {
	if !address.Is6() || address.IsLoopback() {
		return nil
	}
	bytes := address.As16()
	for _, way := range embeddings {
		if !way.network.Contains(address) {
			continue
		}
		var four [4]byte
		for i, at := range way.at {
			four[i] = bytes[at]
			if way.inverted {
				four[i] = ^four[i]
			}
		}
		inner := netip.AddrFrom4(four)
		if inner.IsUnspecified() {
			inner = loopbackFor(inner)
		}
		all = append(all, inner)
	}
	return all
}

// CheckURL decides about the host and port of a URL whose address is known: one that
// is written as such, or localhost. Another name may stand for any address, so it is
// refused only if no address is allowed at all. It returns nil for what may be
// called, and for what is no host with a port.
func (t *Targets) CheckURL(hostPort string) *TargetError {
	host, number, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil // reported as a wrong URL
	}
	port, _ := strconv.ParseUint(number, 10, 16)
	addresses := []netip.Addr{}
	if address, err := netip.ParseAddr(host); err == nil {
		addresses = append(addresses, address)
	}
	switch name := strings.TrimSuffix(strings.ToLower(host), "."); {
	case len(addresses) > 0:
	case name == "localhost" || strings.HasSuffix(name, ".localhost"):
		addresses = append(addresses, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	case len(t.prefixes) > 0 || t.hosts[name] || strings.HasSuffix(name, ".invalid"):
		// An .invalid name is what an import writes where a host is to be filled in.
		return nil
	default:
		return &TargetError{Host: host, Reason: notListed, Remedy: t.With(name)}
	}
	var refused *TargetError
	for _, address := range addresses {
		err := t.check(host, netip.AddrPortFrom(address, uint16(port)))
		if !errors.As(err, &refused) {
			return nil
		}
	}
	return refused
}

const notListed = "is not among the targets that actions may call"

// With returns the line of the Caddyfile that allows these besides what is allowed
// already.
func (t *Targets) With(more ...string) string {
	return "targets " + strings.Join(append(more, t.words...), " ")
}

// Name returns what the targets setting would name the target by.
func (e *TargetError) Name() string {
	if e.Address.IsValid() {
		return e.Address.Addr().WithZone("").Unmap().String()
	}
	return e.Host
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
