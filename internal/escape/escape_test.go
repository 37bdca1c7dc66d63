package escape

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"mime"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestTexts(t *testing.T) {
	for _, test := range []struct {
		place    func([]byte, string) []byte
		in, want string
	}{
		{AppendJSON, "a \"b\" \\ / <&>\n\r\t\x00\x1f\x7f\u2028\u2029é😀\xff", `a \"b\" \\ / <&>\n\r\t\u0000\u001f` + "\x7f" + `\u2028\u2029é😀` + "\uFFFD"},
		{AppendXML, "<a b='\"&\t\n\r\x01\ufffe\uffff\xff>é", "&lt;a b=&apos;&quot;&amp;&#x9;&#xA;&#xD;\uFFFD\uFFFD\uFFFD\uFFFD&gt;é"},
		{AppendCDATA, "a]]>b", "]]>a]]&gt;b<![CDATA["},
		{AppendPartName, "a\"\\\r\n\x7fé;", `a%22\\%0D%0A%7Fé;`},
		{Unreserved.Append, "aZ09-_.~ /+&=%é\xff", "aZ09-_.~%20%2F%2B%26%3D%25%C3%A9%FF"},
		{Path.Append, "/a b?#{}%41\"é", "/a%20b%3F%23%7B%7D%41%22%C3%A9"},
		{Query.Append, "a=b c&d='#%41?", "a=b%20c&d=%27%23%41?"},
		{QueryName.Append, "a[0]=b&c+%", "a[0]%3Db%26c%2B%25"},
		{QueryValue.Append, "a=b&c+%", "a=b%26c%2B%25"},
	} {
		if got := string(test.place([]byte("|"), test.in)); got != "|"+test.want {
			t.Errorf("%q becomes %q, want %q", test.in, got[1:], test.want)
		}
	}
}

func TestDecodePercent(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "a+b": "a+b", "%41%c3%A9": "Aé", "%": "%", "%4": "%4", "%zz%4%41": "%zz%4A", "%2541": "%41", "%%41": "%A", "%@1%1@": "%@1%1@",
	} {
		if got := DecodePercent(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{"%2F%AB": "%2f%ab", "100%AB%Z": "100%ab%Z", "%4": "%4", "": "", "A%GF": "A%GF"} {
		if got := LowerPercent(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestCheckHeader(t *testing.T) {
	for _, text := range []string{"", "a b", "é", "\u00a0"} {
		if err := CheckHeader(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"\r\nX: 1", "a\n", "\x00", "\x7f", "\u0085", "\t"} {
		if err := CheckHeader(text); !errors.Is(err, ErrControl) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// checkStays checks that a reader of each place reads the text that was put there,
// and that what stands around the place is as it was.
func checkStays(t *testing.T, text string) {
	t.Helper()
	// A byte that is not UTF-8 reads as U+FFFD.
	valid := strings.Map(func(r rune) rune { return r }, text)

	var list []string
	if err := json.Unmarshal([]byte(`["`+string(AppendJSON(nil, text))+`","next"]`), &list); err != nil || len(list) != 2 || list[0] != valid || list[1] != "next" {
		t.Errorf("JSON reads %q as %q: %v", text, list, err)
	}

	inXML := strings.Map(func(r rune) rune {
		if r < ' ' && !strings.ContainsRune("\t\n\r", r) || r == 0xfffe || r == 0xffff {
			return utf8.RuneError
		}
		return r
	}, text)
	for _, place := range []func([]byte, string) []byte{AppendXML, func(dst []byte, text string) []byte {
		return append(AppendCDATA(append(dst, "<![CDATA["...), text), "]]>"...)
	}} {
		document := "<a>" + string(place(nil, text)) + `</a>`
		if content, err := readText(document); err != nil || content != inXML {
			t.Errorf("XML reads %q as %q: %v", text, content, err)
		}
	}
	for _, quote := range []string{`"`, `'`} {
		var element struct {
			Attributes []xml.Attr `xml:",any,attr"`
		}
		err := xml.Unmarshal([]byte("<a b="+quote+string(AppendXML(nil, text))+quote+"/>"), &element)
		if err != nil || len(element.Attributes) != 1 || element.Attributes[0].Value != inXML {
			t.Errorf("an attribute in %s reads %q as %v: %v", quote, text, element.Attributes, err)
		}
	}

	encoded := Unreserved.Encode(text)
	path, pathErr := url.PathUnescape(encoded)
	query, queryErr := url.QueryUnescape(encoded)
	if pathErr != nil || queryErr != nil || path != text || query != text || strings.ContainsAny(encoded, "/?#&=+;") {
		t.Errorf("a URL reads %q as %q and %q from %s", text, path, query, encoded)
	}
	for _, lower := range []string{encoded, LowerPercent(encoded)} {
		if got := DecodePercent(lower); got != text {
			t.Errorf("%q comes back as %q from %s", text, got, lower)
		}
	}
	values, err := url.ParseQuery(QueryName.Encode(text) + "=" + QueryValue.Encode(text) + "&next=1")
	if err != nil || len(values[text]) == 0 || values[text][0] != text || values.Get("next") == "" {
		t.Errorf("a query reads %q as %q: %v", text, values, err)
	}

	disposition := `form-data; name="` + string(AppendPartName(nil, "n"+text)) + `"; next="1"`
	_, parameters, err := mime.ParseMediaType(disposition)
	if err != nil || parameters["next"] != "1" || len(parameters) != 2 {
		t.Errorf("the head of a part reads %q as %q: %v", disposition, parameters, err)
	}

	if strings.ContainsFunc(text, unicode.IsControl) == (CheckHeader(text) == nil) {
		t.Errorf("a header may hold %q: %v", text, CheckHeader(text))
	}
}

// readText returns the text of a document that is one element without others.
func readText(document string) (content string, err error) {
	decoder := xml.NewDecoder(strings.NewReader(document))
	var elements, depth int
	for {
		token, err := decoder.Token()
		switch token := token.(type) {
		case xml.StartElement:
			elements, depth = elements+1, depth+1
		case xml.EndElement:
			depth--
		case xml.CharData:
			content += string(token)
		}
		if err != nil {
			if err != io.EOF || elements != 1 || depth != 0 {
				return content, errors.Join(err, errors.New("not one element"))
			}
			return content, nil
		}
	}
}

// hostile are texts that have left their places in other systems.
var hostile = []string{
	"", "x", " ", "..", "%2e%2e", "%", "%zz", "/", `\`, `\\`, `"`, `'`, `\"`, `\u0022`, `","evil":"`, "&a=b", "=", "+", "#f", "?q=1", ";x=1", "a;b",
	"\r\nX-Evil: 1", "\n", "\t", "\x00", "\x1f", "\x7f", "\u0085", "\u2028", "\u2029", "\ufeff", "\ufffe", "\uffff", "\ufffd", "é", "😀", "\xff", "\xc3", "\xed\xa0\x80",
	"</a><evil/>", "<!--", "-->", "<![CDATA[", "]]>", "]]", "]", "&lt;", "&#0;", `"; filename="x`, "--boundary\r\n",
}

func TestStaysInItsPlace(t *testing.T) {
	for _, text := range hostile {
		checkStays(t, text)
	}
	// Every character of Unicode keeps its place, alone and between others.
	const together = 500
	for first := rune(0); first <= utf8.MaxRune; first += together {
		var block strings.Builder
		for r := first; r < first+together; r++ {
			block.WriteRune(r)
			if r < 0x300 {
				checkStays(t, string(r))
				checkStays(t, "a"+string(r)+"b")
			}
		}
		checkStays(t, block.String())
	}
}

// FuzzStaysInItsPlace looks for a text that a reader does not read as it was.
func FuzzStaysInItsPlace(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(checkStays)
}

// TestLongestFirst checks that of two forms that contain each other the longer one
// is looked for first, and none twice.
func TestLongestFirst(t *testing.T) {
	got := LongestFirst([]string{"a b", "b", "a%20b", "a+b", "b", "a b"})
	if want := []string{"a%20b", "a b", "a+b", "b"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
