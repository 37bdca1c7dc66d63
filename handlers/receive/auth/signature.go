package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// maxSignatures bounds how many signatures of one header are looked at.
// Senders put in two while they change their secret.
const maxSignatures = 8

// defaultTolerance is how far a signed time may be from ours.
const defaultTolerance = 5 * time.Minute

// signature is what the kinds share whose requests hold a keyed hash of the
// body. Senders make it over the body as they send it or as it is without its
// Content-Encoding; either proves that they know the secret.
type signature struct {
	credential
	keys      [][]byte // of the values
	newHash   func() hash.Hash
	tolerance time.Duration
}

func newSignature(traits Traits, s config.Credential, newHash func() hash.Hash, key func(secret string) ([]byte, error)) (signature, error) {
	traits.Needs, traits.BodyOnly = Bytes, true
	c, err := newCredential(traits, s.Values, nil)
	made := signature{credential: c, newHash: newHash, tolerance: time.Duration(s.Tolerance)}
	if err != nil {
		return made, err
	}
	if made.tolerance < 0 {
		return made, errors.New("a tolerance is not negative")
	}
	if made.tolerance == 0 {
		made.tolerance = defaultTolerance
	}
	for _, value := range c.values {
		k, err := key(s.Values[value.Number-1])
		if err != nil {
			return made, fmt.Errorf("value %d: %w", value.Number, err)
		}
		made.keys = append(made.keys, k)
	}
	return made, nil
}

// proveAny compares presented signatures with those that each key makes of each
// prefix and body, all with all.
func (s *signature) proveAny(r *Request, presented [][]byte, prefixes ...string) bool {
	if len(presented) == 0 {
		return false
	}
	digests := make([][sha256.Size]byte, len(presented))
	for i, p := range presented {
		digests[i] = sha256.Sum256(p)
	}
	texts := [][]byte{r.Sent}
	if len(r.Sent) != len(r.Body) || len(r.Sent) > 0 && &r.Sent[0] != &r.Body[0] {
		texts = append(texts, r.Body)
	}
	found := -1
	for i, key := range s.keys {
		for _, prefix := range prefixes {
			for _, text := range texts {
				mac := hmac.New(s.newHash, key)
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
	return s.note(found, r.Now)
}

// untimely says what is wrong with the time of a signature, "" if nothing is.
func (s *signature) untimely(signedAt time.Time, err error, now time.Time) string {
	if err != nil {
		return err.Error()
	}
	if signedAt.Sub(now).Abs() > s.tolerance {
		return "the signed time is too far from this server's clock: check both clocks, or it is a replay"
	}
	return ""
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

// shellWord quotes text for a POSIX shell.
func shellWord(text string) string {
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
