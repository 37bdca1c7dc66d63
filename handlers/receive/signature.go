package receive

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // senders choose the algorithm; HMAC with SHA-1 is not known to be broken
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks, in canonical form.
const (
	headerID        = "Webhook-Id"
	headerTime      = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// maxSignatures bounds how many signatures of one header are looked at.
// Senders put in two while they change their secret.
const maxSignatures = 8

var hashes = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

// standardKey decodes a secret of Standard Webhooks.
func standardKey(value string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(value, "whsec_"))
	if err != nil || len(key) == 0 {
		// The message of the base64 decoder is left out: it repeats the secret.
		return nil, errors.New("the secret is not base64; it looks like whsec_MfKQ9r8G…")
	}
	return key, nil
}

// signed reports whether the request has the headers that a signature needs,
// with a time that is near enough to ours, so that a body is worth reading.
func (v *visit) signed(c *credential) bool {
	header := v.request.Header
	timestamp := ""
	if c.Kind == StandardWebhooks {
		timestamp = header.Get(headerTime)
		if header.Get(headerID) == "" || header.Get(headerSignature) == "" || timestamp == "" {
			return false
		}
	} else {
		if header.Get(c.Name) == "" {
			return false
		}
		if c.Timestamp == "" {
			return true
		}
		timestamp = header.Get(c.Timestamp)
	}
	signedAt, err := parseTimestamp(timestamp)
	if err != nil || signedAt.Sub(v.now).Abs() > c.Tolerance {
		v.untimely = true
		return false
	}
	return true
}

// provenBySignature reports whether a signature over the body proves the
// credential. wire is the body as it was sent, body is without its
// Content-Encoding: senders sign the one or the other, and either proves that
// they know the secret.
func (v *visit) provenBySignature(c *credential, wire, body []byte) bool {
	header := v.request.Header
	if c.Kind == StandardWebhooks {
		prefix := header.Get(headerID) + "." + header.Get(headerTime) + "."
		presented := make([][]byte, 0, 2)
		for i, one := range strings.Fields(header.Get(headerSignature)) {
			text, found := strings.CutPrefix(one, "v1,")
			if mac, err := base64.StdEncoding.DecodeString(text); found && err == nil && i < maxSignatures {
				presented = append(presented, mac)
			}
		}
		return c.signedAny(sha256.New, presented, []string{prefix}, wire, body, v.now)
	}
	prefixes := []string{""}
	if c.Timestamp != "" {
		timestamp := header.Get(c.Timestamp)
		prefixes = []string{timestamp + ".", "v0:" + timestamp + ":"}
	}
	newHash := hashes[c.Algorithm]
	return c.signedAny(newHash, parseSignature(header.Get(c.Name), newHash().Size()), prefixes, wire, body, v.now)
}

// signedAny compares presented signatures with those that each value makes of
// each prefix and body, all with all.
func (c *credential) signedAny(newHash func() hash.Hash, presented [][]byte, prefixes []string, wire, body []byte, now time.Time) bool {
	if len(presented) == 0 {
		return false
	}
	digests := make([][sha256.Size]byte, len(presented))
	for i, p := range presented {
		digests[i] = sha256.Sum256(p)
	}
	texts := [][]byte{wire}
	if len(wire) != len(body) || len(wire) > 0 && &wire[0] != &body[0] {
		texts = append(texts, body)
	}
	found := -1
	for i := range c.values {
		for _, prefix := range prefixes {
			for _, text := range texts {
				mac := hmac.New(newHash, c.values[i].key)
				mac.Write([]byte(prefix))
				mac.Write(text)
				expected := sha256.Sum256(mac.Sum(nil))
				for _, digest := range digests {
					equal := subtle.ConstantTimeCompare(digest[:], expected[:])
					found = subtle.ConstantTimeSelect(equal, i, found)
				}
			}
		}
	}
	return c.note(found, now)
}

// parseSignature reads the signatures of an HMAC header: hex or base64, with or
// without a prefix such as "sha256=", several divided by commas or blanks.
func parseSignature(header string, size int) [][]byte {
	var macs [][]byte
	for i, one := range strings.FieldsFunc(header, func(r rune) bool { return r == ',' || r == ' ' }) {
		if i == maxSignatures {
			break
		}
		for _, prefix := range []string{"sha1=", "sha256=", "sha512=", "v0=", "v1="} {
			if len(one) > len(prefix) && strings.EqualFold(one[:len(prefix)], prefix) {
				one = one[len(prefix):]
				break
			}
		}
		if mac, err := hex.DecodeString(one); err == nil && len(mac) == size {
			macs = append(macs, mac)
			continue
		}
		plain := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(one, "="))
		if mac, err := base64.RawStdEncoding.DecodeString(plain); err == nil && len(mac) == size {
			macs = append(macs, mac)
		}
	}
	return macs
}

// parseTimestamp reads Unix seconds or milliseconds.
func parseTimestamp(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, fmt.Errorf("reading signed time: %q is not a Unix time", text)
	}
	if n > 1e11 { // in seconds the year 5138, in milliseconds 1973
		return time.UnixMilli(n), nil
	}
	return time.Unix(n, 0), nil
}
