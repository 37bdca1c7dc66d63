package forward

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/handlers/forward/send"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
)

// Deliveries of one key arrive one after another in the order of their receipt,
// whatever happens on the way: bad answers, no answers, reloads.
func TestOrderUnderRetries(t *testing.T) {
	const keys, each = 6, 12
	engine, err := sqlite.Open(sqlite.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	sender := send.NewSender(mustTargets(t), nil)
	d := New(engine, sender, Options{})
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = d.Stop(ended)
		sender.Close()
		_ = engine.Close()
	})

	var mu sync.Mutex
	arrived := map[string][]string{} // by key, also what was answered badly
	done := map[string][]string{}
	inFlight := map[string]int{}
	random := rand.New(rand.NewPCG(1, 2))
	ended := 0
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		key, number, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		mu.Lock()
		arrived[key] = append(arrived[key], number)
		inFlight[key]++
		if inFlight[key] > 1 {
			t.Errorf("%d deliveries of key %s are in flight", inFlight[key], key)
		}
		luck := random.IntN(20)
		if luck > 6 {
			done[key] = append(done[key], number)
			ended++
		}
		inFlight[key]--
		mu.Unlock()
		switch {
		case luck == 0: // no answer: the target counts as down
			panic(http.ErrAbortHandler)
		case luck <= 4:
			w.WriteHeader(503)
		case luck <= 6:
			w.WriteHeader(429)
		}
	})
	language := languageWith(t)
	with := func() []*Prepared {
		return []*Prepared{prepareIn(t, language, config.Action{URL: url + "/{{body.key}}/{{body.n}}", OrderBy: "body.key", RetryInterval: &config.RetryInterval{First: config.Duration(time.Millisecond), Cap: config.Duration(3 * time.Millisecond)}})}
	}
	actions := with()
	d.Use(actions)
	want := map[string][]string{}
	for n := range each {
		var entries []queue.Entry
		for k := range keys {
			key, number := fmt.Sprint("k", k), fmt.Sprint(n)
			want[key] = append(want[key], number)
			event := eventtest.With(map[string]any{"key": key, "n": number})
			event.ID, event.Received = uuid.Must(uuid.NewV7()).String(), time.Now()
			orderKey, expires, err := actions[0].Schedule(language.Bind(event), event.Received)
			if err != nil || orderKey != key {
				t.Fatalf("order key %q, %v", orderKey, err)
			}
			entries = append(entries, queue.Entry{Event: event, Deliveries: []queue.Delivery{
				{ID: uuid.Must(uuid.NewV7()).String(), Action: "test", OrderKey: orderKey, Expires: expires},
			}})
		}
		if _, err := engine.Put(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
		if n%4 == 0 {
			d.Use(with())
		}
	}
	eventually(t, "all have ended", func() bool { mu.Lock(); defer mu.Unlock(); return ended >= keys*each })
	mu.Lock()
	defer mu.Unlock()
	for key, numbers := range want {
		if !slices.Equal(done[key], numbers) {
			t.Errorf("%s: done %s", key, done[key])
		}
		// Nothing is overtaken on the way either.
		if met := slices.Compact(slices.Clone(arrived[key])); !slices.Equal(met, numbers) {
			t.Errorf("%s: arrived %s", key, arrived[key])
		}
	}
}
