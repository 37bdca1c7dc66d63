package preset_test

import (
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// TestTryHoldsNoSecret makes the command line that anybody who opens the
// console may see.
func TestTryHoldsNoSecret(t *testing.T) {
	const secret = "c3VwZXJzZWNyZXQ="
	for _, test := range []struct {
		name       string
		credential config.Credential
		want       string
	}{
		{"none", config.Credential{Kind: auth.None}, "'https://e.example/in/job_saved'"},
		{"bearer", config.Credential{Kind: auth.Bearer, Values: []string{secret}}, "Bearer YOUR-SECRET"},
		{"key in the query", config.Credential{Kind: auth.APIKey, In: auth.InQuery, Name: "key", Values: []string{secret}}, "?key=YOUR-SECRET"},
		{"path", config.Credential{Kind: auth.Path, Values: []string{secret}}, "/job_saved/YOUR-SECRET'"},
		{"signature", config.Credential{Kind: auth.HMAC, Name: "X-Signature", Algorithm: "sha256", Values: []string{secret}}, "-hmac 'YOUR-SECRET'"},
		{"standard webhooks", config.Credential{Kind: auth.StandardWebhooks, Values: []string{secret}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			source := config.Source{Name: "icfm", Preset: "icfm", Auth: []config.Credential{test.credential}}
			line := receive.Setup(source, "https://e.example/in").Try("job_saved")
			if strings.Contains(line, secret) || !strings.Contains(line, test.want) || test.want == "" && line != "" {
				t.Errorf("got %q, want it to have %q", line, test.want)
			}
			if source.Auth[0].Values != nil && source.Auth[0].Values[0] != secret {
				t.Error("the source itself was changed")
			}
		})
	}
}
