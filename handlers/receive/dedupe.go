package receive

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"slices"
	"strconv"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// eventIDs are the keys, without regard to case and underscores, under which
// senders put what identifies an event. A bare "id" is not among them: it is as
// often the id of what the event is about.
var eventIDs = []string{"eventid", "eventuuid", "deliveryid"}

// setDedupe computes what makes each event the same as another. For Standard
// Webhooks that is the signed id, for as long as its signature is good, also if
// the source does not ask for dedupe: a copied request is then stored as a
// duplicate and leads to nothing. The queue remembers, not this room: a sender
// must be able to repeat what was not stored, and a restart must not forget.
func (req *request) setDedupe(s *source, received *Received) {
	proof := req.proofOf(s)
	window := max(proof.window, s.window)
	if window == 0 {
		return
	}
	received.DedupeWindow = window
	received.DedupeKeys = make([]string, len(received.Events))
	for i, e := range received.Events {
		key := newKey(e.Source)
		switch {
		case proof.id != "":
			key.add("signed", proof.id, strconv.Itoa(i))
		case s.dedupeKey != nil && req.ownKey(s, e, key):
		case s.window > 0 && proof.signedOnly && bodyKey(e, key):
		case s.window > 0 && !proof.signedOnly && usualKey(e, key):
		default:
			continue
		}
		received.DedupeKeys[i] = key.String()
	}
}

// ownKey adds the value of the source's own expression, if it has one.
func (req *request) ownKey(s *source, e *event.Event, key *key) bool {
	value, err := req.receiver.language.Bind(e).Evaluate(s.dedupeKey)
	if err != nil || value == nil {
		return false
	}
	key.add("own", string(encodeJSON(value)))
	return true
}

// bodyKey adds what identifies an event of which only the body is signed: the
// vendor's event id, else the bytes. Anything from beside the body would let
// a reader of the request send it again as another event. It reports
// whether there was anything.
func bodyKey(e *event.Event, key *key) bool {
	if id := eventID(e, nil); id != "" {
		key.add("id", e.Name, id)
		return true
	}
	if !saysAnything(e, nil) {
		return false
	}
	key.add("content", e.Name, string(e.RawBody))
	return true
}

// usualKey adds what identifies an event as senders describe it: the vendor's
// event id, else the call, event, time and bytes. It reports whether there was
// anything; what is absent identifies nothing.
func usualKey(e *event.Event, key *key) bool {
	tenant, _ := event.Text(e.Parameters[event.Tenant])
	if id := eventID(e, e.Query); id != "" {
		key.add("id", tenant, e.Name, id)
		return true
	}
	fields, _ := e.Body.(map[string]any)
	leg, _ := event.Text(fields["uid"])
	if payload, isObject := fields["payload"].(map[string]any); isObject && leg == "" {
		leg, _ = event.Text(payload["uid"])
	}
	if leg == "" {
		leg, _ = event.Text(e.Parameters[event.CallID])
	}
	if leg == "" && !saysAnything(e, e.Query) {
		return false
	}
	key.add("content", tenant, leg, e.Name, e.Path)
	names := make([]string, 0, len(e.Query))
	for name := range e.Query {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		key.add(name)
		key.add(e.Query[name]...)
	}
	// The time of the event is in its body or query, so it counts with them.
	key.add(string(e.RawBody))
	return true
}

// eventID returns the vendor's id of the event in its body, else in the query,
// or "".
func eventID(e *event.Event, query map[string][]string) string {
	fields, _ := e.Body.(map[string]any)
	best := ""
	for key, value := range fields {
		text, ok := event.Text(value)
		if ok && isEventID(key) && !isAbsent(text) && (best == "" || text < best) {
			best = text
		}
	}
	for key, values := range query {
		if best == "" && isEventID(key) && !isAbsent(values[0]) {
			return values[0]
		}
	}
	return best
}

func isEventID(key string) bool {
	if len(key) < len("eventid") || len(key) > len("delivery_id") {
		return false
	}
	return slices.Contains(eventIDs, strings.ToLower(strings.ReplaceAll(key, "_", "")))
}

// saysAnything reports whether an event has any value beside its name, in the
// query or its body.
func saysAnything(e *event.Event, query map[string][]string) bool {
	for key, values := range query {
		if usualRank(key) < 0 && !isAbsent(values[0]) {
			return true
		}
	}
	fields, isObject := e.Body.(map[string]any)
	if !isObject {
		return e.Body != nil
	}
	for key, value := range fields {
		if text, isText := value.(string); usualRank(key) < 0 && value != nil && !(isText && isAbsent(text)) {
			return true
		}
	}
	return false
}

// key is a dedupe key in the making.
type key struct{ hash hash.Hash }

func newKey(source string) *key {
	k := &key{sha256.New()}
	k.add(source)
	return k
}

// add adds texts, each with its length, so that none can be taken for another
// by shifting what is between them.
func (k *key) add(texts ...string) {
	var length [8]byte
	for _, text := range texts {
		binary.BigEndian.PutUint64(length[:], uint64(len(text)))
		k.hash.Write(length[:])
		k.hash.Write([]byte(text))
	}
}

func (k *key) String() string { return base64.RawURLEncoding.EncodeToString(k.hash.Sum(nil)) }
