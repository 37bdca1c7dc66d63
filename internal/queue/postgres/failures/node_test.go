//go:build unix

// Package failures lets nodes, the database and what is between them fail while events
// come and are delivered, and compares what was answered, stored and delivered.
//
// A node is this test binary once more: with the engine, the dispatcher that the relay
// has, and callers of Put. The target is this process, so that all times are those of
// one clock.
package failures

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/handlers/forward/template"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/postgres"
	"github.com/caddy-event-relay/event-relay/rules"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// settingsVariable makes the test binary a node, with these settings.
const settingsVariable = "EVENT_RELAY_FAILURES_NODE"

type settings struct {
	Name, DSN, Schema, Target string
	// Actions are those of the configuration that the node has.
	Actions []string
}

const (
	// attemptTimeout and concurrency are those of the actions.
	attemptTimeout = time.Second
	concurrency    = 8
	// lease is a little longer than the dispatcher wants one to last that it begins an
	// attempt with: five seconds more than the attempt may take.
	lease = attemptTimeout + 7*time.Second
	// callers put events on each node, one after another with a pause of pace. Two of
	// three events have one of so many keys.
	callers = 2
	pace    = 25 * time.Millisecond
	keys    = 20
)

func TestMain(m *testing.M) {
	text := os.Getenv(settingsVariable)
	if text == "" {
		os.Exit(m.Run())
	}
	var s settings
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = s.run()
	}
	if err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// entry returns an event with a delivery. Its subject is the order key.
func entry(action, key string) queue.Entry {
	return queue.Entry{
		Event: &event.Event{
			ID: newID(), Source: "pbx", Name: "call", Subject: key, Received: time.Now(), Method: "POST", Path: "/",
			RawBody: []byte(`{"text":"` + strings.Repeat("x", 500) + `"}`),
		},
		Verdict:    rules.Verdict{Decision: rules.Act},
		Deliveries: []queue.Delivery{{ID: newID(), Action: action, OrderKey: key}},
	}
}

// run is a node: it opens the queue, delivers, and puts events until it is told
// otherwise. What it did stands in lines of its output, each written after it is done.
func (s settings) run() error {
	configuration := zap.NewDevelopmentConfig()
	configuration.Level.SetLevel(zap.InfoLevel)
	configuration.DisableStacktrace = true
	logger, err := configuration.Build()
	if err != nil {
		return err
	}
	engine, err := postgres.Store{DSN: s.DSN, Schema: s.Schema, Node: s.Name, Lease: lease}.Open(false, logger)
	if err != nil {
		return err
	}
	dispatcher, err := s.dispatch(engine, logger)
	if err != nil {
		return err
	}
	fmt.Println("open")
	var quiet atomic.Bool
	for range callers {
		go func() {
			for !quiet.Load() {
				key := ""
				if n := rand.IntN(3 * keys / 2); n < keys {
					key = fmt.Sprint("key ", n)
				}
				e := entry(s.Actions[rand.IntN(len(s.Actions))], key)
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				_, err := engine.Put(ctx, []queue.Entry{e})
				cancel()
				if err != nil {
					fmt.Println("refused", strings.ReplaceAll(err.Error(), "\n", " "))
				} else {
					fmt.Println("put", e.Deliveries[0].ID)
				}
				time.Sleep(pace)
			}
		}()
	}
	for commands := bufio.NewScanner(os.Stdin); commands.Scan(); {
		switch commands.Text() {
		case "quiet":
			quiet.Store(true)
		case "end":
			quiet.Store(true)
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			return errors.Join(dispatcher.Stop(ctx), engine.Close())
		}
	}
	return errors.New("the test is gone")
}

func (s settings) dispatch(engine queue.Engine, logger *zap.Logger) (*forward.Dispatcher, error) {
	words, err := language.New(language.Definitions{})
	if err != nil {
		return nil, err
	}
	var actions []config.Action
	for _, name := range s.Actions {
		action := config.Action{
			Name: name, Method: "POST", URL: s.Target, Headers: []config.NameValue{{Name: "Node", Value: s.Name}},
			Timeout: config.Duration(attemptTimeout), Concurrency: concurrency,
			RetryInterval: &config.RetryInterval{First: config.Duration(50 * time.Millisecond), Cap: config.Duration(100 * time.Millisecond)},
		}
		if err := errors.Join(action.Check()...); err != nil {
			return nil, err
		}
		actions = append(actions, action)
	}
	prepared, err := forward.Compile(actions, words, template.Settings{})
	if err != nil {
		return nil, err
	}
	targets, err := send.NewTargets([]string{"loopback"})
	if err != nil {
		return nil, err
	}
	dispatcher := forward.New(engine, send.NewSender(targets, nil), forward.Options{Logger: logger})
	dispatcher.Use(prepared)
	return dispatcher, nil
}

// process is a node, as the test sees it.
type process struct {
	settings
	t       *testing.T
	command *exec.Cmd
	orders  io.WriteCloser
	open    chan struct{}
	ended   chan struct{}

	mu      sync.Mutex
	put     map[string]bool // deliveries that were acknowledged, since the first start
	refused map[string]int  // calls of Put that were not, by the reason
	log     bytes.Buffer
}

// Write takes what the node logs.
func (p *process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.log.Len() > 1<<20 {
		p.log.Reset()
	}
	return p.log.Write(text)
}

// start starts the node, and waits until it is open.
func (p *process) start() {
	p.t.Helper()
	text, err := json.Marshal(p.settings)
	if err != nil {
		p.t.Fatal(err)
	}
	p.command = exec.Command(os.Args[0])
	p.command.Env = append(os.Environ(), settingsVariable+"="+string(text))
	p.command.Stderr = p
	output, err := p.command.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if p.orders, err = p.command.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	open, ended := make(chan struct{}), make(chan struct{})
	p.open, p.ended = open, ended
	go func() {
		defer close(ended)
		for lines := bufio.NewReader(output); ; {
			line, err := lines.ReadString('\n')
			if err != nil {
				return // what has no end was not said
			}
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			p.mu.Lock()
			switch word {
			case "open":
				close(open)
			case "put":
				p.put[rest] = true
			case "refused":
				p.refused[rest]++
			default:
				p.t.Errorf("node %s said: %s", p.Name, line)
			}
			p.mu.Unlock()
		}
	}()
	select {
	case <-p.open:
	case <-p.ended:
		p.t.Fatalf("node %s has ended", p.Name)
	case <-time.After(patience):
		p.t.Fatalf("node %s does not open", p.Name)
	}
}

// say gives the node an order.
func (p *process) say(order string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.orders, order); err != nil {
		p.t.Errorf("telling node %s: %v", p.Name, err)
	}
}

func (p *process) signal(signal syscall.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(signal); err != nil {
		p.t.Fatalf("sending node %s a signal: %v", p.Name, err)
	}
}

// kill ends the node as the end of its machine would.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.ended
	_ = p.command.Wait()
}

// end lets the node end in order.
func (p *process) end() {
	p.t.Helper()
	p.say("end")
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Errorf("node %s does not end", p.Name)
		p.kill()
		return
	}
	if err := p.command.Wait(); err != nil {
		p.t.Errorf("node %s ended with %v", p.Name, err)
	}
	p.command = nil
}

func (p *process) acknowledged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.put)
}

func (p *process) refusals() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, times := range p.refused {
		n += times
	}
	return n
}
