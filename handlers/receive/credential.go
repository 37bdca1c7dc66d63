package receive

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
)

// Use says when a value of a credential last proved a request. It never holds
// the value.
type Use struct {
	Source string `json:"source"`
	// Credential counts the source's credentials, Value the credential's
	// values, both from 1 in the order of the configuration.
	Credential int    `json:"credential"`
	Kind       string `json:"kind"`
	Value      int    `json:"value"`
	// Last is zero when no use of the value is known.
	Last time.Time `json:"last,omitzero"`
}

// Uses returns when each value of each credential was last used.
func (r *Receiver) Uses() []Use {
	var uses []Use
	for _, s := range r.sources {
		for i, c := range s.credentials {
			for _, value := range c.Values() {
				uses = append(uses, Use{Source: s.Name, Credential: i + 1, Kind: c.Traits().Kind, Value: value.Number, Last: value.Used()})
			}
		}
	}
	return uses
}

// Remembered says when a value of a credential was last used, in a form that can be
// stored. It cannot tell the value.
type Remembered struct {
	Source string `json:"source"`
	Kind   string `json:"kind"`
	// Check distinguishes the values of a source after their order has changed. It is
	// two bytes of a digest: enough for that, and far too few to find a value by.
	Check string    `json:"check"`
	Last  time.Time `json:"last"`
}

// Remember returns when each value that was used was last used.
func (r *Receiver) Remember() (remembered []Remembered) {
	r.eachValue(func(source, kind string, value *auth.Value) {
		if last := value.Used(); !last.IsZero() {
			remembered = append(remembered, Remembered{Source: source, Kind: kind, Check: checkOf(source, value), Last: last})
		}
	})
	return remembered
}

// Recall takes over what Remember returned before a restart, for the values that have
// not been used since.
func (r *Receiver) Recall(remembered []Remembered) {
	r.eachValue(func(source, kind string, value *auth.Value) {
		check := checkOf(source, value)
		for _, known := range remembered {
			if known.Source == source && known.Kind == kind && known.Check == check {
				value.Inherit(known.Last)
			}
		}
	})
}

func checkOf(source string, value *auth.Value) string {
	digest := value.Digest()
	sum := sha256.Sum256(append([]byte("last use of a credential of "+source+"\x00"), digest[:]...))
	return hex.EncodeToString(sum[:2])
}

// eachValue calls do for each value of each credential.
func (r *Receiver) eachValue(do func(source, kind string, value *auth.Value)) {
	for _, s := range r.sources {
		for _, c := range s.credentials {
			for _, value := range c.Values() {
				do(s.Name, c.Traits().Kind, value)
			}
		}
	}
}

// Inherit takes over from the Receiver of an earlier configuration when its
// credentials were last used, for those that are still the same.
func (r *Receiver) Inherit(earlier *Receiver) {
	type key struct {
		source, kind string
		digest       [32]byte
	}
	last := map[key]time.Time{}
	earlier.eachValue(func(source, kind string, value *auth.Value) {
		k := key{source, kind, value.Digest()}
		if used := value.Used(); used.After(last[k]) {
			last[k] = used
		}
	})
	r.eachValue(func(source, kind string, value *auth.Value) { value.Inherit(last[key{source, kind, value.Digest()}]) })
}

// proof is what the credentials of a request say of one source.
type proof struct {
	// proven says that the request comes from the source, and signedOnly that
	// nothing but a signature of the body says so.
	proven, signedOnly bool

	// later says that what has not arrived may prove it.
	later bool

	// id identifies the request if that is signed, and window is for how long
	// the same request could be sent again.
	id     string
	window time.Duration
}

// ask has the credentials of the allowed sources look at what has arrived of a
// request, and reports whether any source is proven by now. After the head only
// those are asked that waited for this part.
func (req *request) ask(arrived auth.Part) (anyone bool) {
	req.seen.Arrived = arrived
	for i, s := range req.allowed {
		p := &req.proofs[i]
		for _, c := range s.credentials {
			traits := c.Traits()
			if arrived != auth.Head && traits.Needs != arrived {
				continue
			}
			found := c.Prove(&req.seen)
			p.later = p.later || found.Later
			if found.Why != "" {
				req.why = found.Why
			}
			if !found.Proven {
				continue
			}
			p.signedOnly = traits.BodyOnly && (p.signedOnly || !p.proven)
			p.proven = true
			if p.id == "" {
				p.id, p.window = found.ID, found.Window
			}
			if found.Presented != "" && !slices.Contains(req.presented, found.Presented) {
				req.presented = append(req.presented, found.Presented)
				req.presented = append(req.presented, found.Repeated...)
			}
		}
		anyone = anyone || p.proven
	}
	return anyone
}

// mayYet reports whether a part of a request that has not arrived may prove a
// source.
func (req *request) mayYet(needs auth.Part) bool {
	for i, s := range req.allowed {
		if req.proofs[i].later && slices.ContainsFunc(s.credentials, func(c auth.Authenticator) bool { return c.Traits().Needs >= needs }) {
			return true
		}
	}
	return false
}

// carried reports whether the request carries a credential that a source asks for,
// right or wrong.
func (req *request) carried() bool {
	for i, s := range req.allowed {
		if i < len(req.proofs) && req.proofs[i].proven {
			return true
		}
		for _, c := range s.credentials {
			if c.Refused(&req.seen) != "" {
				return true
			}
		}
	}
	return req.why != ""
}

// widestSender is how many bits the addresses of a network in an allow must share for
// them to be expected: 0.0.0.0/0 tells scanners and senders not apart.
const widestSender = 8

// Expects reports whether an address is in the allow of a source, so that a sender is
// there.
func (r *Receiver) Expects(client netip.Addr) bool {
	client = client.Unmap().WithZone("")
	return slices.ContainsFunc(r.sources, func(s *source) bool {
		return slices.ContainsFunc(s.allow, func(network netip.Prefix) bool {
			return network.Bits() >= widestSender && contains(network, client)
		})
	})
}

// whyNot says, for an administrator, why a request proves nothing. It repeats
// nothing of it.
func (req *request) whyNot() string {
	if req.why != "" {
		return req.why
	}
	var wrong []string
	for _, s := range req.allowed {
		for _, c := range s.credentials {
			if what := c.Refused(&req.seen); what != "" && !slices.Contains(wrong, what) {
				wrong = append(wrong, what)
			}
		}
	}
	switch {
	case len(wrong) > 0:
		return strings.Join(wrong, "; ")
	case req.request.Header.Get("Authorization") != "":
		return "no source asks for the kind of Authorization header that the request carries"
	}
	return "the request carries no credentials that a source asks for"
}
