package docs_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// recipe returns the text of a recipe.
func recipe(t *testing.T, title string) string {
	t.Helper()
	_, text, found := strings.Cut(read(t, "docs/recipes.md"), "\n## "+title+"\n")
	if !found {
		t.Fatalf("there is no recipe %s", title)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// TestOfficeHours evaluates the conditions of the recipe as they are printed, in the
// zone that it prints.
func TestOfficeHours(t *testing.T) {
	text := recipe(t, "Office hours")
	zoneLine := regexp.MustCompile(`(?m)^timezone (\S+)$`).FindStringSubmatch(text)
	conditions := regexp.MustCompile("(?m)^\\t?when `(.*)`$").FindAllStringSubmatch(text, -1)
	if zoneLine == nil || len(conditions) != 3 {
		t.Fatalf("found zone %q and %d conditions", zoneLine, len(conditions))
	}
	zone, err := config.Timezone(zoneLine[1])
	if err != nil {
		t.Fatal(err)
	}
	expressions, err := language.New(language.Definitions{Timezone: zone})
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]bool{
		"2026-07-17T06:59:59Z": false, // Friday, 07:59 in London
		"2026-07-17T07:00:00Z": true,
		"2026-07-17T16:59:59Z": true,
		"2026-07-17T17:00:00Z": false, // 18:00
		"2026-07-18T11:00:00Z": false, // Saturday
		"2026-12-11T07:30:00Z": false, // in winter London has UTC
		"2026-12-11T17:30:00Z": true,
		"2026-12-25T11:00:00Z": false, // a Friday that is a holiday
		"2026-10-23T07:00:00Z": true,  // the last working day of summer time
		"2026-10-26T07:30:00Z": false, // and the first of winter time
	} {
		received, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		holds := true
		for _, condition := range conditions {
			compiled, err := expressions.CompileCondition(condition[1])
			if err != nil {
				t.Fatal(err)
			}
			held, err := expressions.Bind(&event.Event{Name: "incoming_call", Received: received}).Holds(compiled)
			if err != nil {
				t.Fatal(err)
			}
			holds = holds && held
		}
		if holds != want {
			t.Errorf("at %s the recipe holds: %v, want %v", at, holds, want)
		}
	}
}

// TestVIPNumbers evaluates the condition of the recipe as it is printed for the
// number that it prints, in every way in which it says that senders write it.
func TestVIPNumbers(t *testing.T) {
	text := recipe(t, "VIP numbers and spellings of numbers")
	condition := regexp.MustCompile("(?m)^\\twhen `(.*)`$").FindStringSubmatch(text)
	spellings := regexp.MustCompile("`([+0-9 ]{10,})`").FindAllStringSubmatch(text, -1)
	if condition == nil || len(spellings) < 2 {
		t.Fatalf("found the condition %q and the numbers %q", condition, spellings)
	}
	expressions, err := language.New(language.Definitions{Timezone: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := expressions.CompileCondition(condition[1])
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]bool{"02079460125": true, "207": true}
	for _, spelling := range spellings {
		numbers[spelling[1]] = false
	}
	for number, want := range numbers {
		e := &event.Event{Source: "pbx", Name: "incoming_call"}
		e.Parameters[event.CallerID] = number
		if holds, err := expressions.Bind(e).Holds(compiled); err != nil || holds != want {
			t.Errorf("a call of %s: %v, %v, want %v", number, holds, err, want)
		}
	}
}
