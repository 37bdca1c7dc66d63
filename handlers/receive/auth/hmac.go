package auth

import (
	"crypto/sha1" //nolint:gosec // senders choose the algorithm; HMAC with SHA-1 is not known to be broken
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/textproto"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// hmacHeader is a header with a keyed hash of the body, and perhaps of a time.
type hmacHeader struct {
	signature
	header, timestamp, algorithm string
}

// Algorithms are the hashes of HMAC, in the order of the manual.
var Algorithms = []string{"sha256", "sha512", "sha1"}

var hashes = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

func compileHMAC(s config.Credential) (Authenticator, error) {
	header := textproto.CanonicalMIMEHeaderKey(s.Name)
	if header == "" {
		return nil, errors.New("say the name of the header that holds the signature")
	}
	if s.Tolerance != 0 && s.Timestamp == "" {
		return nil, errors.New("the tolerance of hmac needs a timestamp, which is the header with the time")
	}
	if hashes[s.Algorithm] == nil {
		return nil, names.Unknown("hmac algorithm", s.Algorithm, Algorithms, "")
	}
	made, err := newSignature(Traits{
		Kind: HMAC, Setting: setting("%s %s %s", HMAC, s.Name, s.Algorithm), Places: []Place{{InHeader, header}},
	}, s, hashes[s.Algorithm], func(secret string) ([]byte, error) { return []byte(secret), nil })
	return &hmacHeader{made, header, textproto.CanonicalMIMEHeaderKey(s.Timestamp), s.Algorithm}, err
}

func (h *hmacHeader) Prove(r *Request) Proof {
	presented := r.Header.Get(h.header)
	if presented == "" {
		return Proof{}
	}
	prefixes := []string{""}
	if h.timestamp != "" {
		timestamp := r.Header.Get(h.timestamp)
		signedAt, err := parseTimestamp(timestamp)
		if why := h.untimely(signedAt, err, r.Now); why != "" {
			return Proof{Why: why}
		}
		prefixes = []string{timestamp + ".", "v0:" + timestamp + ":"}
	}
	if r.Arrived < Bytes {
		return Proof{Later: true}
	}
	return Proof{Proven: h.proveAny(r, parseSignatures(presented, h.newHash().Size()), prefixes...)}
}

func (h *hmacHeader) Refused(r *Request) string {
	if r.Header.Get(h.header) == "" {
		return ""
	}
	return "the signature in header " + h.header + " is not that of any source: the sender has another key, or signs other bytes"
}

func (h *hmacHeader) Instructions(secret string) Instructions {
	over, text, shell := "the body's bytes", "$body", ""
	var headers []string
	if h.timestamp != "" {
		over = fmt.Sprintf("the time, a dot and the body's bytes; the time, in Unix seconds, is in header %s", h.timestamp)
		text, shell = "$time.$body", "time=$(date +%s)\n"
		headers = append(headers, h.timestamp+": $time")
	}
	return Instructions{
		Words: fmt.Sprintf("header %s, the %s HMAC in hex or base64 over %s", h.header, h.algorithm, over),
		Shell: shell + fmt.Sprintf("signature=$(printf '%%s' \"%s\" |\n  openssl dgst -%s -hmac %s -r | cut -d' ' -f1)\n",
			text, h.algorithm, shellWord(secret)),
		Headers: append(headers, h.header+": $signature"),
	}
}

// parseSignatures reads the signatures of an HMAC header: hex or base64, with or
// without a prefix such as "sha256=", several divided by commas or blanks.
func parseSignatures(header string, size int) [][]byte {
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
