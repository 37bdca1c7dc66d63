package event

import "fmt"

// Record returns the event as a JSON object for storage: everything except ID,
// Source, Name, Subject, Received and RawBody, which engines keep beside it, and except
// Body when BodyIsRaw says that RawBody gives it. Absent values are left out.
// Text is valid UTF-8, as receiving and the expression language make it; a byte
// that is none becomes U+FFFD.
//
// Body and Fields must hold the types that Event names; a value of another type
// is stored as null.
func (e *Event) Record() []byte { return e.AppendRecord(make([]byte, 0, e.recordSize())) }

// AppendRecord appends what Record returns.
func (e *Event) AppendRecord(to []byte) []byte {
	w := recordWriter{out: to, first: true}
	w.text("method", e.Method)
	w.text("path", e.Path)
	w.text("ip", e.IP)
	w.flag("test", e.Test)
	w.multimap("query", e.Query)
	w.multimap("headers", e.Headers)
	w.parameters(&e.Parameters)
	if len(e.Unread) > 0 {
		unread := make(map[string]any, len(e.Unread))
		for p, sent := range e.Unread {
			unread[p.String()] = sent
		}
		w.value("unread", unread)
	}
	if e.Fields != nil {
		w.value("fields", e.Fields)
	}
	w.flag("body_is_raw", e.BodyIsRaw)
	if !e.BodyIsRaw && e.Body != nil {
		w.value("body", e.Body)
	}
	w.text("parse_error", e.ParseError)
	w.text("subject_error", e.SubjectError)
	if w.first {
		w.out = append(w.out, '{')
	}
	return append(w.out, '}')
}

// recordSize estimates the length of the record, generously, so that it is
// written into one piece of memory.
func (e *Event) recordSize() int {
	size := 512 + len(e.Path) + len(e.ParseError)
	for _, values := range []map[string][]string{e.Query, e.Headers} {
		for name, all := range values {
			size += len(name) + 8
			for _, value := range all {
				size += len(value) + 4
			}
		}
	}
	if !e.BodyIsRaw && e.Body != nil {
		size += len(e.RawBody)
	}
	return size
}

type recordWriter struct {
	out   []byte
	first bool // no member has been written
}

func (w *recordWriter) key(name string) {
	separator := byte(',')
	if w.first {
		separator, w.first = '{', false
	}
	w.out = append(w.out, separator, '"')
	w.out = append(w.out, name...)
	w.out = append(w.out, '"', ':')
}

func (w *recordWriter) text(name, text string) {
	if text != "" {
		w.key(name)
		w.out = appendText(w.out, text)
	}
}

func (w *recordWriter) flag(name string, set bool) {
	if set {
		w.key(name)
		w.out = append(w.out, "true"...)
	}
}

func (w *recordWriter) value(name string, v any) {
	w.key(name)
	w.out = appendOrNull(w.out, v)
}

func appendOrNull(out []byte, v any) []byte {
	longer, err := appendValue(out, v, 0)
	if err != nil {
		return append(out, "null"...)
	}
	return longer
}

func (w *recordWriter) multimap(name string, values map[string][]string) {
	if values == nil {
		return
	}
	w.key(name)
	w.out = append(w.out, '{')
	for i, name := range sortedNames(values) {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = appendText(w.out, name)
		w.out = append(w.out, ':', '[')
		for j, value := range values[name] {
			if j > 0 {
				w.out = append(w.out, ',')
			}
			w.out = appendText(w.out, value)
		}
		w.out = append(w.out, ']')
	}
	w.out = append(w.out, '}')
}

func (w *recordWriter) parameters(parameters *Parameters) {
	begun := false
	for p, v := range parameters {
		if v == nil {
			continue
		}
		if begun {
			w.out = append(w.out, ',')
		} else {
			w.key("parameters")
			w.out = append(w.out, '{')
			begun = true
		}
		w.out = appendText(w.out, Parameter(p).String())
		w.out = append(w.out, ':')
		w.out = appendOrNull(w.out, v)
	}
	if begun {
		w.out = append(w.out, '}')
	}
}

// DecodeRecord returns the event that Record was called on, with the given raw
// body. ID, Source, Name, Subject and Received are left empty for the caller to fill.
// Members of the record that this version does not know are ignored.
func DecodeRecord(record, rawBody []byte) (*Event, error) {
	decoded, err := DecodeJSON(string(record))
	if err != nil {
		return nil, fmt.Errorf("reading a stored event: %w", err)
	}
	members, ok := decoded.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("reading a stored event: it is %s, not an object", KindOf(decoded))
	}
	r := recordReader{members: members}
	e := &Event{
		Method:     r.text("method"),
		Path:       r.text("path"),
		IP:         r.text("ip"),
		Test:       r.flag("test"),
		Query:      r.multimap("query"),
		Headers:    r.multimap("headers"),
		Fields:     r.object("fields"),
		BodyIsRaw:  r.flag("body_is_raw"),
		Body:       members["body"],
		ParseError: r.text("parse_error"),
		RawBody:    rawBody,

		SubjectError: r.text("subject_error"),
	}
	for tag, v := range r.object("parameters") {
		if p, ok := ParameterByName(tag); ok {
			e.Parameters[p] = v
		}
	}
	for tag, v := range r.object("unread") {
		p, ok := ParameterByName(tag)
		sent, isText := v.(string)
		if ok && isText {
			if e.Unread == nil {
				e.Unread = map[Parameter]string{}
			}
			e.Unread[p] = sent
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("reading a stored event: %w", r.err)
	}
	if e.BodyIsRaw {
		if e.Body, err = DecodeJSON(string(rawBody)); err != nil {
			return nil, fmt.Errorf("reading the body of a stored event: %w", err)
		}
	}
	return e, nil
}

// recordReader takes members of known types out of a record and keeps the first
// complaint.
type recordReader struct {
	members map[string]any
	err     error
}

func take[T any](r *recordReader, name string) (value T) {
	v := r.members[name]
	if v == nil {
		return value
	}
	value, ok := v.(T)
	if !ok && r.err == nil {
		r.err = fmt.Errorf("its %s is %s", name, KindOf(v))
	}
	return value
}

func (r *recordReader) text(name string) string           { return take[string](r, name) }
func (r *recordReader) flag(name string) bool             { return take[bool](r, name) }
func (r *recordReader) object(name string) map[string]any { return take[map[string]any](r, name) }

func (r *recordReader) multimap(name string) map[string][]string {
	object := r.object(name)
	if object == nil {
		return nil
	}
	values := make(map[string][]string, len(object))
	for name, v := range object {
		list, ok := v.([]any)
		all := make([]string, len(list))
		for i := range all {
			text, isText := list[i].(string)
			all[i], ok = text, ok && isText
		}
		if !ok {
			r.err = fmt.Errorf("its value %s is not a list of texts", name)
		}
		values[name] = all
	}
	return values
}
