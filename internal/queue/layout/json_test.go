package layout

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/rules"
)

// oddTexts are texts that JSON escapes, or encoding/json changes.
var oddTexts = []string{"", "plain", `"quoted" \`, "<a>&b", "tab\tand\nline", "\x00\x7f", "Ünïcode\u2028", "broken\xff"}

// fill gives each field of a struct a value made of a text, so that one that is added
// later and not written is found.
func fill(t *testing.T, v reflect.Value, text string) {
	t.Helper()
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int64:
		v.SetInt(int64(len(text)) - 3)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), len(text)%3, 3))
		for i := range v.Len() {
			fill(t, v.Index(i), text)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			fill(t, v.Field(i), text)
		}
	default:
		t.Fatalf("there is no text for a %s", v.Type())
	}
}

func TestJSONIsThatOfEncodingJSON(t *testing.T) {
	same := func(got []byte, of any) {
		t.Helper()
		want, err := json.Marshal(of)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for _, text := range oddTexts {
		same(appendText(nil, text), text)
		var v rules.Verdict
		fill(t, reflect.ValueOf(&v).Elem(), text)
		for _, v.Decided = range []time.Time{{}, time.Unix(1, 0).UTC()} {
			got, err := appendVerdict(nil, &v)
			if err != nil {
				t.Fatal(err)
			}
			same(got, v)
		}
		var p Plan
		fill(t, reflect.ValueOf(&p).Elem(), text)
		for n := range 3 {
			plans := make([]Plan, n)
			for i := range plans {
				plans[i] = p
			}
			same(appendPlans(nil, plans), plans)
		}
	}
}
