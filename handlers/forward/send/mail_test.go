package send

import (
	"strings"
	"testing"
)

func TestMail(t *testing.T) {
	server := newMailServer(t)
	result := post(t, mailTo(server))
	server.idle(t)
	if result.Status != 250 || result.Err != nil || result.Response != "2.0.0 queued as 1" || result.Refused != "" {
		t.Errorf("got %+v", result)
	}
	if len(server.mails) != 1 {
		t.Fatalf("got %d mails", len(server.mails))
	}
	if !strings.Contains(server.mails[0].text, "Good morning") {
		t.Error(server.mails[0].text)
	}
}
