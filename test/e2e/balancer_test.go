package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// TestBalancerSendsNothingTwice runs the load balancer and a node of the example, beside a
// node that can store nothing and one that dies when it has read a request. The balancer
// leaves those out for a while, sends no request again that a node has read, and tells the
// node where it came from.
func TestBalancerSendsNothingTwice(t *testing.T) {
	t.Parallel()
	database := pgtest.Shared(t)
	cluster, err := filepath.Abs("../../examples/cluster")
	if err != nil {
		t.Fatal(err)
	}
	var refusing, dying atomic.Int64
	stand := func(handle http.HandlerFunc) string {
		server := httptest.NewServer(handle)
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	refuses := stand(func(w http.ResponseWriter, r *http.Request) {
		refusing.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	dies := stand(func(w http.ResponseWriter, r *http.Request) {
		dying.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	})

	start := func(machine *installation, file string, variables ...string) *server {
		t.Helper()
		command := machine.command("run", "--config", file, "--adapter", "caddyfile")
		command.Env = append(command.Env, append(variables, "ADMIN="+machine.admin, "SITE="+machine.site[strings.LastIndex(machine.site, ":"):])...)
		caddy := machine.serve(command)
		caddy.Serves()
		return caddy
	}
	node, balancer := newInstallation(t), newInstallation(t)
	relay := start(node, filepath.Join(cluster, "Caddyfile"), "RELAY_DB="+database.Role(t, "secret"), "SHOP_TOKEN=shop-token", "LAN=http://"+stand(func(http.ResponseWriter, *http.Request) {}))
	start(balancer, filepath.Join(cluster, "balancer.caddy"), "NODES="+refuses+" "+dies+" "+node.site)

	// Another address of this machine, to be told from that of the balancer.
	const sender = "127.0.0.9"
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(sender)}}).DialContext,
	}}
	post := func(at *installation, token string, id int) (status int) {
		t.Helper()
		request, err := http.NewRequest(http.MethodPost, "http://"+at.site+"/listen.php", strings.NewReader(fmt.Sprintf(`{"event":"order_paid","id":"%d"}`, id)))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("X-Forwarded-For", "203.0.113.7") // which anybody can write
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		return response.StatusCode
	}
	const events = 60
	answers := map[int]int{}
	for id := range events {
		answers[post(balancer, "shop-token", id)]++
	}
	var page struct {
		Events []struct{ ID string }
	}
	if err := json.Unmarshal(relay.adminRaw("/event_relay/activity?n=500"), &page); err != nil {
		t.Fatal(err)
	}
	if stored := len(page.Events); stored != answers[http.StatusOK] || stored+int(refusing.Load()+dying.Load()) != events {
		t.Errorf("of %d events %d are stored, %d were refused and %d met a node that died: one was sent twice; the answers are %v", events, stored, refusing.Load(), dying.Load(), answers)
	}
	// In turn each of them would get a third.
	if refusing.Load() == 0 || refusing.Load() > events/4 || dying.Load() == 0 || dying.Load() > events/4 {
		t.Errorf("of %d events %d went to a node that refuses and %d to one that dies", events, refusing.Load(), dying.Load())
	}
	waitFor(t, "a request with a wrong key to reach the relay", func() bool { return post(balancer, "wrong", 0) == http.StatusUnauthorized })
	if rejections := string(relay.adminRaw("/event_relay/rejections")); !strings.Contains(rejections, `"`+sender+`"`) || strings.Contains(rejections, "203.0.113.7") {
		t.Errorf("the requests that were refused did not come from %s: %s", sender, rejections)
	}

	// With what the manual adds for sources that have dedupe, another node takes it.
	manual, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, adds, _ := strings.Cut(string(manual), "\t\trequest_buffers")
	adds, _, found := strings.Cut("\t\trequest_buffers"+adds, "\t}\n}\n```")
	example, err := os.ReadFile(filepath.Join(cluster, "balancer.caddy"))
	if err != nil || !found {
		t.Fatal(found, err)
	}
	repeating := newInstallation(t)
	start(repeating, repeating.write(strings.Replace(string(example), "\t\tfail_duration", adds+"\t\tfail_duration", 1)), "NODES="+refuses+" "+node.site)
	before := refusing.Load()
	for id := range 5 {
		if status := post(repeating, "shop-token", events+id); status != http.StatusOK {
			t.Errorf("where the balancer may repeat, an event is answered with %d", status)
		}
	}
	if refusing.Load() == before {
		t.Error("no event went to the node that refuses")
	}
}
