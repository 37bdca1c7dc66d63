package send

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

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
	sender := NewSender(mustTargets(t), n.resolver(t))
	defer sender.Close()
	cases := []struct {
		host    string
		want    string // part of the error, empty for a request that arrives
		refused bool
	}{
		{"good.test", "", false},
		{"0x7f.1", "", false},
		{"mixed.test", "", false},
		{"public.test", "targets 203.0.113.7", true},
		{"rebind.test", "", false},
		{"rebind.test", "metadata address", true},
		{"0xa9fea9fe", "metadata address", true},
		// Go's own resolver does not take these for names.
		{"0251.0376.1", "no such host", false},
		{"2852039166", "no such host", false},
		{"mixed2.test", "connection refused", false},
		{"nowhere.test", "no such host", false},
	}
	for _, c := range cases {
		before := count
		result := sender.Current().Send(t.Context(), requestTo(t, "http://"+c.host+":"+port+"/"), time.Minute)
		if c.want == "" {
			if result.Status != 200 || count != before+1 {
				t.Errorf("%s: %+v", c.host, result)
			}
			// A name that changes its address must be dialled anew.
			sender.Close()
			continue
		}
		var refused *TargetError
		if count != before || result.Err == nil || !strings.Contains(result.Err.Error(), c.want) || errors.As(result.Err, &refused) != c.refused {
			t.Errorf("%s: %+v", c.host, result)
		}
	}
}
