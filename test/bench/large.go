package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// runLarge measures how cost grows, each once.
func runLarge(s settings, p program) error {
	fmt.Print("\n| measure | |\n|---|---|\n")
	measures := []func(*settings, program) error{
		(*settings).rules, (*settings).configured, (*settings).sizes, (*settings).hanging, (*settings).queries, (*settings).pruning, (*settings).backlog,
	}
	if p.postgres != "" {
		// The others are about what all queues have in common.
		measures = []func(*settings, program) error{(*settings).backlog}
	}
	for _, measure := range measures {
		if err := measure(&s, p); err != nil {
			return err
		}
	}
	return nil
}

func say(name, format string, values ...any) {
	fmt.Printf("| "+name+" | "+format+" |\n", values...)
}

// acceptRate returns how many events that are not delivered are accepted per second.
func (b *bench) acceptRate(s *settings, status string) (float64, error) {
	l := load{address: b.address, path: relayPath, status: status, n: max(s.events/10, s.senders), senders: s.senders, size: s.size}
	if _, err := post(l); err != nil {
		return 0, err
	}
	l.n = s.events
	p, err := post(l)
	if err != nil {
		return 0, err
	}
	return float64(s.events) / p.took.Seconds(), nil
}

// rules compares many rules for other events, and some for the same event, with one.
func (s *settings) rules(p program) error {
	var others, same strings.Builder
	for i := range 999 {
		fmt.Fprintf(&others, "on delivery_failed {\n when `body.action == \"a%d\"`\n do forward\n}\n", i)
	}
	for i := range 20 {
		fmt.Fprintf(&same, "on project_status_change {\n when `body.status == \"S%d\"`\n do forward\n}\n", i)
	}
	var rates [3][]float64
	// Alternately, because the machine is not the same from one minute to the next.
	for range 3 {
		for i, relay := range []string{"", others.String(), same.String()} {
			err := s.with(p, relay, func(b bench) error {
				rate, err := b.acceptRate(s, "Pencil")
				rates[i] = append(rates[i], rate)
				return err
			})
			if err != nil {
				return fmt.Errorf("rules: %w", err)
			}
		}
	}
	one := median(rates[0])
	say("accepted with 1,000 rules, 999 of them for another event ÷ with 1", "%.2f", median(rates[1])/one)
	say("accepted with 21 rules for the event ÷ with 1", "%.2f", median(rates[2])/one)
	return nil
}

// configured measures what a large configuration costs.
func (s *settings) configured(p program) error {
	var relay strings.Builder
	for i := range 10000 {
		fmt.Fprintf(&relay, "action a%d {\n post http://127.0.0.1:9/a%d\n body json `{\"id\": \"{{body.id}}\"}`\n}\n", i, i)
	}
	for i := range 5000 {
		fmt.Fprintf(&relay, "on project_status_change {\n when `body.status == \"S%d\"`\n do a%d\n}\n", i, i)
	}
	began := time.Now()
	err := s.with(p, relay.String(), func(b bench) error {
		took := time.Since(began)
		now, most, err := b.memory()
		say("start with 10,000 actions and 5,000 rules", "%.1f s, %.0f MB, at most %.0f MB", took.Seconds(), now, most)
		return err
	})
	if err != nil {
		return fmt.Errorf("10,000 actions: %w", err)
	}
	return nil
}

// sizes measures what a delivered event costs by the size of its body.
func (s *settings) sizes(p program) error {
	for _, size := range []int{600, 10_000, 100_000, 1_000_000} {
		n := max(200, min(s.events, 200_000_000/size/10))
		err := s.with(p, "", func(b bench) error {
			if _, _, err := b.post(delivered, n/10+s.senders, s.senders, size); err != nil {
				return err
			}
			before, err := b.idle()
			if err != nil {
				return err
			}
			if _, _, err := b.post(delivered, n, s.senders, size); err != nil {
				return err
			}
			after, err := b.idle()
			say(fmt.Sprintf("CPU per delivered event of %d bytes", size), "%.0f µs", float64((after-before).Microseconds())/float64(n))
			return err
		})
		if err != nil {
			return fmt.Errorf("bodies of %d bytes: %w", size, err)
		}
	}
	return nil
}

// hanging measures an action while each event also asks for one whose target never
// answers.
func (s *settings) hanging(p program) error {
	hangs, err := newTarget()
	if err != nil {
		return err
	}
	defer hangs.close()
	hangs.delay.Store(int64(time.Hour))
	beside := fmt.Sprintf("action beside {\n post http://%s/events\n timeout 5s\n concurrency 64\n}\non project_status_change {\n do beside\n}\n", hangs.address())
	for _, c := range []struct{ name, relay string }{{"alone", ""}, {"beside one whose target hangs", beside}} {
		err := s.with(p, c.relay, func(b bench) error {
			if _, _, err := b.post(delivered, s.senders, s.senders, s.size); err != nil {
				return err
			}
			p, came, err := b.deliverAt(s, steady/2, min(s.events, 5*steady))
			if err != nil {
				return err
			}
			all := p.latenciesTo(came)
			say(fmt.Sprintf("end to end at %d/s, an action %s", steady/2, c.name), "p50 %.1f ms, p99 %.1f ms", median(all), quantile(all, 0.99))
			return nil
		})
		if err != nil {
			return fmt.Errorf("an action %s: %w", c.name, err)
		}
	}
	return nil
}

// queries measures how fast events are accepted while the history is searched.
func (s *settings) queries(p program) error {
	err := s.with(p, "", func(b bench) error {
		if _, err := post(load{address: b.address, path: relayPath, status: "Pencil", n: s.events, senders: s.senders, size: s.size, batch: 40}); err != nil {
			return err
		}
		for _, asks := range []bool{false, true} {
			stop := make(chan bool)
			var asking sync.WaitGroup
			var failed error
			if asks {
				asking.Go(func() {
					for {
						select {
						case <-stop:
							return
						case <-time.After(100 * time.Millisecond):
						}
						for _, question := range []string{"activity?n=100", "activity?text=campaign&n=50", "status", "series?n=60"} {
							answer, err := http.Get("http://" + b.admin + "/event_relay/" + question)
							if err != nil {
								failed = err
								return
							}
							_, _ = io.Copy(io.Discard, answer.Body)
							_ = answer.Body.Close()
							if answer.StatusCode != http.StatusOK {
								failed = fmt.Errorf("%s is answered %s", question, answer.Status)
								return
							}
						}
					}
				})
			}
			p, err := post(load{address: b.address, path: relayPath, status: "Pencil", n: min(s.events, 5*steady), senders: s.senders, size: s.size, rate: steady / 2})
			close(stop)
			asking.Wait()
			if err = errors.Join(err, failed); err != nil {
				return err
			}
			name := "nothing else"
			if asks {
				name = "queries as of an open console"
			}
			all := p.latencies()
			say(fmt.Sprintf("accept at %d/s beside %s", steady/2, name), "p50 %.1f ms, p99 %.1f ms", median(all), quantile(all, 0.99))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("queries: %w", err)
	}
	return nil
}

// pruning measures how fast events are accepted while the history is removed, as it is
// once a minute, with all that is older than a second.
func (s *settings) pruning(p program) error {
	for _, c := range []struct{ name, relay string }{{"nothing else", ""}, {fmt.Sprintf("the removal of %d events", 5*s.events), "retention 1s 64GiB\n"}} {
		err := s.with(p, c.relay, func(b bench) error {
			if _, err := post(load{address: b.address, path: relayPath, status: "Pencil", n: 5 * s.events, senders: s.senders, size: s.size, batch: 40}); err != nil {
				return err
			}
			const second = steady / 2
			p, err := post(load{address: b.address, path: relayPath, status: "Pencil", n: 70 * second, senders: s.senders, size: s.size, rate: second})
			if err != nil {
				return err
			}
			var worst float64
			all := p.latencies()
			for i := 0; i < len(all); i += second {
				worst = max(worst, quantile(all[i:i+second], 0.99))
			}
			say(fmt.Sprintf("accept at %d/s for 70 s beside %s", second, c.name), "p50 %.1f ms, p99 %.1f ms, p99 of the worst second %.1f ms", median(all), quantile(all, 0.99), worst)
			return nil
		})
		if err != nil {
			return fmt.Errorf("pruning: %w", err)
		}
	}
	return nil
}

// flush waits until what was written is on the disk. A program that has just written a
// gigabyte accepts slowly, however few deliveries wait.
func flush() error {
	if err := exec.Command("sync").Run(); err != nil {
		return fmt.Errorf("waiting for the disk: %w", err)
	}
	return nil
}

// backlog measures with many deliveries that wait for a target that is down: accepting,
// memory, the start, and how fast they go out when it is up again.
func (s *settings) backlog(p program) (err error) {
	t, err := newTarget()
	if err != nil {
		return err
	}
	address, n := t.address(), s.waiting
	dir := filepath.Join(s.dir, "backlog")
	limits := site{target: address, relay: fmt.Sprintf("max_pending %d\nretention 30d 64GiB\n", n+10*s.events)}
	c, err := start(p, dir, limits)
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	defer func() {
		if c != nil {
			err = errors.Join(err, c.stop())
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	b := bench{c, t}
	fresh, _, err := b.post(delivered, s.events, s.senders, s.size)
	if err != nil {
		return err
	}
	t.close()
	if err := flush(); err != nil {
		return err
	}
	none, err := b.acceptRate(s, "Approved")
	if err != nil {
		return err
	}
	if _, err := post(load{address: c.address, path: relayPath, status: "Approved", n: n, senders: 8, size: s.size, batch: 40}); err != nil {
		return err
	}
	if _, err := c.idle(); err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	many, err := b.acceptRate(s, "Approved")
	if err != nil {
		return err
	}
	now, most, err := c.memory()
	if err != nil {
		return err
	}
	say(fmt.Sprintf("accepted with %d waiting for a dead target ÷ with none", n), "%.2f", many/none)
	say(fmt.Sprintf("memory with %d waiting", n), "%.0f MB, at most %.0f MB", now, most)
	stopped := c
	c = nil
	if err := stopped.stop(); err != nil {
		return err
	}
	if t, err = newTargetAt(address); err != nil {
		return err
	}
	defer t.close()
	came := t.expect(n)
	if err := flush(); err != nil {
		return err
	}
	began := time.Now()
	if c, err = start(p, dir, limits); err != nil {
		return err
	}
	serves := time.Since(began)
	if err := came.wait(1); err != nil {
		return err
	}
	first := time.Since(began)
	part := min(n, 5*s.events)
	// Their ids are those of several loads, so most come more than once.
	for came.first.Load()+came.again.Load() < int64(part) {
		if time.Since(began) > time.Hour {
			return errors.New("the backlog does not drain within an hour")
		}
		time.Sleep(10 * time.Millisecond)
	}
	rate := float64(part) / (time.Since(began) - first).Seconds()
	say(fmt.Sprintf("start with %d waiting, to serving and to the first delivery", n), "%.2f s, %.2f s", serves.Seconds(), first.Seconds())
	say("delivered per second out of them ÷ when fresh", "%.2f", rate/(float64(s.events)/fresh.Seconds()))
	return nil
}
