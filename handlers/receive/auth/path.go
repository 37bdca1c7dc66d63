package auth

import "github.com/caddy-event-relay/event-relay/internal/config"

// path is a value as the last segment of the path.
type path struct{ credential }

func compilePath(s config.Credential) (Authenticator, error) {
	c, err := newCredential(Traits{Kind: Path, Setting: setting(Path), Places: []Place{{In: InPath}}}, s.Values, nil)
	return &path{c}, err
}

func (p *path) Prove(r *Request) Proof {
	if len(r.Segments) == 0 {
		return Proof{}
	}
	return p.prove(r.Segments[len(r.Segments)-1], r.Now)
}

// Refused says nothing: the last segment may as well be the name of an event.
func (*path) Refused(*Request) string { return "" }

func (*path) Instructions(secret string) Instructions {
	return Instructions{Words: "the last segment of the URL", Text: secret}
}
