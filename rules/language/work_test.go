package language

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// TestWorstCases evaluates what multiplies lengths of an event as large as
// max_body lets it be. What counts is that the steps end it: no time is taken.
func TestWorstCases(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	numbers := make([]any, 20_000)
	texts := make([]any, len(numbers))
	for i := range numbers {
		numbers[i], texts[i] = int64(i), fmt.Sprintf("t%d", i)
	}
	long := strings.Repeat("a", 200_000)
	object, same, pairs := map[string]any{}, map[string]any{}, []any{}
	for i, text := range texts {
		object[text.(string)], same[text.(string)] = numbers[i], numbers[i]
		pairs = append(pairs, []any{text, numbers[i]})
	}
	body := map[string]any{
		"object": object, "same": same, "pairs": pairs,
		"a": numbers, "b": append(slices.Clone(numbers[1:]), int64(-1)), "texts": texts, "long": long, "other": "a" + strings.Repeat("ä", 200_000),
		"nested": []any{numbers}, "short": strings.Repeat("s", 4000), "few": texts[:1000], "pattern": strings.Repeat("(a|b){100}", 90), "zone": "Europe/London", "digits": "1" + strings.Repeat("0", 100_000) + ".5",
	}
	const tooMuch = "more than 1000000 steps"
	for source, want := range map[string]string{
		`any(body.a, # in body.b and false)`:                        tooMuch,
		`any(body.a, {[#] in body.nested})`:                         tooMuch,
		`any(body.texts, # + "x" in body.texts)`:                    tooMuch,
		`any(body.a, any(body.b, # == -5))`:                         tooMuch,
		`any(body.texts, body.long contains #)`:                     tooMuch,
		`any(body.texts, body.long matches "(a+)+b")`:               tooMuch,
		`any(body.texts, body.long startsWith #)`:                   tooMuch,
		`any(body.texts, body.long == body.other)`:                  tooMuch,
		`any(body.texts, body.long < body.other)`:                   tooMuch,
		`any(body.a, body.nested == nil or body.nested == [[#]])`:   tooMuch,
		`any(body.texts, body.long[1:] == #)`:                       tooMuch,
		`any(body.texts, body.long + # == "")`:                      tooMuch,
		`map(body.texts, body.long + #)`:                            tooMuch,
		`reduce(body.texts, #acc + #, "")`:                          tooMuch,
		`reduce(body.a, concat(#acc, [#]), [])`:                     tooMuch,
		`any(body.a, len(split(body.long, "a")) == #)`:              tooMuch,
		`any(body.a, len(replace(body.long, "a", "b")) == #)`:       tooMuch,
		`any(body.a, len(join(body.texts)) == #)`:                   tooMuch,
		`any(body.a, len(sort(body.texts)) == #)`:                   tooMuch,
		`any(body.a, len(uniq(body.texts)) == #)`:                   tooMuch,
		`any(body.a, len(reverse(body.texts)) == #)`:                tooMuch,
		`any(body.a, len(flatten(body.nested)) == #)`:               tooMuch,
		`any(body.a, len(concat(body.texts, body.a)) == #)`:         tooMuch,
		`any(body.a, sum(body.a) == #)`:                             tooMuch,
		`any(body.a, max(body.a) == #)`:                             tooMuch,
		`any(body.a, median(body.a) == #)`:                          tooMuch,
		`any(body.a, len(toJSON(body.a)) == #)`:                     tooMuch,
		`any(body.a, len(string(body.a)) == #)`:                     tooMuch,
		`any(body.a, len(upper(body.long)) == #)`:                   tooMuch,
		`any(body.a, len(body.long) == #)`:                          tooMuch,
		`any(body.a, indexOf(body.long, "b") == #)`:                 tooMuch,
		`any(body.a, len(fromJSON("[" + body.digits + "]")) == #)`:  tooMuch,
		`any(body.a, len(keys(groupBy(body.texts, #))) == #)`:       tooMuch,
		`any(body.a, len(#..9999) == #)`:                            tooMuch,
		`any(body.a, # == float(body.digits))`:                      tooMuch,
		`any(body.a, now().In(timezone(body.zone)).Hour() == -1)`:   tooMuch,
		`any(body.a, format_time(#, "2006", body.zone) == "")`:      tooMuch,
		`any(body.a, hmac_sha256(body.long, "k") == "")`:            tooMuch,
		`len(map(body.a, repeat("x", #))) > 1`:                      tooMuch,
		`len(map(body.a, repeat(body.short, 4000))) > 1`:            tooMuch,
		`len(map(body.a, replace(body.short, "", body.short))) > 1`: tooMuch,
		`len(map(body.a, join(body.few, body.short))) > 1`:          tooMuch,
		`any(body.a, len(keys(body.object)) == #)`:                  tooMuch,
		`any(body.a, len(values(body.object)) == #)`:                tooMuch,
		`any(body.a, len(toPairs(body.object)) == #)`:               tooMuch,
		`any(body.a, len(fromPairs(body.pairs)) == #)`:              tooMuch,
		`any(body.a, body.object == body.same)`:                     tooMuch,
		`any(body.a, len(list(body.object)) == 2)`:                  "",
		`any(body.a, digits(body.long) == "")`:                      tooMuch,
		`any(body.a, urlencode(body.long) == "")`:                   tooMuch,
		`sortBy(body.texts, body.long)`:                             tooMuch,
		`groupBy(body.texts, body.long)`:                            tooMuch,
		`trim(body.long, body.other)`:                               tooMuch,
		`body.long matches body.pattern`:                            tooMuch,
		`toJSON(map(body.texts, body.long))`:                        "that much text",
		`map(body.texts, body.long)`:                                "that much text",
		`join(map(body.texts, body.long))`:                          "16 MiB",

		// What does not multiply is done.
		`all(body.texts, len(repeat("0", 8) + #) > 8)`: "", `any(body.texts, replace(#, "t", "x") == "x7")`: "", `any(body.texts, join([#, "x"], "-") == "t7-x")`: "",
		`any(body.a, # == -5)`: "", `all(body.texts, # startsWith "t")`: "", `len(filter(body.texts, # matches "9$")) > 0`: "",
		`body.a | filter(# > 5) | map(# + 1) | any(# == 7)`: "", `len(uniq(body.texts)) == len(body.a)`: "", `any(body.a, # < len(body.a))`: "",
		`any(take(body.a, 1000), # in take(body.b, 1000))`: "", `len(sortBy(body.texts, #, "desc")) > 0`: "", `any(body.texts, # in ["t1", "t2"])`: "",
		`sum(body.a, # / 2) > 0`: "", `len(groupBy(body.a, # % 10)) == 10`: "", `len(toJSON(body)) > 0`: "",
	} {
		x, err := l.Compile(source)
		if err != nil {
			t.Errorf("`%s`: %v", source, err)
			continue
		}
		bound := l.Bind(&event.Event{Body: body})
		_, err = bound.Evaluate(x)
		switch {
		case want == "" && err != nil:
			t.Errorf("`%s`: %v", source, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("`%s` ends after %d steps with %v, want %q", source, bound.steps, err, want)
		}
	}
}

// A pipe makes each list once, so it is not nested.
func TestPredicateDepth(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for source, refused := range map[string]bool{
		`body.items | filter(.n > 1) | map(.n) | any(# == 2)`:                false,
		`sum(map(filter(sortBy(body.items, .n), .n != nil), .n)) > 0`:        false,
		`any(body.items, any(body.list, # == 1))`:                            false,
		`any(body.items, any(map(body.list, #), # == 1))`:                    false,
		`any(body.items, any(body.list, any(body.list, # == 1)))`:            true,
		`any(body.items, any(map(body.list, sum(body.list, #)), # == 1))`:    true,
		`any(map(body.list, {sum(body.list, #)}), {any(body.list, # == 1)})`: false,
	} {
		if _, err := l.Compile(source); (err != nil) != refused {
			t.Errorf("`%s`: %v", source, err)
		}
	}
}
