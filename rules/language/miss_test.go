package language

import (
	"strings"
	"testing"
	"unicode"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

func TestMiss(t *testing.T) {
	definitions := typicalDefinitions()
	definitions.Sources = append(definitions.Sources, Source{Name: "erp", Fields: []string{"total"}})
	definitions.Parameters = append(definitions.Parameters,
		config.Parameter{Name: "won", Value: "Won"},
		config.Parameter{Name: "key", Value: "{env.s3cret-key}"},
		config.Parameter{Name: "pin", Value: "{env.4711}"},
	)
	l := newLanguage(t, definitions)
	body, err := event.DecodeJSON(`{"status":"won ","kind":"Feature","n":3,"id":9007199254740993,"items":[{"price":2}],"empty":"","none":null,
		"tag":"{{call_cost}}","project":{"Name":"Moon","code":"Lunar"},"said":"it is s3cret-key here","password":"hunter2","flag":false,"pinned":4711,
		"long":"` + strings.Repeat("é", 2000) + `","kindd":"Feture"}`)
	if err != nil {
		t.Fatal(err)
	}
	e := &event.Event{Source: "icfm", Name: "project_created", Body: body}
	e.Parameters[event.CallerID] = "anonymous"
	for _, test := range []struct {
		condition, want string
		near            bool
	}{
		{`body.status == "Won"`, `body.status is "won " (differs only in letter case and blanks)`, true},
		{`"Won" == body.status`, `body.status is "won " (differs only in letter case and blanks)`, true},
		{`body.status == won`, `body.status is "won " (differs only in letter case and blanks)`, true},
		{`body.status in ["Lost", "Won"]`, `body.status is "won " (differs from "Won" only in letter case and blanks)`, true},
		{`body.status == "Lost" or body.status == "Won"`, `body.status is "won "`, true},
		{`body.kindd == "Feature"`, `body.kindd is "Feture" (differs only by one letter)`, true},
		{`body.status == "Lost"`, `body.status is "won "`, false},
		// Only what surely stands in the way is named.
		{`body.kind == "Feature" and body.status == "Lost" and body.n == 3`, `body.status is "won "`, false},
		{`body.kind == "Feature" and body.n == 4`, `body.n is 3`, false},
		{`body.kind == "Feature" and (body.status == "a" or body.n > 4)`, `body.status is "won ", body.n is 3`, false},
		{`body.n == 4 and body.flag and body.id == 1 and caller_id == ""`, `caller_id is "anonymous"`, false},
		{`body.n == 4 or body.flag or body.id == 1 or caller_id == ""`, `body.n is 3, body.flag is false, body.id is 9007199254740993`, false},
		{`caller_id != "anonymous"`, `caller_id is "anonymous"`, false},
		{`lower(body.kind) == "Feature"`, `body.kind is "Feature"`, false},
		{`any(body.items, .price > 5)`, `body.items is a list`, false},
		{`body.project == nil`, `body.project is an object`, false},
		{`1 > 2`, ``, false},
		// Absent, and what is there in its place.
		{`body.statuss == "Won"`, `body.statuss is absent (the event has body.status)`, false},
		{`body.project.name == "Moon"`, `body.project.name is absent (the event has body.project.Name)`, false},
		{`body.nothing.like.it == "Moon"`, `body.nothing.like.it is absent`, false},
		{`body.empty == "x"`, `body.empty is absent (an empty text was sent)`, false},
		{`body.none == "x"`, `body.none is absent (null was sent)`, false},
		{`body.tag > 1`, `body.tag is absent (the tag {{call_cost}} was sent, not replaced by a value)`, false},
		{`calling_name == "x"`, `calling_name is absent`, false},
		{`order_id == "x"`, `order_id is absent (a field of the source, as read when the event came)`, false},
		{`total == "x"`, `total is absent (a field of source erp, and the event is of source icfm)`, false},
		{`query.site == "x"`, `query.site is absent`, false},
		// Never a secret, and never much.
		{`body.said == "x"`, `body.said is "it is *** here"`, false},
		{`body.pinned == 1`, `body.pinned is ***`, false},
		{`body.password == "Hunter2"`, `body.password is ***`, true},
		{`body.long == "x"`, `body.long is "` + strings.Repeat("é", 30) + `…"`, false},
	} {
		t.Run(test.condition, func(t *testing.T) {
			condition, err := l.CompileCondition(test.condition)
			if err != nil {
				t.Fatal(err)
			}
			bound := l.Bind(e)
			want := "`" + test.condition + "` did not hold"
			if test.want != "" {
				want += ": " + test.want
			}
			if got := bound.Miss(condition); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if got := bound.NearMiss(condition); got != test.near {
				t.Errorf("near: %t", got)
			}
			if absent := bound.Absent(); absent != nil {
				t.Errorf("%q were noted as absent", absent)
			}
			if held, err := bound.Holds(condition); held || err != nil {
				t.Errorf("it holds: %t, %v; it is no example", held, err)
			}
		})
	}

	secret, err := l.CompileCondition(`body.said == key`)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.Bind(e).Miss(secret), "`body.said == key` did not hold (values are not shown, because it names a secret)"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	long, err := l.CompileCondition("body.n == 4 and\n\t\tbody.n in [" + strings.Repeat("1, ", 400) + "2]")
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Bind(e).Miss(long); !strings.HasPrefix(got, "`body.n == 4 and body.n in [1, ") || !strings.HasSuffix(got, "…` did not hold: body.n is 3") || len(got) > 250 {
		t.Errorf("a long condition: %s", got)
	}
}

var nearTexts = []struct{ text, wanted, want string }{
	{"Won", "Won", ""},
	{"won", "Won", "in letter case"},
	{"ÉTÉ", "été", "in letter case"},
	{" Won", "Won", "in blanks"},
	{"Won", "W on", "in blanks"},
	{"In  progress", "In progress", "in blanks"},
	{"In\u00a0progress", "In progress", "in blanks"},
	{"Won\u200b", "Won", "in blanks"},
	{"in progress ", "In Progress", "in letter case and blanks"},
	{"Aproved", "Approved", "by one letter"},
	{"Approvedd", "Approved", "by one letter"},
	{"Appraved", "Approved", "by one letter"},
	{"Apporved", "Approved", "by one letter"},
	{"pproved", "Approved", "by one letter"},
	{"Apprvoved", "Approved", "by one letter"},
	{"Apoprvoed", "Approved", ""},
	// Neighbours of few characters or of numbers are no slips.
	{"Won", "Win", ""},
	{"Lost", "List", "by one letter"},
	{"2001", "2002", ""},
	{"Studio 1", "Studio 2", ""},
	{"Studio1", "Studio12", ""},
	{"a", "", ""},
	{"", " ", ""},
	{" ", "  ", ""},
	{strings.Repeat("a", 300), strings.Repeat("A", 300), ""},
}

func TestNearness(t *testing.T) {
	for _, test := range nearTexts {
		for _, pair := range [][2]string{{test.text, test.wanted}, {test.wanted, test.text}} {
			if got := nearness(pair[0], pair[1], unicode.IsSpace); got != test.want {
				t.Errorf("%q and %q: %q, want %q", pair[0], pair[1], got, test.want)
			}
		}
	}
	for _, pair := range [][2]string{{"projectId", "project_id"}, {"project-id", "project_id"}, {"Status", "status"}, {"statuss", "status"}} {
		if nearness(pair[0], pair[1], joinsWords) == "" {
			t.Errorf("%q is not near %q", pair[0], pair[1])
		}
	}
}

func FuzzNearness(f *testing.F) {
	for _, test := range nearTexts {
		f.Add(test.text, test.wanted)
	}
	f.Fuzz(func(t *testing.T, text, wanted string) {
		got, back := nearness(text, wanted, unicode.IsSpace), nearness(wanted, text, unicode.IsSpace)
		if got != back {
			t.Errorf("%q and %q: %q, the other way round %q", text, wanted, got, back)
		}
		if got != "" && text == wanted {
			t.Errorf("%q is near itself", text)
		}
	})
}
