package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/names"
)

// ActionAuth is what an action's request carries to prove who asks. All but
// kind and place are templates; a secret gets into them as a custom parameter.
type ActionAuth struct {
	// What kind of proof it is: `api_key` (a value in a header or in the
	// query), `basic` (user and password in the Authorization header), `bearer`
	// (a token in the Authorization header) or `none`. Default: `none`.
	Kind string `json:"kind,omitempty"`

	// Where an `api_key` stands: `header` or `query`.
	In string `json:"in,omitempty"`

	// The name of the header or query key of an `api_key`.
	Name string `json:"name,omitempty"`

	// The value of an `api_key`, or the token of `bearer`.
	Value string `json:"value,omitempty"`

	// The user of `basic`.
	User string `json:"user,omitempty"`

	// The password of `basic`.
	Password string `json:"password,omitempty"`
}

// The kinds of what an action proves itself with.
const (
	AuthNone   = "none"
	AuthAPIKey = "api_key"
	AuthBasic  = "basic"
	AuthBearer = "bearer"
)

// The places of an API key.
const (
	InHeader = "header"
	InQuery  = "query"
)

// ActionKeyPlaces are the places of an API key of an action.
var ActionKeyPlaces = []string{InHeader, InQuery}

// Check finds unknown kinds, what has no meaning for the kind, what proves
// nothing, and placeholders. User or password of basic may be empty: there are
// services that want a key for the one and nothing for the other.
func (a *ActionAuth) Check() error {
	kind, takes := a.Kind, []string(nil)
	switch a.Kind {
	case "", AuthNone:
		kind = AuthNone
	case AuthAPIKey:
		takes = []string{"in", "name", "value"}
	case AuthBasic:
		takes = []string{"user", "password"}
	case AuthBearer:
		takes = []string{"value"}
	default:
		return names.Unknown("action auth kind", a.Kind, []string{AuthBearer, AuthBasic, AuthAPIKey, AuthNone}, "")
	}
	if err := refuseOthers(kind, takes, given{"in", a.In != ""}, given{"name", a.Name != ""}, given{"value", a.Value != ""},
		given{"user", a.User != ""}, given{"password", a.Password != ""}); err != nil {
		return err
	}
	switch {
	case a.Kind == AuthAPIKey && !slices.Contains(ActionKeyPlaces, a.In):
		return fmt.Errorf("an API key stands in the header or the query, not in %q", a.In)
	case a.Kind == AuthAPIKey && strings.TrimSpace(a.Name) == "":
		return errors.New("an API key needs the name of the header or query value that holds the key")
	case (a.Kind == AuthAPIKey || a.Kind == AuthBearer) && a.Value == "":
		return fmt.Errorf("%s is empty and proves nothing; write auth none if that is meant", a.Kind)
	case a.Kind == AuthBasic && a.User+a.Password == "":
		return errors.New("basic has neither user nor password, which proves nothing; write auth none if that is meant")
	}
	for _, text := range []string{a.Name, a.Value, a.User, a.Password} {
		if err := CheckTemplate(text); err != nil {
			return err
		}
	}
	return nil
}

// Secret returns the template of what must stay secret: the password of basic,
// the key or the token of the others.
func (a *ActionAuth) Secret() string {
	if a.Kind == AuthBasic {
		return a.Password
	}
	return a.Value
}
