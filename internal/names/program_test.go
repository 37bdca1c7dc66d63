package names

import "testing"

func TestProgramIsWhatWasStarted(t *testing.T) {
	for started, want := range map[string]string{
		"caddy": "caddy", "./caddy": "caddy", "caddy.exe": "caddy", "/usr/bin/caddy-event-relay": "caddy-event-relay",
		"/opt/relay/event-relay": "event-relay", "/tmp/names.test": "caddy", "": "caddy",
	} {
		if got := programOf(started); got != want {
			t.Errorf("started as %q: got %q, want %q", started, got, want)
		}
	}
}

func TestTextsNameTheProgram(t *testing.T) {
	defer func(was string) { program = was }(program)
	program = "caddy-event-relay"
	if got, want := Command("show ID"), "caddy-event-relay event-relay show ID"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := InText("As by 'caddy reload'. sudo -u caddy caddy event-relay status; /etc/caddy/Caddyfile"),
		"As by 'caddy-event-relay reload'. sudo -u caddy caddy-event-relay event-relay status; /etc/caddy/Caddyfile"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
