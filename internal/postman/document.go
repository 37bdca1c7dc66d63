package postman

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
)

// The parts of a collection. What may have several shapes is kept as it came and
// read when it is needed, so that one odd value does not cost the whole file.
type (
	document struct {
		Info     info            `json:"info"`
		Item     []node          `json:"item"`
		Auth     json.RawMessage `json:"auth"`
		Variable []variableEntry `json:"variable"`
		Event    []script        `json:"event"`
		Behavior behavior        `json:"protocolProfileBehavior"`

		// What files have that are something else.
		Collection  json.RawMessage `json:"collection"`
		Collections json.RawMessage `json:"collections"`
		Environment json.RawMessage `json:"environment"`
		Requests    json.RawMessage `json:"requests"`
		Values      []variableEntry `json:"values"`
		OpenAPI     json.RawMessage `json:"openapi"`
		Swagger     json.RawMessage `json:"swagger"`
		Log         json.RawMessage `json:"log"`

		// Whether the lists that make a collection or an environment are there.
		hasItems, hasValues bool
	}

	info struct {
		Name json.RawMessage `json:"name"`
	}

	// node is a folder or a request.
	node struct {
		Name        json.RawMessage `json:"name"`
		Description json.RawMessage `json:"description"`
		Item        []node          `json:"item"`
		Request     json.RawMessage `json:"request"`
		Auth        json.RawMessage `json:"auth"`
		Event       []script        `json:"event"`
		Behavior    behavior        `json:"protocolProfileBehavior"`
	}

	script struct {
		Listen string          `json:"listen"`
		Script json.RawMessage `json:"script"`
	}

	behavior map[string]json.RawMessage

	// variableEntry is a variable of a collection or of an environment.
	variableEntry struct {
		Key      json.RawMessage `json:"key"`
		Value    json.RawMessage `json:"value"`
		Disabled json.RawMessage `json:"disabled"`
		Enabled  json.RawMessage `json:"enabled"`
	}

	request struct {
		Method      json.RawMessage `json:"method"`
		URL         json.RawMessage `json:"url"`
		Header      json.RawMessage `json:"header"`
		Body        json.RawMessage `json:"body"`
		Auth        json.RawMessage `json:"auth"`
		Description json.RawMessage `json:"description"`
	}

	// pair is a query value, a header, a field of a form or a path variable.
	pair struct {
		Key         json.RawMessage `json:"key"`
		ID          json.RawMessage `json:"id"`
		Value       json.RawMessage `json:"value"`
		Disabled    json.RawMessage `json:"disabled"`
		Type        json.RawMessage `json:"type"`
		ContentType json.RawMessage `json:"contentType"`
	}
)

// decode reads JSON. A value of a shape that is not expected counts as absent,
// and what stands beside it is read all the same.
func decode(data json.RawMessage, to any) {
	if len(data) > 0 {
		// The error would be about a shape: that the whole is JSON is known.
		_ = json.Unmarshal(data, to)
	}
}

// The first byte of a value tells what it is.
func first(data json.RawMessage) byte {
	data = bytes.TrimLeft(data, " \t\r\n")
	if len(data) == 0 {
		return 0
	}
	return data[0]
}

func isText(data json.RawMessage) bool   { return first(data) == '"' }
func isObject(data json.RawMessage) bool { return first(data) == '{' }
func isList(data json.RawMessage) bool   { return first(data) == '[' }
func isAbsent(data json.RawMessage) bool { return first(data) == 0 || first(data) == 'n' }

// textOf returns a value as text: numbers and truth values as they are written,
// lists and objects as JSON, and "" for what is absent.
func textOf(data json.RawMessage) string {
	switch first(data) {
	case 0, 'n':
		return ""
	case '"':
		var text string
		decode(data, &text)
		return text
	case '{', '[':
		var compact bytes.Buffer
		if json.Compact(&compact, data) != nil {
			return ""
		}
		return compact.String()
	case 't', 'f':
		return string(bytes.TrimSpace(data))
	}
	return numberText(string(bytes.TrimSpace(data)))
}

// numberText writes a number as JavaScript does.
func numberText(literal string) string {
	number, err := strconv.ParseFloat(literal, 64)
	if err != nil || number == math.Trunc(number) && isDigits(literal) {
		return literal
	}
	if magnitude := math.Abs(number); magnitude >= 1e21 || magnitude != 0 && magnitude < 1e-6 {
		return strconv.FormatFloat(number, 'g', -1, 64)
	}
	return strconv.FormatFloat(number, 'f', -1, 64)
}

func isDigits(text string) bool {
	for i := range len(text) {
		if (text[i] < '0' || text[i] > '9') && (i > 0 || text[i] != '-') {
			return false
		}
	}
	return true
}

// truthy reports what JavaScript takes a value for.
func truthy(data json.RawMessage) bool {
	switch first(data) {
	case 0, 'n', 'f':
		return false
	case '"':
		return textOf(data) != ""
	case '{', '[', 't':
		return true
	}
	return textOf(data) != "0"
}

// listOf returns the elements of a list that are objects.
func listOf(data json.RawMessage) []pair {
	var list []json.RawMessage
	decode(data, &list)
	pairs := make([]pair, 0, len(list))
	for _, element := range list {
		if isObject(element) {
			var p pair
			decode(element, &p)
			pairs = append(pairs, p)
		}
	}
	return pairs
}

// describe returns a description, which is text, nothing, or an object with the
// text in it.
func describe(data json.RawMessage) string {
	if isObject(data) {
		var wrapped struct {
			Content json.RawMessage `json:"content"`
		}
		decode(data, &wrapped)
		data = wrapped.Content
	}
	if !isText(data) {
		return ""
	}
	return textOf(data)
}
