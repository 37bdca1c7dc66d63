package relay

import (
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
)

// TestTryHoldsNoSecret makes the command line that anybody who opens the
// console may see.
func TestTryHoldsNoSecret(t *testing.T) {
	const secret = "c3VwZXJzZWNyZXQ="
	for _, test := range []struct {
		name       string
		credential receive.Credential
		want       string
	}{
		{"none", receive.Credential{Kind: receive.None}, "'https://e.example/in/job_saved'"},
		{"bearer", receive.Credential{Kind: receive.Bearer, Values: []string{secret}}, "Bearer YOUR-SECRET"},
		{"key in the query", receive.Credential{Kind: receive.APIKey, In: receive.InQuery, Name: "key", Values: []string{secret}}, "?key=YOUR-SECRET"},
		{"path", receive.Credential{Kind: receive.Path, Values: []string{secret}}, "/job_saved/YOUR-SECRET'"},
		{"signature", receive.Credential{Kind: receive.HMAC, Name: "X-Signature", Algorithm: "sha256", Values: []string{secret}}, "-hmac 'YOUR-SECRET'"},
		{"standard webhooks", receive.Credential{Kind: receive.StandardWebhooks, Values: []string{secret}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			source := receive.Source{Name: "icfm", Preset: "icfm", Credentials: []receive.Credential{test.credential}}
			line := Setup{Source: source, URL: "https://e.example/in"}.Try("job_saved")
			if strings.Contains(line, secret) || !strings.Contains(line, test.want) || test.want == "" && line != "" {
				t.Errorf("got %q, want it to have %q", line, test.want)
			}
			if source.Credentials[0].Values != nil && source.Credentials[0].Values[0] != secret {
				t.Error("the source itself was changed")
			}
		})
	}
}
