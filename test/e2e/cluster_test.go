package e2e_test

import (
	"net"
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
