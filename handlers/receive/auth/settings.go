package auth

import "time"

// The kinds of credentials.
const (
	Bearer           = "bearer"
	Basic            = "basic"
	APIKey           = "api_key"
	Path             = "path"
	HMAC             = "hmac"
	StandardWebhooks = "standard_webhooks"
	None             = "none"
)

// DefaultTolerance is how far a signed time may be from ours.
const DefaultTolerance = 5 * time.Minute

// Settings are those of a credential.
type Settings struct {
	// Kind is one of Kinds.
	Kind string

	// In is where an APIKey stands: InHeader, InQuery or InBody.
	In string

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
