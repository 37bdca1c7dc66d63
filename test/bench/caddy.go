package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience is how long anything may take that should take moments: a start, an exit,
// the next arrival.
const patience = time.Minute

// caddy is a running Caddy with a queue of its own.
type caddy struct {
	command *exec.Cmd
	dir     string
	said    bytes.Buffer
	ended   chan error
	// address is where it serves, admin its API.
	address, admin string
}

// site is what stands in the Caddyfile besides what every Caddyfile here has.
type site struct {
	// target is the address of the target of the action forward.
	target string
	// relay holds further lines for the relay's block.
	relay string
}

// caddyfile returns the one Caddyfile for all measures.
func (s site) caddyfile(address, admin, queue string) string {
	return fmt.Sprintf(`{
	auto_https off
	admin %s
	persist_config off
	log {
		level ERROR
	}
	event_relay {
		queue %s
		source studio {
			auth api_key query key bench
			event project_status_change
		}
		action forward {
			post http://%s/events
			body json <<END_OF_BODY
				{
					"id": "{{body.id}}",
					"project": {{body.project.id}},
					"name": "{{body.project.name}}",
					"status": "{{body.status}}"
				}
				END_OF_BODY
			concurrency 64
		}
		on project_status_change {
			when `+"`body.status == \"Approved\"`"+`
			do forward
		}
%s
	}
}

http://%s {
	event_relay /listen
	reverse_proxy /proxy %s
	respond /respond "ok"
}
`, admin, queue, s.target, s.relay, address, s.target)
}

// schemaIn returns the schema that is the queue of a directory. The time makes the name of
// a new one that is not there yet.
func schemaIn(dir string) (string, error) {
	file := filepath.Join(dir, "schema")
	name, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		name = fmt.Appendf(nil, "bench_%d", time.Now().UnixNano())
		err = os.WriteFile(file, name, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("choosing the schema of a queue: %w", err)
	}
	return string(name), nil
}

// start starts a Caddy in a directory, which may hold the queue of an earlier one, and
// waits until it serves.
func start(p program, dir string, s site) (*caddy, error) {
	c := &caddy{dir: dir, ended: make(chan error, 1)}
	var err error
	if c.address, err = freeAddress(); err == nil {
		c.admin, err = freeAddress()
	}
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making a directory for a queue: %w", err)
	}
	queue := "sqlite " + strconv.Quote(filepath.Join(dir, "queue")) + "\n\t\tmin_free off"
	if p.postgres != "" {
		schema, err := schemaIn(dir)
		if err != nil {
			return nil, err
		}
		queue = fmt.Sprintf("postgres %s {\n\t\t\tschema %s\n\t\t}", strconv.Quote(p.postgres), schema)
	}
	config := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(config, []byte(s.caddyfile(c.address, c.admin, queue)), 0o600); err != nil {
		return nil, fmt.Errorf("writing the Caddyfile: %w", err)
	}
	c.command = exec.Command(p.path, "run", "--config", config, "--adapter", "caddyfile")
	c.command.Env = append(os.Environ(), "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	c.command.Stdout, c.command.Stderr = &c.said, &c.said
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("starting Caddy: %w", err)
	}
	go func() { c.ended <- c.command.Wait() }()
	for deadline := time.Now().Add(patience); ; {
		connection, err := net.Dial("tcp", c.address)
		if err == nil {
			return c, connection.Close()
		}
		select {
		case err := <-c.ended:
			return nil, fmt.Errorf("starting Caddy: it ended (%w):\n%s", errors.Join(err), c.said.String())
		case <-time.After(time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("starting Caddy: it does not serve within %s", patience), c.stop())
		}
	}
}

// stop ends a Caddy, and waits for it.
func (c *caddy) stop() error {
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping Caddy: %w", err)
	}
	select {
	case err := <-c.ended:
		if err != nil {
			return fmt.Errorf("stopping Caddy: %w:\n%s", err, c.said.String())
		}
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("stopping Caddy: it did not end within %s", patience), c.command.Process.Kill())
	}
}

// ticks is how many there are in a second: Linux fixes it for /proc.
const ticks = 100

// cpu returns the CPU time that the process has used.
func (c *caddy) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.command.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of Caddy: %w", err)
	}
	// The name of the program, in brackets, may hold blanks.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	used := 0
	for _, field := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("reading the CPU time of Caddy: %w", err)
		}
		used += n
	}
	return time.Duration(used) * time.Second / ticks, nil
}

// idle waits until the process does next to nothing, so that what it does after its
// answers is counted too, and returns the CPU time up to then.
func (c *caddy) idle() (time.Duration, error) {
	before, err := c.cpu()
	for deadline := time.Now().Add(patience); err == nil; {
		time.Sleep(200 * time.Millisecond)
		var now time.Duration
		if now, err = c.cpu(); err == nil && (now-before <= 2*time.Second/ticks || time.Now().After(deadline)) {
			return now, nil
		}
		before = now
	}
	return 0, err
}

// memory returns the resident memory of the process and its highest so far, in MB.
func (c *caddy) memory() (now, most float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.command.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the memory of Caddy: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		var kilobytes float64
		switch name {
		case "VmRSS", "VmHWM":
			if _, err := fmt.Sscan(value, &kilobytes); err != nil {
				return 0, 0, fmt.Errorf("reading the memory of Caddy: %w", err)
			}
		}
		if name == "VmRSS" {
			now = kilobytes / 1000
		} else if name == "VmHWM" {
			most = kilobytes / 1000
		}
	}
	return now, most, nil
}

// profile takes profiles of the next seconds, and writes them to NAME.cpu and
// NAME.allocs when the function that it returns is called. Profiling costs CPU time.
func (c *caddy) profile(name string) (write func() error) {
	get := func(of string) error {
		answer, err := http.Get("http://" + c.admin + "/debug/pprof/" + of)
		if err != nil {
			return fmt.Errorf("taking a profile: %w", err)
		}
		defer answer.Body.Close()
		kind, _, _ := strings.Cut(of, "?")
		file, err := os.Create(name + "." + kind)
		if err != nil {
			return fmt.Errorf("writing a profile: %w", err)
		}
		_, err = io.Copy(file, answer.Body)
		return errors.Join(err, file.Close())
	}
	cpu := make(chan error, 1)
	go func() { cpu <- get("profile?seconds=5") }()
	return func() error { return errors.Join(get("allocs"), <-cpu) }
}

// freeAddress returns an address of this machine on which nothing listens.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}
