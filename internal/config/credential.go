package config

import "slices"

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
	// over `v0:`, the time, a colon and the body. Default: none, so that
	// a copy of a request is accepted at any later time.
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

// Secrets returns the secrets that are given, of whatever kind.
func (c *Credential) Secrets() []string {
	secrets := slices.Clone(c.Values)
	if c.Password != "" {
		secrets = append(secrets, c.Password)
	}
	return secrets
}

// Given returns the names in JSON of the settings that are given, but for the
// kind.
func (c *Credential) Given() (given []string) {
	for _, setting := range []struct {
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
		if setting.given {
			given = append(given, setting.name)
		}
	}
	return given
}
