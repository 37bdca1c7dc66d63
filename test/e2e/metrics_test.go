package e2e_test

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// metricsCaddyfile has a source and an action that can be left out.
func metricsCaddyfile(machine *installation, lan string, both bool, also string) string {
	more := ""
	if both {
		more = fmt.Sprintf(`source gone {
			auth api_key query key gone-key
			event order_paid
		}
		action forsaken {
			post "%s/down"
			retry_for off
		}
		on order_paid {
			do forsaken
		}`, lan)
	}
	return fmt.Sprintf(`{
	%s
	metrics
	event_relay {
		source icfm {
			auth api_key query key icfm-key
			quiet 24h
		}
		action record {
			post "%s/record"
		}
		on job_saved {
			do record
		}
		%s
	}
}

http://%s {
	event_relay /listen.php
	metrics /metrics
}
%s`, machine.globals(), lan, more, machine.site, also)
}

var sample = regexp.MustCompile(`^(caddy_event_relay_[a-z_]+(?:\{[^}]*\})?) (\S+)$`)

// scrape returns the relay's metrics at an address, by name and labels.
func (p *server) scrape(address string) map[string]float64 {
	p.t.Helper()
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		p.t.Fatalf("a scrape is answered %d, %v:\n%s", response.StatusCode, err, text)
	}
	samples := make(map[string]float64)
	for line := range strings.Lines(string(text)) {
		found := sample.FindStringSubmatch(strings.TrimSpace(line))
		if found == nil {
			continue
		}
		if _, twice := samples[found[1]]; twice {
			p.t.Errorf("%s is there twice", found[1])
		}
		if samples[found[1]], err = strconv.ParseFloat(found[2], 64); err != nil {
			p.t.Errorf("%s: %v", line, err)
		}
	}
	return samples
}

// TestMetricsOutliveReloads counts events over reloads, one of which fails and
// one of which takes a source and an action away.
func TestMetricsOutliveReloads(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	lan := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(lan.Close)
	caddy := machine.start(metricsCaddyfile(machine, lan.URL, true, ""))
	post := func(event, key string, want int) {
		t.Helper()
		// A connection that Caddy's HTTP server cuts at a reload is cut before the
		// relay has the event.
		var response *http.Response
		waitFor(t, "an answer", func() bool {
			var err error
			response, err = newSender().Post(fmt.Sprintf("http://%s/listen.php/%s?key=%s", machine.site, event, key), "application/json", strings.NewReader("{}"))
			return err == nil
		})
		response.Body.Close()
		if response.StatusCode != want {
			t.Fatalf("%s is answered %s", event, response.Status)
		}
	}
	const (
		actions   = `caddy_event_relay_events_total{source="icfm",verdict="action"}`
		ignored   = `caddy_event_relay_events_total{source="icfm",verdict="ignored"}`
		gone      = `caddy_event_relay_events_total{source="gone",verdict="action"}`
		delivered = `caddy_event_relay_attempts_total{action="record",result="delivered"}`
		failed    = `caddy_event_relay_attempts_total{action="forsaken",result="failed"}`
		rejected  = `caddy_event_relay_rejected_requests_total{reason="credentials"}`
		took      = `caddy_event_relay_attempt_duration_seconds_count{action="record",result="delivered"}`
		bucket    = `caddy_event_relay_attempt_duration_seconds_bucket{action="record",result="delivered",le="+Inf"}`
		pending   = `caddy_event_relay_pending_deliveries{action="record"}`
		oldest    = `caddy_event_relay_oldest_pending_seconds{action="record"}`
	)
	expect := func(when string, want map[string]float64) {
		t.Helper()
		got := make(map[string]float64)
		var all map[string]float64
		waitFor(t, when+": the counts", func() bool {
			all = caddy.scrape(machine.admin)
			clear(got)
			for name := range want {
				if value, there := all[name]; there {
					got[name] = value
				}
			}
			return maps.Equal(got, want)
		})
		for _, name := range []string{"caddy_event_relay_queue_bytes", `caddy_event_relay_targets_down{action="record"}`,
			`caddy_event_relay_source_quiet{source="icfm"}`, "caddy_event_relay_queue_min_free_bytes", "caddy_event_relay_max_pending_deliveries"} {
			if _, there := all[name]; !there {
				t.Errorf("%s: there is no %s", when, name)
			}
		}
	}
	expect("at first", map[string]float64{actions: 0, ignored: 0, gone: 0, delivered: 0, failed: 0, rejected: 0, pending: 0, oldest: 0})

	counted := map[string]float64{actions: 2, ignored: 1, gone: 1, delivered: 2, failed: 1, rejected: 1, took: 2, bucket: 2, pending: 0, oldest: 0}
	for range 2 {
		post("job_saved", "icfm-key", http.StatusOK)
	}
	post("job_deleted", "icfm-key", http.StatusOK)
	post("order_paid", "gone-key", http.StatusOK)
	post("job_saved", "no-key", http.StatusUnauthorized)
	expect("after events", counted)

	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	for reload := range 5 {
		caddyfile, fails := metricsCaddyfile(machine, lan.URL, reload < 3, fmt.Sprintf("# reload %d\n", reload)), reload == 2
		caddyfile = strings.Replace(caddyfile, "on job_saved {", fmt.Sprintf("on job_saved {\n\t\t\tdescription \"reload %d\"", reload), 1)
		if fails {
			caddyfile += fmt.Sprintf("\nhttp://%s {\n\trespond 404\n}\n", occupied.Addr())
		}
		if status, answer := caddy.load(caddyfile); (status == http.StatusOK) == fails {
			t.Fatalf("reload %d is answered %d %s", reload, status, answer)
		}
		when := fmt.Sprintf("after reload %d", reload)
		expect(when, counted)
		post("job_saved", "icfm-key", http.StatusOK)
		for _, name := range []string{actions, delivered, took, bucket} {
			counted[name]++
		}
		expect(when+" and an event", counted)
	}
	if atSite, atAdmin := caddy.scrape(machine.site), caddy.scrape(machine.admin); len(atSite) != len(atAdmin) {
		t.Errorf("the directive metrics gives %d values, the admin API %d", len(atSite), len(atAdmin))
	}
	caddy.Stop()
}
