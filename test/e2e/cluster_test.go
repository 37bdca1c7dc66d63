package e2e_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres/pgtest"
)

// TestClusterLosesNothing runs the script of the example: three relays on one PostgreSQL
// behind a load balancer, of which one after the other is killed under load. It fails
// if an event that was answered 200 is not delivered.
func TestClusterLosesNothing(t *testing.T) {
	programs := os.Getenv(pgtest.Variable)
	if programs == "" {
		t.Skipf("no PostgreSQL: %s names the directory of initdb and postgres", pgtest.Variable)
	}
	needTools(t, "bash", "curl", "awk", "comm", "grep")
	script := exec.Command("../../examples/cluster/try.sh")
	script.Env = append(processtest.Environment(t.TempDir()), "CADDY="+binary, "POSTGRES="+programs, "PORT="+strconv.Itoa(freePorts(t, 9)))
	output, err := script.CombinedOutput()
	if err != nil || !strings.Contains(string(output), "of these not delivered: 0;") {
		t.Errorf("%v\n%s", err, output)
	}
	t.Logf("%s", output)
}

// TestDumpIsRestored does what docs/cluster.md prints, to the letter but for the place of
// the database: what waited when the dump was made is delivered once it is put back.
func TestDumpIsRestored(t *testing.T) {
	t.Parallel()
	database := pgtest.Shared(t)
	needTools(t, "bash")
	manual, err := os.ReadFile("../../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	_, printed, _ := strings.Cut(string(manual), "```sh\npg_dump ")
	printed, _, _ = strings.Cut(printed, "```")
	dump, restore, found := strings.Cut("pg_dump "+printed, "# To put it back, stop all nodes, then:\n")
	if !found {
		t.Fatal("the manual does not say how a dump is put back")
	}
	machine, service := newInstallation(t), newLANService(t)
	dsn := database.Role(t, "secret")
	machine.set("RELAY_DB", dsn)
	host, port, _ := strings.Cut(database.Address(), ":")
	do := func(commands string) {
		t.Helper()
		place := "host=" + host + " port=" + port + " user=" + roleOf(t, dsn) + " dbname=" + roleOf(t, dsn)
		if strings.Count(commands, "host=db1.lan user=relay dbname=relay") == 0 {
			t.Fatalf("nothing says where the database is in\n%s", commands)
		}
		shell := exec.Command("bash", "-e", "-c", strings.ReplaceAll(commands, "host=db1.lan user=relay dbname=relay", place))
		shell.Dir = machine.home
		shell.Env = append(machine.environment(), "PGPASSWORD=secret", "PATH="+os.Getenv(pgtest.Variable)+":"+os.Getenv("PATH"))
		if output, err := shell.CombinedOutput(); err != nil {
			t.Fatalf("%s\n%v\n%s", commands, err, output)
		}
	}
	caddy := machine.start(onPostgres(machine, "queue postgres {env.RELAY_DB}", "http://"+freeAddress(t)))
	var waiting []int
	for id := range 5 {
		if status := postEvent(t, machine, id); status != http.StatusOK {
			t.Fatalf("an event is answered with %d", status)
		}
		waiting = append(waiting, id)
	}
	do(dump)
	if status := postEvent(t, machine, 99); status != http.StatusOK {
		t.Fatalf("an event is answered with %d", status)
	}
	caddy.Stop()
	do(restore)
	caddy = machine.start(onPostgres(machine, "queue postgres {env.RELAY_DB}", service.URL))
	waitFor(t, "what waited to be delivered", func() bool { return service.missing(waiting) == 0 })
	if status := postEvent(t, machine, 100); status != http.StatusOK {
		t.Errorf("an event after the restore is answered with %d", status)
	}
	waitFor(t, "its delivery", func() bool { return service.missing([]int{100}) == 0 })
	caddy.Stop()
	if repeated := service.repeated(); len(repeated) > 0 || service.missing([]int{99}) == 0 {
		t.Errorf("%v were delivered more than once; what came after the dump was delivered: %v", repeated, service.missing([]int{99}) == 0)
	}
}

// freePorts returns the first of some ports in a row on which nothing listens.
func freePorts(t *testing.T, count int) int {
	t.Helper()
	for first := 18080; first < 30000; first += count {
		free := true
		for port := first; port < first+count && free; port++ {
			listener, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
			if free = err == nil; free {
				listener.Close()
			}
		}
		if free {
			return first
		}
	}
	t.Fatalf("there are no %d free ports in a row", count)
	return 0
}
