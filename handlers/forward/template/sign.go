package template

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The header fields of Standard Webhooks.
const (
	signatureID   = "Webhook-Id"
	signatureTime = "Webhook-Timestamp"
	signatureMACs = "Webhook-Signature"
)

// signer signs requests after Standard Webhooks.
type signer struct {
	keys [][]byte
	now  func() time.Time
}

// signer makes the action's signer, nil if it has no secrets.
func (c *actionCompiler) signer(now func() time.Time) *signer {
	if len(c.action.Sign) == 0 {
		return nil
	}
	s := &signer{now: now}
	for i, secret := range c.action.Sign {
		plain := strings.TrimPrefix(strings.TrimSpace(secret), "whsec_")
		key, err := base64.StdEncoding.DecodeString(plain)
		if err != nil || len(key) == 0 {
			// The message of the base64 decoder is left out: it repeats the secret.
			c.fail("sign", fmt.Errorf("secret %d is not base64; it looks like whsec_MfKQ9r8G…", i+1))
			continue
		}
		c.secrets = append(c.secrets, secret, plain)
		s.keys = append(s.keys, key)
	}
	return s
}

// sign adds time and signatures to a request that is complete otherwise.
func (s *signer) sign(request *Request, delivery string) {
	if s == nil {
		return
	}
	timestamp := strconv.FormatInt(s.now().Unix(), 10)
	macs := make([]string, len(s.keys))
	for i, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(delivery + "." + timestamp + "."))
		_, _ = mac.Write(request.Body)
		macs[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	request.Header[signatureID] = []string{delivery}
	request.Header[signatureTime] = []string{timestamp}
	request.Header[signatureMACs] = []string{strings.Join(macs, " ")}
}

// isSignature reports whether a header field is one that signing makes.
func isSignature(name string) bool {
	key := http.CanonicalHeaderKey(name)
	return key == signatureID || key == signatureTime || key == signatureMACs
}
