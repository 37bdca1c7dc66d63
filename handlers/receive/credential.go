package receive

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"sync/atomic"
	"time"
)

// Kind is a way in which a request proves whose it is.
type Kind string

// The kinds of credentials.
const (
	// None takes every request. Such a source must be alone: see CheckSharing.
	None Kind = "none"
	// Bearer is "Authorization: Bearer VALUE".
	Bearer Kind = "bearer"
	// Basic is "Authorization: Basic" with User and a value as the password.
	Basic Kind = "basic"
	// APIKey is a value in a header, a query key or a field of the body.
	APIKey Kind = "api_key"
	// Path is a value as the last segment of the path.
	Path Kind = "path"
	// HMAC is a header with a keyed hash of the body.
	HMAC Kind = "hmac"
	// StandardWebhooks is the signature of the Standard Webhooks specification,
	// in headers that are called webhook-… or svix-….
	StandardWebhooks Kind = "standard_webhooks"
)

// Place is where a request carries an API key.
type Place string

// The places of an API key.
const (
	InHeader Place = "header"
	InQuery  Place = "query"
	InBody   Place = "body"
)

// DefaultTolerance is how far a signed time may be from ours.
const DefaultTolerance = 5 * time.Minute

// Credential is one way to prove that a request comes from a source.
type Credential struct {
	Kind Kind

	// In is where an APIKey stands.
	In Place

	// Name is the header, query key or body field of an APIKey, or the header
	// with the signature of HMAC.
	Name string

	// User is the user of Basic. It holds no colon; the password may.
	User string

	// Algorithm is the hash of HMAC: sha1, sha256 or sha512.
	Algorithm string

	// Timestamp is the header with the time of HMAC, in Unix seconds or
	// milliseconds. Empty means that no time is signed. With it the signature
	// must be over "TIME.BODY" or "v0:TIME:BODY", because a time that is not
	// signed proves nothing.
	Timestamp string

	// Tolerance is how far a signed time may be from ours. 0 means
	// DefaultTolerance.
	Tolerance time.Duration

	// Values are the secrets, any one of which will do, so that a secret can be
	// replaced while both are in use. Those of StandardWebhooks are base64,
	// with or without "whsec_". An empty value never matches.
	Values []string
}

// Use says when a value of a credential last proved a request. It never holds
// the value.
type Use struct {
	Source string `json:"source"`
	// Credential counts the source's credentials, Value the credential's
	// values, both from 1 in the order of the configuration.
	Credential int  `json:"credential"`
	Kind       Kind `json:"kind"`
	Value      int  `json:"value"`
	// Last is zero when the value has not been used since the relay started.
	Last time.Time `json:"last,omitzero"`
}

// credential is a Credential made ready for requests.
type credential struct {
	Credential
	position int
	values   []secret
}

// secret is one value of a credential. A request's value is compared by its
// digest only, so that neither content nor length shows in the time it takes.
type secret struct {
	digest [sha256.Size]byte
	key    []byte // of a signature
	number int    // from 1, as configured
	used   atomic.Int64
}

func compileCredential(config Credential, position int) (*credential, error) {
	c := &credential{Credential: config, position: position + 1}
	if c.Tolerance == 0 {
		c.Tolerance = DefaultTolerance
	}
	if c.Tolerance < 0 {
		return nil, errors.New("a tolerance is not negative")
	}
	switch c.Kind {
	case None:
		if len(c.Values) > 0 {
			return nil, errors.New("auth none takes no value")
		}
		return c, nil
	case Bearer, Path, StandardWebhooks:
	case Basic:
		if c.User == "" || strings.Contains(c.User, ":") {
			return nil, errors.New("give a user that is not empty and holds no colon")
		}
	case APIKey:
		switch c.In {
		case InHeader:
			c.Name = textproto.CanonicalMIMEHeaderKey(c.Name)
		case InQuery, InBody:
		default:
			return nil, fmt.Errorf("unknown place %q; an API key stands in header, query or body", c.In)
		}
		if c.Name == "" {
			return nil, fmt.Errorf("say the name of the %s that holds the key", c.In)
		}
	case HMAC:
		c.Name = textproto.CanonicalMIMEHeaderKey(c.Name)
		c.Timestamp = textproto.CanonicalMIMEHeaderKey(c.Timestamp)
		if c.Name == "" {
			return nil, errors.New("say the name of the header that holds the signature")
		}
		if hashes[c.Algorithm] == nil {
			return nil, fmt.Errorf("unknown algorithm %q; there are sha1, sha256 and sha512", c.Algorithm)
		}
	default:
		return nil, fmt.Errorf("unknown kind %q; there are none, bearer, basic, api_key, path, hmac and standard_webhooks", c.Kind)
	}

	c.values = make([]secret, 0, len(c.Values))
	for i, value := range c.Values {
		if value == "" {
			continue
		}
		key := []byte(value)
		if c.Kind == StandardWebhooks {
			var err error
			if key, err = standardKey(value); err != nil {
				return nil, fmt.Errorf("value %d: %w", i+1, err)
			}
		}
		if c.Kind == Basic {
			value = c.User + ":" + value
		}
		c.values = append(c.values, secret{digest: sha256.Sum256([]byte(value)), key: key, number: i + 1})
	}
	c.Values = nil
	if len(c.values) == 0 {
		return nil, errors.New("no value, or only empty ones; check the environment variable or file that it comes from")
	}
	return c, nil
}

// find returns the index of a value, or -1. All values are always compared.
func (c *credential) find(presented string) int {
	digest := sha256.Sum256([]byte(presented))
	found := -1
	for i := range c.values {
		equal := subtle.ConstantTimeCompare(digest[:], c.values[i].digest[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	return found
}

// accepts reports whether a value is one of the credential's, and notes the
// use.
func (c *credential) accepts(presented string, now time.Time) bool {
	return c.note(c.find(presented), now)
}

// note records the use of a value, by its index, and reports whether there is
// one.
func (c *credential) note(index int, now time.Time) bool {
	if index < 0 {
		return false
	}
	c.values[index].used.Store(now.UnixNano())
	return true
}

// inHead reports whether the credential can be checked before the body is
// read.
func (c *credential) inHead() bool {
	return !c.signs() && !(c.Kind == APIKey && c.In == InBody)
}

// signs reports whether the credential is a signature over the body.
func (c *credential) signs() bool { return c.Kind == HMAC || c.Kind == StandardWebhooks }

// provenByHead reports whether what stands before the body proves the
// credential, and returns the value that did so.
func (v *visit) provenByHead(c *credential) (presented string, ok bool) {
	switch c.Kind {
	case None:
		return "", true
	case Bearer:
		presented, ok = authorization(v.request, "Bearer")
	case Basic:
		if presented, ok = authorization(v.request, "Basic"); ok {
			plain, err := base64.StdEncoding.DecodeString(presented)
			presented, ok = string(plain), err == nil
		}
	case APIKey:
		switch c.In {
		case InHeader:
			presented = v.request.Header.Get(c.Name)
		case InQuery:
			if values := v.query[c.Name]; len(values) > 0 {
				presented = values[0]
			}
		}
		ok = presented != ""
	case Path:
		if n := len(v.segments); n > 0 {
			presented, ok = v.segments[n-1], true
		}
	}
	return presented, ok && c.accepts(presented, v.now)
}

// authorization returns what follows a scheme in the Authorization header.
func authorization(request *http.Request, scheme string) (string, bool) {
	header := request.Header.Get("Authorization")
	if len(header) <= len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) || header[len(scheme)] != ' ' {
		return "", false
	}
	return strings.TrimSpace(header[len(scheme):]), true
}

// whyNot says, for an administrator, what a request without valid credentials
// carried. It repeats nothing of it.
func (v *visit) whyNot() string {
	var carried []string
	if scheme, _, _ := strings.Cut(v.request.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") {
		carried = append(carried, "a bearer token")
	} else if strings.EqualFold(scheme, "Basic") {
		carried = append(carried, "a user and password")
	} else if scheme != "" {
		carried = append(carried, "an Authorization of another scheme")
	}
	seen := map[string]bool{}
	for _, s := range v.allowed {
		for _, c := range s.credentials {
			what, there := "", false
			switch {
			case c.Kind == APIKey && c.In == InHeader:
				what, there = "a key in header "+c.Name, v.request.Header.Get(c.Name) != ""
			case c.Kind == APIKey && c.In == InQuery:
				what, there = "a key in query "+c.Name, len(v.query[c.Name]) > 0
			case c.Kind == HMAC:
				what, there = "a signature in header "+c.Name, v.request.Header.Get(c.Name) != ""
			case c.Kind == StandardWebhooks:
				what, there = v.standardCarried()
			}
			if there && !seen[what] {
				seen[what] = true
				carried = append(carried, what)
			}
		}
	}
	if v.untimely != "" {
		return v.untimely
	}
	if len(carried) == 0 {
		return "the request carries no credentials that a source asks for"
	}
	return "the request carries " + strings.Join(carried, " and ") + " that no source accepts"
}

// standardCarried says what a request carries of a Standard Webhooks signature.
func (v *visit) standardCarried() (what string, there bool) {
	if _, complete := standardHeaders(v.request.Header); complete {
		return "a Standard Webhooks signature", true
	}
	for _, names := range standardSpellings {
		if v.request.Header.Get(names.signature) != "" {
			return "a Standard Webhooks signature without the id and time that belong to it (" +
				strings.ToLower(names.id+" and "+names.time) + ")", true
		}
	}
	return "", false
}
