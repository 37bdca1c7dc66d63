package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// wrongClock is the environment variable that says by how much the clock of a program of
// buildWithClock is wrong.
const wrongClock = "EVENT_RELAY_WRONG_CLOCK"

// buildWithClock builds the program with a clock that can be wrong: its time.Now adds what
// the variable wrongClock says. What passes by it is right, as on a machine whose clock was
// set wrong.
func buildWithClock(t *testing.T) string {
	t.Helper()
	directory := t.TempDir()
	run := func(environment []string, name string, arguments ...string) (string, error) {
		command := exec.Command(name, arguments...)
		command.Env = append(append(os.Environ(), "CGO_ENABLED=0"), environment...)
		var said strings.Builder
		command.Stderr = &said
		output, err := command.Output()
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", command, err, said.String())
		}
		return strings.TrimSpace(string(output)), err
	}
	must := func(output string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return output
	}
	var installed struct{ GOROOT, GOTOOLDIR, GOVERSION string }
	if err := json.Unmarshal([]byte(must(run(nil, "go", "env", "-json", "GOROOT", "GOTOOLDIR", "GOVERSION"))), &installed); err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(installed.GOROOT, "src", "time", "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	changed := string(source)
	for _, change := range []struct{ from, to string }{
		{"\t_ \"unsafe\" // for go:linkname\n", "\t_ \"unsafe\"; \"syscall\"\n"},
		{
			"func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n",
			"func Now() Time {\n\tsec, nsec, mono := runtimeNow(); if text, found := syscall.Getenv(\"" + wrongClock + "\"); found { by, _ := ParseDuration(text); sec += int64(by / Second) }\n",
		},
	} {
		if strings.Count(changed, change.from) != 1 {
			t.Fatalf("time/time.go of %s does not have once what is to be changed; adapt the test:\n%s", installed.GOVERSION, change.from)
		}
		changed = strings.Replace(changed, change.from, change.to, 1)
	}

	// Nothing but the body of a function differs, so what was compiled against the package
	// of Go fits the changed one too, and is in the cache since TestMain built the program:
	// compiling that package and linking take seconds. go build -overlay would compile everything
	// anew. It must seem to stand where the package of Go does, since the compiler notes that.
	root := filepath.Join(directory, "go")
	if err := os.MkdirAll(filepath.Join(root, "src", "time"), 0o700); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, name := range strings.Fields(must(run(nil, "go", "list", "-f", "{{range .GoFiles}}{{.}} {{end}}", "time"))) {
		content := []byte(changed)
		if name != "time.go" {
			if content, err = os.ReadFile(filepath.Join(installed.GOROOT, "src", "time", name)); err != nil {
				t.Fatal(err)
			}
		}
		files = append(files, filepath.Join(root, "src", "time", name))
		if err := os.WriteFile(files[len(files)-1], content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	compiled, list, program, main := filepath.Join(directory, "time.a"), filepath.Join(directory, "packages"), filepath.Join(directory, "caddy"), ""
	var packages strings.Builder
	for line := range strings.Lines(must(run(nil, "go", "list", "-export", "-deps", "-f", "{{if .Export}}{{.ImportPath}}={{.Export}}{{end}}", "../../cmd/caddy"))) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case path == "time":
			file = compiled
		case strings.HasSuffix(path, "/cmd/caddy"):
			main = file
		}
		if path != "" {
			fmt.Fprintf(&packages, "packagefile %s=%s\n", path, file)
		}
	}
	if err := os.WriteFile(list, []byte(packages.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	compile := append([]string{"-o", compiled, "-p", "time", "-std", "-trimpath", filepath.Join(directory, "none") + "=>", "-goversion", installed.GOVERSION, "-nolocalimports", "-importcfg", list, "-pack"}, files...)
	must(run([]string{"GOROOT=" + root}, filepath.Join(installed.GOTOOLDIR, "compile"), compile...))
	if _, err := run(nil, filepath.Join(installed.GOTOOLDIR, "link"), "-s", "-w", "-importcfg", list, "-buildmode", "exe", "-o", program, main); err == nil {
		return program
	} else {
		t.Logf("the changed package does not fit what is compiled, so everything is compiled anew, which takes minutes: %v", err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(installed.GOROOT, "src", "time", "time.go"): filepath.Join(root, "src", "time", "time.go")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	must(run(nil, "go", "build", "-overlay", list, "-o", program, "../../cmd/caddy"))
	return program
}

// clockNode is a machine whose clock is wrong.
type clockNode struct {
	*installation
	name    string
	wrong   time.Duration
	program string
	caddy   *server
}

func (n *clockNode) begin(caddyfile string) {
	n.t.Helper()
	command := n.command("run", "--config", n.write(caddyfile), "--adapter", "caddyfile")
	command.Path = n.program
	command.Env = append(command.Env, wrongClock+"="+n.wrong.String())
	n.caddy = n.serve(command)
	n.caddy.Serves()
}

// post posts an event and returns the status of the answer, 0 without one.
func (n *clockNode) post(client *http.Client, name, id, key string) int {
	response, err := client.Post("http://"+n.site+"/listen.php?key=icfm-key", "application/json",
		strings.NewReader(fmt.Sprintf(`{"event":%q,"id":%q,"customer":%q}`, name, id, key)))
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// clockAttempt is a request as the target saw it, by the one clock that is right.
type clockAttempt struct {
	event, delivery string
	began, ended    time.Time
	ok              bool
}

// clockTarget refuses the first two attempts at every third delivery, and all of /never. To some
// it says at which time it will take them.
type clockTarget struct {
	*httptest.Server
	mutex      sync.Mutex
	deliveries map[string]int // attempts
	all        []*clockAttempt
}

func newClockTarget(t *testing.T) *clockTarget {
	target := &clockTarget{deliveries: make(map[string]int)}
	target.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		attempt := &clockAttempt{event: r.URL.Query().Get("id"), delivery: r.Header.Get("Idempotency-Key"), began: time.Now()}
		_, _ = io.Copy(io.Discard, r.Body)
		target.mutex.Lock()
		target.deliveries[attempt.delivery]++
		n := target.deliveries[attempt.delivery]
		target.mutex.Unlock()
		attempt.ok = r.URL.Path != "/never" && (n > 2 || attempt.delivery[len(attempt.delivery)-1]%3 != 0)
		if !attempt.ok {
			if n == 1 && attempt.delivery[len(attempt.delivery)-1]%9 == 0 {
				w.Header().Set("Retry-After", time.Now().Add(2*time.Second).UTC().Format(http.TimeFormat))
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		target.mutex.Lock()
		defer target.mutex.Unlock()
		attempt.ended = time.Now()
		target.all = append(target.all, attempt)
	}))
	t.Cleanup(target.Close)
	return target
}

// of returns the attempts at the deliveries of an event, in the order in which they began.
func (target *clockTarget) of(event string) (attempts []*clockAttempt) {
	target.mutex.Lock()
	defer target.mutex.Unlock()
	for _, attempt := range target.all {
		if attempt.event == event {
			attempts = append(attempts, attempt)
		}
	}
	slices.SortFunc(attempts, func(a, b *clockAttempt) int { return a.began.Compare(b.began) })
	return attempts
}

// TestClocksOfNodesAreWrong runs three nodes of which one has a clock that is an hour ahead
// and one that is an hour behind. The target and this test go by the right one.
func TestClocksOfNodesAreWrong(t *testing.T) {
	t.Parallel()
	database := pgtest.Shared(t)
	program := buildWithClock(t)
	dsn := database.Role(t, "secret")
	target := newClockTarget(t)
	const firstPause = 300 * time.Millisecond
	var nodes []*clockNode
	caddyfiles := make(map[*clockNode]string)
	for _, n := range []*clockNode{{name: "fast", wrong: time.Hour}, {name: "slow", wrong: -time.Hour}, {name: "right"}} {
		n.installation, n.program = newInstallation(t), program
		n.set("RELAY_DB", dsn)
		host, port, _ := strings.Cut(n.site, ":")
		caddyfiles[n] = fmt.Sprintf(`{
	%s
	event_relay {
		queue postgres {env.RELAY_DB} {
			node %s
			lease 8s
		}
		source shop {
			auth api_key query key icfm-key
			event paid
			event spoiled
			event held
			dedupe 30m `+"`body.id`"+`
		}
		action book {
			post "%[3]s/book"
			query id "{{body.id}}"
			order_by `+"`body.customer`"+`
			timeout 1s
			retry_interval 300ms 600ms
			retry_for 30m
			expires 30m
		}
		action spoil {
			post "%[3]s/never"
			query id "{{body.id}}"
			timeout 1s
			retry_interval 300ms 600ms
			expires 8s
		}
		action hold {
			post "%[3]s/hold"
			query id "{{body.id}}"
		}
		on paid {
			do book
		}
		on spoiled {
			do spoil
		}
		on held {
			do hold
		}
	}
}

http://:%[4]s {
	bind %[5]s
	event_relay /listen.php
	respond 404
}
`, n.globals(), n.name, target.URL, port, host)
		nodes = append(nodes, n)
		n.begin(caddyfiles[n])
		response, err := http.Get("http://" + n.site + "/")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		shows, err := http.ParseTime(response.Header.Get("Date"))
		if err != nil || (time.Until(shows)-n.wrong).Abs() > 10*time.Minute {
			t.Fatalf("the clock of %s shows %v, %v: it is not wrong by %v", n.name, shows, err, n.wrong)
		}
	}
	fast, slow, right := nodes[0], nodes[1], nodes[2]
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	t.Cleanup(client.CloseIdleConnections)

	// A switch that the slow node turns lasts as long as it was turned for.
	command := func(n *clockNode, arguments ...string) (string, error) {
		t.Helper()
		return n.run(append(append([]string{"event-relay"}, arguments...), "--address", n.admin)...)
	}
	if said, err := command(slow, "pause", "hold", "--for", "30m"); err != nil {
		t.Fatalf("pausing: %v\n%s", err, said)
	}
	for _, n := range nodes {
		if status := n.post(client, "held", "held by "+n.name, ""); status != http.StatusOK {
			t.Fatalf("an event is answered %d", status)
		}
		if status := n.post(client, "spoiled", "spoiled at "+n.name, ""); status != http.StatusOK {
			t.Fatalf("an event is answered %d", status)
		}
	}

	// Each customer has a sender that posts one event after the other, to one node after the
	// other. Every third is posted to the next node as well.
	const customers, most = 6, 36
	acknowledged := make([][]string, customers)
	var sending sync.WaitGroup
	killed, restarted := make(chan struct{}), make(chan struct{})
	for customer := range customers {
		sending.Go(func() {
			for i := range most {
				if i == most/3 && customer == 0 {
					close(killed)
				}
				if i == 2*most/3 {
					<-restarted
				}
				id := fmt.Sprintf("%d-%d", customer, i)
				if nodes[(customer+i)%3].post(client, "paid", id, fmt.Sprint("customer ", customer)) != http.StatusOK {
					continue
				}
				acknowledged[customer] = append(acknowledged[customer], id)
				if i%3 == 0 {
					nodes[(customer+i+1)%3].post(client, "paid", id, fmt.Sprint("customer ", customer))
				}
			}
		})
	}
	<-killed
	began := time.Now()
	fast.caddy.Kill()
	ended := time.Now()
	fast.begin(caddyfiles[fast])
	close(restarted)
	sending.Wait()

	arrived := func(id string) bool {
		return slices.ContainsFunc(target.of(id), func(a *clockAttempt) bool { return a.ok })
	}
	var count int
	for _, ids := range acknowledged {
		count += len(ids)
		for _, id := range ids {
			waitFor(t, "event "+id+" to be delivered", func() bool { return arrived(id) })
		}
	}
	if count < customers*most/2 {
		t.Errorf("only %d events were acknowledged", count)
	}
	states := func(state string) int {
		var found struct{ Events []json.RawMessage }
		right.caddy.adminJSON("/event_relay/activity?n=1000&state="+state, &found)
		return len(found.Events)
	}
	waitFor(t, "what no target takes to expire", func() bool { return states("expired") == 3 })
	if n := states("failed"); n > 0 {
		t.Errorf("%d events failed", n)
	}

	repeated := 0
	for _, ids := range acknowledged {
		var last time.Time // when the attempts at the one before had ended
		for _, id := range ids {
			attempts, taken := target.of(id), 0
			if attempts[0].began.Before(last) {
				t.Errorf("event %s was attempted before the one ahead of it was over", id)
			}
			for i, attempt := range attempts {
				if attempt.delivery != attempts[0].delivery {
					t.Errorf("event %s, which was posted twice, led to two deliveries", id)
				}
				if attempt.ok {
					taken++
				}
				last = attempt.ended
				if i == 0 {
					continue
				}
				before := attempts[i-1]
				switch pause := attempt.began.Sub(before.ended); {
				case pause < 0:
					t.Errorf("two attempts at event %s were made at once", id)
				case !before.ok && pause < firstPause && !(before.ended.After(began.Add(-5*time.Second)) && before.began.Before(ended)):
					t.Errorf("event %s was attempted again after %v", id, pause)
				}
			}
			if taken > 1 {
				repeated++
			}
		}
	}
	if repeated > 2*customers {
		t.Errorf("%d events were delivered again, want those that were on their way when a node was killed", repeated)
	}
	for _, n := range nodes {
		if id := "held by " + n.name; len(target.of(id)) > 0 {
			t.Errorf("what is paused was sent: %s", id)
		}
		if len(target.of("spoiled at "+n.name)) == 0 {
			t.Errorf("what expires in eight seconds was not attempted, of %s", n.name)
		}
	}

	// Each node says whose clock is wrong, and by how much.
	for _, n := range nodes {
		said, err := "", error(nil)
		waitFor(t, "status of "+n.name+" to say whose clock is wrong", func() bool {
			said, err = command(n, "status")
			return strings.Contains(said, "the clock of node fast is 1h ahead of that of the database") && strings.Contains(said, "the clock of node slow is 1h behind that of the database")
		})
		if err == nil || strings.Contains(said, "clock of node right") || !strings.Contains(said, "SWITCHED OFF   action hold") {
			t.Errorf("status of %s says %v\n%s", n.name, err, said)
		}
		if !strings.Contains(said, "action "+fmt.Sprint(count+6)) && !strings.Contains(said, "delivered ") {
			t.Errorf("status of %s counts nothing in the last hour\n%s", n.name, said)
		}
		if said, err := command(n, "check"); strings.Contains(said, "Database") {
			t.Errorf("check of %s says %v\n%s", n.name, err, said)
		}
	}
	if said, err := command(fast, "resume", "hold"); err != nil {
		t.Fatalf("resuming: %v\n%s", err, said)
	}
	for _, n := range nodes {
		waitFor(t, "what was paused to be sent", func() bool { return arrived("held by " + n.name) })
		n.caddy.Stop()
	}
}
