package forward

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

func TestScheduleOrder(t *testing.T) {
	long := strings.Repeat("é", longestOrderKey/2)
	body := map[string]any{
		"id": int64(7), "digits": json.Number("48000000000000000001"), "text": "Job 7", "list": []any{int64(1), "a"},
		"yes": true, "long": long, "longer": long + "x", "longest": long + "y",
	}
	key := func(expression string) string {
		t.Helper()
		p := prepare(t, config.Action{URL: "http://h/", OrderBy: expression})
		event := eventWith(body)
		key, expires, err := p.Schedule(p.language.Bind(event), event.Received)
		if err != nil || !expires.IsZero() {
			t.Errorf("%s: expires %s, %v", expression, expires, err)
		}
		return key
	}
	for expression, want := range map[string]string{
		"": "", "body.id": "7", "body.digits": "48000000000000000001", "body.text": "Job 7", "body.list": `[1,"a"]`, "body.yes": "true",
		"body.none": "", "body.none.deeper": "", `body.none ?? "all"`: "all", `"all"`: "all", "studio_host": "127.0.0.1",
		`source + "/" + body.text`: "icfm/Job 7", "caller_id": "0044 20", "body.long": long,
	} {
		if got := key(expression); got != want {
			t.Errorf("%s: %q, want %q", expression, got, want)
		}
	}
	longer, longest := key("body.longer"), key("body.longest")
	if len(longer) > longestOrderKey || longer == longest || longer != key(`body.long + "x"`) {
		t.Errorf("long keys are %q and %q", longer, longest)
	}
}

// An order_by that fails leaves the delivery without a key, but not without its
// end, and says nothing of the event's values.
func TestScheduleOrderFails(t *testing.T) {
	p := prepare(t, config.Action{URL: "http://h/", OrderBy: `body.text + 1`, Expires: config.Duration(time.Minute)})
	event := eventWith(map[string]any{"text": "payload"})
	event.Received = newClock().Now()
	key, expires, err := p.Schedule(p.language.Bind(event), event.Received)
	if key != "" || !expires.Equal(event.Received.Add(time.Minute)) {
		t.Errorf("key %q, expires %s", key, expires)
	}
	if err == nil || !strings.HasPrefix(err.Error(), "action test: order_by: ") || strings.Contains(err.Error(), "payload") {
		t.Errorf("error is %v", err)
	}
}

func TestScheduleExpires(t *testing.T) {
	received := newClock().Now()
	for _, d := range []time.Duration{0, 5 * time.Second} {
		p := prepare(t, config.Action{URL: "http://h/", Expires: config.Duration(d)})
		_, expires, err := p.Schedule(p.language.Bind(eventWith(nil)), received)
		if err != nil || expires.IsZero() != (d == 0) || d > 0 && !expires.Equal(received.Add(d)) {
			t.Errorf("%s: %s, %v", d, expires, err)
		}
	}
}

// What is wrong with order_by is found when the configuration is loaded.
func TestOrderByLoadErrors(t *testing.T) {
	load := func(by string) error {
		_, err := Compile([]config.Action{{Name: "a", Place: "Caddyfile:7", Method: "POST", URL: "http://h/{{body.id}}", OrderBy: by}}, testLanguage(t), Settings{})
		return err
	}
	for by, want := range map[string]string{
		"body.id ==":       "action a (Caddyfile:7), order_by: ",
		"{{body.id}}":      "action a (Caddyfile:7), order_by: ",
		"verbatim(source)": "action a (Caddyfile:7), order_by: ",
	} {
		if err := load(by); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", by, err)
		}
	}
	var undefined *UndefinedError
	if err := load("calleri_id + studio_hots"); !errors.As(err, &undefined) || len(undefined.Names) != 2 ||
		undefined.Names[0].Place != "order_by" || undefined.Names[1].Nearest != "studio_host" {
		t.Errorf("undefined names: %v", err)
	}
	if err := load("body.id"); err != nil {
		t.Error(err)
	}
}

func BenchmarkSchedule(b *testing.B) {
	for name, action := range map[string]config.Action{
		"nothing": {}, "expires": {Expires: config.Duration(time.Minute)}, "order_by": {OrderBy: "body.project.id"}, "order_by of a sum": {OrderBy: `source + "/" + string(body.project.id)`},
	} {
		b.Run(name, func(b *testing.B) {
			action.URL = "http://h/"
			p := prepare(b, action)
			event := benchEvent()
			bound := p.language.Bind(event)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := p.Schedule(bound, event.Received); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
