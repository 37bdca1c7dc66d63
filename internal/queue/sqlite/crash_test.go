package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// The test binary runs itself as another process with a queue directory and
// what to do with it in the environment.
const (
	childDir  = "EVENT_RELAY_QUEUE_CHILD_DIR"
	childTask = "EVENT_RELAY_QUEUE_CHILD_TASK"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childTask) {
	case "":
		os.Exit(m.Run())
	case "open":
		db, err := Open(Options{Dir: os.Getenv(childDir), MinFree: -1})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		db.Close()
	case "hold":
		if _, err := Open(Options{Dir: os.Getenv(childDir), MinFree: -1}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("open")
		select {} // until killed
	case "load":
		load(os.Getenv(childDir))
	}
}

func child(dir, task string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, childTask+"="+task)
	cmd.Stderr = os.Stderr
	return cmd
}

// load puts, takes and settles until it is killed. A line is written before
// anything that may be seen later, and after anything that must be.
func load(dir string) {
	db, err := Open(Options{Dir: dir, MinFree: -1, limits: limits{walIdle: 64 << 10}})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	ctx := context.Background()
	if err := db.Exist(ctx, benchThings); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for range 6 {
		go func() {
			for {
				var entries []queue.Entry
				var said []string
				for range 1 + rand.IntN(3) {
					e := benchEntry("x")
					e.Verdict.Held = []string{"r"}
					e.Event.Test = rand.IntN(8) == 0
					if rand.IntN(4) == 0 {
						e.Deliveries[0].OrderKey = fmt.Sprint(rand.IntN(5))
					}
					entries = append(entries, e)
					said = append(said, e.Deliveries[0].ID)
				}
				if _, err := db.Put(ctx, entries); err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				fmt.Println("put", strings.Join(said, " "))
			}
		}()
	}
	for {
		leases, err := db.Take(ctx, "x", 10)
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		for _, l := range leases {
			s := queue.Settlement{State: queue.Delivered, Attempt: &queue.Attempt{Began: time.Now(), Status: 200}}
			switch rand.IntN(8) {
			case 0:
				s.State = queue.Failed
			case 1, 2:
				s.State, s.Again = queue.Pending, time.Now().Add(time.Duration(rand.IntN(20))*time.Millisecond)
			case 3:
				continue // the lease is lost with the process
			}
			fmt.Println("settle", l.Delivery.ID, s.State)
			if err := db.Settle(l.Token, s); err != nil {
				fmt.Println("error", err)
				os.Exit(1)
			}
		}
	}
}

// told is what a child said about its deliveries before it was killed.
type told struct {
	put      map[string]bool
	settled  map[string]map[queue.State]bool
	attempts map[string]int
}

// run starts a child that works, kills it after a while, and remembers what it
// said.
func (h *told) run(t *testing.T, dir string, kill time.Duration) {
	t.Helper()
	cmd := child(dir, "load")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what has no end was not said
		}
		words := strings.Fields(line)
		switch words[0] {
		case "put":
			once.Do(func() { time.AfterFunc(kill, func() { cmd.Process.Kill() }) })
			for _, id := range words[1:] {
				h.put[id] = true
			}
		case "settle":
			if h.settled[words[1]] == nil {
				h.settled[words[1]] = make(map[queue.State]bool)
			}
			h.settled[words[1]][queue.State(words[2])] = true
			h.attempts[words[1]]++
		default:
			t.Errorf("the child said: %s", line)
		}
	}
	cmd.Wait()
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	said := &told{put: make(map[string]bool), settled: make(map[string]map[queue.State]bool), attempts: make(map[string]int)}
	for range 8 {
		said.run(t, dir, time.Duration(rand.IntN(150))*time.Millisecond)
		stored := check(t, dir, said)
		t.Logf("%d deliveries acknowledged, %d stored", len(said.put), stored)
	}
	if len(said.put) < 100 {
		t.Errorf("only %d deliveries were put: this shows nothing", len(said.put))
	}
}

// check opens the queue that a killed process left and compares it with what
// that process said.
func check(t *testing.T, dir string, said *told) (stored int) {
	t.Helper()
	db, err := Open(Options{Dir: dir, MinFree: -1})
	if err != nil {
		t.Fatalf("opening after a kill: %v", err)
	}
	checkUses(t, db)
	pending := make(map[string]queue.DeliveryState)
	seen := make(map[string]bool)
	for after := queue.Cursor(""); ; {
		page, err := db.Page(context.Background(), queue.Filter{}, queue.NewestFirst, after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range page.Events {
			for _, d := range s.Deliveries {
				seen[d.ID] = true
				if d.State == queue.Pending {
					pending[d.ID] = d
				} else if !said.settled[d.ID][d.State] {
					t.Errorf("delivery %s is %s, which no call said", d.ID, d.State)
				}
				if d.Attempts > said.attempts[d.ID] {
					t.Errorf("delivery %s has %d attempts and %d were made", d.ID, d.Attempts, said.attempts[d.ID])
				}
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	for id := range said.put {
		if !seen[id] {
			t.Errorf("delivery %s was acknowledged and is gone", id)
		}
	}
	// Whatever is pending can be had: of each order key one after another.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for n := len(pending); n > 0; {
		leases, err := db.Take(ctx, "x", 1000)
		if err != nil {
			t.Fatalf("taking what is pending, with %d to come: %v", n, err)
		}
		for _, l := range leases {
			d, ok := pending[l.Delivery.ID]
			if !ok {
				t.Errorf("delivery %s was handed out twice or is not pending", l.Delivery.ID)
			}
			delete(pending, l.Delivery.ID)
			if l.Delivery.Attempts != d.Attempts {
				t.Errorf("delivery %s is handed out with %d attempts, and has %d", d.ID, l.Delivery.Attempts, d.Attempts)
			}
			n--
			if l.Delivery.OrderKey != "" { // the next of its key waits for this one
				if err := db.Settle(l.Token, queue.Settlement{State: queue.Expired}); err != nil {
					t.Fatal(err)
				}
				if said.settled[d.ID] == nil {
					said.settled[d.ID] = make(map[queue.State]bool)
				}
				said.settled[d.ID][queue.Expired] = true
			}
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	checkConsistency(t, dir)
	checkCounts(t, dir)
	return len(seen)
}
