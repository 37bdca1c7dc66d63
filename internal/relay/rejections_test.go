package relay_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// TestRejectionsAreAReasonToLook says of requests which of them an administrator is
// told about.
func TestRejectionsAreAReasonToLook(t *testing.T) {
	const post, mount = http.MethodPost, "/listen.php"
	for _, test := range []struct {
		name          string
		method, query string
		mount, client string
		allow         string
		times         int
		looks         bool
	}{
		{"a wrong key, once", post, "?key=wrong", mount, "203.0.113.9", "", 1, true},
		{"a wrong key where all paths are the mount's", post, "?key=wrong", "", "203.0.113.9", "", 1, true},
		{"no key, twice", post, "", mount, "203.0.113.9", "", 2, false},
		{"no key, three times", post, "", mount, "203.0.113.9", "", 3, true},
		{"no key where all paths are the mount's", post, "", "", "203.0.113.9", "", 50, false},
		{"another address, twice", post, "?key=icfm-key", mount, "203.0.113.9", "192.0.2.0/24", 2, false},
		{"another address, three times", post, "?key=icfm-key", mount, "203.0.113.9", "192.0.2.0/24", 3, true},
		{"a method of scanners", http.MethodOptions, "", mount, "203.0.113.9", "", 5, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			configuration := relaytest.Configuration(relaytest.NewService(t), "/x")
			if test.allow != "" {
				configuration.Sources[0].Allow = []string{test.allow}
			}
			runtime, generation := relaytest.Open(t, t.TempDir()), compiled(t, configuration)
			var stack relay.Stack
			stack.Push(runtime, generation)
			for range test.times {
				request := httptest.NewRequest(test.method, mount+test.query, strings.NewReader("{}"))
				_, err := stack.Ingest(generation, request, receive.Origin{Mount: test.mount, Client: netip.MustParseAddr(test.client)})
				if _, isRefusal := errors.AsType[*receive.Refusal](err); !isRefusal {
					t.Fatalf("it is not refused: %v", err)
				}
			}
			state := runtime.State()
			if looks := len(state.Refused) > 0; looks != test.looks {
				t.Errorf("a reason to look: %v, want %v: %+v", looks, test.looks, runtime.Rejections())
			}
			if !test.looks && state.Probes != test.times {
				t.Errorf("%d probes, want %d", state.Probes, test.times)
			}
		})
	}
}

func compiled(t *testing.T, configuration relay.Configuration) *relay.Generation {
	t.Helper()
	generation, err := relay.Compile(configuration)
	if err != nil {
		t.Fatal(err)
	}
	return generation
}

// TestRequestsThatNoMountTook lists them without secrets.
func TestRequestsThatNoMountTook(t *testing.T) {
	configuration := relaytest.Configuration(relaytest.NewService(t), "/x")
	configuration.Sources[0].Allow = []string{"192.0.2.0/24", "0.0.0.0/0"}
	runtime := relaytest.Open(t, t.TempDir())
	var stack relay.Stack
	stack.NoMount(relay.Unmounted{Request: "POST /before"}) // nothing is in service
	stack.Push(runtime, compiled(t, configuration))
	for _, test := range []struct {
		client string
		near   bool
		sign   relay.Sign
	}{
		{"203.0.113.9", false, relay.SignProbe},
		{"203.0.113.9", true, relay.SignSender},
		{"192.0.2.7", false, relay.SignSender}, // in an allow
	} {
		stack.NoMount(relay.Unmounted{Client: netip.MustParseAddr(test.client), Request: "POST /icfm-key", Status: 404, Reason: "no mount has this path", Near: test.near})
		if newest := runtime.Rejections()[0]; newest.Sign != test.sign || newest.Request != "POST /***" || newest.Address != test.client {
			t.Errorf("listed is %+v", newest)
		}
	}
}

// TestRejectionsOutliveARestart also looks at what is stored after a flood: any client
// can send what is refused.
func TestRejectionsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	generation := compiled(t, relaytest.Configuration(relaytest.NewService(t), "/x"))
	runtime := relaytest.Open(t, dir)
	var stack relay.Stack
	stack.Push(runtime, generation)
	ingest := func(query, client string) {
		request := httptest.NewRequest(http.MethodPost, "/listen.php"+query, strings.NewReader(relaytest.Approved))
		_, _ = stack.Ingest(generation, request, receive.Origin{Mount: "/listen.php", Client: netip.MustParseAddr(client)})
	}
	ingest("?key=icfm-key", "192.0.2.1")
	ingest("?key=wrong", "192.0.2.1")
	ingest("?key=wrong", "192.0.2.1")
	stack.NoMount(relay.Unmounted{Client: netip.MustParseAddr("192.0.2.1"), Request: "POST /listen_php", Status: 404, Reason: "no mount has this path", Near: true})
	for i := range 2000 {
		ingest("", netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}).String())
		ingest("", fmt.Sprintf("2001:db8::%x", i)) // one client
		stack.NoMount(relay.Unmounted{
			Client: netip.AddrFrom4([4]byte{203, 1, byte(i >> 8), byte(i)}), Request: "POST /" + strings.Repeat("x", 70), Status: 404, Reason: strings.Repeat("y", 1000),
		})
	}
	before, used := runtime.Rejections(), generation.Receiver.Uses()[0].Last
	if len(before) > 400 {
		t.Errorf("%d rejections are listed", len(before))
	}
	for range 3 {
		if err := relay.KeepRejections(runtime, t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := runtime.Close(); err != nil {
		t.Fatal(err)
	}

	runtime = relaytest.Open(t, dir)
	generation = compiled(t, relaytest.Configuration(relaytest.NewService(t), "/x"))
	stack.Push(runtime, generation)
	after := runtime.Rejections()
	if len(after) != len(before) {
		t.Errorf("%d rejections are listed after the restart, want %d", len(after), len(before))
	}
	state := runtime.State()
	if len(state.Refused) != 2 || state.Refused[0].Request != "POST /listen_php" || state.Refused[1].Count != 2 || state.Refused[1].Recent != 2 {
		t.Errorf("reasons to look are %+v", state.Refused)
	}
	if last := generation.Receiver.Uses()[0].Last; !last.Equal(used) || used.IsZero() {
		t.Errorf("the key was last used %v, want %v", last, used)
	}
	notes, err := runtime.Store().Notes(t.Context(), queue.NoteRefusals, time.Time{}, time.Time{}, 10, true)
	if err != nil || len(notes) != 1 || len(notes[0].Text) > 300_000 {
		t.Errorf("there are %d notes: %v", len(notes), err)
	}

	// The same again counts on.
	ingest("?key=wrong", "192.0.2.1")
	if newest := runtime.Rejections()[0]; newest.Count != 3 || newest.Recent != 3 {
		t.Errorf("counted is %+v", newest)
	}
	// A list that cannot be read is begun anew.
	if err := runtime.Store().Note(t.Context(), queue.Note{Kind: queue.NoteRefusals, Text: "nonsense", Replace: true}); err != nil {
		t.Fatal(err)
	}
	stack = relay.Stack{}
	if err := relay.RecallRejections(runtime, context.Background()); err != nil {
		t.Errorf("a list that cannot be read: %v", err)
	}
}

// TestRejectionsOfOneSeries counts what came one after another.
func TestRejectionsOfOneSeries(t *testing.T) {
	begin := time.Date(2026, 3, 13, 10, 0, 0, 0, time.UTC)
	of := func(from, to time.Duration, n int) relay.Rejection {
		return relay.Rejection{First: begin.Add(from), RecentSince: begin.Add(from), Last: begin.Add(to), Count: n, Recent: n}
	}
	for _, test := range []struct {
		name        string
		one, more   relay.Rejection
		recent      int
		since, last time.Duration
	}{
		{"shortly after", of(0, 0, 1), of(time.Minute, time.Minute, 1), 2, 0, time.Minute},
		{"a day later", of(0, time.Hour, 5), of(24*time.Hour, 24*time.Hour, 1), 1, 24 * time.Hour, 24 * time.Hour},
		{"what was stored, read later", of(time.Hour, time.Hour, 2), of(0, 30*time.Minute, 3), 5, 0, time.Hour},
		{"what was stored long ago, read later", of(5*time.Hour, 5*time.Hour, 2), of(0, 0, 3), 2, 5 * time.Hour, 5 * time.Hour},
	} {
		one := test.one
		one.Merge(&test.more)
		if one.Recent != test.recent || one.Count != test.one.Count+test.more.Count || !one.RecentSince.Equal(begin.Add(test.since)) || !one.Last.Equal(begin.Add(test.last)) || !one.First.Equal(begin) {
			t.Errorf("%s: %+v", test.name, one)
		}
	}
	wrong := of(0, time.Hour, 1)
	wrong.Sign = relay.SignSender
	for at, looks := range map[time.Duration]bool{time.Hour: true, 2*time.Hour - 1: true, 2 * time.Hour: false} {
		if wrong.NeedsLook(begin.Add(at)) != looks {
			t.Errorf("after %v it is a reason to look: %v", at, !looks)
		}
	}
}
