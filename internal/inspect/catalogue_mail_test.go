package inspect

import (
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay/relaytest"
)

// An action that sends a mail is listed by its server, and has an example before any
// event came.
func TestMailIsListed(t *testing.T) {
	runtime := relaytest.Open(t, t.TempDir())
	configuration := listedConfiguration()
	configuration.Actions = append(configuration.Actions, config.Action{Name: "tell", Mail: &config.Mail{
		Server: "127.0.0.1:2525", From: "relay@studio.example", To: []string{"{{body.data.email}}"}, ReplyTo: "{{body.data.customer}}",
		Subject: "s", Text: "t", Recipients: []string{"studio.example"},
	}})
	relaytest.Push(t, runtime, configuration)
	actions, err := Actions(t.Context(), runtime)
	if err != nil {
		t.Fatal(err)
	}
	listed := actions[len(actions)-1]
	if listed.Method != "MAIL" || listed.URL != "127.0.0.1:2525" || len(listed.Targets) != 1 || listed.Targets[0] != "smtp://127.0.0.1:2525" ||
		listed.Settings[0] != [2]string{"starttls", "auto"} || listed.Settings[1] != [2]string{"recipients", "studio.example"} {
		t.Errorf("it is listed as %+v", listed)
	}
	example, err := Example(t.Context(), runtime, "tell")
	if err != nil || example.Error != "" || !strings.Contains(example.Request, "MAIL smtp://127.0.0.1:2525\nFrom: relay@studio.example\nTo: email@studio.example\nReply-To: customer@studio.example\n") {
		t.Errorf("the example is %+v, %v", example, err)
	}
}
