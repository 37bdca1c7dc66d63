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
	"testing"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	// The program under test is built by TestMain; these imports tell go test that the tests depend on it.
	_ "github.com/caddy-event-relay/event-relay"
	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// These tests run the real binary, as an administrator does.

var binary string

func TestMain(m *testing.M) {
	processtest.Main(m, map[*string]string{&binary: "../../cmd/caddy"}, stopChromium)
}

// fullSize reports whether reloads, restarts and hostile requests are tried at
// full size, which takes minutes. Otherwise the same is done at a fifth or less.
func fullSize() bool { return os.Getenv("EVENT_RELAY_SIZE") == "full" }

// server is a running Caddy.
type server struct {
	*processtest.Process
	t     *testing.T
	admin string
}

// installation is a machine that a Caddy is started on, again and again.
type installation struct {
	t     *testing.T
	home  string
	admin string
	site  string

	// variables are what its environment has besides that of the tests.
	variables []string
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	return &installation{t: t, home: t.TempDir(), admin: freeAddress(t), site: freeAddress(t)}
}

// set sets a variable of the environment of all commands from now on.
func (i *installation) set(name, value string) { i.variables = append(i.variables, name+"="+value) }

// globals returns the global options that every test needs. On the first start
// with a storage, Caddy cleans it beside obtaining the first certificate. If it
// finds the folder of that certificate still empty, it deletes it, and tries to
// obtain the certificate again only after a minute (certmagic, deleteExpiredCerts).
func (i *installation) globals() string {
	return fmt.Sprintf("admin %s\n\tauto_https off\n\tskip_install_trust\n\tpersist_config off\n\tstorage_clean_interval off\n", i.admin)
}

func (i *installation) environment() []string {
	return processtest.Environment(i.home, i.variables...)
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

// command returns a command of the binary.
func (i *installation) command(arguments ...string) *exec.Cmd {
	command := exec.Command(binary, arguments...)
	command.Env = i.environment()
	return command
}

// start runs Caddy with a Caddyfile until the test ends, and returns once it
// serves.
func (i *installation) start(caddyfile string) *server {
	i.t.Helper()
	caddy := i.launch(caddyfile)
	caddy.Serves()
	return caddy
}

// launch runs Caddy and does not wait for anything.
func (i *installation) launch(caddyfile string) *server {
	i.t.Helper()
	return i.serve(i.command("run", "--config", i.write(caddyfile), "--adapter", "caddyfile"))
}

// serve runs a command that starts Caddy.
func (i *installation) serve(command *exec.Cmd) *server {
	i.t.Helper()
	return &server{processtest.Start(i.t, command), i.t, i.admin}
}

// load reloads the process with a Caddyfile and returns Caddy's answer.
func (p *server) load(caddyfile string) (int, string) {
	p.t.Helper()
	response, err := http.Post("http://"+p.admin+"/load", "text/caddyfile", strings.NewReader(caddyfile))
	if err != nil {
		p.t.Fatalf("reloading: %v\n%s", err, p.Output)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body)
}

// goroutines returns how many goroutines the process has.
func (p *server) goroutines() int {
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
func (p *server) files() int {
	p.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.ID()))
	if err != nil {
		p.t.Skipf("how many files a process has open can be counted on Linux only: %v", err)
	}
	return len(entries)
}

// needTools skips a test of a printed command that the machine cannot run.
func needTools(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the printed command cannot be run: %v", err)
		}
	}
}

// What all tests that start the program have in common.
const patience = processtest.Patience

var (
	waitFor     = processtest.WaitFor
	freeAddress = processtest.FreeAddress
)
