package auth_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

const secret = "c2VjcmV0LTE=" // base64, as one kind demands

var now = time.Date(2026, 3, 13, 12, 0, 0, 0, time.UTC)

// kinds are the settings of each kind, once in each of its places.
var kinds = map[string]config.Credential{
	"bearer":            {Kind: auth.Bearer},
	"basic":             {Kind: auth.Basic, User: "ada"},
	"key in the header": {Kind: auth.APIKey, In: auth.InHeader, Name: "x-key"},
	"key in the query":  {Kind: auth.APIKey, In: auth.InQuery, Name: "key"},
	"key in the body":   {Kind: auth.APIKey, In: auth.InBody, Name: "token"},
	"path":              {Kind: auth.Path},
	"hmac":              {Kind: auth.HMAC, Name: "x-signature", Algorithm: "sha256"},
	"hmac with a time":  {Kind: auth.HMAC, Name: "x-signature", Algorithm: "sha256", Timestamp: "x-time"},
	"standard webhooks": {Kind: auth.StandardWebhooks},
	"none":              {Kind: auth.None},
}

const body = `{"event":"x"}`

// requestOf is a request as the sender makes it that follows the instructions.
func requestOf(kind string, secret string) *auth.Request {
	key := []byte(secret)
	sign := func(text string) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(text))
		return mac.Sum(nil)
	}
	unix := strconv.FormatInt(now.Unix(), 10)
	r := &auth.Request{
		Header: http.Header{}, Query: map[string][]string{}, Segments: []string{"x"}, Now: now, HasBody: true,
		Sent: []byte(body), Body: []byte(body), Field: func(string) (string, bool) { return "", false },
	}
	switch kind {
	case "bearer":
		r.Header.Set("Authorization", "Bearer "+secret)
	case "basic":
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("ada:"+secret)))
	case "key in the header":
		r.Header.Set("X-Key", secret)
	case "key in the query":
		r.Query["key"] = []string{secret}
	case "key in the body":
		r.Field = func(name string) (string, bool) { return secret, name == "token" }
	case "path":
		r.Segments = append(r.Segments, secret)
	case "hmac":
		r.Header.Set("X-Signature", hex.EncodeToString(sign(body)))
	case "hmac with a time":
		r.Header.Set("X-Time", unix)
		r.Header.Set("X-Signature", hex.EncodeToString(sign(unix+"."+body)))
	case "standard webhooks":
		key, _ = base64.StdEncoding.DecodeString(secret)
		r.Header.Set("Webhook-Id", "msg_1")
		r.Header.Set("Webhook-Timestamp", unix)
		r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(sign("msg_1."+unix+"."+body)))
	}
	return r
}

// TestEveryKindKeepsItsContract holds each kind to what Authenticator says.
func TestEveryKindKeepsItsContract(t *testing.T) {
	covered := map[string]bool{}
	for name, settings := range kinds {
		covered[settings.Kind] = true
		t.Run(name, func(t *testing.T) {
			give := func(secrets ...string) {
				switch settings.Kind {
				case auth.None:
				case auth.Basic:
					settings.Password = secrets[len(secrets)-1]
				default:
					settings.Values = secrets
				}
			}
			give("", secret)
			if err := auth.Check(settings); err != nil {
				t.Error(err)
			}
			a, err := auth.New(settings)
			if err != nil {
				t.Fatal(err)
			}
			traits := a.Traits()
			if traits.Kind != settings.Kind || !strings.HasPrefix(traits.Setting, "auth "+settings.Kind) || strings.Contains(traits.Setting, secret) {
				t.Errorf("its traits are %+v", traits)
			}
			for part := auth.Head; part <= auth.Fields; part++ {
				good, bad, empty := requestOf(name, secret), requestOf(name, "b3RoZXI="), requestOf("", "")
				good.Arrived, bad.Arrived, empty.Arrived = part, part, part
				if proof := a.Prove(bad); proof.Proven && !traits.Open {
					t.Errorf("another secret proves it: %+v", proof)
				}
				if proof := a.Prove(empty); proof.Proven && !traits.Open {
					t.Errorf("a request without credentials proves it: %+v", proof)
				}
				proof := a.Prove(good)
				if proof.Proven != (part >= traits.Needs) || proof.Later != (part < traits.Needs) {
					t.Errorf("with part %d, of which it needs %d, it says %+v", part, traits.Needs, proof)
				}
				if proof.Proven && traits.SignsID != (proof.ID != "" && proof.Window > 0) {
					t.Errorf("its id is %q for %v", proof.ID, proof.Window)
				}
				for _, why := range []string{a.Refused(bad), a.Refused(good), proof.Why} {
					if strings.Contains(why, "b3RoZXI=") || strings.Contains(why, secret) {
						t.Errorf("it tells what was presented: %s", why)
					}
				}
				if why := a.Refused(empty); why != "" {
					t.Errorf("it finds fault with what is not there: %s", why)
				}
			}
			instructions := a.Instructions(secret)
			if signs, tells := instructions.Shell != "", instructions.Words != ""; signs != traits.BodyOnly || tells == traits.Open {
				t.Errorf("its instructions are %+v", instructions)
			}
			if traits.Open {
				return
			}
			if !a.Holds(secret) && settings.Kind != auth.Basic || a.Holds("") || a.Holds("other") {
				t.Error("it does not know its own secret")
			}
			values := a.Values()
			if len(values) != 1 || values[0].Number != max(1, len(settings.Values)) || !values[0].Used().Equal(now) {
				t.Errorf("its values are %+v", values)
			}
			give("")
			if _, err := auth.New(settings); err == nil {
				t.Error("it takes an empty secret")
			}
		})
	}
	for _, kind := range auth.Kinds() {
		if !covered[kind] {
			t.Errorf("kind %s is not tried: add it to the table kinds, and how its sender proves a request to requestOf", kind)
		}
	}
}

// TestInheritedUse keeps the later of two uses.
func TestInheritedUse(t *testing.T) {
	a, err := auth.New(config.Credential{Kind: auth.Bearer, Values: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	value := a.Values()[0]
	value.Inherit(time.Time{})
	if !value.Used().IsZero() {
		t.Error("no use was inherited as one")
	}
	value.Inherit(now)
	value.Inherit(now.Add(-time.Hour))
	if !value.Used().Equal(now) {
		t.Errorf("it was used at %v, want %v", value.Used(), now)
	}
}
