package receive_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

// TestFormKeys posts forms whose keys have brackets, urlencoded and as
// multipart. They must give what the same data as JSON gives.
func TestFormKeys(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for _, test := range []struct{ form, want string }{
		{"project[id]=5&project[name]=N", `{"project":{"id":"5","name":"N"}}`},
		{"a[b][c][d]=1&a[b][c][e]=2&a[f]=3", `{"a":{"b":{"c":{"d":"1","e":"2"}},"f":"3"}}`},
		{"t[]=a&t[]=b", `{"t":["a","b"]}`},
		{"t[]=a", `{"t":["a"]}`},
		{"t[0]=a&t[1]=b", `{"t":["a","b"]}`},
		{"t[1]=b&t[0]=a", `{"t":["a","b"]}`},
		{"t[0]=a&t[]=b&t[2]=c", `{"t":["a","b","c"]}`},
		{"t[1]=b", `{"t":{"1":"b"}}`},
		{"t[1]=b&t[]=c", `{"t":{"1":"b","2":"c"}}`},
		{"t[00]=a&t[-1]=b&t[1.5]=c", `{"t":{"00":"a","-1":"b","1.5":"c"}}`},
		{"t[]=a&t[x]=b&t[]=c", `{"t":{"0":"a","x":"b","1":"c"}}`},
		{"t[999999999999]=a&t[4]=b", `{"t":{"999999999999":"a","4":"b"}}`},
		{"i[0][n]=1&i[0][m]=2&i[1][n]=3", `{"i":[{"n":"1","m":"2"},{"n":"3"}]}`},
		{"i[][n]=1&i[][n]=2", `{"i":[{"n":"1"},{"n":"2"}]}`},
		{"i[][]=1&i[][]=2&i[0][]=3", `{"i":[["1","3"],["2"]]}`},
		{"t=a&t=b&t=c", `{"t":["a","b","c"]}`},
		{"t[x]=a&t[x]=b", `{"t":{"x":["a","b"]}}`},
		{"t[0]=a&t[0]=b", `{"t":[["a","b"]]}`},
		{"t=a&t[]=b&t=c", `{"t":["a","b","c"]}`},
		{"t[x]=a&t=b", `{"t":{"x":"a","0":"b"}}`},
		{"t=a&t[x]=b&t[y][z]=c", `{"t":"a","t[x]":"b","t[y][z]":"c"}`},
		{"event=a&event=b&caller_id=1&caller_id=2&x[event]=a&x[event]=b", `{"event":"a","caller_id":"1","x":{"event":["a","b"]}}`},
		{"a[=1&a]=2&[b]=3&a[b=4&a[b]c=5&a[b]]=6&a[b][=7&a[[b]]=8&[]=9", `{"a[":"1","a]":"2","[b]":"3","a[b":"4","a[b]c":"5","a[b]]":"6","a[b][":"7","a[[b]]":"8","[]":"9"}`},
		{"a.b=1&a+c=2&a[b.c d]=3", `{"a.b":"1","a c":"2","a":{"b.c d":"3"}}`},
		{"d[json]={\"a\":[1]}&d[caller_id]={}", `{"d":{"json":{"a":[1]},"caller_id":"{}"}}`},
		{"a" + strings.Repeat("[x]", 64) + "=1", strings.Repeat(`{"x":`, 0) + `{"a":` + strings.Repeat(`{"x":`, 64) + `"1"` + strings.Repeat("}", 65)},
		{"a" + strings.Repeat("[x]", 65) + "=1", `{"a` + strings.Repeat("[x]", 65) + `":"1"}`},
	} {
		want := must(event.DecodeJSON(test.want))
		var multipart strings.Builder
		for _, pair := range strings.Split(test.form, "&") {
			key, value, _ := strings.Cut(pair, "=")
			fmt.Fprintf(&multipart, "--b\r\nContent-Disposition: form-data; name=%q\r\n\r\n%s\r\n", strings.ReplaceAll(key, "+", " "), value)
		}
		for contentType, body := range map[string]string{
			"application/x-www-form-urlencoded": test.form, "multipart/form-data; boundary=b": multipart.String() + "--b--\r\n",
		} {
			e := r.one(t, post("?event=e", contentType, body))
			if !reflect.DeepEqual(e.Body, want) || e.ParseError != "" || string(e.RawBody) != body {
				got, _ := json.Marshal(e.Body)
				t.Errorf("%s as %s\ngave %s (%s)\nwant %s", test.form, contentType, got, e.ParseError, test.want)
			}
			checkEvent(t, e)
		}
	}
}

// TestFormBounds checks that nothing of a form with too many lists and objects
// is lost: what cannot be nested keeps its key.
func TestFormBounds(t *testing.T) {
	var form strings.Builder
	for i := range 12_000 {
		fmt.Fprintf(&form, "a[%d][b]=%d&", i, i)
	}
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	body := r.one(t, post("?event=e", "application/x-www-form-urlencoded", form.String())).Body.(map[string]any)
	nested := body["a"].([]any)
	if len(nested)+len(body)-1 != 12_000 || len(nested) > 10_000 || body["a[11999][b]"] != "11999" {
		t.Errorf("%d are nested and %d have keys of their own", len(nested), len(body)-1)
	}
}

// TestFormNames checks that an event's name and parameters are found below data
// and payload of a form and of a query as in JSON.
func TestFormNames(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{Preset: "pbxware"}))
	for _, test := range []struct{ rest, body, event, caller string }{
		{"", "data[event]=project_created&data[project][id]=5", "project_created", ""},
		{"", "data[event_type]=a&payload[event]=b", "a", ""},
		{"", "payload[event]=b", "b", ""},
		{"", "event[]=a", "unknown", ""},
		{"", "event=a&event=b&caller_id=1&caller_id=2", "a", "1"},
		{"?data[event]=q", "event=b", "q", ""},
		{"?payload%5Bevent%5D=q&status=x", "", "q", ""},
		{"?payload[event]=q&event=p", "", "p", ""},
		{"", "event=event_call_finished&payload[linked_id]=1&payload[is_incoming]=x&payload[tenant_code]=200", "event_call_finished", ""},
	} {
		e := r.one(t, post(test.rest, "application/x-www-form-urlencoded", test.body))
		caller, _ := e.Parameters[event.CallerID].(string)
		if e.Name != test.event || caller != test.caller {
			t.Errorf("%s %s is %s from %q, want %s from %q", test.rest, test.body, e.Name, caller, test.event, test.caller)
		}
	}
}

// TestPlusOfNumbers checks that the plus of a number survives where its sender
// did not escape it.
func TestPlusOfNumbers(t *testing.T) {
	r := newRelay(t, receive.Options{}, open(config.Source{}))
	for _, test := range []struct{ pairs, key, want string }{
		{"caller_id=+442079460123", "caller_id", "+442079460123"},
		{"caller_id=%2B442079460123", "caller_id", "+442079460123"},
		{"caller_id=%20442079460123", "caller_id", "+442079460123"},
		{"CALLED_NUMBER=%20442079460123", "CALLED_NUMBER", "+442079460123"},
		{"called_number=+44+20+7946+0123", "called_number", "+44 20 7946 0123"},
		{"from=+44(20)7946-0123", "from", "+44(20)7946-0123"},
		{"offset=+0200", "offset", "+0200"},
		{"from=%20442079460123", "from", " 442079460123"},
		{"caller_id=442079460123", "caller_id", "442079460123"},
		{"caller_id=++442079460123", "caller_id", "  442079460123"},
		{"caller_id=+anonymous", "caller_id", " anonymous"},
		{"caller_id=+", "caller_id", " "},
		{"calling_name=Alex+Example", "calling_name", "Alex Example"},
		{"calling_name=+5+Main+Street", "calling_name", " 5 Main Street"},
		{"caller_id=+(44)+20+7946", "caller_id", "+(44) 20 7946"},
		{"caller_id=sip:+44207@pbx", "caller_id", "sip:+44207@pbx"},
		{"called_number=+44207@pbx;user=phone", "called_number", "+44207@pbx;user=phone"},
		{"calling_name=sip:+44207@pbx", "calling_name", "sip: 44207@pbx"},
	} {
		if e := r.one(t, post("?event=x&"+test.pairs, "", "")); e.Query[test.key][0] != test.want {
			t.Errorf("query %s gives %q, want %q", test.pairs, e.Query[test.key][0], test.want)
		}
		if e := r.one(t, post("?event=x", "application/x-www-form-urlencoded", test.pairs)); e.Body.(map[string]any)[test.key] != test.want {
			t.Errorf("form %s gives %q, want %q", test.pairs, e.Body, test.want)
		}
	}
}
