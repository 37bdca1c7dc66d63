package forward

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// A URL whose address is known can be refused before anything is sent.
func TestConstantTargets(t *testing.T) {
	site := language.CustomParameter{Name: "site", Value: "http://8.8.8.8"}
	for _, c := range []struct {
		targets, url string
		more         []language.CustomParameter
		want         string // "" for allowed
	}{
		{"", "http://192.168.1.20/{{caller_id}}", nil, ""},
		{"", "http://localhost:8080/", nil, ""},
		{"", "http://app.localhost/", nil, ""},
		{"", "http://nas.lan/", nil, ""},
		{"", "http://www.example.com/", nil, ""},
		{"8.8.8.8", "http://8.8.8.8/", nil, ""},
		{"::1", "http://localhost/", nil, ""},
		{"mail.example.com", "http://mail.example.com./", nil, ""},
		{"mail.example.com", "http://base-url.invalid/", nil, ""},
		{"", "http://8.8.8.8/{{caller_id}}", nil, "action test (Caddyfile:7), url: the target 8.8.8.8 is not among the targets that actions may call\nto allow what is not among the targets, write in event_relay: targets 8.8.8.8 private_ranges loopback"},
		{"", "https://[2001:db8::7]:8443/", nil, "write in event_relay: targets 2001:db8::7 private_ranges loopback"},
		{"", "http://[::ffff:8.8.8.8]/", nil, "write in event_relay: targets 8.8.8.8 private_ranges loopback"},
		{"", "{{site}}/x", []language.CustomParameter{site}, "the target 8.8.8.8 is not among"},
		{"", "{{site}}/x", []language.CustomParameter{byTenant("site", "http://10.0.0.1", "200", "http://9.9.9.9")}, "the target 9.9.9.9 is not among"},
		{"mail.example.com", "http://www.example.com/", nil, "targets www.example.com mail.example.com"},
		{"203.0.113.0/24", "http://localhost/", nil, "the target localhost ("},
		{"0.0.0.0/0 ::/0", "http://169.254.169.254/", nil, "the target 169.254.169.254 is a metadata address, which is always refused"},
		{"0.0.0.0/0 ::/0", "http://[fe80::1%25eth0]/", nil, "is a link-local address, which is always refused"},
		{"", "http://localhost:2019/", nil, "is Caddy's own admin endpoint, which is always refused"},
		{"", "http://0.0.0.0:2019/", nil, "is Caddy's own admin endpoint, which is always refused"},
	} {
		targets, err := send.NewTargets(strings.Fields(c.targets), netip.MustParseAddrPort("127.0.0.1:2019"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Compile([]config.Action{{Name: "test", Place: "Caddyfile:7", Method: "POST", URL: c.url}}, testLanguage(t, c.more...), Settings{Targets: targets})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q, %s: got %v\nwant %s", c.targets, c.url, err, c.want)
		}
		if err != nil && strings.Contains(c.want, "always refused") && strings.Contains(err.Error(), "to allow") {
			t.Errorf("%s: a remedy that is none: %v", c.url, err)
		}
	}
}

// nameServer gives the answers that a test decides, one after another.
type nameServer struct {
	mu      sync.Mutex
	answers map[string][][]string
	asked   map[string]int
}

func (n *nameServer) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = packets.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			length, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			if answer, err := n.answer(buffer[:length]); err == nil {
				_, _ = packets.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", packets.LocalAddr().String())
	}}
}

func (n *nameServer) answer(query []byte) ([]byte, error) {
	var message dnsmessage.Message
	if err := message.Unpack(query); err != nil {
		return nil, err
	}
	question := message.Questions[0]
	message.Response, message.Authoritative, message.Additionals = true, true, nil
	name := strings.TrimSuffix(question.Name.String(), ".")
	n.mu.Lock()
	defer n.mu.Unlock()
	answers, known := n.answers[name]
	if !known {
		message.RCode = dnsmessage.RCodeNameError
	} else if question.Type == dnsmessage.TypeA {
		at := min(n.asked[name], len(answers)-1)
		n.asked[name]++
		for _, address := range answers[at] {
			message.Answers = append(message.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: netip.MustParseAddr(address).As4()},
			})
		}
	}
	return message.Pack()
}

// What a name resolves to at the moment of dialling is checked, and nothing is
// sent to what is refused.
func TestResolvedTargets(t *testing.T) {
	count := 0
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { count++ }))
	defer target.Close()
	_, port, _ := net.SplitHostPort(target.Listener.Addr().String())
	n := &nameServer{asked: map[string]int{}, answers: map[string][][]string{
		"good.test":    {{"127.0.0.1"}},
		"rebind.test":  {{"127.0.0.1"}, {"169.254.169.254"}},
		"public.test":  {{"203.0.113.7"}},
		"mixed.test":   {{"203.0.113.7", "127.0.0.1"}},
		"mixed2.test":  {{"203.0.113.7", "127.0.0.9"}},
		"0xa9fea9fe":   {{"169.254.169.254"}},
		"0251.0376.1":  {{"169.254.0.1"}},
		"2852039166":   {{"169.254.169.254"}},
		"0x7f.1":       {{"127.0.0.1"}},
		"allowed.test": {{"127.0.0.1"}},
	}}
	sender := send.NewSender(mustTargets(t), n.resolver(t))
	defer sender.Close()
	cases := []struct {
		host    string
		want    string // part of the reason, empty for a request that arrives
		forGood bool
	}{
		{"good.test", "", true},
		{"0x7f.1", "", true},
		{"mixed.test", "", true},
		{"public.test", "targets 203.0.113.7", true},
		{"rebind.test", "", true},
		{"rebind.test", "metadata address", true},
		{"0xa9fea9fe", "metadata address", true},
		// Go's own resolver does not take these for names.
		{"0251.0376.1", "no such host", false},
		{"2852039166", "no such host", false},
		{"mixed2.test", "connection refused", false},
		{"nowhere.test", "no such host", false},
	}
	for _, c := range cases {
		p := prepare(t, config.Action{URL: "http://" + c.host + ":" + port + "/"})
		request, err := p.Render(eventWith(nil), testDelivery)
		if err != nil {
			t.Fatal(err)
		}
		before := count
		result := sender.Current().Send(context.Background(), &request.Request, time.Minute)
		if c.want == "" {
			if result.Status != 200 || count != before+1 {
				t.Errorf("%s: %+v", c.host, result)
			}
			// A name that changes its address must be dialled anew.
			sender.Close()
			continue
		}
		now := time.Now()
		judged := p.judge(result, 1, now, now, time.Time{}, 0)
		if count != before || !strings.Contains(judged.reason, c.want) || (judged.state == "failed") != c.forGood {
			t.Errorf("%s: %s, %s", c.host, judged.state, judged.reason)
		}
	}
}
