package examples_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// mail waits for the next mail that the gateway is sent.
func (l *lan) mail(t *testing.T) (subject, text string) {
	t.Helper()
	sent := l.next(t, "POST /api/v1/send")
	if user, password, ok := sent.BasicAuth(); !ok || user != "relay" || password != "demo-mail-password" {
		t.Errorf("the mail is sent as %s with password %s", user, password)
	}
	var message struct {
		Subject, Text string
		To            []struct{ Email string }
	}
	if err := json.Unmarshal([]byte(sent.body), &message); err != nil {
		t.Fatalf("%v\n%s", err, sent.body)
	}
	if len(message.To) != 1 || message.To[0].Email != "admin@studio.example" {
		t.Errorf("the mail goes to %v", message.To)
	}
	return message.Subject, message.Text
}

// TestAdministratorMail has a service be away, come back, and refuse what it is
// sent.
func TestAdministratorMail(t *testing.T) {
	t.Parallel()
	mails, studio := newLAN(t), freeAddress(t)
	e := start(t, "administrator-mail", mails.URL, "STUDIO=http://"+studio)

	e.post("request.http")
	subject, text := mails.mail(t)
	if want := "http://" + studio + " is down"; subject != want || !strings.Contains(text, "found by the action create_project_folder") ||
		!strings.Contains(text, "connection refused") {
		t.Errorf("the mail is %q, want %q:\n%s", subject, want, text)
	}

	listener, err := net.Listen("tcp", studio)
	if err != nil {
		t.Fatal(err)
	}
	folders := make(chan string, 10)
	service := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		folders <- string(body)
		if strings.Contains(string(body), "48214") {
			http.Error(w, "no such client", http.StatusUnprocessableEntity)
		}
	})}
	go func() { _ = service.Serve(listener) }()
	t.Cleanup(func() { _ = service.Close() })
	if subject, text = mails.mail(t); subject != "http://"+studio+" is back" {
		t.Errorf("the mail is %q:\n%s", subject, text)
	}
	if folder := <-folders; !strings.Contains(folder, "48213") {
		t.Errorf("the service got %s", folder)
	}

	e.post("request.http", "48213", "48214")
	if subject, text = mails.mail(t); subject != "create_project_folder has failed 1 times" ||
		!strings.Contains(text, "The last one was for project_created of icfm") || !strings.Contains(text, "422") {
		t.Errorf("the mail is %q:\n%s", subject, text)
	}
}

func TestAdministratorMailAboutSilence(t *testing.T) {
	t.Parallel()
	mails := newLAN(t)
	start(t, "administrator-mail", mails.URL, "QUIET=1s")
	if subject, text := mails.mail(t); !strings.HasPrefix(subject, "icfm has sent nothing since 2") {
		t.Errorf("the mail is %q:\n%s", subject, text)
	}
}
