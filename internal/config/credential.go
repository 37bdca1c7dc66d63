package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Credential is one way in which a request can prove where it comes from.
//
// Secrets may be given as they are, or as a value that is wholly `{env.NAME}`
// or `{file./path}`, which is read when the configuration is loaded. One that
// turns out empty is skipped with a warning if others remain, and is an error
// otherwise; it never matches.
type Credential struct {
	// What kind of proof it is: `bearer` (a token in the Authorization
	// header), `basic` (user and password in the Authorization header),
	// `api_key` (a value in a header, in the query or in the body), `path` (the
	// last segment of the path), `hmac` (a signature over the body, in a
	// header), `standard_webhooks` (the signature of the Standard Webhooks
	// specification) or `none` (no proof).
	Kind string `json:"kind"`

	// Where an `api_key` stands: `header`, `query` or `body`.
	In string `json:"in,omitempty"`

	// The name of the header, query key or body field of an `api_key`, or of
	// the header with the signature of `hmac`.
	Name string `json:"name,omitempty"`

	// The hash of `hmac`: `sha256`, `sha512` or `sha1`.
	Algorithm string `json:"algorithm,omitempty"`

	// The header with the time of `hmac`, in seconds or milliseconds of Unix
	// time. The signature must then be over the time, a dot and the body, or
	// over `v0:`, the time, a colon and the body. Default: none, so that a
	// request is as good in a year as it is now.
	Timestamp string `json:"timestamp,omitempty"`

	// How far the time of `hmac` with a `timestamp`, or of `standard_webhooks`,
	// may be from now. Default: `5m`.
	Tolerance Duration `json:"tolerance,omitempty"`

	// The user of `basic`.
	User string `json:"user,omitempty"`

	// The password of `basic`.
	Password string `json:"password,omitempty"`

	// The secrets of all kinds but `basic` and `none`. Any one of them is
	// enough, so that a secret can be replaced without a gap. Those of
	// `standard_webhooks` are base64, with or without `whsec_` before it.
	Values []string `json:"values,omitempty"`
}

// CheckOpen returns an error if a source that is open to everybody has another
// credential.
func CheckOpen(credentials []Credential) error {
	if len(credentials) > 1 && slices.ContainsFunc(credentials, func(c Credential) bool { return c.Kind == "none" }) {
		return errors.New("`auth none` leaves the source open, so another auth beside it has no meaning; keep one of them")
	}
	return nil
}

// Check finds unknown kinds, secrets in the middle of values, and what has no
// meaning for the kind: it would be lost without a word, and with it perhaps
// the bound of a signature's age.
func (c *Credential) Check() error {
	var takes []string
	switch c.Kind {
	case "none":
	case "bearer", "path":
		takes = []string{"values"}
	case "basic":
		takes = []string{"user", "password"}
	case "api_key":
		takes = []string{"in", "name", "values"}
	case "hmac":
		takes = []string{"name", "algorithm", "timestamp", "tolerance", "values"}
	case "standard_webhooks":
		takes = []string{"tolerance", "values"}
	case "":
		return fmt.Errorf("it has no kind; the kinds are: %s", strings.Join(CredentialKinds, ", "))
	default:
		return names.Unknown("auth kind", c.Kind, CredentialKinds, "")
	}
	for _, field := range []struct {
		name  string
		given bool
	}{
		{"in", c.In != ""},
		{"name", c.Name != ""},
		{"algorithm", c.Algorithm != ""},
		{"timestamp", c.Timestamp != ""},
		{"tolerance", c.Tolerance != 0},
		{"user", c.User != ""},
		{"password", c.Password != ""},
		{"values", len(c.Values) > 0},
	} {
		if field.given && !slices.Contains(takes, field.name) {
			taken := "nothing"
			if len(takes) > 0 {
				taken = strings.Join(takes, ", ")
			}
			return fmt.Errorf("%s has no %s; it takes: %s", c.Kind, field.name, taken)
		}
	}
	if c.Kind == "hmac" && c.Tolerance != 0 && c.Timestamp == "" {
		return errors.New("the tolerance of hmac needs a timestamp, which is the header with the time")
	}
	for _, value := range append([]string{c.User, c.Password}, c.Values...) {
		if err := CheckValue(value); err != nil {
			return err
		}
	}
	return nil
}

// CredentialKinds are the kinds of credentials, in the order of the manual.
var CredentialKinds = []string{"bearer", "basic", "api_key", "path", "hmac", "standard_webhooks", "none"}
