// Package auth holds the ways in which a request proves which source it comes
// from: one file for each kind of credential, with everything about that kind.
//
// A kind is a line in the table kinds, and a type that implements
// Authenticator. Nothing else in the program tells kinds apart: it asks a
// credential for its Traits. The parser of the Caddyfile has a table of its
// own, because each kind is written in its own way.
package auth

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// Authenticator decides whether a request comes from a source. It is safe for
// concurrent use. Nothing that it returns tells a secret, but for what
// Instructions makes of the secret that it is given.
type Authenticator interface {
	// Traits returns what can be known before a request comes. The result is
	// shared and must not be changed.
	Traits() *Traits

	// Prove compares what the request carries with the secrets, in a time that
	// tells nothing about them, and notes the use of the one that it found. It
	// is asked when the head of the request has arrived, and again when that
	// has which Traits.Needs names.
	Prove(*Request) Proof

	// Refused says, for an administrator, what is wrong with what a request
	// carries of this kind. It is asked for a request that proved nothing, and
	// repeats nothing of it. It is "" when the request carries nothing of this
	// kind.
	Refused(*Request) string

	// Instructions tells the author of a sender how to prove a request with a
	// secret, which is one of those that the Authenticator was made of.
	Instructions(secret string) Instructions

	// Holds reports whether a text is one of the secrets, without counting as
	// its use.
	Holds(text string) bool

	// Values returns the secrets that count, without their texts.
	Values() []*Value
}

// Part is how much of a request has arrived. A later part includes those before
// it.
type Part int

// The parts of a request, in the order in which they arrive.
const (
	// Head is what stands before the body. What it refuses is refused before
	// the body is read.
	Head Part = iota
	// Bytes are those of the body.
	Bytes
	// Fields are what the body holds once it is decoded.
	Fields
)

// Request is what a credential may look at.
type Request struct {
	// Arrived is how much of the request is there.
	Arrived Part

	Header http.Header
	Query  map[string][]string
	// Segments are those of the path that follow the handler's mount.
	Segments []string
	// Now is when the request came.
	Now time.Time
	// HasBody says that a body follows the head.
	HasBody bool

	// Sent is the body as it was sent, and Body the same without its
	// Content-Encoding. They are there from Bytes on.
	Sent, Body []byte

	// Field returns the text of a field of the body. It is there from Fields
	// on.
	Field func(name string) (text string, found bool)
}

// Proof is what a credential says of a request.
type Proof struct {
	// Proven says that the request comes from the source.
	Proven bool

	// Later says that the request is not proven yet, and that what has not
	// arrived may do so.
	Later bool

	// Why says, for an administrator, what is wrong with a request that could
	// have been proven, such as its time. Mostly "".
	Why string

	// Presented is the text that proved the request, "" for a signature.
	// Repeated are other forms in which a sender may repeat it. Both are taken
	// out of the event.
	Presented string
	Repeated  []string

	// ID identifies the request if that is signed, else "". Window is for how
	// long the same request could be sent again.
	ID     string
	Window time.Duration
}

// Where a credential can stand in a request.
const (
	InHeader = "header"
	InQuery  = "query"
	InBody   = "body"
	InPath   = "path"
)

// Place is where in a request a credential stands. Events do not get what
// stands there.
type Place struct {
	// In is InHeader, InQuery, InBody, or InPath for the path's last segment.
	In string
	// Name is that of the header in canonical form, of the query key or of the
	// field. It is "" for InPath.
	Name string
}

// Traits is what can be known of a credential before a request comes.
type Traits struct {
	// Kind is the name of the kind.
	Kind string

	// Setting is how the Caddyfile writes the credential, without its secret.
	Setting string

	// Needs is what of a request has to be there to decide.
	Needs Part

	// Places are where in a request the credential stands.
	Places []Place

	// Open says that the credential is proven by every request.
	Open bool

	// BodyOnly says that the credential proves the body and nothing beside it:
	// who has read such a request can send its body again with another path,
	// query and headers. Events then take nothing from those.
	BodyOnly bool

	// SignsID says that the requests have an id that is signed.
	SignsID bool
}

// Place returns the place of a credential that stands in one place, else the
// zero Place.
func (t *Traits) Place() Place {
	if len(t.Places) != 1 {
		return Place{}
	}
	return t.Places[0]
}

// Instructions is how a sender proves its requests. Of Words on the one side and
// Text and Shell on the other, only the latter hold the secret, and once: what is
// written for a person shows it in one place.
type Instructions struct {
	// Words says it to the author of the sender, without the secret. "" means that
	// there is nothing to do.
	Words string

	// Text is what stands in the place of the credential, "" for a signature.
	Text string

	// Shell are lines for a POSIX shell that sign $body, and Headers the header
	// fields that carry the result, which the shell must expand. Both are empty
	// if nothing is signed.
	Shell   string
	Headers []string
}

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

// kind is one kind of credentials.
type kind struct {
	// name is what the configuration calls the kind.
	name string

	// takes are the settings that have a meaning for the kind, by their names in
	// JSON.
	takes []string

	// compile checks the settings and makes them ready for requests.
	compile func(config.Credential) (Authenticator, error)

	// standIn takes the place of a secret that is not known, for dry runs.
	// Default: any text will do.
	standIn string
}

// kinds are all kinds of credentials, in the order of the manual.
var kinds = []kind{
	{name: Bearer, takes: []string{"values"}, compile: compileBearer},
	{name: Basic, takes: []string{"user", "password"}, compile: compileBasic},
	{name: APIKey, takes: []string{"in", "name", "values"}, compile: compileAPIKey},
	{name: Path, takes: []string{"values"}, compile: compilePath},
	{name: HMAC, takes: []string{"name", "algorithm", "timestamp", "tolerance", "values"}, compile: compileHMAC},
	{name: StandardWebhooks, takes: []string{"tolerance", "values"}, compile: compileStandardWebhooks, standIn: "whsec_Kioq"},
	{name: None, compile: compileNone},
}

// Kinds returns the names of all kinds of credentials, in the order of the
// manual.
func Kinds() []string {
	all := make([]string, len(kinds))
	for i := range kinds {
		all[i] = kinds[i].name
	}
	return all
}

// New checks the settings of a credential, whose secrets are resolved, and makes
// it ready for requests. Its error repeats no secret.
func New(settings config.Credential) (Authenticator, error) {
	k, err := kindOf(settings)
	if err != nil {
		return nil, err
	}
	a, err := k.compile(settings)
	if err != nil {
		return nil, err
	}
	return a, nil
}

func kindOf(settings config.Credential) (*kind, error) {
	if settings.Kind == "" {
		return nil, fmt.Errorf("it has no kind; the kinds are: %s", strings.Join(Kinds(), ", "))
	}
	if i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == settings.Kind }); i >= 0 {
		return &kinds[i], nil
	}
	return nil, names.Unknown("auth kind", settings.Kind, Kinds(), "")
}

// Check finds what can be found before the secrets are resolved: unknown kinds,
// placeholders in the middle of values, and what has no meaning for the kind. It
// would be lost without a word, and with it perhaps the bound of a signature's
// age.
func Check(settings config.Credential) error {
	k, err := kindOf(settings)
	if err != nil {
		return err
	}
	for _, name := range settings.Given() {
		if !slices.Contains(k.takes, name) {
			return fmt.Errorf("%s has no %s; it takes: %s", k.name, name, cmp.Or(strings.Join(k.takes, ", "), "nothing"))
		}
	}
	for _, value := range append([]string{settings.User, settings.Password}, settings.Values...) {
		if err := config.CheckValue(value); err != nil {
			return err
		}
	}
	return nil
}

// CheckOpen returns an error if a source that takes every request has another
// credential.
func CheckOpen(credentials []config.Credential) error {
	if len(credentials) > 1 && slices.ContainsFunc(credentials, IsOpen) {
		return errors.New("`auth none` leaves the source open, so another auth beside it has no meaning; keep one of them")
	}
	return nil
}

// StandIn returns what takes the place of a secret of a kind that is not known,
// so that the rest of a configuration can be tried: the text, unless the kind
// needs another form.
func StandIn(kindName, text string) string {
	for _, k := range kinds {
		if k.name == kindName && k.standIn != "" {
			return k.standIn
		}
	}
	return text
}

// credential is what all kinds share.
type credential struct {
	traits Traits
	values []*Value
}

// Value is one secret of a credential. What a request presents is compared by
// its digest only, so that neither content nor length shows in the time it
// takes.
type Value struct {
	// Number counts the values as they are configured, from 1.
	Number int

	digest [sha256.Size]byte
	used   atomic.Int64
}

// Digest identifies the value without telling it.
func (v *Value) Digest() [sha256.Size]byte { return v.digest }

// Used returns when the value last proved a request, the zero time if it has
// not.
func (v *Value) Used() time.Time {
	if used := v.used.Load(); used != 0 {
		return time.Unix(0, used)
	}
	return time.Time{}
}

// Inherit takes over when the value was used in an earlier configuration,
// unless it has been used in this one.
func (v *Value) Inherit(used time.Time) {
	if !used.IsZero() {
		v.used.CompareAndSwap(0, used.UnixNano())
	}
}

// errNoValue is the error for a credential that nothing could prove.
var errNoValue = errors.New("no value, or only empty ones; check the environment variable or file that it comes from")

// newCredential makes what all kinds share. form turns a secret into the text
// that requests present; nil means that this is the secret. Empty secrets are
// left out, and never match.
func newCredential(traits Traits, secrets []string, form func(secret string) string) (credential, error) {
	c := credential{traits: traits}
	for i, secret := range secrets {
		if secret == "" {
			continue
		}
		if form != nil {
			secret = form(secret)
		}
		c.values = append(c.values, &Value{Number: i + 1, digest: sha256.Sum256([]byte(secret))})
	}
	if len(c.values) == 0 {
		return c, errNoValue
	}
	return c, nil
}

// Traits implements Authenticator.
func (c *credential) Traits() *Traits { return &c.traits }

// Values implements Authenticator.
func (c *credential) Values() []*Value { return c.values }

// Holds implements Authenticator.
func (c *credential) Holds(text string) bool { return c.find(text) >= 0 }

// find returns the index of a value, or -1. All values are always compared.
func (c *credential) find(presented string) int {
	digest := sha256.Sum256([]byte(presented))
	found := -1
	for i := range c.values {
		equal := subtle.ConstantTimeCompare(digest[:], c.values[i].digest[:])
		found = subtle.ConstantTimeSelect(equal, i, found)
	}
	return found
}

// prove looks for a text among the values.
func (c *credential) prove(presented string, now time.Time) Proof {
	if !c.note(c.find(presented), now) {
		return Proof{}
	}
	return Proof{Proven: true, Presented: presented}
}

// note records the use of a value, by its index, and reports whether there is
// one.
func (c *credential) note(index int, now time.Time) bool {
	if index < 0 {
		return false
	}
	c.values[index].used.Store(now.UnixNano())
	return true
}

// setting joins the words of a setting.
func setting(format string, args ...any) string { return fmt.Sprintf("auth "+format, args...) }
