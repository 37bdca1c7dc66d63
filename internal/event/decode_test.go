package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestDecodeJSON(t *testing.T) {
	for text, want := range map[string]any{
		` null `: nil, `true`: true, `false`: false, `""`: "", `[]`: []any{}, `{}`: map[string]any{},
		`0`: int64(0), `-0`: int64(0), `9007199254740993`: int64(9007199254740993), `4823456789012345678`: int64(4823456789012345678),
		`9223372036854775807`: int64(math.MaxInt64), `9223372036854775808`: json.Number("9223372036854775808"),
		`-9223372036854775808`: int64(math.MinInt64), `-9223372036854775809`: json.Number("-9223372036854775809"),
		`123456789012345678901234567890`: json.Number("123456789012345678901234567890"),
		`1.0`:                            json.Number("1.0"), `1e3`: json.Number("1e3"), `-0.10E-2`: json.Number("-0.10E-2"),
		`{"a": 1, "b": 2, "a": [3]}`: map[string]any{"a": []any{int64(3)}, "b": int64(2)},
		`"\u00e4\n\"\\\/\b\f\r\t"`:   "ä\n\"\\/\b\f\r\t",
		`"\ud83d\ude00"`:             "😀", `"\ud83d"`: "\ufffd", `"\ude00x"`: "\ufffdx", `"\ud83d\n"`: "\ufffd\n", `"\ud83d\u0041"`: "\ufffdA", `"\udc80"`: "\ufffd",
		"\"a\xffb\xc3\"": "a\ufffdb\ufffd", "\"\xed\xb2\x80\"": "\ufffd\ufffd\ufffd", `"\u0000"`: "\x00", "\"ä\u2028\ufffd\"": "ä\u2028\ufffd",
		"\t[1 ,\r\n{\"a\" : [ ] }]\n": []any{int64(1), map[string]any{"a": []any{}}},
		`{"a":{"b":{},"c":[{"d":1}]},"e":2}`: map[string]any{"a": map[string]any{
			"b": map[string]any{}, "c": []any{map[string]any{"d": int64(1)}}}, "e": int64(2)},
	} {
		got, err := DecodeJSON(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s gives %#v, %v; want %#v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		``: "unexpected end", ` `: "unexpected end", `{"a":1}}`: "character '}' after the value at byte 7", `1 2`: "after the value", "1\x00": "after the value",
		`{"a":1,}`: "where a member's name should begin", `[1,]`: "where a value should begin", `{a:1}`: "name", `{"a" 1}`: "after a member's name", `{"a":1 "b":2}`: "after a member", `[1 2]`: "after a list's element",
		`01`: "leading zero", `-`: "in a number", `1.`: "in a number", `.5`: "value", `1e`: "in a number", `1e+`: "in a number", `+1`: "value", `NaN`: "value", `0x10`: "after the value",
		`tru`: "in true", `trux`: "in true", `nul`: "in null", `"a`: "unexpected end in a string", "\"a\nb\"": "in a string", `"\x"`: "in an escape", `"\`: "in an escape", `"\u12"`: `\u without`, `"\u+123"`: `\u without`, `'a'`: "value",
		strings.Repeat("[", MaxDepth+1): "deeper than 512", strings.Repeat(`{"a":`, MaxDepth+1): "deeper than 512",
	} {
		got, err := DecodeJSON(text)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "decoding JSON: ") {
			t.Errorf("%s gives %#v, %v; want error %q", text, got, err, want)
		}
	}
	deep := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	if _, err := DecodeJSON("[" + deep[1:len(deep)-1] + "]"); err != nil {
		t.Error(err)
	}
	if _, err := DecodeJSON(`[` + strings.Repeat(`{"a":[1]},`, 10000) + `1]`); err != nil {
		t.Errorf("many values beside each other count as deep: %v", err)
	}
}

// TestDecodeObjectsOfAllSizes nests objects of few and of many members in each other:
// their members are held in different places while they are read.
func TestDecodeObjectsOfAllSizes(t *testing.T) {
	object := func(members int, inner string) string {
		var text strings.Builder
		for i := range members {
			fmt.Fprintf(&text, `,"m%d":%s`, i, inner)
		}
		// The last of a name wins, wherever the first is held.
		return "{" + strings.TrimPrefix(text.String()+`,"m0":"last"`, ",") + "}"
	}
	for _, outer := range []int{0, 1, 15, 16, 17, 33} {
		for _, inner := range []int{0, 15, 16, 17, 40} {
			text := object(outer, object(inner, object(17, "1")))
			want, _ := referenceDecode([]byte(text))
			if got, err := DecodeJSON(text); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%d members, each with %d: got %v, %v", outer, inner, got, err)
			}
		}
	}
}

// referenceDecode is DecodeJSON by way of encoding/json.
func referenceDecode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return narrow(v), nil
}

func narrow(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
	case []any:
		for i := range v {
			v[i] = narrow(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = narrow(v[name])
		}
	}
	return v
}

func FuzzDecodeJSON(f *testing.F) {
	for _, text := range []string{
		`{"id":9007199254740993,"name":"The \"Long\" Night – Ep. 3","budget":12500.50,"tags":["drama","4k"],"note":null,"confirmed":true}`, `[1,2.5,-0,1e5,"a\ud83d\ude00\udc00",null,true,{"a":{}}]`, "\"\xff\xc3\x28\"", `{"a":1,"a":2}`, `[[[[]]]]`, `{"":[{"":""}]}`, `"\u12g4"`, ` 1`, `-9223372036854775808`, "\ufeff{}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := DecodeJSON(string(text))
		if err != nil && strings.Contains(err.Error(), "deeper than") {
			return
		}
		if valid := json.Valid(text); valid != (err == nil) {
			t.Fatalf("%q is valid: %t, but decoding gives %v", text, valid, err)
		}
		if err != nil {
			return
		}
		want, err := referenceDecode(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%q gives %#v, want %#v, %v", text, got, want, err)
		}
	})
}
