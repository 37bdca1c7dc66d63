package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// standardWebhooks is the signature of the Standard Webhooks specification
// (github.com/standard-webhooks/standard-webhooks), in headers that are called
// webhook-… or svix-….
type standardWebhooks struct{ signature }

// standardSpellings are the names of the three headers, in canonical form:
// those of the specification, and those of Svix, whose scheme the specification
// is. Svix and many of its customers send the latter.
var standardSpellings = [...]struct{ id, time, signature string }{
	{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"},
	{"Svix-Id", "Svix-Timestamp", "Svix-Signature"},
}

func compileStandardWebhooks(s config.Credential) (Authenticator, error) {
	traits := Traits{Kind: StandardWebhooks, Setting: setting(StandardWebhooks), SignsID: true}
	for _, names := range standardSpellings {
		traits.Places = append(traits.Places, Place{InHeader, names.signature})
	}
	made, err := newSignature(traits, s, sha256.New, standardKey)
	return &standardWebhooks{made}, err
}

// standardKey decodes a secret.
func standardKey(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		// The message of the base64 decoder is left out: it repeats the secret.
		return nil, errors.New("the secret is not base64; it looks like whsec_MfKQ9r8G…")
	}
	return key, nil
}

// standardHeaders are what the headers of a request say.
type standardHeaders struct{ id, time, signatures string }

// readStandardHeaders returns the three values of the first spelling that is
// complete. Spellings are never mixed: an id or time under one spelling is not
// what a signature under the other was made over.
func readStandardHeaders(header http.Header) (h standardHeaders, complete bool) {
	for _, names := range standardSpellings {
		h = standardHeaders{header.Get(names.id), header.Get(names.time), header.Get(names.signature)}
		if h.id != "" && h.time != "" && h.signatures != "" {
			return h, true
		}
	}
	return standardHeaders{}, false
}

func (s *standardWebhooks) Prove(r *Request) Proof {
	h, complete := readStandardHeaders(r.Header)
	if !complete {
		return Proof{}
	}
	signedAt, err := parseSeconds(h.time)
	if why := s.untimely(signedAt, err, r.Now); why != "" {
		return Proof{Why: why}
	}
	if r.Arrived < Bytes {
		return Proof{Later: true}
	}
	presented := make([][]byte, 0, 2)
	for i, one := range strings.Fields(h.signatures) {
		text, found := strings.CutPrefix(one, "v1,")
		if mac, err := base64.StdEncoding.DecodeString(text); found && err == nil && i < maxSignatures {
			presented = append(presented, mac)
		}
	}
	if !s.proveAny(r, presented, h.id+"."+h.time+".") {
		return Proof{}
	}
	// The same request is good from tolerance before its time until tolerance
	// after it.
	return Proof{Proven: true, ID: h.id, Window: 2 * s.tolerance}
}

func (s *standardWebhooks) Refused(r *Request) string {
	if _, complete := readStandardHeaders(r.Header); complete {
		return "the Standard Webhooks signature is not that of any source: the sender has another key, or signs other bytes"
	}
	for _, names := range standardSpellings {
		if r.Header.Get(names.signature) != "" {
			return fmt.Sprintf("there is a Standard Webhooks signature without the id and time that belong to it (%s and %s)",
				strings.ToLower(names.id), strings.ToLower(names.time))
		}
	}
	return ""
}

func (s *standardWebhooks) Instructions(secret string) Instructions {
	return Instructions{
		Words: "signed as Standard Webhooks say",
		Shell: "secret=" + shellWord(secret) + `
key=$(printf '%s' "${secret#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
id=msg_$$_$(date +%s)
time=$(date +%s)
signature=$(printf '%s' "$id.$time.$body" |
  openssl dgst -sha256 -mac HMAC -macopt hexkey:$key -binary | openssl base64)
`,
		Headers: []string{"webhook-id: $id", "webhook-timestamp: $time", "webhook-signature: v1,$signature"},
	}
}
