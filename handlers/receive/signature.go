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
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// standardSpellings are the names of the three headers of Standard Webhooks, in
// canonical form: those of the specification, and those of Svix, whose scheme
// the specification is. Svix and many of its customers send the latter.
var standardSpellings = [...]struct{ id, time, signature string }{
	{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"},
	{"Svix-Id", "Svix-Timestamp", "Svix-Signature"},
}

// standardSignature is what the headers of a Standard Webhooks request say.
type standardSignature struct{ id, time, signatures string }

// standardHeaders returns the three values of the first spelling that is
// complete. Spellings are never mixed: an id or time under one spelling is not
// what a signature under the other was made over.
func standardHeaders(header http.Header) (s standardSignature, complete bool) {
	for _, names := range standardSpellings {
		s = standardSignature{header.Get(names.id), header.Get(names.time), header.Get(names.signature)}
		if s.id != "" && s.time != "" && s.signatures != "" {
			return s, true
		}
	}
	return standardSignature{}, false
}

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
	var signedAt time.Time
	var err error
	if c.Kind == StandardWebhooks {
		s, complete := standardHeaders(header)
		if !complete {
			return false
		}
		signedAt, err = parseSeconds(s.time)
	} else {
		if header.Get(c.Name) == "" {
			return false
		}
		if c.Timestamp == "" {
			return true
		}
		signedAt, err = parseTimestamp(header.Get(c.Timestamp))
	}
	if err != nil {
		v.untimely = err.Error()
		return false
	}
	if signedAt.Sub(v.now).Abs() > c.Tolerance {
		v.untimely = "the signed time is too far from this server's clock: check both clocks, or it is a replay"
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
		s, _ := standardHeaders(header)
		prefix := s.id + "." + s.time + "."
		presented := make([][]byte, 0, 2)
		for i, one := range strings.Fields(s.signatures) {
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

// A signed time is written with digits alone. strconv would also take a sign,
// which no sender writes and no other receiver of these schemes takes.
var (
	errNoTime = errors.New("the signed time is no Unix time, which is written with digits alone")
	errMillis = errors.New("the signed time is not in seconds, as Standard Webhooks demands, but probably in milliseconds")
)

// millisFrom is the number from which a time counts as milliseconds: in seconds
// it is in the year 5138, in milliseconds in 1973.
const millisFrom = 1e11

func parseUnix(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || text[0] == '+' || text[0] == '-' {
		return 0, errNoTime
	}
	return n, nil
}

// parseSeconds reads Unix seconds.
func parseSeconds(text string) (time.Time, error) {
	n, err := parseUnix(text)
	if err == nil && n >= millisFrom {
		err = errMillis
	}
	return time.Unix(n, 0), err
}

// parseTimestamp reads Unix seconds or milliseconds.
func parseTimestamp(text string) (time.Time, error) {
	n, err := parseUnix(text)
	if n >= millisFrom {
		return time.UnixMilli(n), err
	}
	return time.Unix(n, 0), err
}
