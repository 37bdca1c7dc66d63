package auth

import (
	"net/http"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// bearer is "Authorization: Bearer TOKEN".
type bearer struct{ credential }

func compileBearer(s config.Credential) (Authenticator, error) {
	c, err := newCredential(Traits{
		Kind: Bearer, Setting: setting(Bearer), Places: []Place{{InHeader, "Authorization"}},
	}, s.Values, nil)
	return &bearer{c}, err
}

func (b *bearer) Prove(r *Request) Proof {
	token, ok := authorization(r.Header, "Bearer")
	if !ok {
		return Proof{}
	}
	return b.prove(token, r.Now)
}

func (*bearer) Refused(r *Request) string {
	if _, ok := authorization(r.Header, "Bearer"); !ok {
		return ""
	}
	return "the bearer token is not that of any source"
}

func (*bearer) Instructions(secret string) Instructions {
	return Instructions{Words: "header Authorization: Bearer, with a token", Text: "Bearer " + secret}
}

// authorization returns what follows a scheme in the Authorization header.
func authorization(header http.Header, scheme string) (text string, found bool) {
	value := header.Get("Authorization")
	if len(value) <= len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) || value[len(scheme)] != ' ' {
		return "", false
	}
	return strings.TrimSpace(value[len(scheme):]), true
}
