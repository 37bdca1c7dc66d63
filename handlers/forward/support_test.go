package forward

import (
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/handlers/forward/template"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/config/configtest"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// languageWith makes a language with parameters, resolved: the value {env.VALUE} is the
// secret VALUE.
func languageWith(t testing.TB, parameters ...config.Parameter) *language.Language {
	t.Helper()
	language, err := language.New(language.Definitions{Parameters: configtest.Resolved(parameters...)})
	if err != nil {
		t.Fatal(err)
	}
	return language
}

// prepare compiles one action. Its templates may name the parameters.
func prepare(t testing.TB, action config.Action, parameters ...config.Parameter) *Prepared {
	t.Helper()
	return prepareIn(t, languageWith(t, parameters...), action)
}

func prepareIn(t testing.TB, language *language.Language, action config.Action) *Prepared {
	t.Helper()
	prepared, err := Compile([]config.Action{configtest.Action(t, action)}, language, template.Settings{})
	if err != nil {
		t.Fatalf("compiling: %v", err)
	}
	return prepared[0]
}

// byTenant is a parameter with a default and values for tenants.
func byTenant(name, value string, pairs ...string) config.Parameter {
	p := config.Parameter{Name: name, Value: value, Tenants: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		p.Tenants[pairs[i]] = pairs[i+1]
	}
	return p
}

func tenantEvent(tenant string, body any) *event.Event {
	e := eventtest.With(body)
	e.Parameters[event.Tenant] = tenant
	return e
}

const testDelivery = "018f0000-0000-7000-8000-00000000000d"

func mustTargets(t testing.TB, words ...string) *send.Targets {
	t.Helper()
	if len(words) == 0 {
		words = config.DefaultTargets
	}
	targets, err := send.NewTargets(words)
	if err != nil {
		t.Fatal(err)
	}
	return targets
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited too long: %s", what)
		}
	}
}

// clock is a clock that tests move.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*alarm]bool
}

type alarm struct {
	at time.Time
	ch chan time.Time
}

func newClock() *clock {
	return &clock{now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), timers: map[*alarm]bool{}}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// advance moves the clock and lets the timers go whose time has come.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for a := range c.timers {
		if !c.now.Before(a.at) {
			delete(c.timers, a)
			a.ch <- c.now
		}
	}
}

// timer is as Dispatcher.timer.
func (c *clock) timer(at time.Time) (<-chan time.Time, func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &alarm{at: at, ch: make(chan time.Time, 1)}
	if !c.now.Before(at) {
		a.ch <- c.now
	} else {
		c.timers[a] = true
	}
	return a.ch, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		set := c.timers[a]
		delete(c.timers, a)
		return set
	}
}

// waiting returns how many timers are set.
func (c *clock) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.timers)
}
