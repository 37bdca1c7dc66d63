package receive

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"github.com/google/uuid"

	"github.com/caddy-event-relay/event-relay/rules"
)

// maxBatch is how many events one request may hold.
const maxBatch = 10_000

// part is what one event is made of: the body, or one element of a batch.
type part struct {
	raw    []byte
	value  any
	isRaw  bool
	rooted bool
}

// read makes the events of a proven request as a source understands it, and
// reports whether the source knows any of them. It takes doc apart.
func (v *visit) read(s *source, c clean, doc *document) (received *Received, known bool, err error) {
	received = &Received{Source: s.Name, Respond: s.Respond}
	if v.request.Method == http.MethodHead {
		received.Ping = true
		return received, false, nil
	}
	s.redact.removeShared(&c)

	// The name beside the body, and that of the envelope around a batch, are
	// looked for once.
	outer := ""
	bodyOnly := v.signedOnly(s)
	if s.nameFrom == nil && !bodyOnly {
		outer = s.nameFromRequest(&c)
	}
	envelope := v.event(s, &c, doc, part{doc.raw, doc.value, doc.isRaw, doc.rooted})
	parts, err := v.split(s, envelope, doc)
	if err != nil {
		return nil, false, err
	}
	inherited := ""
	if parts != nil && s.nameFrom == nil {
		inherited = s.nameFromFields(doc.fields())
	}
	events := []*rules.Event{envelope}
	rooted := doc.rooted
	if parts != nil {
		rooted = false
		events = make([]*rules.Event, len(parts))
		for i, p := range parts {
			events[i] = v.event(s, &c, doc, p)
		}
	}
	for _, e := range events {
		isKnown := v.complete(s, e, rooted, bodyOnly, outer, inherited)
		known = known || isKnown
	}
	if v.request.Method == http.MethodGet && len(events) == 1 && events[0].Body == nil && len(doc.raw) == 0 &&
		events[0].Name == rules.UnknownName && !hasTag(c.query) {
		received.Ping = true
		return received, false, nil
	}
	received.Events = events
	v.setDedupe(s, received)
	return received, known, nil
}

// hasTag reports whether a query tells of a call. A PBX whose administrator
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
func (v *visit) event(s *source, c *clean, doc *document, p part) *rules.Event {
	return &rules.Event{
		Source:     s.Name,
		Received:   v.now,
		Test:       v.test,
		Method:     v.request.Method,
		Path:       c.path,
		IP:         v.ip(),
		Query:      c.query,
		Headers:    c.headers,
		RawBody:    p.raw,
		Body:       p.value,
		BodyIsRaw:  p.isRaw,
		ParseError: doc.problem,
	}
}

func (v *visit) ip() string {
	if !v.client.IsValid() {
		return ""
	}
	return v.client.String()
}

// split returns the elements of a batch, or nil if the body is one event.
func (v *visit) split(s *source, envelope *rules.Event, doc *document) ([]part, error) {
	if s.batch != nil {
		list := v.listAt(s, envelope)
		if list == nil {
			// The list may be inside text that has to be opened first.
			if opened, did := openTexts(doc.value, 0); did {
				doc.value, doc.isRaw = opened, false
				envelope.Body, envelope.BodyIsRaw = opened, false
				list = v.listAt(s, envelope)
			}
		}
		if len(list) > maxBatch {
			return nil, tooManyRefusal(len(list))
		}
		if list != nil {
			parts := make([]part, len(list))
			for i, element := range list {
				parts[i] = part{raw: encodeJSON(element), value: element, isRaw: true}
			}
			return parts, nil
		}
	}
	list, isList := doc.value.([]any)
	switch {
	case !isList || len(list) == 0:
		return nil, nil
	case len(list) > maxBatch:
		return nil, tooManyRefusal(len(list))
	}
	parts := make([]part, len(list))
	var raws []json.RawMessage
	if doc.isRaw {
		_ = json.Unmarshal(doc.raw, &raws) // it did decode before
	}
	for i, element := range list {
		parts[i] = part{value: element, isRaw: true}
		if len(raws) == len(list) {
			parts[i].raw = raws[i]
		} else {
			parts[i].raw = encodeJSON(element)
		}
	}
	return parts, nil
}

// listAt returns the list that a source's batch is at, or nil. An empty one
// counts as none, so that its request is kept.
func (v *visit) listAt(s *source, envelope *rules.Event) []any {
	value, err := v.receiver.language.Bind(envelope).Evaluate(s.batch)
	if list, isList := value.([]any); err == nil && isList && len(list) > 0 {
		return list
	}
	return nil
}

func tooManyRefusal(n int) *Refusal {
	return refuse(http.StatusRequestEntityTooLarge, "the body holds %d events; at most %d are taken at once", n, maxBatch)
}

// complete reads an event's name, parameters and fields from its body, and
// reports whether the source knows the name. bodyOnly says that what stands
// beside the body proves nothing.
func (v *visit) complete(s *source, e *rules.Event, rooted, bodyOnly bool, outer, inherited string) (known bool) {
	e.ID = uuid.Must(uuid.NewV7()).String()
	v.redactBody(s, e, rooted)
	if body, opened := openTexts(e.Body, 0); opened {
		e.Body, e.BodyIsRaw = body, false
	}
	fields := fieldsOf(e.Body, rooted)

	switch {
	case v.named != "":
		e.Name, _ = s.nameOf(v.named, false)
	case s.nameFrom != nil:
		if value, err := v.receiver.language.Bind(e).Evaluate(s.nameFrom); err == nil {
			if text, ok := textOf(plainNumber(value)); ok {
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
		e.Name = rules.UnknownName
	}
	_, known = s.declared(e.Name)
	if !bodyOnly {
		readTags(&e.Parameters, e.Query, func(values []string) any { return values[0] })
	}
	v.setParameters(s, e, fields)
	return known
}

// redactBody removes from an event's body what its source wants removed.
func (v *visit) redactBody(s *source, e *rules.Event, rooted bool) {
	if len(s.redact.body) == 0 && len(s.redact.parameters) == 0 {
		return
	}
	// What is inside text has to be seen to be removed.
	body, opened := openTexts(e.Body, 0)
	removed := s.redact.removeBody(body, fieldsOf(body, rooted))
	e.Body = body
	if removed || e.ParseError != "" {
		// Also of a body that could not be read: nobody can say what is in it.
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
func (v *visit) setParameters(s *source, e *rules.Event, fields map[string]any) {
	readTags(&e.Parameters, fields, func(value any) any { return value })
	if s.pbxware {
		readPublisher(&e.Parameters, fields, rules.NormalName(e.Name))
	}
	given := e.Parameters
	if e.Parameters[rules.Tenant] == nil {
		e.Parameters[rules.Tenant] = ""
	}
	setTimes(&e.Parameters, given, e.Received, s.Timezone)

	for _, f := range s.fields {
		value, err := v.receiver.language.Bind(e).Evaluate(f.expression)
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
		typed := typedParameter(f.parameter, value)
		e.Parameters[f.parameter] = typed
		switch f.parameter {
		case rules.Tenant:
			if typed == nil {
				e.Parameters[rules.Tenant] = ""
			}
		case rules.Date, rules.Time, rules.UnixTime:
			given[f.parameter] = typed
			setTimes(&e.Parameters, given, e.Received, s.Timezone)
		}
	}
	for _, p := range s.redact.parameters {
		switch p {
		case rules.Date, rules.Time, rules.UnixTime: // of the receipt now
		case rules.Tenant:
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
