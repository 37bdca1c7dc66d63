package template

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/textencoding"
)

// credentials are what the requests of a variant prove themselves with.
type credentials struct {
	kind string
	// header is the name of the header field that holds them. It is "" for an API
	// key in the query: query is then the name and the = before the value.
	header string
	query  template
	// fixed says that they are the same in every request. If they stand in a header,
	// it is among the variant's fixed header fields.
	fixed       bool
	user, value template
	// empty is the error of a request for which they come out empty.
	empty error
}

// makeAuth makes the credentials. Call it after makeURL and makeHeaders: it refuses
// what both of them and auth would set.
func (b *builder) makeAuth() {
	if b.action.Auth.Kind == config.AuthNone || b.auth.wrong() {
		return
	}
	a := &credentials{kind: b.action.Auth.Kind, user: b.fill(b.auth.user).joined(), value: b.fill(b.auth.value).joined()}
	user, userFixed := a.user.text()
	value, valueFixed := a.value.text()
	a.fixed = userFixed && valueFixed
	if valueFixed {
		b.secrets = append(b.secrets, value)
	}
	if err := b.placeAuth(a); err != nil {
		b.fail("auth", err)
		return
	}
	a.empty = b.emptyAuth()
	if a.fixed && a.isEmpty(user, value) {
		b.made.unproven = a.empty
		return
	}
	if a.fixed && a.header != "" {
		text, err := a.headerValue(user, value)
		if err != nil {
			b.fail("auth", err)
			return
		}
		b.made.fixed[a.header] = []string{text}
		if a.kind == config.AuthBasic {
			b.secrets = append(b.secrets, strings.TrimPrefix(text, "Basic "))
		}
	}
	b.made.auth = a
}

// isEmpty reports whether credentials with these values are none. Such a request is
// not sent: a target may answer it with 200 and without doing anything.
func (a *credentials) isEmpty(user, value string) bool {
	return strings.TrimSpace(value) == "" && (a.kind != config.AuthBasic || strings.TrimSpace(user) == "")
}

// emptyAuth returns the error of a request whose credentials come out empty. It
// names what has to be filled in. It is no error at load: imported configurations
// have such parameters until an administrator gives them a value.
func (b *builder) emptyAuth() error {
	what := map[string]string{config.AuthBearer: "the bearer token is empty", config.AuthAPIKey: "the API key is empty", config.AuthBasic: "user and password are empty"}[b.action.Auth.Kind]
	return b.emptyProof("auth: "+what, slices.Concat(b.auth.user.pieces, b.auth.value.pieces))
}

// emptyProof returns the error of a request that would go out without what is to
// prove it, and names what has to be filled in for the tags of the pieces.
func (b *builder) emptyProof(text string, pieces []piece) error {
	var absent, lines []string
	for _, p := range pieces {
		switch {
		case p.tag == nil:
		case !p.tag.expression.Trusted():
			absent = append(absent, p.tag.String())
		default:
			for _, name := range p.tag.expression.Parameters() {
				line := "parameter " + name + " VALUE"
				if p.tag.expression.Lists(b.tenant) {
					line = "tenant " + strconv.Quote(textencoding.Cut(b.tenant, 64)) + " VALUE in parameter " + name
				}
				lines = append(lines, line)
			}
		}
	}
	if len(absent) > 0 {
		text += ", because the event has nothing for " + strings.Join(absent, ", ")
	}
	text += "; not sent"
	if len(lines) > 0 {
		text += ": fill in " + strings.Join(lines, ", ")
	}
	return errors.New(text)
}

// placeAuth finds the place of credentials, which must be free.
func (b *builder) placeAuth(a *credentials) error {
	name := b.fill(b.auth.name)
	switch {
	case a.kind != config.AuthAPIKey:
		a.header = "Authorization"
		if b.authorization != "" {
			return fmt.Errorf("user and password stand in the URL too, which make the same header as auth %s: remove the one or the other", a.kind)
		}
	case b.action.Auth.In == config.InQuery:
		a.query = append(name.with(escape.QueryName.Encode, percent), piece{text: "="}).joined()
		return nil
	default:
		field, err := headerName(name)
		if err != nil {
			return err
		}
		a.header = http.CanonicalHeaderKey(field)
		if a.header == "Host" || a.header == "Content-Type" || a.header == "Authorization" && b.authorization != "" ||
			len(b.action.Sign) > 0 && isSignature(a.header) {
			return fmt.Errorf("%s cannot hold an API key: the request needs it for something else", a.header)
		}
	}
	if b.given[a.header] {
		return fmt.Errorf("the header %s is given too, and auth %s makes it: remove the one or the other", a.header, a.kind)
	}
	return nil
}

// headerValue returns the value of the header field. The error says nothing of
// what the credentials are.
func (a *credentials) headerValue(user, value string) (string, error) {
	for _, text := range []string{user, value} {
		if escape.CheckHeader(text) != nil {
			return "", fmt.Errorf("what proves the request holds a control character, which %s cannot carry", a.header)
		}
	}
	switch a.kind {
	case config.AuthBasic:
		if strings.Contains(user, ":") {
			return "", errors.New("the user name holds a colon, which auth basic cannot carry: the password would begin there")
		}
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+value)), nil
	case config.AuthBearer:
		return "Bearer " + strings.TrimSpace(value), nil
	}
	return strings.TrimSpace(value), nil
}

// authenticate adds the credentials to a request.
func (r *rendering) authenticate(a *credentials, request *Request) error {
	if a == nil {
		return nil
	}
	request.authHeader = a.header
	if a.fixed && a.header != "" {
		return nil
	}
	value, err := r.text("auth", a.value)
	if err != nil {
		return err
	}
	if a.header == "" {
		if a.isEmpty("", value) {
			return a.empty
		}
		if !a.fixed {
			request.Masker = request.Masker.And(value)
		}
		return r.addKey(a, value, request)
	}
	user, err := r.text("auth", a.user)
	if err != nil {
		return err
	}
	if a.isEmpty(user, value) {
		return a.empty
	}
	text, err := a.headerValue(user, value)
	if err != nil {
		return fmt.Errorf("auth: %w; not sent", err)
	}
	request.Header[a.header] = []string{text}
	if a.kind == config.AuthBasic {
		request.Masker = request.Masker.And(value, strings.TrimPrefix(text, "Basic "))
	} else {
		request.Masker = request.Masker.And(value)
	}
	return nil
}

// addKey appends an API key to the query.
func (r *rendering) addKey(a *credentials, value string, request *Request) error {
	name, err := r.text("auth", a.query)
	if err != nil {
		return err
	}
	query := request.URL.RawQuery
	if query != "" {
		query += "&"
	}
	query += name
	request.shownQuery = len(query)
	request.URL.RawQuery = string(escape.Unreserved.Append([]byte(query), value))
	return nil
}
