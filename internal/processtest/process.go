package processtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Main builds programs, runs the tests of a package, calls after, and exits. The
// keys of programs are where the path of each program is put, the values are
// their packages. A package of tests must import what it builds as well: else
// go test would print a cached result after a change of the program.
func Main(m *testing.M, programs map[*string]string, after func()) {
	directory, err := os.MkdirTemp("", "event-relay")
	if err != nil {
		fmt.Fprintln(os.Stderr, "making a directory for the programs:", err)
		os.Exit(1)
	}
	status := 1
	if err := build(directory, programs); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		status = m.Run()
		after()
	}
	os.RemoveAll(directory)
	os.Exit(status)
}

func build(directory string, programs map[*string]string) error {
	for program, source := range programs {
		*program = filepath.Join(directory, filepath.Base(source))
		build := exec.Command("go", "build", "-o", *program, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", source, err, output)
		}
	}
	return nil
}

// Environment returns the environment of this process, changed so that Caddy
// keeps everything in a directory, followed by more variables.
func Environment(home string, more ...string) []string {
	return append(append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home+"/data", "XDG_CONFIG_HOME="+home+"/config"), more...)
}

// Process is a running program.
type Process struct {
	// Output has what the program wrote to those of standard output and standard
	// error that its command does not direct elsewhere.
	Output *Output
	// Exited is closed when the program has ended.
	Exited <-chan struct{}

	t       *testing.T
	command *exec.Cmd
}

// Start starts a command. It is killed when the test ends, if it runs still.
func Start(t *testing.T, command *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, Output: new(Output), command: command}
	if command.Stdout == nil {
		command.Stdout = p.Output
	}
	if command.Stderr == nil {
		command.Stderr = p.Output
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	p.Exited = exited
	go func() {
		_ = command.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			text := p.Output.String()
			t.Logf("the end of what %s printed:\n%s", command, text[max(0, len(text)-20_000):])
		}
	})
	return p
}

// Ready waits until the program has printed a line with a text, to its end, and fails
// the test if the program ends before. A program may write a line in several pieces.
func (p *Process) Ready(text string) {
	p.t.Helper()
	WaitFor(p.t, fmt.Sprintf("%s to print %q", p.command, text), func() bool {
		select {
		case <-p.Exited:
			p.t.Fatalf("%s ended with %s", p.command, p.State())
		default:
		}
		_, rest, found := strings.Cut(p.Output.String(), text)
		return found && strings.Contains(rest, "\n")
	})
}

// Serves waits until Caddy serves: its log says so once every app has started.
func (p *Process) Serves() {
	p.t.Helper()
	p.Ready("serving initial configuration")
}

// ID returns the process id.
func (p *Process) ID() int { return p.command.Process.Pid }

// State returns how the program has ended. It waits until it has.
func (p *Process) State() *os.ProcessState {
	<-p.Exited
	return p.command.ProcessState
}

// Signal sends a signal, which is lost if the program has ended.
func (p *Process) Signal(signal os.Signal) { _ = p.command.Process.Signal(signal) }

// Kill ends the program as a power cut would, and waits until it has ended.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.Exited
}

// Stop ends the program as systemd does, and waits until it has ended.
func (p *Process) Stop() {
	p.t.Helper()
	p.End(syscall.SIGTERM)
}

// End sends a signal and returns how the program has ended.
func (p *Process) End(signal os.Signal) *os.ProcessState {
	p.t.Helper()
	p.Signal(signal)
	select {
	case <-p.Exited:
	case <-time.After(Patience):
		p.t.Fatalf("%s does not end", p.command)
	}
	return p.command.ProcessState
}
