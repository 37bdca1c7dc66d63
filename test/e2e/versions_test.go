package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// laterVersion is that of a program which is built in the midst of a test.
const laterVersion = "v1.999.0"

// buildLater builds the program as another version, as a release does.
func buildLater(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "caddy")
	build := exec.Command("go", "build", "-o", program, "-ldflags", "-s -w -X github.com/caddy-event-relay/event-relay/caddymodule.build="+laterVersion, "../../cmd/caddy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building another version: %v\n%s", err, output)
	}
	return program
}

// TestVersionsAreUpdatedOneByOne updates two nodes one after the other, as docs/cluster.md
// says, to a program of another version with an action that the old node does not know.
func TestVersionsAreUpdatedOneByOne(t *testing.T) {
	t.Parallel()
	database := pgtest.Shared(t)
	later := buildLater(t)
	dsn := database.Role(t, "secret")
	record, added := newLANService(t), newLANService(t)
	var open atomic.Bool // whether the service of the added action does its work
	gate := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !open.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		added.Config.Handler.ServeHTTP(w, r)
	}))
	t.Cleanup(gate.Close)

	type node struct {
		*installation
		caddyfile string
	}
	newNode := func(name string) node {
		machine := newInstallation(t)
		machine.set("RELAY_DB", dsn)
		return node{machine, onPostgres(machine, "queue postgres {env.RELAY_DB} {\n\t\t\tnode "+name+"\n\t\t\tlease 5s\n\t\t}", record.URL)}
	}
	north, south := newNode("north"), newNode("south")
	updated := func(n node) *server {
		t.Helper()
		caddyfile := strings.Replace(n.caddyfile, "\t\ton project_status_change {\n\t\t\tdo record", `		action added {
			post "`+gate.URL+`/added"
			query id "{{body.id}}"
			retry_interval 10ms 50ms
		}
		on project_status_change {
			do record added`, 1)
		command := n.command("run", "--config", n.write(caddyfile), "--adapter", "caddyfile")
		command.Path = later
		caddy := n.serve(command)
		caddy.Serves()
		return caddy
	}
	ofBoth, ofAdded := []int{}, []int{}
	post := func(n node, first int, adds bool) {
		t.Helper()
		for id := first; id < first+5; id++ {
			if status := postEvent(t, n.installation, id); status != http.StatusOK {
				t.Fatalf("event %d is answered with %d", id, status)
			}
			ofBoth = append(ofBoth, id)
			if adds {
				ofAdded = append(ofAdded, id)
			}
		}
	}
	says := func(n node, what string, differ bool, texts ...string) {
		t.Helper()
		said := ""
		defer func() {
			if t.Failed() {
				t.Logf("status says\n%s", said)
			}
		}()
		waitFor(t, what, func() bool {
			said, _ = n.run("event-relay", "status", "--address", n.admin)
			for _, text := range texts {
				if !strings.Contains(said, text) {
					return false
				}
			}
			return strings.Contains(said, "the nodes run different versions of the relay (") == differ
		})
	}

	old := north.start(north.caddyfile)
	last := south.start(south.caddyfile)
	post(north, 100, false)
	says(north, "both nodes to run the same", false, "north (this one)", "south, ")
	old.Stop()
	post(south, 200, false)
	first := updated(north)
	for _, n := range []node{north, south} {
		says(n, "status to tell the versions", true, "; north: "+laterVersion+")", "runs another configuration than this one")
	}
	post(north, 300, true)
	post(south, 400, false)
	waitFor(t, "what both know to be delivered", func() bool { return record.missing(ofBoth) == 0 })

	// What only the updated node knows waits while that one is away, and is neither taken
	// nor given up by the other.
	first.Stop()
	open.Store(true)
	says(south, "what the old node does not know to wait", false, "5 deliveries for added", "no node that runs has this action: start one that has it")
	post(south, 500, false)
	waitFor(t, "the old node to go on", func() bool { return record.missing(ofBoth) == 0 })
	if missing := added.missing(ofAdded); missing != len(ofAdded) {
		t.Errorf("a node carried out %d deliveries of an action that it does not know", len(ofAdded)-missing)
	}
	last.Stop()
	last = updated(south)
	waitFor(t, "what waited to be delivered by the node that was updated now", func() bool { return added.missing(ofAdded) == 0 })
	first = updated(north)
	post(north, 600, true)
	post(south, 700, true)
	for _, n := range []node{north, south} {
		says(n, "both nodes to run the same again", false, "north", "south", laterVersion)
	}
	waitFor(t, "all to be delivered", func() bool { return record.missing(ofBoth)+added.missing(ofAdded) == 0 })
	first.Stop()
	last.Stop()
	if repeated := append(record.repeated(), added.repeated()...); len(repeated) > 0 {
		t.Errorf("%v were delivered more than once", repeated)
	}
}
