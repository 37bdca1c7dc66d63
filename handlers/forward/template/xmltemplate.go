package template

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// xmlPlace is what a place in an XML text is inside of.
type xmlPlace uint8

const (
	xmlContent xmlPlace = iota
	xmlTag
	xmlSingle // an attribute's value in single quotes
	xmlDouble
	xmlCDATA
	xmlComment
	xmlInstruction
	xmlDeclaration
)

// xmlBrackets are what begins and ends the places of a document, the longest
// beginnings first.
var xmlBrackets = []struct {
	place      xmlPlace
	begin, end string
}{
	{xmlCDATA, "<![CDATA[", "]]>"},
	{xmlComment, "<!--", "-->"},
	{xmlInstruction, "<?", "?>"},
	{xmlDeclaration, "<!", ">"},
	{xmlTag, "<", ">"},
}

// xmlReader follows XML text just far enough to tell what a tag of a template
// stands in. A mark such as <!-- is recognised only if it stands in one literal.
type xmlReader struct{ place xmlPlace }

func (r *xmlReader) read(text string) {
	for text != "" {
		switch r.place {
		case xmlContent:
			i := strings.IndexByte(text, '<')
			if i < 0 {
				return
			}
			text = text[i:]
			for _, b := range xmlBrackets {
				if rest, found := strings.CutPrefix(text, b.begin); found {
					r.place, text = b.place, rest
					break
				}
			}
		case xmlTag:
			i := strings.IndexAny(text, `"'>`)
			if i < 0 {
				return
			}
			r.place = map[byte]xmlPlace{'"': xmlDouble, '\'': xmlSingle, '>': xmlContent}[text[i]]
			text = text[i+1:]
		case xmlSingle, xmlDouble:
			quote := byte('"')
			if r.place == xmlSingle {
				quote = '\''
			}
			i := strings.IndexByte(text, quote)
			if i < 0 {
				return
			}
			r.place, text = xmlTag, text[i+1:]
		default:
			_, rest, found := strings.Cut(text, r.end())
			if !found {
				return
			}
			r.place, text = xmlContent, rest
		}
	}
}

// end returns what ends the place.
func (r *xmlReader) end() string {
	for _, b := range xmlBrackets {
		if b.place == r.place {
			return b.end
		}
	}
	return ""
}

// xmlTemplate decides for each tag of an XML text how its value is escaped, and
// refuses the places where no escaping would keep it from becoming markup.
func xmlTemplate(t template) (template, error) {
	var reader xmlReader
	out := make(template, len(t))
	for i, p := range t {
		if p.tag == nil {
			reader.read(p.text)
		} else {
			tagged := *p.tag
			switch {
			case tagged.verbatim():
				tagged.escaping = asIs
			case reader.place == xmlContent, reader.place == xmlSingle, reader.place == xmlDouble:
				tagged.escaping = xmlText
			case reader.place == xmlCDATA:
				tagged.escaping = cdataText
			default:
				return nil, tagged.mayNot("stand there: put it into the text of an element or between the quotes of an attribute")
			}
			p.tag = &tagged
		}
		out[i] = p
	}
	return out.joined(), nil
}

// checkXML checks that an XML template is well-formed for any values. unsure says
// that only what is rendered can be checked, because of verbatim.
func checkXML(t template) (unsure bool, err error) {
	var sample strings.Builder
	put := false
	for _, p := range t {
		switch {
		case p.tag == nil:
			sample.WriteString(p.text)
			put = put || p.put
		case p.tag.verbatim():
			unsure = true
		default:
			sample.WriteByte('x')
		}
	}
	if unsure {
		return true, nil
	}
	switch err = readXML([]byte(sample.String())); {
	case err == nil:
		return false, nil
	case put:
		// The error would show what parameters hold, secret ones too.
		return false, errors.New("with the parameters put in, the body is not well-formed XML")
	}
	return false, fmt.Errorf("the body is not well-formed XML: %w", err)
}

// readXML returns an error if a text is not one XML document. A document with a
// type of its own can define entities, and is not looked at.
func readXML(text []byte) error {
	if bytes.Contains(text, []byte("<!DOCTYPE")) {
		return nil
	}
	decoder := xml.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	// The body is sent in UTF-8, also if the document declares another encoding.
	decoder.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	depth, roots := 0, 0
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && len(bytes.TrimSpace(token)) > 0 {
				return errors.New("there is text outside of the outermost element")
			}
		}
	}
	if roots != 1 {
		return fmt.Errorf("a document has one outermost element, not %d", roots)
	}
	return nil
}
