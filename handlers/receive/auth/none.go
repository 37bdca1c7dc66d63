package auth

import (
	"errors"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// none takes every request. Its source must be the only one of its handler, so
// that a mistyped key of another never falls through to it.
type none struct{ credential }

func compileNone(s config.Credential) (Authenticator, error) {
	if len(s.Secrets()) > 0 {
		return nil, errors.New("auth none takes no value")
	}
	return &none{credential{traits: Traits{Kind: None, Setting: setting(None), Open: true}}}, nil
}

func (*none) Prove(*Request) Proof { return Proof{Proven: true} }

func (*none) Refused(*Request) string { return "" }

func (*none) Instructions(string) Instructions { return Instructions{} }

// IsOpen reports whether a credential is proven by every request.
func IsOpen(s config.Credential) bool { return s.Kind == None }
