package receive

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// maxElements bounds how deep XML elements may be nested.
const maxElements = 100

// decodeXML reads XML into an object with one key, the root element. An element
// is text, or an object if it has attributes or children: attributes are read
// like children, text beside them is under "#text", what is there more than once
// becomes a list. Namespaces are dropped.
//
// This is not one of the XML-to-map modules because the best kept of them
// (clbanning/mxj) took 450 MB for 1 MiB of nested elements, has package-wide
// settings, and gives nothing back of a document that is broken at its end.
//
// Entities of the document's own are never expanded: encoding/xml does not read
// their definitions. Names that the PBX puts into a template unescaped ("Smith &
// Sons") are normal input; what can be read is returned with the error.
func decodeXML(text []byte) (any, error) {
	value, err := readXML(text, true)
	if err != nil {
		value, _ = readXML(text, false)
	}
	return value, err
}

// element is an XML element that is being read.
type element struct {
	name     string
	children map[string]any
	text     strings.Builder
}

func (e *element) add(name string, value any) {
	if e.children == nil {
		e.children = map[string]any{}
	}
	switch earlier := e.children[name].(type) {
	case nil:
		e.children[name] = value
	case []any:
		e.children[name] = append(earlier, value)
	default:
		e.children[name] = []any{earlier, value}
	}
}

func (e *element) value() any {
	text := e.text.String()
	if e.children == nil {
		return text
	}
	if text = strings.TrimSpace(text); text != "" {
		e.add("#text", text)
	}
	return e.children
}

func readXML(text []byte, strict bool) (any, error) {
	decoder := xml.NewDecoder(bytes.NewReader(text))
	decoder.Strict = strict
	// The text is UTF-8 already, whatever its declaration says.
	decoder.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }

	var open []*element
	for {
		token, err := decoder.Token()
		if err == nil && len(open) > maxElements {
			err = errors.New("elements are nested too deep")
		}
		if err != nil {
			if err == io.EOF {
				err = errors.New("no root element")
			}
			return unfinished(open), err
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: token.Name.Local}
			for _, a := range token.Attr {
				if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
					e.add(a.Name.Local, a.Value)
				}
			}
			open = append(open, e)
		case xml.EndElement:
			if len(open) == 0 {
				continue
			}
			last := open[len(open)-1]
			open = open[:len(open)-1]
			if len(open) == 0 {
				return map[string]any{last.name: last.value()}, nil
			}
			open[len(open)-1].add(last.name, last.value())
		case xml.CharData:
			if len(open) > 0 {
				open[len(open)-1].text.Write(token)
			}
		}
	}
}

// unfinished returns what is known of elements whose end did not come. Text
// without an end is left out: half of a value is a wrong value.
func unfinished(open []*element) any {
	for i := len(open) - 1; i >= 0; i-- {
		e := open[i]
		if e.children == nil {
			continue
		}
		if i == 0 {
			return map[string]any{e.name: e.children}
		}
		open[i-1].add(e.name, e.children)
	}
	return nil
}
