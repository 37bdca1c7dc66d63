package send

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

func TestTargets(t *testing.T) {
	const (
		allowed = ""
		listed  = "is not among the targets"
		meta    = "is a metadata address"
		local   = "is a link-local address"
		multi   = "is a multicast or broadcast address"
		admin   = "is Caddy's own admin endpoint"
	)
	cases := []struct {
		targets string // blank-separated; empty for the default
		host    string // "h" where it does not matter
		address string
		want    string
	}{
		{"", "h", "192.168.1.20", allowed},
		{"", "h", "172.31.255.1", allowed},
		{"", "h", "172.32.0.1", listed},
		{"", "h", "10.1.2.3", allowed},
		{"", "h", "127.9.9.9", allowed},
		{"", "h", "::1", allowed},
		{"", "h", "fd12:3456::1", allowed},
		{"", "h", "fc00::1", listed},
		{"", "h", "0.0.0.0", allowed},
		{"", "h", "::", allowed},
		{"", "h", "203.0.113.7", listed},
		{"", "h", "100.64.0.1", listed},
		{"", "h", "2001:db8::1", listed},
		{"", "h", "fec0::1", listed},
		{"", "h", "169.254.1.1", local},
		{"", "h", "169.254.169.254", meta},
		{"", "h", "fe80::1%eth0", local},
		{"", "h", "febf::1", local},
		{"", "h", "fd00:ec2::254", meta},
		{"", "h", "fd20:ce::254", meta},
		{"", "h", "100.100.100.200", meta},
		{"0.0.0.0/0", "h", "168.63.129.16", meta},
		{"0.0.0.0/0", "h", "192.0.0.192", meta},
		{"", "h", "fd00:ec2::23", meta},
		{"", "h", "fd00:42::42", meta},
		{"", "h", "fd00:c1::a9fe:a9fe", meta}, {"", "h", "fd00:a9fe:a9fe::1", meta},
		{"", "h", "::ffff:168.63.129.16", meta},
		{"", "h", "224.0.0.251", multi},
		{"", "h", "255.255.255.255", multi},
		{"", "h", "ff02::1", multi},

		// An address inside another is what counts.
		{"", "h", "::ffff:192.168.1.20", allowed},
		{"", "h", "::ffff:203.0.113.7", listed},
		{"", "h", "::ffff:169.254.169.254", meta},
		{"", "h", "::ffff:0.0.0.0", allowed},
		{"loopback", "h", "::ffff:10.0.0.1", listed},
		{"", "h", "64:ff9b::192.168.1.20", listed},
		{"", "h", "64:ff9b::203.0.113.7", listed},
		{"", "h", "64:ff9b::169.254.169.254", meta},
		{"64:ff9b::/96", "h", "64:ff9b::203.0.113.7", allowed},
		{"64:ff9b::/96", "h", "64:ff9b::169.254.169.254", meta},
		{"::/0", "h", "64:ff9b:1::169.254.169.254", meta},
		{"", "h", "2002:c0a8:114::1", listed},
		{"", "h", "2002:cb00:7107::1", listed},
		{"::/0", "h", "2002:a9fe:a9fe::1", meta},
		{"", "h", "2001:0:0:0:0:0:3f57:feeb", listed}, // Teredo, 192.168.1.20
		{"", "h", "2001::80ff:fffe", listed},          // Teredo, 127.0.0.1
		{"2001::/32", "h", "2001:0:0:0:0:0:3f57:feeb", allowed},
		{"2002::/16", "h", "2002:c0a8:114::1", allowed},
		{"0.0.0.0/0", "h", "2002:808:808::1", listed},
		{"0.0.0.0/0", "h", "::8.8.8.8", listed},
		{"0.0.0.0/0", "h", "::ffff:0:8.8.8.8", listed},
		{"", "h", "::127.0.0.1", listed},
		{"", "h", "::ffff:0:127.0.0.1", listed},
		{"", "h", "64:ff9b:1:a00::1", listed},
		{"::/0", "h", "64:ff9b:1:a9fe:a9:fe00::", local},  // local NAT64 as /48
		{"::/0", "h", "64:ff9b:1:a9:fe:a9fe::", meta},     // as /56
		{"::/0", "h", "64:ff9b:1:0:a9:fea9:fe00:0", meta}, // as /64
		{"::/0", "h", "::ffff:0:169.254.169.254", meta},
		{"::/0", "h", "2002:a83f:8110::1", meta},
		{"::/0", "h", "64:ff9b::192.0.0.192", meta},
		{"::/0", "h", "64:ff9b::169.254.1.1", local},
		{"::/0", "h", "[2002:7f00:1::1]:2019", admin},
		{"::/0", "h", "[64:ff9b::127.0.0.1]:2019", admin},
		{"::/0", "h", "[64:ff9b::0.0.0.0]:2019", admin},
		{"::/0", "h", "2001:0:0:0:0:0:5601:5601", meta},
		{"::/0", "h", "::169.254.169.254", meta},

		// What is listed.
		{"loopback", "h", "192.168.1.20", listed},
		{"loopback", "h", "127.0.0.1", allowed},
		{"private_ranges", "h", "127.0.0.1", allowed},
		{"203.0.113.0/24", "h", "203.0.113.7", allowed},
		{"203.0.113.7", "h", "203.0.113.7", allowed},
		{"203.0.113.7", "h", "203.0.113.8", listed},
		{"203.0.113.7", "h", "127.0.0.1", listed},
		{"2001:db8::7", "h", "2001:db8::7", allowed},
		{"[2001:db8::7]", "h", "2001:db8::7", allowed},
		{"mail.example.com", "mail.example.com", "203.0.113.7", allowed},
		{"Mail.Example.com.", "mail.example.COM", "203.0.113.7", allowed},
		{"mail.example.com", "mail.example.com", "169.254.169.254", meta},
		{"mail.example.com", "mail.example.com", "fe80::1", local},
		{"mail.example.com", "www.example.com", "203.0.113.7", listed},
		{"0.0.0.0/0 ::/0", "h", "169.254.169.254", meta},
		{"0.0.0.0/0 ::/0", "h", "8.8.8.8", allowed},

		// The admin endpoint of these tests is localhost:2019.
		{"", "h", "127.0.0.1:2019", admin},
		{"", "h", "127.0.0.2:2019", admin},
		{"", "h", "[::1]:2019", admin},
		{"", "h", "0.0.0.0:2019", admin},
		{"", "h", "[::]:2019", admin},
		{"", "h", "[::ffff:127.0.0.1]:2019", admin},
		{"127.0.0.1 localhost", "localhost", "127.0.0.1:2019", admin},
		{"", "h", "192.168.1.20:2019", allowed},
	}
	for _, c := range cases {
		words := strings.Fields(c.targets)
		if len(words) == 0 {
			words = config.DefaultTargets
		}
		targets, err := NewTargets(words, netip.MustParseAddrPort("127.0.0.1:2019"))
		if err != nil {
			t.Fatal(err)
		}
		address, err := netip.ParseAddrPort(c.address)
		if err != nil {
			address = netip.AddrPortFrom(netip.MustParseAddr(c.address), 80)
		}
		err = targets.check(c.host, address)
		if (err == nil) != (c.want == allowed) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %s at %s: got %v, want %q", c.targets, c.host, c.address, err, c.want)
		}
	}
}

// An admin endpoint on all addresses is refused by each of them.
func TestAdminOnAllAddresses(t *testing.T) {
	targets, err := NewTargets([]string{"0.0.0.0/0", "::/0"}, netip.MustParseAddrPort("0.0.0.0:2019"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range own {
		ip, _ := netip.AddrFromSlice(a.(*net.IPNet).IP)
		if targets.check("h", netip.AddrPortFrom(ip, 2019)) == nil {
			t.Errorf("%s is allowed", ip)
		}
	}
	if err := targets.check("h", netip.MustParseAddrPort("203.0.113.7:2019")); err != nil {
		t.Error(err)
	}
}

func TestTargetErrorNamesTheLine(t *testing.T) {
	err := mustTargets(t).check("api.example.com", netip.MustParseAddrPort("203.0.113.7:443"))
	want := "the target api.example.com (203.0.113.7) is not among the targets that actions may call; " +
		"to allow it, write in event_relay: targets 203.0.113.7 private_ranges loopback"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	line := strings.Fields(err.(*TargetError).Remedy)[1:]
	if err := mustTargets(t, line...).check("api.example.com", netip.MustParseAddrPort("203.0.113.7:443")); err != nil {
		t.Errorf("with that line: %v", err)
	}
}

func TestTargetsLoadErrors(t *testing.T) {
	for word, want := range map[string]string{
		"http://h/":       `"http://h/" is no network, address or host name`,
		"h:80":            `"h:80" is no network`,
		"10.0.0.0/33":     `"10.0.0.0/33" is no network`,
		"1.2.3":           `"1.2.3" is no network`,
		"*.lan":           `"*.lan" is no network`,
		"169.254.1.1":     "169.254.1.1 is a link-local address and is always refused",
		"169.254.0.0/16":  "169.254.0.0/16 is a link-local address and is always refused",
		"fd00:ec2::254":   "fd00:ec2::254 is a metadata address and is always refused",
		"169.254.169.254": "is a metadata address and is always refused",
	} {
		if _, err := NewTargets([]string{word}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", word, err, want)
		}
	}
}

// A kept connection does not outlive the permission it was opened with.
func TestRestrictEndsKeptConnections(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer target.Close()
	sender := NewSender(mustTargets(t, "127.0.0.0/8"), nil)
	defer sender.Close()
	to, err := url.Parse(target.URL)
	if err != nil {
		t.Fatal(err)
	}
	request := &Request{Method: http.MethodGet, URL: to, Header: http.Header{}}
	if result := sender.Current().Send(context.Background(), request, time.Minute); result.Status != 200 {
		t.Fatalf("%+v", result)
	}
	first := sender.Current()
	if sender.Restrict(mustTargets(t, "127.0.0.0/8")); sender.Current() != first {
		t.Error("connections are given up without need")
	}
	sender.Restrict(mustTargets(t, "10.0.0.0/8"))
	var refused *TargetError
	if result := sender.Current().Send(context.Background(), request, time.Minute); !errors.As(result.Err, &refused) {
		t.Errorf("got %+v", result)
	}
}

// A proxy from the environment would see every request.
func TestNoProxy(t *testing.T) {
	if NewSender(mustTargets(t), nil).Current().transport.Proxy != nil {
		t.Error("a proxy of the environment would be used")
	}
}

func mustTargets(t testing.TB, words ...string) *Targets {
	t.Helper()
	if len(words) == 0 {
		words = config.DefaultTargets
	}
	targets, err := NewTargets(words)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}
