package queuetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

var searchTests = map[string]func(*fixture){
	"text": func(f *fixture) {
		e := f.entry("x")
		e.Event.Source, e.Event.Name = "erp", "order_paid"
		e.Event.RawBody = []byte(`{"name": "Jörg \"B\" Müller & Söhne", "php": "caf\u00e9 a\/b", "big": 4.8,
			"escaped": "\u00d6lspur K\u00C4SE \u041c\u043e\u0441\u043a\u0432\u0430 S\u00f6hne \u0026 \ud801\udc00",
			"twice": "{\"n\":\"gr\\u00dcn\"}", "halves": "\ud801 \udc00 \u00"}`)
		e.Event.Headers = map[string][]string{"X-Note": {"From <Berlin> & Köln"}}
		e.Event.Query = map[string][]string{"q": {"straße 100%_"}}
		e.Event.Subject = "Quote 9917 → Ñandú"
		e.Verdict.Reason = "the Customer is new"
		e.Verdict.Absent = []string{"never_looked_for"}
		f.put(e)
		f.settle(f.one("x", e.Deliveries[0].ID), queue.Settlement{State: queue.Failed, Attempt: &queue.Attempt{
			Began: f.Now(), Status: 422, Error: "Unprocessable Folder", Request: "POST /only-in-request", Response: "No Such Tenant: Ünïcode",
		}})
		f.state(e.Deliveries[0].ID, queue.Failed)
		other := f.put(f.entry())
		for _, text := range []string{
			"jörg", "JÖRG", "müller & söhne", `"b" m`, "Café", "a/b", "from <berlin> & köln", "STRASSE"[:3], "straße 100%_", "4.8",
			"customer IS new", "unprocessable folder", "no such tenant", "ünïcode", "ÜNÏCODE", "ORDER_PAID",
			"quote 9917 → ñANDÚ", "Ölspur", "ölspur", "Käse", "KÄSE", "Ölspur käse москва", "МОСКВА", "söhne", "\U00010428", "\U00010400", "GRÜN",
			e.Event.ID, e.Event.ID[9:30], e.Deliveries[0].ID[20:],
		} {
			equalIDs(f, "events with "+text, eventIDs(f.all(queue.Filter{Text: text}, 10)), []string{e.Event.ID})
			equalIDs(f, "events of another source with "+text, eventIDs(f.all(queue.Filter{Text: text, Source: "pbx"}, 10)), nil)
			equalIDs(f, "failed events with "+text, eventIDs(f.all(queue.Filter{Text: text, States: []queue.State{queue.Failed}}, 10)), []string{e.Event.ID})
		}
		for _, text := range []string{"jorg", "never_looked_for", "caliber", "%", "straße%", "olspur", "ölspurk", "\U00010429", "ø"} {
			if text == "%" {
				continue // stands in the event
			}
			equalIDs(f, "events with "+text, eventIDs(f.all(queue.Filter{Text: text}, 10)), nil)
		}
		equal(f, "events with {", len(f.all(queue.Filter{Text: "{"}, 10)), 2)
		equalIDs(f, "the other", eventIDs(f.all(queue.Filter{Text: other.Event.ID}, 10)), []string{other.Event.ID})
	},

	"tenant": func(f *fixture) {
		var want []string
		for i := range 30 {
			e := f.entry()
			if i%3 > 0 {
				e.Event.Parameters[event.Tenant] = fmt.Sprintf("T%d", i%3)
			}
			f.put(e)
			if i%3 == 1 {
				want = append(want, e.Event.ID)
			}
		}
		slices.Reverse(want)
		equalIDs(f, "events", eventIDs(f.all(queue.Filter{Tenant: "T1"}, 4)), want)
		equalIDs(f, "events of another source", eventIDs(f.all(queue.Filter{Tenant: "T1", Source: "icfm"}, 4)), nil)
		equalIDs(f, "events of no tenant", eventIDs(f.all(queue.Filter{Tenant: "T"}, 4)), nil)
	},

	// However long it takes, pages go on until all was looked at, and those that
	// end early say how far they are.
	"a search that takes long": func(f *fixture) {
		body := []byte(`{"text": "` + string(slices.Repeat([]byte("lorem ipsum "), 400)) + `"}`)
		for range 100 {
			var entries []queue.Entry
			for range 30 {
				e := f.entry()
				e.Event.RawBody = body
				entries = append(entries, e)
			}
			f.putAll(entries...)
			f.Advance(time.Second)
		}
		for _, order := range []queue.Order{queue.NewestFirst, queue.OldestFirst} {
			reached, further := f.Now().Add(time.Second), time.Time.Before
			if order == queue.OldestFirst {
				reached, further = time.Time{}, time.Time.After
			}
			found := 0
			for after := queue.Cursor(""); ; {
				page, err := f.Page(f.patient(), queue.Filter{Text: "dolor"}, order, after, 10)
				if err != nil {
					f.Fatal(err)
				}
				found += len(page.Events)
				if page.Early {
					if page.Next == "" || page.Reached.IsZero() || !further(page.Reached, reached) && !page.Reached.Equal(reached) {
						f.Fatalf("the page ended early with the cursor %q at %v, after %v", page.Next, page.Reached, reached)
					}
					reached = page.Reached
				} else if page.Next != "" {
					f.Fatal("a page without events has a next one and did not end early")
				}
				if after = page.Next; after == "" {
					break
				}
			}
			equal(f, "events", found, 0)
		}
		page, err := f.Page(f.patient(), queue.Filter{Text: "IPSUM"}, queue.NewestFirst, "", 5)
		if err != nil || len(page.Events) != 5 || page.Early || page.Next == "" {
			f.Errorf("a page of what is everywhere has %d events, early %v, %v", len(page.Events), page.Early, err)
		}
	},
}
