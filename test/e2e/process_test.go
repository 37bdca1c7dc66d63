package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	// The program under test is built by TestMain. Without these imports go test would not know that
	// the tests depend on it, and would print a result of its cache after a change of the program.
	_ "github.com/caddy-event-relay/event-relay"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// These tests run the real binary, as an administrator does.

var binary string

func TestMain(m *testing.M) {
	directory, err := os.MkdirTemp("", "event-relay")
	if err != nil {
		fmt.Fprintln(os.Stderr, "making a directory for the binary:", err)
		os.Exit(1)
	}
	binary = filepath.Join(directory, "caddy")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/caddy")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, output)
		os.Exit(1)
	}
	code := m.Run()
	stopChromium()
	os.RemoveAll(directory)
	os.Exit(code)
}

const patience = processtest.Patience

// process is a running Caddy with its own data directory and ports.
type process struct {
	t       *testing.T
	home    string
	admin   string
	command *exec.Cmd
	exited  chan struct{}
	output  *lockedBuffer
}

// installation is a machine that a Caddy is started on, again and again.
type installation struct {
	t     *testing.T
	home  string
	admin string
	site  string
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	return &installation{t: t, home: t.TempDir(), admin: freeAddress(t), site: freeAddress(t)}
}

// globals returns the global options that every test needs.
func (i *installation) globals() string {
	return fmt.Sprintf("admin %s\n\tauto_https off\n\tskip_install_trust\n\tpersist_config off\n", i.admin)
}

func (i *installation) environment() []string {
	return append(os.Environ(), "HOME="+i.home, "XDG_DATA_HOME="+i.home+"/data", "XDG_CONFIG_HOME="+i.home+"/config")
}

// write stores a Caddyfile and returns its path.
func (i *installation) write(caddyfile string) string {
	i.t.Helper()
	path := filepath.Join(i.home, "Caddyfile")
	if err := os.WriteFile(path, []byte(caddyfile), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return path
}

// run runs a command of the binary to its end and returns what it printed.
func (i *installation) run(arguments ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, binary, arguments...)
	command.Env = i.environment()
	output, err := command.CombinedOutput()
	return string(output), err
}

// start runs Caddy with a Caddyfile until the test ends, and returns once it
// serves.
func (i *installation) start(caddyfile string) *process {
	i.t.Helper()
	p := i.launch(caddyfile)
	waitFor(i.t, "Caddy to serve", func() bool {
		select {
		case <-p.exited:
			i.t.Fatalf("Caddy ended at start:\n%s", p.output)
		default:
		}
		// The log says "serving initial configuration" once every app has
		// started.
		return strings.Contains(p.output.String(), "serving initial configuration")
	})
	return p
}

// launch runs Caddy and does not wait for anything.
func (i *installation) launch(caddyfile string) *process {
	i.t.Helper()
	p := &process{t: i.t, home: i.home, admin: i.admin, exited: make(chan struct{}), output: new(lockedBuffer)}
	p.command = exec.Command(binary, "run", "--config", i.write(caddyfile), "--adapter", "caddyfile")
	p.command.Env = i.environment()
	p.command.Stdout, p.command.Stderr = p.output, p.output
	if err := p.command.Start(); err != nil {
		i.t.Fatal(err)
	}
	go func() {
		_ = p.command.Wait()
		close(p.exited)
	}()
	i.t.Cleanup(p.kill)
	return p
}

// kill ends the process as a power cut would.
func (p *process) kill() {
	_ = p.command.Process.Signal(syscall.SIGKILL)
	<-p.exited
}

// stop ends the process as systemd does.
func (p *process) stop() {
	p.t.Helper()
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("Caddy does not end:\n%s", p.output)
	}
}

// load reloads the process with a Caddyfile and returns Caddy's answer.
func (p *process) load(caddyfile string) (int, string) {
	p.t.Helper()
	response, err := http.Post("http://"+p.admin+"/load", "text/caddyfile", strings.NewReader(caddyfile))
	if err != nil {
		p.t.Fatalf("reloading: %v\n%s", err, p.output)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// goroutines returns how many goroutines the process has.
func (p *process) goroutines() int {
	p.t.Helper()
	response, err := http.Get("http://" + p.admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	var count int
	if _, err := fmt.Fscanf(response.Body, "goroutine profile: total %d", &count); err != nil {
		p.t.Fatalf("reading the goroutine profile: %v", err)
	}
	return count
}

// files returns how many file descriptors the process has open.
func (p *process) files() int {
	p.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.command.Process.Pid))
	if err != nil {
		p.t.Skipf("counting file descriptors: %v", err)
	}
	return len(entries)
}

// What all tests that start the program have in common.
var (
	waitFor     = processtest.WaitFor
	freeAddress = processtest.FreeAddress
)

type lockedBuffer = processtest.Output
