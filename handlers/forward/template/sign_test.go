package template

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

const vectorSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func signed(t *testing.T, action config.Action, now func() time.Time) requests {
	t.Helper()
	action.Name, action.Method, action.URL = "a", "POST", "http://h/"
	prepared, err := Compile([]config.Action{action}, testLanguage(t), Settings{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return requests{prepared[0]}
}

// The example of the specification's reference implementations.
func TestSignVector(t *testing.T) {
	p := signed(t, config.Action{Sign: []string{vectorSecret}, Body: &config.Body{Kind: config.BodyRaw, Text: `{"test": 2432232314}`}},
		func() time.Time { return time.Unix(1614265330, 999) })
	request, err := p.Render(eventtest.With(nil), "msg_p5jXN8AQM9LWM0D4loKWxJek")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
		"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	} {
		if got := request.Header.Get(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// Every kind of body is signed as it is sent, with each secret, at the time of
// the attempt.
func TestSign(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	second := "c2Vjb25k"
	for _, body := range []config.Body{
		{}, {Kind: config.BodyForm, Fields: []config.BodyField{{Name: "a", Value: "{{body}}"}}}, {Kind: config.BodyURLEncoded, Fields: []config.BodyField{{Name: "a", Value: "{{body}}"}}},
		{Kind: config.BodyRaw, Text: "{{body}}"}, {Kind: config.BodyJSON, Text: "{{body}}"}, {Kind: config.BodyXML, Text: "<a>{{body}}</a>"}, {Kind: config.BodyForward},
	} {
		p := signed(t, config.Action{Sign: []string{vectorSecret, second}, Body: &body}, func() time.Time { return now })
		event := eventtest.With("é")
		event.RawBody = []byte("raw\xff")
		now = now.Add(time.Second)
		request, err := p.Render(event, testDelivery)
		if err != nil {
			t.Fatal(err)
		}
		_, sent := parsed(t, onWire(t, request))
		var want []string
		for _, secret := range []string{strings.TrimPrefix(vectorSecret, "whsec_"), second} {
			key, _ := base64.StdEncoding.DecodeString(secret)
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(testDelivery + "." + request.Header.Get("webhook-timestamp") + "." + string(sent)))
			want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		}
		if got := request.Header.Get("webhook-signature"); got != strings.Join(want, " ") {
			t.Errorf("%s: got %s, want %s", body.Kind, got, want)
		}
		if at := time.Unix(0, 0).Add(parseSeconds(t, request.Header.Get("webhook-timestamp"))); !at.Equal(now) {
			t.Errorf("%s: signed at %s, not %s", body.Kind, at, now)
		}
		// A target may repeat what it knows.
		if shown := request.Masker.MaskTo("expected "+vectorSecret+" or "+second+", "+vectorSecret[6:], 1000); shown != "expected *** or ***, ***" {
			t.Errorf("the secret is shown: %s", shown)
		}
	}
}

func parseSeconds(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text + "s")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A secret that is none is found at load and not shown, and no header of the
// action goes beside the signature.
func TestSignLoadErrors(t *testing.T) {
	for _, c := range []struct {
		action config.Action
		want   string
	}{
		{config.Action{Sign: []string{vectorSecret, "whsec_s3cret!"}}, "action a, sign: secret 2 is not base64; it looks like whsec_MfKQ9r8G…"},
		{config.Action{Sign: []string{""}}, "sign: secret 1 is not base64"},
		{config.Action{Sign: []string{"whsec_"}}, "sign: secret 1 is not base64"},
		{config.Action{Sign: []string{"{{studio_s3cret}}"}}, "sign: secret 1 is not base64"},
		{config.Action{Sign: []string{vectorSecret}, Headers: []config.NameValue{{Name: "webhook-id", Value: "1"}}}, "header webhook-id: sign makes this header: remove the one or the other"},
		{config.Action{Sign: []string{vectorSecret}, Headers: []config.NameValue{{Name: "WEBHOOK-SIGNATURE", Value: "{{body.s}}"}}}, "header WEBHOOK-SIGNATURE: sign makes this header"},
	} {
		c.action.Name, c.action.Method, c.action.URL = "a", "POST", "http://h/"
		_, err := Compile([]config.Action{c.action}, testLanguage(t), Settings{})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	prepare(t, config.Action{URL: "http://h/", Headers: []config.NameValue{{Name: "Webhook-Id", Value: "own"}}})
}
