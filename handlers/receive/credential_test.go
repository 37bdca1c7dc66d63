package receive_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// with returns a change of a request that sets a header.
func with(name, value string) func(*http.Request) {
	return func(request *http.Request) { request.Header.Set(name, value) }
}

func basic(user, password string) func(*http.Request) {
	return func(request *http.Request) { request.SetBasicAuth(user, password) }
}

func mac(newHash func() hash.Hash, key, text string) []byte {
	m := hmac.New(newHash, []byte(key))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// TestCredentials tries each kind with values that are right, nearly right and
// wrong. The old value of each is still configured, an empty one too.
func TestCredentials(t *testing.T) {
	const body = `{"event":"x","token":"%s"}`
	const fixed = `{"event":"x"}`
	sum := mac(sha256.New, "new-secret", fixed)
	wrongSum := mac(sha256.New, "", fixed)
	values := []string{"new-secret", "", "old-secret"}
	tests := []struct {
		name       string
		credential config.Credential
		rest, body string
		change     func(*http.Request)
		proven     bool
	}{
		{name: "none", credential: config.Credential{Kind: auth.None}, body: fixed, proven: true},

		{name: "bearer", credential: config.Credential{Kind: auth.Bearer, Values: values}, body: fixed, change: with("Authorization", "Bearer new-secret"), proven: true},
		{name: "bearer old", credential: config.Credential{Kind: auth.Bearer, Values: values}, body: fixed, change: with("Authorization", "bearer  old-secret "), proven: true},
		{name: "bearer wrong", credential: config.Credential{Kind: auth.Bearer, Values: values}, body: fixed, change: with("Authorization", "Bearer new-secre")},
		{name: "bearer empty", credential: config.Credential{Kind: auth.Bearer, Values: values}, body: fixed, change: with("Authorization", "Bearer ")},
		{name: "bearer without scheme", credential: config.Credential{Kind: auth.Bearer, Values: values}, body: fixed, change: with("Authorization", "new-secret")},
		{name: "bearer as basic", credential: config.Credential{Kind: auth.Bearer, Values: values}, body: fixed, change: with("Authorization", "Basic new-secret")},
		{name: "bearer missing", credential: config.Credential{Kind: auth.Bearer, Values: values}, body: fixed},

		{name: "basic", credential: config.Credential{Kind: auth.Basic, User: "u", Password: "new-secret"}, body: fixed, change: basic("u", "new-secret"), proven: true},
		{name: "basic old", credential: config.Credential{Kind: auth.Basic, User: "u", Password: "old-secret"}, body: fixed, change: basic("u", "old-secret"), proven: true},
		{name: "basic colon", credential: config.Credential{Kind: auth.Basic, User: "u", Password: "a:b"}, body: fixed, change: basic("u", "a:b"), proven: true},
		{name: "basic other user", credential: config.Credential{Kind: auth.Basic, User: "u", Password: "new-secret"}, body: fixed, change: basic("v", "new-secret")},
		{name: "basic empty", credential: config.Credential{Kind: auth.Basic, User: "u", Password: "new-secret"}, body: fixed, change: basic("u", "")},
		{name: "basic no base64", credential: config.Credential{Kind: auth.Basic, User: "u", Password: "new-secret"}, body: fixed, change: with("Authorization", "Basic u:new-secret")},

		{name: "header", credential: config.Credential{Kind: auth.APIKey, In: auth.InHeader, Name: "x-key", Values: values}, body: fixed, change: with("X-Key", "old-secret"), proven: true},
		{name: "header empty", credential: config.Credential{Kind: auth.APIKey, In: auth.InHeader, Name: "x-key", Values: values}, body: fixed, change: with("X-Key", "")},
		{name: "header wrong", credential: config.Credential{Kind: auth.APIKey, In: auth.InHeader, Name: "x-key", Values: values}, body: fixed, change: with("X-Key", "secret")},
		{name: "query", credential: config.Credential{Kind: auth.APIKey, In: auth.InQuery, Name: "k", Values: values}, rest: "?k=old%2Dsecret", body: fixed, proven: true},
		{name: "query empty", credential: config.Credential{Kind: auth.APIKey, In: auth.InQuery, Name: "k", Values: values}, rest: "?k=", body: fixed},
		{name: "query other case", credential: config.Credential{Kind: auth.APIKey, In: auth.InQuery, Name: "k", Values: values}, rest: "?K=old-secret", body: fixed},
		{name: "body", credential: config.Credential{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: values}, body: fmt.Sprintf(body, "old-secret"), proven: true},
		{name: "body form", credential: config.Credential{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: values}, body: "event=x&token=new-secret", proven: true},
		{name: "body XML", credential: config.Credential{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: values}, body: "<a><token>new-secret</token></a>", proven: true},
		{name: "body empty", credential: config.Credential{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: values}, body: fmt.Sprintf(body, "")},
		{name: "body wrong", credential: config.Credential{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: values}, body: fmt.Sprintf(body, "x")},
		{name: "body nested", credential: config.Credential{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: values}, body: `{"data":{"token":"new-secret"}}`},
		{name: "body list", credential: config.Credential{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: values}, body: `{"token":["new-secret"]}`},
		{name: "body none", credential: config.Credential{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: values}},

		{name: "path", credential: config.Credential{Kind: auth.Path, Values: values}, rest: "/x/new-secret", body: fixed, proven: true},
		{name: "path alone", credential: config.Credential{Kind: auth.Path, Values: values}, rest: "/old-secret/", body: fixed, proven: true},
		{name: "path not last", credential: config.Credential{Kind: auth.Path, Values: values}, rest: "/new-secret/x", body: fixed},
		{name: "path missing", credential: config.Credential{Kind: auth.Path, Values: values}, body: fixed},

		{name: "hmac hex", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha256", Values: values}, body: fixed, change: with("X-Sig", hex.EncodeToString(sum)), proven: true},
		{name: "hmac capitals", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha256", Values: values}, body: fixed, change: with("X-Sig", "SHA256="+strings.ToUpper(hex.EncodeToString(sum))), proven: true},
		{name: "hmac base64", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha256", Values: values}, body: fixed, change: with("X-Sig", base64.StdEncoding.EncodeToString(sum)), proven: true},
		{name: "hmac base64 of URLs", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha256", Values: values}, body: fixed, change: with("X-Sig", base64.RawURLEncoding.EncodeToString(sum)), proven: true},
		{name: "hmac two", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha256", Values: values}, body: fixed, change: with("X-Sig", "v1="+hex.EncodeToString(wrongSum)+",v1="+hex.EncodeToString(sum)), proven: true},
		{name: "hmac sha1", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha1", Values: values}, body: fixed, change: with("X-Sig", "sha1="+hex.EncodeToString(mac(sha1.New, "old-secret", fixed))), proven: true},
		{name: "hmac sha512", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha512", Values: values}, body: fixed, change: with("X-Sig", hex.EncodeToString(mac(sha512.New, "old-secret", fixed))), proven: true},
		{name: "hmac empty key", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha256", Values: values}, body: fixed, change: with("X-Sig", hex.EncodeToString(wrongSum))},
		{name: "hmac other body", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha256", Values: values}, body: fixed + " ", change: with("X-Sig", hex.EncodeToString(sum))},
		{name: "hmac empty", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha256", Values: values}, body: fixed, change: with("X-Sig", "sha256=")},
		{name: "hmac cut", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha256", Values: values}, body: fixed, change: with("X-Sig", hex.EncodeToString(sum[:16]))},
		{name: "hmac missing", credential: config.Credential{Kind: auth.HMAC, Name: "x-sig", Algorithm: "sha256", Values: values}, body: fixed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRelay(t, receive.Options{}, config.Source{Name: "s", Auth: []config.Credential{test.credential}})
			request := post(test.rest, "", test.body)
			if test.change != nil {
				test.change(request)
			}
			received, err := r.Receive(request, origin)
			if test.proven {
				if err != nil || len(received.Events) != 1 {
					t.Fatal(received, err)
				}
				checkNoSecret(t, received.Events[0], "new-secret", "old-secret", hex.EncodeToString(sum))
				return
			}
			if status(err) != http.StatusUnauthorized {
				t.Fatalf("got %v, want 401", err)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the reason %q repeats the credential", err)
			}
			for _, use := range r.Uses() {
				if !use.Last.IsZero() {
					t.Errorf("counted as used: %+v", use)
				}
			}
		})
	}
}

// TestSignedTime checks that a time only counts when it is signed and near.
func TestSignedTime(t *testing.T) {
	const body = `{"event":"x"}`
	at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Unix(), 10) }
	millis := strconv.FormatInt(now.UnixMilli(), 10)
	for name, test := range map[string]struct {
		time, signed string
		proven       bool
	}{
		"now":           {at(0), at(0) + "." + body, true},
		"v0":            {at(0), "v0:" + at(0) + ":" + body, true},
		"milliseconds":  {millis, millis + "." + body, true},
		"edge":          {at(-time.Minute), at(-time.Minute) + "." + body, true},
		"old":           {at(-61 * time.Second), at(-61*time.Second) + "." + body, false},
		"of the future": {at(61 * time.Second), at(61*time.Second) + "." + body, false},
		"not signed":    {at(0), body, false},
		"another":       {at(0), at(time.Second) + "." + body, false},
		"missing":       {"", "." + body, false},
		"no number":     {"yesterday", "yesterday." + body, false},
		"negative":      {"-1", "-1." + body, false},
		"with a plus":   {"+" + at(0), "+" + at(0) + "." + body, false},
		"with a blank":  {"0 " + at(0), "0 " + at(0) + "." + body, false},
		"fraction":      {at(0) + ".5", at(0) + ".5." + body, false},
		"hexadecimal":   {"0x69b40000", "0x69b40000." + body, false},
		"too large":     {"99999999999999999999", "99999999999999999999." + body, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelay(t, receive.Options{}, config.Source{Name: "s", Auth: []config.Credential{{
				Kind: auth.HMAC, Name: "X-Sig", Algorithm: "sha256", Timestamp: "x-time", Tolerance: config.Duration(time.Minute), Values: []string{"k"}}}})
			request := post("", "", body)
			request.Header.Set("X-Sig", hex.EncodeToString(mac(sha256.New, "k", test.signed)))
			if test.time != "" {
				request.Header.Set("X-Time", test.time)
			}
			if _, err := r.Receive(request, origin); (err == nil) != test.proven || !test.proven && status(err) != http.StatusUnauthorized {
				t.Error(err)
			}
		})
	}
}

// TestSignedTimeOfOne checks that a stale signature does not count because the
// request was read for the sake of another.
func TestSignedTimeOfOne(t *testing.T) {
	const body = `{"event":"x"}`
	r := newRelay(t, receive.Options{}, config.Source{Name: "s", Auth: []config.Credential{
		{Kind: auth.HMAC, Name: "X-Sig", Algorithm: "sha256", Timestamp: "X-Time", Values: []string{"k"}},
		{Kind: auth.HMAC, Name: "X-Other", Algorithm: "sha256", Values: []string{"k"}}}})
	request := post("", "", body)
	request.Header.Set("X-Time", "5")
	request.Header.Set("X-Sig", hex.EncodeToString(mac(sha256.New, "k", "5."+body)))
	request.Header.Set("X-Other", "00")
	if _, err := r.Receive(request, origin); status(err) != http.StatusUnauthorized {
		t.Errorf("got %v, want 401", err)
	}
}

// standard returns a source with two secrets of Standard Webhooks.
func standard() config.Source {
	return config.Source{Name: "s", Auth: []config.Credential{{Kind: auth.StandardWebhooks,
		Values: []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte("new-key")), base64.StdEncoding.EncodeToString([]byte("old-key"))}}}}
}

// signStandard signs a request as the specification says.
func signStandard(request *http.Request, key, id string, at time.Time, body string) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	request.Header.Set("Webhook-Id", id)
	request.Header.Set("Webhook-Timestamp", timestamp)
	request.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac(sha256.New, key, id+"."+timestamp+"."+body)))
}

// spell moves headers of Standard Webhooks to Svix's spelling.
func spell(header http.Header, names ...string) {
	for _, name := range names {
		header.Set("Svix-"+name, header.Get("Webhook-"+name))
		header.Del("Webhook-" + name)
	}
}

// resign signs with a time that is written as given.
func resign(header http.Header, timestamp, body string) {
	header.Set("Webhook-Timestamp", timestamp)
	header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac(sha256.New, "new-key", "msg_1."+timestamp+"."+body)))
}

func TestStandardWebhooks(t *testing.T) {
	const body = `{"type":"x"}`
	r := newRelay(t, receive.Options{}, standard())
	for name, test := range map[string]struct {
		key    string
		at     time.Duration
		change func(http.Header)
		proven bool
	}{
		"new key":  {key: "new-key", proven: true},
		"old key":  {key: "old-key", proven: true},
		"old edge": {key: "new-key", at: -5 * time.Minute, proven: true},
		"new edge": {key: "new-key", at: 5 * time.Minute, proven: true},
		"too old":  {key: "new-key", at: -5*time.Minute - time.Second},
		"too new":  {key: "new-key", at: 5*time.Minute + time.Second},
		"several signatures": {key: "new-key", proven: true, change: func(h http.Header) {
			h.Set("Webhook-Signature", "v1a,AAAA v1,bm90IGl0 "+h.Get("Webhook-Signature"))
		}},
		"other key":    {key: "another"},
		"no key":       {key: ""},
		"other id":     {key: "new-key", change: func(h http.Header) { h.Set("Webhook-Id", "other") }},
		"no id":        {key: "new-key", change: func(h http.Header) { h.Del("Webhook-Id") }},
		"other time":   {key: "new-key", change: func(h http.Header) { h.Set("Webhook-Timestamp", "1773403201") }},
		"no signature": {key: "new-key", change: func(h http.Header) { h.Del("Webhook-Signature") }},
		"Svix":         {key: "new-key", proven: true, change: func(h http.Header) { spell(h, "Id", "Timestamp", "Signature") }},
		"Svix's time":  {key: "new-key", change: func(h http.Header) { spell(h, "Timestamp") }},
		"Svix's id":    {key: "new-key", change: func(h http.Header) { spell(h, "Id") }},
		"Svix's name":  {key: "new-key", change: func(h http.Header) { spell(h, "Signature") }},
		"both": {key: "new-key", proven: true, change: func(h http.Header) {
			h.Set("Svix-Id", "other")
			h.Set("Svix-Timestamp", h.Get("Webhook-Timestamp"))
			h.Set("Svix-Signature", h.Get("Webhook-Signature"))
		}},
		"with a plus":  {key: "new-key", change: func(h http.Header) { resign(h, "+1773403200", body) }},
		"milliseconds": {key: "new-key", change: func(h http.Header) { resign(h, "1773403200000", body) }},
		"fraction":     {key: "new-key", change: func(h http.Header) { resign(h, "1773403200.0", body) }},
		"as resigned":  {key: "new-key", proven: true, change: func(h http.Header) { resign(h, "1773403200", body) }},
		"no version":   {key: "new-key", change: func(h http.Header) { h.Set("Webhook-Signature", h.Get("Webhook-Signature")[3:]) }},
	} {
		t.Run(name, func(t *testing.T) {
			request := post("", "application/json", body)
			signStandard(request, test.key, "msg_1", now.Add(test.at), body)
			if test.change != nil {
				test.change(request.Header)
			}
			received, err := r.Receive(request, origin)
			switch {
			case test.proven && err != nil:
				t.Fatal(err)
			case !test.proven && status(err) != http.StatusUnauthorized:
				t.Fatalf("got %v, want 401", err)
			case test.proven && received.DedupeKeys[0] == "":
				t.Error("the signed id is not remembered")
			case test.proven:
				checkNoSecret(t, received.Events[0], "v1,")
			}
		})
	}
}

// TestStandardWebhooksReplay checks that a copied request is a duplicate of its
// original for as long as its signature is good, and a new one is not.
func TestStandardWebhooksReplay(t *testing.T) {
	r := newRelay(t, receive.Options{}, standard())
	key := func(id string, at time.Time, body string) string {
		request := post("", "application/json", body)
		signStandard(request, "new-key", id, at, body)
		received, err := r.Receive(request, origin)
		if err != nil {
			t.Fatal(err)
		}
		if received.DedupeWindow != 10*time.Minute {
			t.Errorf("window is %v", received.DedupeWindow)
		}
		return strings.Join(received.DedupeKeys, " ")
	}
	original := key("msg_1", now, `{"type":"x"}`)
	if key("msg_1", now.Add(time.Second), `{"type":"x"}`) != original {
		t.Error("a retry with a new time is another event")
	}
	svix := post("", "application/json", `{"type":"x"}`)
	signStandard(svix, "new-key", "msg_1", now, `{"type":"x"}`)
	spell(svix.Header, "Id", "Timestamp", "Signature")
	if received, err := r.Receive(svix, origin); err != nil || received.DedupeKeys[0] != original {
		t.Errorf("under Svix's names a copy is another event: %v", err)
	}
	if key("msg_2", now, `{"type":"x"}`) == original {
		t.Error("another id is the same event")
	}
	if batch := strings.Fields(key("msg_3", now, `[{"type":"x"},{"type":"x"}]`)); len(batch) != 2 || batch[0] == batch[1] {
		t.Errorf("the elements of a batch share a key: %v", batch)
	}
}

// TestUses checks which value counts as used, and that it stays so in the next
// configuration.
func TestUses(t *testing.T) {
	sources := []config.Source{{Name: "a", Auth: []config.Credential{
		{Kind: auth.Bearer, Values: []string{"one", "", "two"}},
		{Kind: auth.APIKey, In: auth.InBody, Name: "token", Values: []string{"three"}},
	}}}
	r := newRelay(t, receive.Options{}, sources...)
	request := post("", "", "{}")
	request.Header.Set("Authorization", "Bearer two")
	r.one(t, request)

	// In the next configuration the values stand the other way round.
	sources[0].Auth[0].Values = []string{"two", "new"}
	next := newRelay(t, receive.Options{}, sources...)
	next.Inherit(r.Receiver)
	for name, test := range map[string]struct {
		uses []receive.Use
		want []receive.Use
	}{
		"used": {r.Uses(), []receive.Use{
			{Source: "a", Credential: 1, Kind: auth.Bearer, Value: 1},
			{Source: "a", Credential: 1, Kind: auth.Bearer, Value: 3, Last: now},
			{Source: "a", Credential: 2, Kind: auth.APIKey, Value: 1}}},
		"inherited": {next.Uses(), []receive.Use{
			{Source: "a", Credential: 1, Kind: auth.Bearer, Value: 1, Last: now},
			{Source: "a", Credential: 1, Kind: auth.Bearer, Value: 2},
			{Source: "a", Credential: 2, Kind: auth.APIKey, Value: 1}}},
	} {
		if len(test.uses) != len(test.want) {
			t.Fatalf("%s: got %+v", name, test.uses)
		}
		for i, use := range test.uses {
			if !use.Last.Equal(test.want[i].Last) {
				t.Errorf("%s: value %d last used %v, want %v", name, i, use.Last, test.want[i].Last)
			}
			use.Last = test.want[i].Last
			if use != test.want[i] {
				t.Errorf("%s: got %+v, want %+v", name, use, test.want[i])
			}
		}
	}
}
