package language

import (
	"encoding/json"
	"fmt"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
	"slices"
	"strings"
	"testing"
)

// tell writes a part and what it is made of, one line each.
func tell(b *strings.Builder, p Part, depth int) {
	fmt.Fprintf(b, "%s%s → %s", strings.Repeat("  ", depth), p.Expression, p.Result)
	if p.Value != "" {
		fmt.Fprintf(b, " %s", p.Value)
	}
	if len(p.Absent) > 0 {
		fmt.Fprintf(b, " absent %s", strings.Join(p.Absent, ", "))
	}
	if p.Note != "" {
		fmt.Fprintf(b, " [%s]", p.Note)
	}
	if p.Error != "" {
		fmt.Fprintf(b, " (%s)", p.Error)
	}
	if p.Unread {
		b.WriteString(" unread")
	}
	if p.More {
		b.WriteString(" more")
	}
	b.WriteByte('\n')
	for _, part := range p.Parts {
		tell(b, part, depth+1)
	}
}

func TestExplainer(t *testing.T) {
	definitions := typicalDefinitions()
	definitions.Parameters = append(definitions.Parameters,
		config.Parameter{Name: "vip", Value: "{env.02079460123}"},
		config.Parameter{Name: "desk", Value: "100", Tenants: map[string]string{"200": "{env.s3cret-desk}"}},
	)
	long := strings.Repeat("é", 300)
	body := `{"status":"Pencil","n":"45","count":3,"flag":true,"items":[{"price":2},{"price":9}],"to":"02079460123","name":"Zoë","note":"s3cret-desk is here","long":"` + long + `"}`
	for _, test := range []struct{ condition, want string }{
		{`body.status in ["Approved", "Confirmed"]`, `
body.status in ["Approved", "Confirmed"] → false
  body.status → value "Pencil"`},
		{`body.status  ==  'Pencil'`, `
body.status  ==  'Pencil' → true
  body.status → value "Pencil"`},
		{`body.flag`, `
body.flag → true`},
		{`body.status == "pencil"`, `
body.status == "pencil" → false [differs only in letter case]
  body.status → value "Pencil"`},
		{`body.stauts == "Approved"`, `
body.stauts == "Approved" → unknown absent body.stauts
  body.stauts → unknown absent body.stauts [the event has body.status]`},
		// Kleene: what decides, and what was not needed for it.
		{`body.gone == 1 and body.status == "Approved" and body.count > 1`, `
body.gone == 1 and body.status == "Approved" and body.count > 1 → false absent body.gone
  body.gone == 1 → unknown absent body.gone
    body.gone → unknown absent body.gone
  body.status == "Approved" → false
    body.status → value "Pencil"
  body.count > 1 → true unread
    body.count → value 3`},
		{`body.gone == 1 || body.flag`, `
body.gone == 1 || body.flag → true absent body.gone
  body.gone == 1 → unknown absent body.gone
    body.gone → unknown absent body.gone
  body.flag → true`},
		{`not (body.gone == 1 or body.count == 4)`, `
not (body.gone == 1 or body.count == 4) → unknown absent body.gone
  body.gone == 1 or body.count == 4 → unknown absent body.gone
    body.gone == 1 → unknown absent body.gone
      body.gone → unknown absent body.gone
    body.count == 4 → false
      body.count → value 3`},
		{`body.count == 3 and (body.gone == nil or body.n > 3)`, `
body.count == 3 and (body.gone == nil or body.n > 3) → true absent body.gone
  body.count == 3 → true
    body.count → value 3
  body.gone == nil or body.n > 3 → true absent body.gone
    body.gone == nil → true absent body.gone
      body.gone → unknown absent body.gone
    body.n > 3 → error (evaluating ` + "`body.n > 3`" + ` compares text with a number; convert one of them with int(), float() or string()) unread
      body.n → value "45"`},
		// Errors of types.
		{`body.flag and body.n > 30`, `
body.flag and body.n > 30 → error (evaluating ` + "`body.flag and body.n > 30`: `body.n > 30`" + ` compares text with a number; convert one of them with int(), float() or string())
  body.flag → true
  body.n > 30 → error (evaluating ` + "`body.n > 30`" + ` compares text with a number; convert one of them with int(), float() or string())
    body.n → value "45"`},
		{`body.status and body.flag`, `
body.status and body.flag → error (evaluating ` + "`body.status and body.flag`: `body.status`" + ` is text, but must be true or false)
  body.status → value "Pencil"
  body.flag → true unread`},
		{`body.status`, `
body.status → error (the condition ` + "`body.status`" + ` is text, but must be true or false)`},
		// Presence, choices, variables.
		{`(body.gone ?? body.status) == "Pencil"`, `
(body.gone ?? body.status) == "Pencil" → true absent body.gone
  body.gone ?? body.status → value "Pencil" absent body.gone
    body.gone → unknown absent body.gone
    body.status → value "Pencil"`},
		{`(body.status ?? body.name) != ""`, `
(body.status ?? body.name) != "" → true
  body.status ?? body.name → value "Pencil"
    body.status → value "Pencil"
    body.name → value "Zoë" unread`},
		{`body.flag ? body.count > 5 : body.n == "45"`, `
body.flag ? body.count > 5 : body.n == "45" → false
  body.flag → true
  body.count > 5 → false
    body.count → value 3
  body.n == "45" → true unread
    body.n → value "45"`},
		{`let x = body.count * 2; let y = body.gone; x > 5 and y == 1`, `
let x = body.count * 2; let y = body.gone; x > 5 and y == 1 → unknown absent body.gone
  let x = body.count * 2 → value 6
    body.count → value 3
  let y = body.gone → unknown absent body.gone
  x > 5 → true
    x → value 6
  y == 1 → unknown absent body.gone
    y → unknown absent body.gone`},
		// Functions, lists, times.
		{`lower(body.status) startsWith approved`, `
lower(body.status) startsWith approved → false
  lower(body.status) → value "pencil"
    body.status → value "Pencil"
  approved → value "Approved"`},
		{`any(body.items, .price > body.count)`, `
any(body.items, .price > body.count) → true
  body.items → value [{"price":2},{"price":9}]
  body.count → value 3`},
		{`received.Year() == 2026 and 1 < body.count < 4`, `
received.Year() == 2026 and 1 < body.count < 4 → true
  received.Year() == 2026 → true
    received.Year() → value 2026
      received → value "2026-03-13T10:41:58Z"
  1 < body.count → true
    body.count → value 3
  body.count < 4 → true
    body.count → value 3`},
		// Secrets: neither theirs nor what is made from them, nor what equals them.
		{`body.to == vip`, `
body.to == vip → true
  body.to → value "***"
  vip → value ***`},
		{`len(vip) > 5 and vip[0:3] == "020"`, `
len(vip) > 5 and vip[0:3] == "020" → true
  len(vip) > 5 → true
    len(vip) → value ***
      vip → value ***
  vip[0:3] == "020" → true
    vip[0:3] → value ***
      vip → value ***`},
		{`body.long startsWith "é"`, `
body.long startsWith "é" → true
  body.long → value "` + long[:198] + `…`},
		{`body.note contains desk`, `
body.note contains desk → true
  body.note → value "*** is here"
  desk → value ***`},
	} {
		t.Run(test.condition, func(t *testing.T) {
			l := newLanguage(t, definitions)
			e := tenantEvent(t, "200")
			e.Body = decoded(t, body)
			compile(t, l, test.condition)
			explained := l.NewExplainer(e).Condition(test.condition)
			var got strings.Builder
			tell(&got, explained, 0)
			if got.String() != strings.TrimPrefix(test.want, "\n")+"\n" {
				t.Errorf("got\n%swant%s", got.String(), test.want)
			}
			if encoded, _ := json.Marshal(explained); strings.Contains(string(encoded), "02079460123") || strings.Contains(string(encoded), "s3cret") {
				t.Errorf("a secret is shown: %s", encoded)
			}
		})
	}
}

func decoded(tb testing.TB, text string) any {
	tb.Helper()
	value, err := event.DecodeJSON(text)
	if err != nil {
		tb.Fatal(err)
	}
	return value
}

// TestExplainerOfLongConditions is about the work: parts are compiled one by one,
// and each costs as much as it is long.
func TestExplainerOfLongConditions(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for name, condition := range map[string]string{
		"and":      strings.Repeat(`body.a == 1 and `, 300) + "true",
		"plus":     strings.Repeat(`body.a + `, 480) + "1 == 1",
		"brackets": strings.Repeat(`(`, 300) + "body.a == 1" + strings.Repeat(` or test)`, 300),
		"let":      `let v = body.a; ` + strings.Repeat("v == 1 or ", 400) + "v == 2",
	} {
		compile(t, l, condition)
		p := l.NewExplainer(eventtest.Typical(t)).Condition(condition)
		if n := countParts(p); n > maxParts+1 || !hasMore(p) {
			t.Errorf("%s: %d parts, and more: %v", name, n, hasMore(p))
		}
	}
}

func countParts(p Part) int {
	n := 1
	for _, part := range p.Parts {
		n += countParts(part)
	}
	return n
}

func hasMore(p Part) bool { return p.More || slices.ContainsFunc(p.Parts, hasMore) }
