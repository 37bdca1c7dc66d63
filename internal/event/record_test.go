package event_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

// stored is the event without what engines keep beside its record.
func stored(e *event.Event) *event.Event {
	copied := *e
	copied.ID, copied.Source, copied.Name, copied.Subject = "", "", "", ""
	copied.Received = time.Time{}
	return &copied
}

func roundTrip(t *testing.T, e *event.Event) {
	t.Helper()
	record := e.Record()
	if !json.Valid(record) || !utf8.Valid(record) {
		t.Fatalf("the record is not JSON in UTF-8: %q", record)
	}
	got, err := event.DecodeRecord(record, e.RawBody)
	if err != nil {
		t.Fatalf("%v: %s", err, record)
	}
	if want := stored(e); !reflect.DeepEqual(got, want) {
		t.Fatalf("the record %s gives\n%#v\nwant\n%#v", record, got, want)
	}
}

func TestRecord(t *testing.T) {
	e := eventtest.Typical(t)
	e.Test = true
	e.Fields = map[string]any{"order_id": int64(9007199254740993), "client": nil}
	e.Parameters[event.CallCost] = json.Number("0.350")
	e.Parameters[event.CallingName] = "Bob \"B\" Lee\né"
	e.ParseError = "unexpected end"
	const want = `{"method":"POST","path":"/listen.php","ip":"203.0.113.9","test":true,"query":{"site":["london"]},` +
		`"headers":{"Accept":["*/*"],"Accept-Encoding":["gzip"],"Content-Length":["612"],"Content-Type":["application/json"],` +
		`"User-Agent":["Go-http-client/1.1"],"X-Request-Id":["5b0f1a1e-77d4"]},` +
		`"parameters":{"calling_name":"Bob \"B\" Lee\né","call_cost":0.350,"date":"2026-03-13","tenant":"","time":"10:41:58","unix_time":1773398518},` +
		`"fields":{"client":null,"order_id":9007199254740993},"body_is_raw":true,"parse_error":"unexpected end"}`
	if got := string(e.Record()); got != want {
		t.Errorf("the record is\n%s\nwant\n%s", got, want)
	}
	if got := string(e.AppendRecord([]byte("before"))); got != "before"+want {
		t.Errorf("the appended record is\n%s", got)
	}
	if got := string(new(event.Event).AppendRecord([]byte("before"))); got != "before{}" {
		t.Errorf("the appended record of an event without anything is %s", got)
	}
	roundTrip(t, e)
}

func TestRecordRoundTrip(t *testing.T) {
	nested := any(map[string]any{
		"id": int64(9007199254740993), "big": json.Number("123456789012345678901234567890"), "price": json.Number("1.10"),
		"name": "Zoë \x00\x1f \"q\" \\ \u2028 \ufffd 😀", "goodëkey": []any{nil, true, "", []any{}, map[string]any{}},
	})
	for name, e := range map[string]*event.Event{
		"empty":       {},
		"empty maps":  {Query: map[string][]string{}, Headers: map[string][]string{}, Fields: map[string]any{}},
		"several":     {Query: map[string][]string{"user[]": {"a", "bÿ", ""}, "": {""}, "none": {}}},
		"body":        {Body: nested, RawBody: []byte("<xml/>")},
		"list":        {Body: []any{nested, int64(-1)}},
		"text":        {Body: "plain text"},
		"no":          {Body: false},
		"raw":         {Body: map[string]any{"a": int64(1)}, RawBody: []byte(`{"a":1}`), BodyIsRaw: true},
		"raw null":    {RawBody: []byte(`null`), BodyIsRaw: true},
		"parse error": {ParseError: "at ÿ", Test: true, Method: "GET", Path: "/ÿ", IP: "::1"},
		"subject":     {Subject: "Job 7", SubjectError: "it is a list"},
		"fields":      {Fields: map[string]any{"a": nil, "b": nested}},
	} {
		t.Run(name, func(t *testing.T) { roundTrip(t, e) })
	}
}

// A value that no event should hold must not cost the event.
func TestRecordOfForeignValues(t *testing.T) {
	deep := any("end")
	for range event.MaxDepth + 2 {
		deep = []any{deep}
	}
	e := &event.Event{Body: deep, Fields: map[string]any{"a": struct{}{}}, Method: "POST"}
	e.Parameters[event.Duration] = json.Number("+5")
	e.Parameters[event.UnixTime] = 5.5
	got, err := event.DecodeRecord(e.Record(), nil)
	if err != nil || got.Method != "POST" || got.Body != nil {
		t.Fatalf("got %#v, %v", got, err)
	}
	if got.Parameters[event.Duration] != "+5" || got.Parameters[event.UnixTime] != nil {
		t.Errorf("the parameters are %v", got.Parameters)
	}
}

func TestDecodeRecordErrors(t *testing.T) {
	for record, want := range map[string]string{
		``: "reading a stored event", `[]`: "it is a list, not an object", `{"method":1}`: "its method is a number", `{"query":{"a":"b"}}`: "not a list of texts",
		`{"headers":{"a":[1]}}`: "not a list of texts", `{"test":"yes"}`: "its test is text", `{"fields":[]}`: "its fields is a list",
		`{"body_is_raw":true}`: "reading the body of a stored event",
	} {
		if _, err := event.DecodeRecord([]byte(record), []byte("{")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", record, err, want)
		}
	}
	e, err := event.DecodeRecord([]byte(`{"method":"GET","later":{"a":1},"parameters":{"later":1,"duration":5}}`), nil)
	if err != nil || e.Method != "GET" || e.Parameters[event.Duration] != int64(5) {
		t.Errorf("a record of a later version gives %+v, %v", e, err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("POST", "/listen.php", "site", "london", "calling\xff", []byte(eventtest.Body), "unexpected end", true)
	f.Add("", "", "", "", "", []byte("null"), "", false)
	f.Add("GET", "/\xff", "a\xed\xb2\x80", `\udc80`, "\"\\", []byte("[1,2.5,\"\\udc80\"]"), "\x00", true)
	f.Fuzz(func(t *testing.T, method, path, key, value, name string, body []byte, parseError string, raw bool) {
		for _, text := range []*string{&method, &path, &key, &value, &name, &parseError} {
			*text = strings.ToValidUTF8(*text, "\uFFFD")
		}
		e := &event.Event{
			Method: method, Path: path, IP: value, ParseError: parseError, Test: raw,
			Query:   map[string][]string{key: {value, name}},
			Headers: map[string][]string{name: {value}, path: {}},
			Fields:  map[string]any{key: name},
			RawBody: body,
		}
		e.Parameters[event.CallingName] = name
		e.Parameters[event.UnixTime] = int64(len(path))
		if decoded, err := event.DecodeJSON(string(body)); err == nil {
			e.Body, e.BodyIsRaw = decoded, raw
			e.Fields["decoded"] = decoded
			if !raw {
				e.RawBody = nil
			}
		} else {
			e.Body = strings.ToValidUTF8(string(body), "\uFFFD")
		}
		roundTrip(t, e)
	})
}
