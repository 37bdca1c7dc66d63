package forward

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

func TestScheduleOrder(t *testing.T) {
	long := strings.Repeat("é", longestOrderKey/2)
	body := map[string]any{
		"id": int64(7), "digits": json.Number("48000000000000000001"), "text": "Job 7", "list": []any{int64(1), "a"},
		"yes": true, "long": long, "longer": long + "x", "longest": long + "y",
	}
	language := languageWith(t, config.Parameter{Name: "studio_host", Value: "127.0.0.1"})
	key := func(expression string) string {
		t.Helper()
		p := prepareIn(t, language, config.Action{URL: "http://h/", OrderBy: expression})
		event := eventtest.With(body)
		key, expires, err := p.Schedule(language.Bind(event), event.Received)
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
	language := languageWith(t)
	p := prepareIn(t, language, config.Action{URL: "http://h/", OrderBy: `body.text + 1`, Expires: config.Duration(time.Minute)})
	event := eventtest.With(map[string]any{"text": "payload"})
	event.Received = newClock().Now()
	key, expires, err := p.Schedule(language.Bind(event), event.Received)
	if key != "" || !expires.Equal(event.Received.Add(time.Minute)) {
		t.Errorf("key %q, expires %s", key, expires)
	}
	if err == nil || !strings.HasPrefix(err.Error(), "action test: order_by: ") || strings.Contains(err.Error(), "payload") {
		t.Errorf("error is %v", err)
	}
}

func TestScheduleExpires(t *testing.T) {
	language, received := languageWith(t), newClock().Now()
	for _, d := range []time.Duration{0, 5 * time.Second} {
		p := prepareIn(t, language, config.Action{URL: "http://h/", Expires: config.Duration(d)})
		_, expires, err := p.Schedule(language.Bind(eventtest.With(nil)), received)
		if err != nil || expires.IsZero() != (d == 0) || d > 0 && !expires.Equal(received.Add(d)) {
			t.Errorf("%s: %s, %v", d, expires, err)
		}
	}
}

func BenchmarkSchedule(b *testing.B) {
	for name, action := range map[string]config.Action{
		"nothing": {}, "expires": {Expires: config.Duration(time.Minute)}, "order_by": {OrderBy: "body.project.id"}, "order_by of a sum": {OrderBy: `source + "/" + string(body.project.id)`},
	} {
		b.Run(name, func(b *testing.B) {
			action.URL = "http://h/"
			language := languageWith(b)
			p := prepareIn(b, language, action)
			event := eventtest.With(map[string]any{"project": map[string]any{"id": int64(4711)}})
			bound := language.Bind(event)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := p.Schedule(bound, event.Received); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
