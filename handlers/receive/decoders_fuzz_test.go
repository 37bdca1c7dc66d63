package receive

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// checkValue checks that a decoder made nothing but the types an event may hold,
// in valid UTF-8, so that it can be stored as JSON and read again.
func checkValue(t *testing.T, value any) {
	t.Helper()
	if value == nil {
		return
	}
	text := encodeJSON(value)
	if text == nil || !utf8.Valid(text) {
		t.Fatalf("%#v cannot be stored", value)
	}
	if _, err := event.DecodeJSON(string(text)); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// checkWritten checks that each key and each text and number of a recovered value
// stands in the text as it is.
func checkWritten(t *testing.T, value any, text []byte) {
	written := ""
	switch value := value.(type) {
	case map[string]any:
		for key, member := range value {
			checkWritten(t, key, text)
			checkWritten(t, member, text)
		}
		return
	case []any:
		for _, element := range value {
			checkWritten(t, element, text)
		}
		return
	case string:
		if strings.HasPrefix(value, ":") && !bytes.Contains(text, []byte(`":`)) {
			t.Errorf("%s gave %q", text, value)
		}
		written = value
	case int64, json.Number:
		written = fmt.Sprint(value)
		if written == "0" {
			return // or -0
		}
	}
	if !bytes.Contains(text, []byte(written)) {
		t.Errorf("%s gave %q", text, written)
	}
}

// FuzzValues reads several values. No byte of them may be lost, and those that
// are whole must read as they do alone.
func FuzzValues(f *testing.F) {
	for _, seed := range []string{
		"{\"a\":1}\n{\"b\":2}\n", `{"a":1}{"b":"Bob "B" Lee"}x{"c":`, "[{\"a\":1}]\n[{\"b\":1}", "{\"a\":\"half\n{\"b\":2}\n{\"c\":3}", "\x1e{\"a\":1}\n\x1e[2]\n", "1\n2", "{\"a\":1}{\"b\":2}\n{\"c\":\"d",
	} {
		f.Add([]byte(seed))
	}
	blank := func(r rune) rune {
		if strings.ContainsRune(" \t\r\n,\v\f\u0085\u00a0\x1e", r) || unicode.IsSpace(r) {
			return -1
		}
		return r
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		parts, apart := readValues(bytes.TrimSpace(text))
		if parts == nil || len(parts) > maxBatch {
			return
		}
		if ends := bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte{recordSeparator}); apart && ends < len(parts)-1 {
			t.Errorf("%q is said to have %d values on lines of their own", text, len(parts))
		}
		var raws []byte
		for _, p := range parts {
			raws = append(raws, p.raw...)
			checkValue(t, p.value)
			if value, err := event.DecodeJSON(string(p.raw)); p.isRaw && (err != nil || !reflect.DeepEqual(value, p.value) || p.problem != "") {
				t.Errorf("%q is read as %s (%s)", p.raw, encodeJSON(p.value), p.problem)
			}
		}
		if !bytes.Equal(bytes.Map(blank, raws), bytes.Map(blank, text)) {
			t.Errorf("of %q is left %q", text, raws)
		}
	})
}

// FuzzRecovery reads broken JSON. A short valid object without escapes it must
// read as the decoder does.
func FuzzRecovery(f *testing.F) {
	for _, seed := range []string{
		`{"n":"Bob "B" Lee","x":1}`, `{"a":{{tag}},"b":,"c":[1,{"d":"e`, `{"m":"{"e":"2"}"}`, "{\"a\":\"b\nc\\\"}", `[{"a":1],"b":2}`, `{a:'x',"b" 1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		text = validUTF8(text)
		recovered, _ := recoverJSON(text)
		checkValue(t, recovered)
		if bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
			checkWritten(t, recovered, text)
		}
		if len(text) > maxKey || len(text) == 0 || text[0] != '{' || bytes.IndexByte(text, '\\') >= 0 {
			return
		}
		if decoded, err := event.DecodeJSON(string(text)); err == nil && !reflect.DeepEqual(decoded, recovered) {
			t.Errorf("%s is read as %s", text, encodeJSON(recovered))
		}
	})
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0"?><a x="1"><b>2</b> t <b/></a>`))
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY x "1">]><a>&x;</a>`))
	f.Add([]byte(`<a>Smith & Sons<b>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		value, err := decodeXML(validUTF8(text))
		checkValue(t, value)
		if object, isObject := value.(map[string]any); err == nil && (!isObject || len(object) != 1) {
			t.Errorf("no root in %#v", value)
		}
	})
}

func FuzzMultipart(f *testing.F) {
	f.Add("b", []byte("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b--\r\n"))
	f.Add("", []byte("--x\nContent-Disposition: form-data; name=a[]; filename=f\nContent-Type: text/plain; charset=utf-16\n\n1\n--x--\n"))
	f.Fuzz(func(t *testing.T, boundary string, body []byte) {
		fields, _ := decodeMultipart(body, boundary)
		checkValue(t, fields)
	})
}

func FuzzForm(f *testing.F) {
	f.Add("a=1&a[]=2&b[]=%zz&=+&c")
	f.Fuzz(func(t *testing.T, text string) {
		checkValue(t, decodeForm(text, validText))
		for key, values := range parseQuery(text, nil) {
			if len(values) == 0 || !utf8.ValidString(key) {
				t.Errorf("%q has %d values", key, len(values))
			}
		}
	})
}

func FuzzCharset(f *testing.F) {
	f.Add("utf-16", []byte("\xff\xfe{\x00}\x00"))
	f.Add("", []byte(`<?xml version="1.0" encoding="Shift_JIS"?><a/>`))
	f.Fuzz(func(t *testing.T, label string, raw []byte) {
		before := bytes.Clone(raw)
		text := toUTF8(raw, label)
		if !bytes.Equal(before, raw) {
			t.Error("the bytes that came were changed")
		}
		if len(text) > 4*len(raw)+8 {
			t.Errorf("%d bytes became %d", len(raw), len(text))
		}
	})
}

// FuzzPath reads the paths of redact.
func FuzzPath(f *testing.F) {
	f.Add(`body.customer["first name"].x`)
	f.Add("X-Header")
	f.Fuzz(func(t *testing.T, path string) {
		keys, err := splitPath(path)
		if err != nil {
			return
		}
		for _, key := range keys {
			if key == "" {
				t.Errorf("%q has an empty key", path)
			}
		}
	})
}

// FuzzFormKeys nests keys. Whatever the brackets, no value is lost, unless its
// key came before and names the event or a parameter.
func FuzzFormKeys(f *testing.F) {
	f.Add("a[b]", "a[]", "a", "a[b][c]")
	f.Add("t[1]", "t[0]", "t[]", "t[x")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		form, kept, first := newForm(), 0, map[string]bool{}
		for _, key := range []string{a, b, c, d} {
			form.add(key, "v")
			_, isTag := tagOf(key)
			if !first[key] || !isTag && usualRank(key) < 0 {
				kept++
			}
			first[key] = true
		}
		fields := form.value()
		checkValue(t, map[string]any{"form": fields})
		if n := bytes.Count(encodeJSON(fields), []byte(`"v"`)) - bytes.Count(encodeJSON(fields), []byte(`"v":`)); n < kept {
			t.Errorf("%q %q %q %q gave %s", a, b, c, d, encodeJSON(fields))
		}
	})
}
