package e2e_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
)

// reloadCaddyfile gives a configuration that differs in each generation.
func reloadCaddyfile(machine *installation, service *lanService, generation int, also string) string {
	return fmt.Sprintf(`{
	%s
	event_relay {
		source icfm {
			auth api_key query key icfm-key
		}
		action record {
			post "%s/record"
			query id "{{body.id}}"
			header X-Generation %d
			concurrency %d
		}
		on project_status_change {
			description "generation %d"
			do record
		}
		%s
	}
}

http://%s {
	event_relay /listen.php
	respond 404
}
`, machine.globals(), service.URL, generation, 4+generation%5, generation, also, machine.site)
}

// TestReloadsUnderLoad reloads thirty times while events come in, ten times
// with a configuration that fails: nothing may be refused, lost or doubled, and
// nothing may pile up.
func TestReloadsUnderLoad(t *testing.T) {
	t.Parallel()
	const reloads = 30
	machine := newInstallation(t)
	service := newLANService(t)
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	cannotListen := fmt.Sprintf("\nhttp://%s {\n\trespond 404\n}\n", occupied.Addr())

	caddy := machine.start(reloadCaddyfile(machine, service, 0, ""))
	url := "http://" + machine.site + "/listen.php?key=icfm-key"
	posting := startLoad(url, 8, 0)

	var goroutines, files int
	for generation := 1; generation <= reloads; generation++ {
		before := posting.acked.Load()
		caddyfile := reloadCaddyfile(machine, service, generation, "")
		fails := generation%3 == 0
		switch {
		case fails && generation%2 == 0:
			caddyfile = reloadCaddyfile(machine, service, generation, "on project_craeted {\n\t\t\tdo record\n\t\t}")
		case fails:
			caddyfile += cannotListen
		}
		status, answer := caddy.load(caddyfile)
		if fails == (status == http.StatusOK) {
			t.Fatalf("reload %d was answered %d %s", generation, status, answer)
		}
		waitFor(t, "events to go on", func() bool { return posting.acked.Load() > before+20 })
		if generation == 6 {
			goroutines, files = caddy.goroutines(), caddy.files()
		}
	}
	ids, refused := posting.end()
	if len(refused) > 0 {
		t.Errorf("%d of %d events were refused, the first: %s", len(refused), len(ids)+len(refused), refused[0])
	}
	waitFor(t, "all events to be delivered", func() bool { return service.missing(ids) == 0 })
	if repeated := service.repeated(); len(repeated) > 0 {
		t.Errorf("%d of %d events were delivered more than once", len(repeated), len(ids))
	}

	// At rest there must be no more than there was under load after the sixth
	// reload; leftovers of generations would show at least one each.
	waitFor(t, "goroutines to end", func() bool { return caddy.goroutines() <= goroutines })
	waitFor(t, "files to be closed", func() bool { return caddy.files() <= files })
	if strings.Contains(caddy.Output.String(), "panic") {
		t.Errorf("there was a panic:\n%s", caddy.Output)
	}
	t.Logf("%d events over %d reloads", len(ids), reloads)
	caddy.Stop()
}
