package auth

import (
	"fmt"
	"net/textproto"
	"slices"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// apiKey is a value in a header, a query key or a field of the body.
type apiKey struct {
	credential
	place Place
}

// KeyPlaces are where an API key can stand.
var KeyPlaces = []string{InHeader, InQuery, InBody}

func compileAPIKey(s config.Credential) (Authenticator, error) {
	if !slices.Contains(KeyPlaces, s.In) {
		return nil, names.Unknown("api_key place", s.In, KeyPlaces, "")
	}
	place := Place{s.In, s.Name}
	if s.In == InHeader {
		place.Name = textproto.CanonicalMIMEHeaderKey(s.Name)
	}
	if place.Name == "" {
		return nil, fmt.Errorf("say the name of the %s that holds the key", s.In)
	}
	needs := Head
	if s.In == InBody {
		needs = Fields
	}
	c, err := newCredential(Traits{
		Kind: APIKey, Setting: setting("%s %s %s", APIKey, s.In, s.Name), Needs: needs, Places: []Place{place},
	}, s.Values, nil)
	return &apiKey{c, place}, err
}

func (k *apiKey) Prove(r *Request) Proof {
	if k.place.In == InBody && r.Arrived < Fields {
		return Proof{Later: r.HasBody}
	}
	presented := k.presented(r)
	if presented == "" {
		return Proof{}
	}
	return k.prove(presented, r.Now)
}

// presented returns the key that a request carries, or "".
func (k *apiKey) presented(r *Request) (key string) {
	switch k.place.In {
	case InHeader:
		key = r.Header.Get(k.place.Name)
	case InQuery:
		if values := r.Query[k.place.Name]; len(values) > 0 {
			key = values[0]
		}
	case InBody:
		if r.Arrived == Fields {
			key, _ = r.Field(k.place.Name)
		}
	}
	return key
}

func (k *apiKey) Refused(r *Request) string {
	if k.presented(r) == "" {
		return ""
	}
	return fmt.Sprintf("the value of %s in the %s is not a key of any source", k.place.Name, k.place.In)
}

func (k *apiKey) Instructions(secret string) Instructions {
	words := fmt.Sprintf("%s in the %s", k.place.Name, k.place.In)
	if k.place.In == InHeader {
		words = "header " + k.place.Name
	}
	return Instructions{Words: words, Text: secret}
}
