package e2e_test

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// secretsCaddyfile has every kind of credential and a secret parameter. The log
// is complete: nothing is filtered out of it.
const secretsCaddyfile = `{
	admin %s
	auto_https off
	skip_install_trust
	debug

	event_relay {
		%s
		source pbx pbxware {
			auth bearer {file.%s} {env.SECRET_BEARER}
			auth basic pbx {env.SECRET_BASIC}
			auth api_key header X-Api-Key {env.SECRET_HEADER}
			auth path {env.SECRET_PATH}
		}
		source icfm {
			auth api_key query key {env.SECRET_QUERY}
		}
		source aircall {
			auth api_key body token {env.SECRET_BODY}
		}
		source erp {
			auth hmac X-Signature sha256 {env.SECRET_HMAC}
		}
		source shop {
			auth standard_webhooks {env.SECRET_WEBHOOKS}
		}

		parameter studio_token {env.SECRET_PARAMETER}
		action echo {
			post "%s/echo/{{studio_token}}"
			query token "{{studio_token}}"
			header Authorization "Bearer {{studio_token}}"
			body json <<JSON
				{"token": "{{studio_token}}", "event": "{{event}}"}
				JSON
			success 418
			retry_for off
		}
		action nobody {
			post "http://127.0.0.1:1/{{studio_token}}"
			retry_for off
		}
		on hangup job_saved {
			do echo nobody
		}
	}
}

http://%s {
	event_relay /listen.php
	respond 404
}
`

// secretFor returns a secret that is found again by its middle, also
// where the characters around that were escaped or cut off.
func secretFor(kind string) (whole, middle string) {
	sum := sha256.Sum256([]byte(kind))
	middle = hex.EncodeToString(sum[:10])
	return `s/"` + middle + `+ü&`, middle
}

// TestSecretsAreNowhere posts with every kind of credential, right and wrong,
// and then looks for their bytes in all that the relay keeps, logs and tells.
func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	machine := newInstallation(t)
	// found holds what must not be found, by what it is.
	found := map[string]string{}
	secrets := map[string]string{}
	for _, kind := range []string{"FILE", "BEARER", "BASIC", "HEADER", "PATH", "QUERY", "BODY", "HMAC", "PARAMETER"} {
		whole, middle := secretFor(kind)
		switch kind {
		case "FILE", "BEARER", "HEADER":
			whole = strings.ReplaceAll(whole, "ü", "u") // not every client can put it into a header
		case "PARAMETER":
			whole = strings.ReplaceAll(whole, `"`, "'") // it stands as it is in JSON
		}
		secrets[kind], found[kind] = whole, middle
		machine.set("SECRET_"+kind, whole)
	}
	key := sha256.Sum256([]byte("WEBHOOKS"))
	secrets["WEBHOOKS"] = "whsec_" + base64.StdEncoding.EncodeToString(key[:])
	found["WEBHOOKS"] = base64.StdEncoding.EncodeToString(key[:])
	found["WEBHOOKS in hex"] = hex.EncodeToString(key[:])
	found["BASIC as sent"] = base64.StdEncoding.EncodeToString([]byte("pbx:" + secrets["BASIC"]))
	machine.set("SECRET_WEBHOOKS", secrets["WEBHOOKS"])
	found["a wrong one"] = "wr0ng" + found["FILE"][5:]
	wrong := "s/" + found["a wrong one"]

	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(secrets["FILE"]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// The target sends back what it got: targets do.
	var echoed atomic.Int64
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "I got %s %q %s", r.RequestURI, r.Header, body)
		echoed.Add(1)
	}))
	t.Cleanup(target.Close)
	caddyfile := func(limits string) string {
		return fmt.Sprintf(secretsCaddyfile, machine.admin, limits, tokenFile, target.URL, machine.site)
	}
	caddy := machine.start(caddyfile(""))

	traffic := secretTraffic(t, "http://"+machine.site+"/listen.php", secrets, wrong)
	var stored []string
	for _, one := range traffic {
		status, answer := one.send(t)
		if status != one.want {
			t.Errorf("%s is answered %d %s, not %d", one.name, status, answer, one.want)
		}
		if status == http.StatusOK {
			stored = append(stored, answeredIDs(t, answer)...)
		}
	}
	// The target of one action is down. One attempt at its delivery shows what the error
	// says.
	waitFor(t, "the attempts to end", func() bool {
		return echoed.Load() > 0 && !bytes.Contains(caddy.adminRaw("/event_relay/backlog"), []byte(`"echo"`)) &&
			bytes.Contains(caddy.adminRaw("/event_relay/activity?action=nobody&state=failed"), []byte(`"nobody"`))
	})

	look := func(where string, text []byte) {
		t.Helper()
		for what, bytesOf := range found {
			if at := bytes.Index(text, []byte(bytesOf)); at >= 0 {
				t.Errorf("%s holds %s: …%q…", where, what, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
	lookIntoFiles := func() {
		t.Helper()
		files := 0
		if err := filepath.WalkDir(machine.home, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			look(path, content)
			files++
			return err
		}); err != nil || files < 4 {
			t.Fatalf("looked into %d files: %v", files, err)
		}
	}
	lookIntoFiles()

	for _, path := range []string{"/config/", "/event_relay/activity?n=1000", "/event_relay/backlog", "/event_relay/rejections", "/metrics"} {
		look(path, caddy.adminRaw(path))
	}
	for _, id := range stored {
		look("/event_relay/events/ID", caddy.adminRaw("/event_relay/events/"+id))
	}
	var snapshots []struct{ ID int64 }
	caddy.adminJSON("/event_relay/snapshots", &snapshots)
	if len(snapshots) == 0 {
		t.Error("no snapshot of the configuration is kept")
	}
	for _, snapshot := range snapshots {
		path := fmt.Sprintf("/event_relay/snapshots/%d", snapshot.ID)
		text := caddy.adminRaw(path)
		look(path, text)
		if !bytes.Contains(text, []byte("{env.")) {
			t.Errorf("a snapshot does not say where its secrets come from: %s", text)
		}
	}
	last := stored[len(stored)-1]
	for _, arguments := range [][]string{
		{"activity", "-n", "1000"}, {"activity", "-n", "1000", "--json"}, {"rejections"}, {"rejections", "--json"}, {"show", last}, {"show", last, "--json"},
	} {
		output, err := machine.run(append(append([]string{"event-relay"}, arguments...), "--address", machine.admin)...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", arguments, err, output)
		}
		look("the output of "+strings.Join(arguments, " "), []byte(output))
	}
	adapted, err := machine.run("adapt", "--config", filepath.Join(machine.home, "Caddyfile"), "--adapter", "caddyfile")
	if err != nil {
		t.Fatalf("adapt: %v\n%s", err, adapted)
	}
	look("the output of adapt", []byte(adapted))

	// What is not stored is an error of the server.
	if status, answer := caddy.load(caddyfile("min_free 100PiB")); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, answer)
	}
	refused := 0
	for _, one := range traffic {
		if status, _ := one.send(t); status == http.StatusServiceUnavailable {
			refused++
		}
	}
	if refused < len(stored)/2 {
		t.Errorf("%d of %d requests were answered 503", refused, len(traffic))
	}
	caddy.Stop()
	lookIntoFiles()
	log := caddy.Output.String()
	for _, status := range []int{http.StatusUnauthorized, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable} {
		if line := fmt.Sprintf(`"logger":"http.handlers.event_relay","msg":"refused a request","status":%d`, status); !strings.Contains(log, line) {
			t.Errorf("the log is not complete: no line has %s", line)
		}
	}
	look("the log", []byte(log))
}

// secretRequest is a request that carries credentials, and its answer.
type secretRequest struct {
	name, method, url string
	headers           map[string]string
	body              string
	want              int
}

// secretClient has a connection for each request: those that stood idle are
// closed by a reload.
var secretClient = &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}

func (s secretRequest) send(t *testing.T) (status int, answer []byte) {
	t.Helper()
	waitFor(t, s.name+" to be answered", func() bool {
		request, err := http.NewRequest(s.method, s.url, strings.NewReader(s.body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range s.headers {
			request.Header.Set(name, value)
		}
		response, err := secretClient.Do(request)
		if err != nil {
			return false // cut by the reload of the HTTP server
		}
		defer response.Body.Close()
		status = response.StatusCode
		answer, err = io.ReadAll(response.Body)
		return err == nil
	})
	return status, answer
}

// secretTraffic returns requests with every kind of credential.
func secretTraffic(t *testing.T, site string, secrets map[string]string, wrong string) []secretRequest {
	t.Helper()
	const event = `{"event":"job_saved","id":1}`
	const kind, form = "application/json", "application/x-www-form-urlencoded"
	jsonText := func(text string) string { return strings.ReplaceAll(text, `"`, `\"`) }
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("pbx:"+password))
	}
	sign := func(key, text string) []byte {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	webhookKey, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secrets["WEBHOOKS"], "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	moment := fmt.Sprint(time.Now().Unix())
	webhook := "v1," + base64.StdEncoding.EncodeToString(sign(string(webhookKey), "msg_1."+moment+"."+event))
	var zipped bytes.Buffer
	zip := gzip.NewWriter(&zipped)
	_, _ = zip.Write([]byte(`{"event":"call.hungup","token":"` + jsonText(secrets["BODY"]) + `"}`))
	_ = zip.Close()
	multipart := "--b\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\n" + secrets["BODY"] +
		"\r\n--b\r\nContent-Disposition: form-data; name=\"event\"\r\n\r\ncall.hungup\r\n--b--\r\n"

	const post, ok, no = http.MethodPost, http.StatusOK, http.StatusUnauthorized
	type headers = map[string]string
	query := site + "?key=" + url.QueryEscape(secrets["QUERY"])
	requests := []secretRequest{
		{"bearer", post, site + "/hangup", headers{"Authorization": "Bearer " + secrets["BEARER"]}, event, ok},
		{"bearer from a file", post, site + "/hangup", headers{"Authorization": "bearer " + secrets["FILE"]}, event, ok},
		{"basic", post, site + "/hangup", headers{"Authorization": basic(secrets["BASIC"])}, event, ok},
		{"key in header", post, site + "/hangup", headers{"X-Api-Key": secrets["HEADER"]}, event, ok},
		{"key in query", post, query, headers{"Content-Type": kind}, event, ok},
		{"key in query twice", post, query + "&key=" + url.QueryEscape(wrong), headers{"Content-Type": kind}, event, ok},
		{"key in query of GET", http.MethodGet, query + "&event=job_saved", nil, "", ok},
		{"key in query and Referer", post, query, headers{"Referer": query, "Cookie": "key=" + url.QueryEscape(secrets["QUERY"])}, event, ok},
		{"token in path", post, site + "/hangup/" + url.PathEscape(secrets["PATH"]), nil, event, ok},
		{"token in path alone", post, site + "/" + url.PathEscape(secrets["PATH"]), nil, event, ok},
		{"token in path and trailing slash", post, site + "/hangup/" + url.PathEscape(secrets["PATH"]) + "/", nil, event, ok},
		{"all at once", post, query + "&event=hangup", headers{
			"Authorization": "Bearer " + secrets["BEARER"], "X-Api-Key": secrets["HEADER"], "X-Signature": "sha256=" + hex.EncodeToString(sign(secrets["HMAC"], event)),
		}, event, ok},
		{"right and wrong", post, query, headers{"Authorization": "Bearer " + wrong, "X-Api-Key": wrong}, event, ok},
		{"the wrong key of the right source", post, site + "/hangup", headers{"Authorization": "Bearer " + secrets["BEARER"], "X-Api-Key": wrong}, event, ok},
		{"token in JSON", post, site, headers{"Content-Type": kind}, `{"event":"call.hungup","token":"` + jsonText(secrets["BODY"]) + `"}`, ok},
		{"token in JSON twice", post, site, headers{"Content-Type": kind},
			`{"event":"call.hungup","token":"` + jsonText(wrong) + `","token":"` + jsonText(secrets["BODY"]) + `"}`, ok},
		{"token in JSON escaped", post, site, headers{"Content-Type": kind},
			`{"event":"call.hungup","token":"` + strings.ReplaceAll(jsonText(secrets["BODY"]), "/", `\/`) + `"}`, ok},
		{"token in broken JSON", post, site, headers{"Content-Type": kind},
			`{"event":"call.hungup","token":"` + jsonText(secrets["BODY"]) + `","name":"Bob "B" Lee"}`, ok},
		{"token in JSON in a string", post, site, headers{"Content-Type": kind},
			`"{\"event\":\"call.hungup\",\"token\":\"` + strings.ReplaceAll(jsonText(secrets["BODY"]), `\"`, `\\\"`) + `\"}"`, ok},
		{"token in form", post, site, headers{"Content-Type": form}, "event=call.hungup&token=" + url.QueryEscape(secrets["BODY"]), ok},
		{"token in form twice", post, site, headers{"Content-Type": form},
			"event=call.hungup&token=" + url.QueryEscape(secrets["BODY"]) + "&token=" + url.QueryEscape(wrong), ok},
		{"token in multipart", post, site, headers{"Content-Type": "multipart/form-data; boundary=b"}, multipart, ok},
		{"token in XML", post, site, headers{"Content-Type": "application/xml"},
			"<call><event>call.hungup</event><token>" + strings.ReplaceAll(secrets["BODY"], "&", "&amp;") + "</token></call>", ok},
		{"token in gzip", post, site, headers{"Content-Type": kind, "Content-Encoding": "gzip"}, zipped.String(), ok},
		{"signature", post, site + "/order", headers{"X-Signature": "sha256=" + hex.EncodeToString(sign(secrets["HMAC"], event))}, event, ok},
		{"webhook", post, site + "/order", headers{"Webhook-Id": "msg_1", "Webhook-Timestamp": moment, "Webhook-Signature": webhook}, event, ok},

		{"wrong bearer", post, site + "/hangup", headers{"Authorization": "Bearer " + wrong}, event, no},
		{"bearer of another source as key", post, site + "?key=" + url.QueryEscape(secrets["BEARER"]), nil, event, no},
		{"wrong basic", post, site, headers{"Authorization": basic(wrong)}, event, no},
		{"wrong key in header", post, site, headers{"X-Api-Key": wrong}, event, no},
		{"wrong key in query", post, site + "?key=" + url.QueryEscape(wrong), nil, event, no},
		{"key in query under another name", post, site + "?kye=" + url.QueryEscape(secrets["QUERY"]), nil, event, no},
		{"wrong token in path", post, site + "/hangup/" + url.PathEscape(wrong), nil, event, no},
		{"wrong token in body", post, site, headers{"Content-Type": kind}, `{"token":"` + jsonText(wrong) + `"}`, no},
		{"wrong signature", post, site, headers{"X-Signature": wrong}, event, no},
		{"wrong webhook", post, site, headers{"Webhook-Id": "msg_1", "Webhook-Timestamp": moment, "Webhook-Signature": "v1," + wrong}, event, no},
		{"wrong method", http.MethodOptions, query, nil, "", http.StatusMethodNotAllowed},
		{"too large", post, query, nil, strings.Repeat("x", 1<<20+1), http.StatusRequestEntityTooLarge},
		{"elsewhere", post, strings.Replace(query, "listen.php", "listen", 1), nil, event, http.StatusNotFound},
	}
	// Some senders repeat the URL that they call.
	for _, repeat := range []struct{ name, secret, url, header, value string }{
		{"bearer", secrets["BEARER"], site + "/hangup", "Authorization", "Bearer " + secrets["BEARER"]},
		{"key in query", secrets["QUERY"], query, "Content-Type", form},
	} {
		requests = append(requests, secretRequest{repeat.name + " repeated", post, repeat.url, headers{repeat.header: repeat.value, "X-Called": repeat.secret},
			"event=job_saved&called=" + repeat.secret, ok})
	}
	return requests
}
