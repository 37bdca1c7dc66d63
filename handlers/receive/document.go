package receive

import (
	"bytes"
	"encoding/json"
	"mime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// document is a decoded body.
type document struct {
	raw   []byte
	value any

	// isRaw says that value is what event.DecodeJSON makes of raw.
	isRaw bool

	// problem says why the body could not be read as what it claims to be.
	problem string

	// rooted says that value is an object with one key, the root element of
	// XML, and that the fields are inside it.
	rooted bool

	// form says that value was read from key=value pairs, where a list is a name
	// that came more than once.
	form bool

	// retyped says that raw is JSON now, whatever the Content-Type says.
	retyped bool

	// values are those of a body that holds several, one after another. value
	// is then the list of them, and ownLines says that each has a line of its own.
	values   []part
	ownLines bool

	// text is the body in UTF-8, foreign says that it came in another charset,
	// and elements are the places in it of what was recovered.
	text     []byte
	foreign  bool
	elements elements
}

// parts returns the values of the body: one, unless there are several.
func (d *document) parts() []part {
	if d.values == nil {
		return []part{{raw: d.raw, value: d.value, isRaw: d.isRaw, rooted: d.rooted, problem: d.problem, elements: d.elements, text: d.text}}
	}
	for i := range d.values {
		d.values[i].retyped = d.foreign || d.retyped
		if d.problem != "" {
			d.values[i].problem = d.problem
		}
	}
	return d.values
}

// first returns the body as one event of which only the first of several values
// is read, and why. It keeps all bytes.
func (d *document) first(why string) part {
	p := d.values[0]
	p.raw, p.isRaw, p.retyped, p.text = d.raw, false, d.retyped, d.text
	if _, isList := p.value.([]any); isList {
		p.value, p.elements = recoverJSON(d.text) // the last element keeps what follows
	}
	if p.problem = d.problem; p.problem == "" {
		p.problem = "reading JSON: the body holds several values; only the first is read, because " + why
	}
	return p
}

// objects returns the objects in which senders put event name, tags and keys:
// that of the body, or those of a list or of several values.
func (d *document) objects() []map[string]any {
	list, isList := d.value.([]any)
	if !isList {
		return []map[string]any{d.fields()}
	}
	var objects []map[string]any
	for _, element := range list {
		if object, isObject := element.(map[string]any); isObject {
			objects = append(objects, object)
		}
	}
	return objects
}

// key returns the text under a name in the body: of several values, in the
// first, and of a form the first of a name that came more than once.
func (d *document) key(name string) (string, bool) {
	fields := d.fields()
	if d.values != nil {
		fields, _ = d.values[0].value.(map[string]any)
	}
	value := fields[name]
	if list, isList := value.([]any); isList && d.form && len(list) > 0 {
		value = list[0]
	}
	return event.Text(value)
}

// fields returns the object in which senders put event name, tags and keys.
// Nil when the body is no object.
func (d *document) fields() map[string]any { return fieldsOf(d.value, d.rooted) }

func fieldsOf(value any, rooted bool) map[string]any {
	object, _ := value.(map[string]any)
	if rooted {
		for _, root := range object {
			object, _ = root.(map[string]any)
		}
	}
	return object
}

// changed takes note that something was removed from value. What is kept of the
// bytes is then made from value: cutting a piece out of bytes could leave a
// second copy of it behind, escaped in another way or under a repeated key.
func (d *document) changed() {
	d.isRaw, d.retyped, d.foreign, d.elements = true, true, false, nil
	if d.values == nil {
		d.raw = encodeJSON(d.value)
	} else {
		separator := ""
		if d.ownLines {
			separator = "\n"
		}
		raws := make([][]byte, len(d.values))
		for i := range d.values {
			p := &d.values[i]
			p.raw = encodeJSON(p.value)
			p.text, p.isRaw, p.elements = p.raw, true, nil
			raws[i] = p.raw
		}
		d.raw = bytes.Join(raws, []byte(separator))
	}
	d.text = d.raw
}

// kind is what a body can be.
type kind int

const (
	kindUnknown kind = iota
	kindJSON
	kindForm
	kindMultipart
	kindXML
	kindText
)

// decode reads a body. One whose Content-Encoding could not be undone is kept,
// and read only if it evidently was not encoded at all.
func (req *request) decode(raw []byte) *document {
	doc := &req.document
	*doc = document{raw: raw, problem: req.contentProblem}
	if len(raw) == 0 {
		return doc
	}
	declared, parameters := parseContentType(req.request.Header.Get("Content-Type"))
	if label := parameters["charset"]; declared == kindJSON && doc.problem == "" && (label == "" || strings.EqualFold(label, "utf-8")) {
		// The usual case, without further looking. The strings of the decoded body are parts
		// of it, and the event keeps both: nothing may change the bytes any more, and
		// blankBody has done so before.
		if value, err := event.DecodeJSON(event.StringOf(raw)); err == nil {
			doc.value, doc.isRaw, doc.text = value, true, raw
			doc.openWhole()
			return doc
		}
	}
	text := toUTF8(raw, parameters["charset"])
	trimmed := bytes.TrimSpace(text)
	if len(trimmed) == 0 {
		return doc
	}
	looks := sniff(trimmed)
	if req.contentProblem != "" {
		if looks == kindUnknown {
			return doc
		}
		defer func() { doc.problem = req.contentProblem }()
	}
	doc.text, doc.foreign = trimmed, !bytes.HasSuffix(raw, text)
	doc.read(declared, looks, trimmed, parameters)
	// Not where more than the white space of JSON was taken away.
	doc.isRaw = doc.isRaw && bytes.Equal(bytes.Trim(raw, " \t\r\n"), trimmed)
	return doc
}

// read decodes text as what it looks like, else as what it was declared to be.
func (d *document) read(declared, looks kind, text []byte, parameters map[string]string) {
	as := looks
	weak := looks == kindForm && (declared == kindXML || declared == kindText && bytes.IndexByte(text, '&') < 0)
	if looks == kindUnknown || weak {
		as = declared
	}
	switch as {
	case kindJSON:
		d.readJSON(text)
	case kindForm:
		// Escapes stand for bytes of the sender's charset.
		e := lookupCharset(parameters["charset"], nil)
		d.form = true
		d.value = decodeForm(string(text), func(s string) string {
			if e != nil && !utf8.ValidString(s) {
				s = string(decodeCharset([]byte(s), e))
			}
			return validText(s)
		})
	case kindMultipart:
		fields, err := decodeMultipart(text, parameters["boundary"])
		if err != nil {
			d.problem = "reading multipart: " + err.Error()
		}
		if d.value = fields; len(fields) == 0 {
			d.value = validText(string(text))
		}
	case kindXML:
		var err error
		if d.value, err = decodeXML(validUTF8(text)); err != nil {
			d.problem = "reading XML: " + err.Error()
		}
		if _, d.rooted = d.value.(map[string]any); !d.rooted {
			d.value = validText(string(text))
		}
	default:
		if bytes.IndexByte(text, 0) >= 0 && !utf8.Valid(text) {
			d.problem = "the body is not text"
			return
		}
		// As it came, blanks at its ends included.
		d.value = validText(string(toUTF8(d.raw, parameters["charset"])))
	}
	d.openWhole()
}

// readJSON decodes JSON, and recovers what it can from what is none.
func (d *document) readJSON(text []byte) {
	value, err := event.DecodeJSON(event.StringOf(text))
	if err == nil {
		d.value, d.isRaw = value, true
		return
	}
	if d.values, d.ownLines = readValues(text); d.values != nil {
		list := make([]any, len(d.values))
		for i, p := range d.values {
			list[i] = p.value
		}
		d.value = list
		return
	}
	valid := validUTF8(text)
	if len(valid) != len(text) || !utf8.Valid(text) {
		if value, err := event.DecodeJSON(event.StringOf(valid)); err == nil {
			d.value = value
			return
		}
	}
	d.problem = "reading JSON: " + err.Error()
	d.value, d.elements = recoverJSON(text)
	if d.value == nil {
		d.value = string(valid)
	}
}

// openWhole opens a body that is text which holds JSON.
func (d *document) openWhole() {
	if _, isText := d.value.(string); isText {
		if opened, did := openTexts(d.value, 0); did {
			d.value, d.isRaw = opened, false
		}
	}
}

// sequences are the types of several JSON values, below application and also
// with "x-" before them.
var sequences = []string{"ndjson", "jsonl", "jsonlines", "json-lines", "json-seq", "json-stream"}

// parseContentType returns the kind that a Content-Type declares and its
// parameters, as far as they can be read.
func parseContentType(header string) (kind, map[string]string) {
	if header == "" {
		return kindUnknown, nil
	}
	if header == "application/json" {
		return kindJSON, nil
	}
	media, parameters, err := mime.ParseMediaType(header)
	if err != nil {
		media, _, _ = strings.Cut(header, ";")
		media = strings.ToLower(strings.TrimSpace(media))
	}
	switch {
	case media == "application/json", media == "text/json", strings.HasSuffix(media, "+json"),
		strings.HasPrefix(media, "application/") && slices.Contains(sequences, strings.TrimPrefix(media[len("application/"):], "x-")):
		return kindJSON, parameters
	case media == "application/x-www-form-urlencoded":
		return kindForm, parameters
	case strings.HasPrefix(media, "multipart/"):
		return kindMultipart, parameters
	case media == "application/xml", media == "text/xml", strings.HasSuffix(media, "+xml"):
		return kindXML, parameters
	case strings.HasPrefix(media, "text/"):
		return kindText, parameters
	}
	return kindUnknown, parameters
}

// sniff returns what text looks like, kindUnknown when it could be anything.
// Wrong and missing Content-Types are common.
func sniff(text []byte) kind {
	second := byte(0)
	if rest := bytes.TrimSpace(text[1:]); len(rest) > 0 {
		second = rest[0]
	}
	switch text[0] {
	case '{':
		if second == '"' || second == '}' || second == '\'' {
			return kindJSON
		}
	case '[':
		// A digit or word would be as likely in text, such as "[12:30] …".
		if second == '{' || second == '[' || second == '"' || second == ']' {
			return kindJSON
		}
	case '"':
		if second == '{' || second == '[' {
			return kindJSON
		}
	case '<':
		if second == '?' || second == '!' || 'a' <= second|0x20 && second|0x20 <= 'z' || second == '_' {
			return kindXML
		}
	case '-':
		if second == '-' && bytes.Contains(bytes.ToLower(text[:min(len(text), 1<<10)]), []byte("content-disposition:")) {
			return kindMultipart
		}
	}
	if looksLikeForm(text) {
		return kindForm
	}
	return kindUnknown
}

// looksLikeForm reports whether text could be key=value pairs: a key of usual
// characters, and no blank or line end anywhere.
func looksLikeForm(text []byte) bool {
	equals := bytes.IndexByte(text, '=')
	if equals < 1 || bytes.ContainsAny(text, " \r\n\t<>\"{") {
		return false
	}
	for _, c := range text[:equals] {
		if !isUpper(c&^0x20) && (c < '0' || c > '9') && strings.IndexByte("_-.[]%+", c) < 0 {
			return false
		}
	}
	return true
}

// encodeJSON encodes a decoded body. Such a body always can be: it holds no
// other types than JSON has, and numbers as JSON writes them.
func encodeJSON(body any) []byte {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n"))
}
