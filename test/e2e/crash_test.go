package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

const crashCaddyfile = `{
	%s
	event_relay {
		source icfm {
			auth api_key query key icfm-key
		}
		action record {
			post "%s/record"
			query id "{{body.id}}"
			concurrency 16
			retry_interval 10ms 100ms
		}
		on project_status_change {
			when ` + "`body.status == \"Approved\"`" + `
			do record
		}
	}
}

http://%s {
	event_relay /listen.php
	respond 404
}
`

// TestKilledProcessDeliversWhatItAnswered kills Caddy at random moments under
// load: each event that was answered 200 must reach its target all the same.
func TestKilledProcessDeliversWhatItAnswered(t *testing.T) {
	t.Parallel()
	const kills = 10
	machine := newInstallation(t)
	service := newLANService(t)
	caddyfile := fmt.Sprintf(crashCaddyfile, machine.globals(), service.URL, machine.site)
	url := "http://" + machine.site + "/listen.php?key=icfm-key"

	var acked []int
	for kill := range kills {
		caddy := machine.start(caddyfile)
		posting := startLoad(url, 16, (kill+1)*1_000_000)
		moment := int64(1 + rand.IntN(1500))
		waitFor(t, "events to be answered", func() bool { return posting.acked.Load() >= moment })
		caddy.Kill()
		ids, _ := posting.end()
		if len(ids) == 0 {
			t.Fatalf("kill %d: nothing was answered 200", kill)
		}
		acked = append(acked, ids...)
	}

	caddy := machine.start(caddyfile)
	waitFor(t, "every answered event to be delivered", func() bool { return service.missing(acked) == 0 })
	t.Logf("%d events answered over %d kills, %d of them delivered more than once",
		len(acked), kills, len(service.repeated()))
	caddy.Stop()
}
