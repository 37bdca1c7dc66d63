package config

import (
	"fmt"
	"net/netip"
)

// The words of targets that stand for networks. The first is also one of allow.
const (
	PrivateRangesWord = "private_ranges"
	LoopbackWord      = "loopback"
)

// PrivateRanges are the networks that the word private_ranges stands for, which
// Caddy means by it.
var PrivateRanges = []netip.Prefix{
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::1/128"),
}

// Networks reads an entry of allow: a network, an address, or private_ranges.
func Networks(text string) ([]netip.Prefix, error) {
	if text == PrivateRangesWord {
		return PrivateRanges, nil
	}
	if address, err := netip.ParseAddr(text); err == nil {
		address = address.Unmap()
		return []netip.Prefix{netip.PrefixFrom(address, address.BitLen())}, nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a network such as 203.0.113.0/24, nor an address, nor private_ranges", text)
	}
	return []netip.Prefix{prefix.Masked()}, nil
}
