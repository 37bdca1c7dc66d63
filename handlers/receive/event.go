package receive

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// maxBatch is how many events one request may hold.
const maxBatch = 10_000

// read makes the events of a proven request as a source understands it, and
// reports whether the source knows any of them. It takes doc apart.
func (req *request) read(s *source, c kept, doc *document) (received *Received, known bool, err error) {
	received = &Received{Source: s.Name, Respond: s.Respond}
	if req.request.Method == http.MethodHead {
		received.Ping = true
		return received, false, nil
	}
	s.redact.removeShared(&c)

	// The name beside the body, and that of the envelope around a batch, are
	// looked for once.
	outer := ""
	bodyOnly := req.proofOf(s).signedOnly
	if s.nameFrom == nil && !bodyOnly {
		outer = s.nameFromRequest(&c)
	}
	wholes := doc.parts()
	if why := s.onlyFirst(doc, outer != "" || req.named != ""); why != "" {
		wholes = []part{doc.first(why)}
	}
	var events []*event.Event
	for _, whole := range wholes {
		envelope := req.event(s, &c, whole)
		parts, err := req.split(s, envelope, doc, &whole)
		if err != nil {
			return nil, false, err
		}
		if len(events)+max(1, len(parts)) > maxBatch {
			return nil, false, tooManyRefusal
		}
		if parts == nil {
			isKnown := req.complete(s, envelope, whole.rooted, bodyOnly, outer, "")
			events, known = append(events, envelope), known || isKnown
			continue
		}
		inherited := ""
		if s.nameFrom == nil {
			inherited = s.nameFromFields(fieldsOf(whole.value, whole.rooted))
		}
		for _, p := range parts {
			e := req.event(s, &c, p)
			isKnown := req.complete(s, e, false, bodyOnly, outer, inherited)
			events, known = append(events, e), known || isKnown
		}
	}
	if req.request.Method == http.MethodGet && len(events) == 1 && events[0].Body == nil && len(doc.raw) == 0 &&
		events[0].Name == event.UnknownName && !hasTag(c.query) {
		received.Ping = true
		return received, false, nil
	}
	received.Events = events
	req.setDedupe(s, received)
	return received, known, nil
}

// onlyFirst says why only the first of several values in a body is an event, or
// "" if each is one. A PBX puts the name of a caller into its JSON unescaped,
// and a caller can be called "}{" and more. beside says that the event's name
// stands beside the body. Then each of the values would be that event.
func (s *source) onlyFirst(doc *document, beside bool) string {
	switch {
	case doc.values == nil:
	case s.preset.Single != "":
		return s.preset.Single
	case !doc.ownLines && (beside || s.nameFrom != nil && !s.nameInBody):
		return "they share a line and the event's name does not stand in them"
	}
	return ""
}

// hasTag reports whether a query has a tag of a call. A PBX whose administrator
// forgot to write the event's name into a GET must not be taken for a ping.
func hasTag(query map[string][]string) bool {
	for key, values := range query {
		if _, ok := tagOf(key); ok && !isAbsent(values[0]) {
			return true
		}
	}
	return false
}

// event makes an event of a part, with everything that does not have to be
// read from it.
func (req *request) event(s *source, c *kept, p part) *event.Event {
	headers := c.headers
	if p.retyped {
		if c.jsonHeaders == nil {
			c.jsonHeaders = withHeader(headers, "Content-Type", "application/json")
		}
		headers = c.jsonHeaders
	}
	return &event.Event{
		Source:     s.Name,
		Received:   req.now,
		Test:       req.test,
		Method:     req.request.Method,
		Path:       c.path,
		IP:         req.ip(),
		Query:      c.query,
		Headers:    headers,
		RawBody:    p.raw,
		Body:       p.value,
		BodyIsRaw:  p.isRaw,
		ParseError: p.problem,
	}
}

func (req *request) ip() string {
	if !req.client.IsValid() {
		return ""
	}
	return req.client.String()
}

// split returns the elements of a batch, or nil if a value is one event.
//
// An element keeps its bytes as they came, in a list at the top also when they
// are broken. The only element of a broken list keeps all that came. A broken
// list without any object is no batch: there is nothing in it that could be an
// event, so it stays whole.
func (req *request) split(s *source, envelope *event.Event, doc *document, whole *part) ([]part, error) {
	opened := false
	if s.batch != nil {
		list := req.listAt(s, envelope)
		if list == nil {
			// The list may be inside text that has to be opened first.
			var value any
			if value, opened = openTexts(whole.value, 0); opened {
				whole.value, whole.isRaw = value, false
				envelope.Body, envelope.BodyIsRaw = value, false
				list = req.listAt(s, envelope)
			}
		}
		if list != nil {
			return partsOf(list, whole, whole.elements.of(list, whole.text, false), false)
		}
	}
	list, isList := whole.value.([]any)
	if !isList || len(list) == 0 {
		return nil, nil
	}
	if whole.problem != "" && !slices.ContainsFunc(list, isObject) {
		return nil, nil
	}
	var raws []json.RawMessage
	if json.Unmarshal(whole.text, &raws) != nil || len(raws) != len(list) {
		parts, err := partsOf(list, whole, whole.elements.of(list, whole.text, true), doc.foreign)
		return parts, err
	}
	// Whole elements: each is what its bytes give.
	plain := make([][]byte, len(raws))
	for i, raw := range raws {
		plain[i] = raw
	}
	parts, err := partsOf(list, whole, plain, doc.foreign)
	for i := range parts {
		parts[i].isRaw = !opened && utf8.Valid(raws[i])
	}
	return parts, err
}

func isObject(value any) bool {
	_, is := value.(map[string]any)
	return is
}

// partsOf makes the parts of a list. raws are the bytes of its elements, nil
// where they cannot be distinguished, as in XML. The last element of such a list keeps all
// that came if it is broken.
func partsOf(list []any, whole *part, raws [][]byte, foreign bool) ([]part, error) {
	if len(list) > maxBatch {
		return nil, tooManyRefusal
	}
	parts := make([]part, len(list))
	for i, element := range list {
		p := part{value: element, problem: whole.problem}
		switch {
		case whole.problem != "" && (len(list) == 1 || raws == nil && i == len(list)-1):
			// Some of it could not be read, and is in none of the elements.
			p.raw, p.retyped = whole.raw, whole.retyped
		case raws == nil:
			p.raw, p.isRaw, p.retyped = encodeJSON(element), true, true
		default:
			p.raw, p.retyped = raws[i], foreign
		}
		parts[i] = p
	}
	return parts, nil
}

// listAt returns the list that a source's batch is at, or nil. An empty one
// counts as none, so that its request is kept.
func (req *request) listAt(s *source, envelope *event.Event) []any {
	value, err := req.receiver.language.Bind(envelope).Evaluate(s.batch)
	if list, isList := value.([]any); err == nil && isList && len(list) > 0 {
		return list
	}
	return nil
}

var tooManyRefusal = refuse(http.StatusRequestEntityTooLarge, "the body holds more than %d events, which is how many are taken at once", maxBatch)

// complete reads an event's name, parameters, fields and subject from its body, and
// reports whether the source knows the name. bodyOnly says that what stands
// beside the body proves nothing.
func (req *request) complete(s *source, e *event.Event, rooted, bodyOnly bool, outer, inherited string) (known bool) {
	e.ID = event.NewID()
	req.redactBody(s, e, rooted)
	if body, opened := openTexts(e.Body, 0); opened {
		e.Body, e.BodyIsRaw = body, false
	}
	fields := fieldsOf(e.Body, rooted)

	switch {
	case req.named != "":
		e.Name, _ = s.nameOf(req.named, false)
	case s.nameFrom != nil:
		if value, err := req.receiver.language.Bind(e).Evaluate(s.nameFrom); err == nil {
			if text, ok := event.Text(plainNumber(value)); ok {
				e.Name, _ = s.nameOf(text, false)
			}
		}
	case outer != "":
		e.Name = outer
	default:
		if e.Name = s.nameFromFields(fields); e.Name == "" {
			e.Name = inherited
		}
	}
	if e.Name == "" {
		e.Name = event.UnknownName
	}
	_, known = s.declared(e.Name)
	if !bodyOnly {
		readTags(e, e.Query, func(values []string) any { return values[0] })
	}
	req.setParameters(s, e, fields)
	req.setSubject(s, e, fields, bodyOnly)
	return known
}

// redactBody removes from an event's body what its source wants removed.
func (req *request) redactBody(s *source, e *event.Event, rooted bool) {
	if len(s.redact.body) == 0 && len(s.redact.parameters) == 0 {
		return
	}
	// What is inside text has to be seen to be removed.
	body, opened := openTexts(e.Body, 0)
	removed := s.redact.removeBody(body, fieldsOf(body, rooted))
	e.Body = body
	if removed || e.ParseError != "" {
		// Also of a body that could not be read: what is in it is not known.
		e.RawBody, e.BodyIsRaw = encodeJSON(body), true
		e.Headers = withHeader(e.Headers, "Content-Type", "application/json")
	} else if opened {
		e.BodyIsRaw = false
	}
}

// withHeader returns a copy of headers with one of them changed, since events of
// a batch share them.
func withHeader(headers map[string][]string, name, value string) map[string][]string {
	if values := headers[name]; len(values) == 1 && values[0] == value {
		return headers
	}
	changed := make(map[string][]string, len(headers)+1)
	for n, values := range headers {
		changed[n] = values
	}
	changed[name] = []string{value}
	return changed
}

// setParameters sets the system parameters that the query did not, and the
// source's fields.
func (req *request) setParameters(s *source, e *event.Event, fields map[string]any) {
	readTags(e, fields, func(value any) any { return value })
	if s.preset.Map != nil {
		readMapped(e, s.preset.Map(names.Normal(e.Name), fields))
	}
	given := e.Parameters
	if e.Parameters[event.Tenant] == nil {
		e.Parameters[event.Tenant] = ""
	}
	setTimes(&e.Parameters, given, e.Received, s.timezone)

	for _, f := range s.fields {
		value, err := req.receiver.language.Bind(e).Evaluate(f.expression)
		if err != nil {
			value = nil
		}
		value = plainNumber(value)
		if text, isText := value.(string); isText && isAbsent(text) {
			value = nil
		}
		if !f.overrides {
			if e.Fields == nil {
				e.Fields = make(map[string]any, len(s.fields))
			}
			e.Fields[f.name] = value
			continue
		}
		e.Parameters[f.parameter] = nil
		delete(e.Unread, f.parameter)
		typed := typedParameter(e, f.parameter, value)
		e.Parameters[f.parameter] = typed
		switch f.parameter {
		case event.Tenant:
			if typed == nil {
				e.Parameters[event.Tenant] = ""
			}
		case event.Date, event.Time, event.UnixTime:
			given[f.parameter] = typed
			setTimes(&e.Parameters, given, e.Received, s.timezone)
		}
	}
	for _, p := range s.redact.parameters {
		delete(e.Unread, p)
		switch p {
		case event.Date, event.Time, event.UnixTime: // of the receipt now
		case event.Tenant:
			e.Parameters[p] = ""
		default:
			e.Parameters[p] = nil
		}
	}
}

// plainNumber returns the numbers of expressions in the forms that an event has,
// so that it is the same before and after it was stored.
func plainNumber(value any) any {
	switch value := value.(type) {
	case int:
		return int64(value)
	case float64:
		switch {
		case math.IsNaN(value) || math.IsInf(value, 0):
			return nil
		case value == math.Trunc(value) && math.Abs(value) < 1<<53:
			return int64(value)
		}
		return json.Number(strconv.FormatFloat(value, 'g', -1, 64))
	}
	return value
}
