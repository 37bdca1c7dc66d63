package auth

import "errors"

// none takes every request. Its source must be the only one of its handler, so
// that a mistyped key of another never falls through to it.
type none struct{ credential }

func compileNone(s Settings) (Authenticator, error) {
	if len(s.Values) > 0 {
		return nil, errors.New("auth none takes no value")
	}
	return &none{credential{traits: Traits{Kind: None, Setting: setting(None), Open: true}}}, nil
}

func (*none) Prove(*Request) Proof { return Proof{Proven: true} }

func (*none) Refused(*Request) string { return "" }

func (*none) Instructions(string) Instructions { return Instructions{} }

// IsOpen reports whether a credential is proven by every request.
func IsOpen(s Settings) bool { return s.Kind == None }
