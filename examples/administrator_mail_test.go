package examples_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const administrator = "admin@studio.example"

// TestAdministratorMail has a service be away, come back, and refuse what it is
// sent.
func TestAdministratorMail(t *testing.T) {
	t.Parallel()
	mails, studio := newMailbox(t), freeAddress(t)
	e := start(t, "administrator-mail", mails.url, "STUDIO=http://"+studio)

	e.post("request.http")
	subject, text := mails.next(t, administrator)
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
	if subject, text = mails.next(t, administrator); subject != "http://"+studio+" is back" {
		t.Errorf("the mail is %q:\n%s", subject, text)
	}
	if folder := <-folders; !strings.Contains(folder, "48213") {
		t.Errorf("the service got %s", folder)
	}

	e.post("request.http", "48213", "48214")
	if subject, text = mails.next(t, administrator); subject != "create_project_folder has failed 1 times" ||
		!strings.Contains(text, "The last one was for project_created of icfm") || !strings.Contains(text, "422") {
		t.Errorf("the mail is %q:\n%s", subject, text)
	}
}

func TestAdministratorMailAboutSilence(t *testing.T) {
	t.Parallel()
	mails := newMailbox(t)
	start(t, "administrator-mail", mails.url, "QUIET=1s")
	if subject, text := mails.next(t, administrator); !strings.HasPrefix(subject, "icfm has sent nothing since 2") {
		t.Errorf("the mail is %q:\n%s", subject, text)
	}
}
