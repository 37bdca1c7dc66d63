package auth

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// basic is "Authorization: Basic" with a user and a password.
type basic struct {
	credential
	user string
}

func compileBasic(s config.Credential) (Authenticator, error) {
	if s.User == "" || strings.Contains(s.User, ":") {
		return nil, errors.New("give a user that is not empty and holds no colon")
	}
	c, err := newCredential(Traits{
		Kind: Basic, Setting: setting("%s %s", Basic, s.User), Places: []Place{{InHeader, "Authorization"}},
	}, []string{s.Password}, func(password string) string { return s.User + ":" + password })
	return &basic{c, s.User}, err
}

func (b *basic) Prove(r *Request) Proof {
	encoded, ok := authorization(r.Header, "Basic")
	if !ok {
		return Proof{}
	}
	pair, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return Proof{}
	}
	proof := b.prove(string(pair), r.Now)
	if proof.Proven {
		// The password alone, and both as they stand in the header.
		_, password, _ := strings.Cut(string(pair), ":")
		proof.Repeated = []string{password, base64.RawStdEncoding.EncodeToString(pair), base64.RawURLEncoding.EncodeToString(pair)}
	}
	return proof
}

func (*basic) Refused(r *Request) string {
	if _, ok := authorization(r.Header, "Basic"); !ok {
		return ""
	}
	return "the user and password are not those of any source"
}

func (b *basic) Instructions(password string) Instructions {
	text := "Basic " + base64.StdEncoding.EncodeToString([]byte(b.user+":"+password))
	return Instructions{Words: "header Authorization: Basic, with user " + b.user + " and a password", Text: text}
}
