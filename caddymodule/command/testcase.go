package command

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/textencoding"
	"github.com/caddy-event-relay/event-relay/rules"
)

// What the lines on top of a case can say.
var (
	lineKinds       = []string{"given", "expect"}
	knownGivens     = []string{"source", "from", "time"}
	knownExpections = []string{"event", "verdict", "action", "request", "status"}
	knownVerdicts   = []string{string(rules.Act), string(rules.Ignored), string(rules.RuleError), string(rules.Disabled)}
)

// testcase is a request and what is expected of it.
type testcase struct {
	request *http.Request

	// What is given: the source that the request counts as one of, where it comes
	// from, and when. Each is empty if the case says nothing of it.
	source string
	from   netip.Addr
	time   string

	// What is expected. events and verdicts are those of the events in order, or one
	// for all; actions are all that are carried out.
	events, verdicts, actions []string
	requests                  []expectedPart
	status                    int
}

// expectedPart is a text that the rendered request of an action holds.
type expectedPart struct{ action, text string }

// parseCase reads a case: the lines "# given: …" and "# expect: …" on top of a
// request. Other comments are free.
func parseCase(raw []byte) (*testcase, error) {
	comments, _ := cutComments(textencoding.ToUTF8(bytes.Clone(raw)))
	c, says := new(testcase), false
	for number, line := range comments {
		kind, text, found := strings.Cut(strings.TrimLeft(line, "# \t"), ":")
		if kind = strings.TrimSpace(kind); !found || strings.Contains(kind, " ") {
			continue
		}
		if !slices.Contains(lineKinds, kind) {
			if near := names.Nearest(kind, lineKinds); near != "" {
				return nil, fmt.Errorf("line %d: %w", number+1, names.Unknown("line", kind, lineKinds, ""))
			}
			continue
		}
		word, value, _ := strings.Cut(strings.TrimSpace(text), " ")
		value = strings.TrimSpace(value)
		var err error
		if kind == "given" {
			err = c.give(word, value)
		} else {
			says, err = true, c.expect(word, value)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number+1, err)
		}
	}
	if !says {
		return nil, errors.New("it expects nothing; write on top a line such as: # expect: verdict ignored")
	}
	var err error
	c.request, err = ParseRequest(raw)
	return c, err
}

// give reads what is given.
func (c *testcase) give(word, value string) (err error) {
	if slices.Contains(knownGivens, word) && value == "" {
		return fmt.Errorf("given %s has no value", word)
	}
	switch word {
	case "source":
		c.source = value
	case "from":
		if c.from, err = netip.ParseAddr(value); err != nil {
			return fmt.Errorf("given from: %q is not an IP address", value)
		}
	case "time":
		c.time = value
		_, err = caseTime(value, time.UTC)
	default:
		return names.Unknown("given", word, knownGivens, "")
	}
	return err
}

// expect reads what is expected.
func (c *testcase) expect(word, value string) (err error) {
	if slices.Contains(knownExpections, word) && value == "" {
		return fmt.Errorf("expect %s has no value", word)
	}
	switch word {
	case "event":
		c.events = append(c.events, value)
	case "verdict":
		if !slices.Contains(knownVerdicts, value) {
			return names.Unknown("verdict", value, knownVerdicts, "")
		}
		c.verdicts = append(c.verdicts, value)
	case "action":
		c.actions = append(c.actions, strings.Fields(value)...)
	case "request":
		action, text, _ := strings.Cut(value, " ")
		if text = strings.TrimSpace(text); text == "" {
			return errors.New("expect request needs an action and a text of its request: # expect: request ACTION TEXT")
		}
		c.requests = append(c.requests, expectedPart{action, text})
	case "status":
		if c.status, err = strconv.Atoi(value); err != nil || c.status < 100 || c.status > 599 {
			return fmt.Errorf("expect status: %q is not a status such as 401", value)
		}
	default:
		return names.Unknown("expectation", word, knownExpections, "")
	}
	return nil
}

// caseTime reads the time of a case: RFC 3339, or a date and a time of day in a
// zone.
func caseTime(text string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("given time: %q is not a time such as 2026-03-13 21:00, or 2026-03-13T21:00:00Z", text)
}

// compare returns what an explanation has that is not expected, a sentence each.
func (c *testcase) compare(x *inspect.Explanation) (wrong []string) {
	say := func(format string, values ...any) { wrong = append(wrong, fmt.Sprintf(format, values...)) }
	if c.status != 0 && x.Status != c.status {
		say("status %d, expected %d", x.Status, c.status)
	}
	if x.Refused != "" && c.status == 0 {
		say("refused with status %d: %s", x.Status, x.Refused)
		return wrong // Everything else is missing for this reason.
	}
	var events, verdicts, reasons, actions []string
	for i := range x.Events {
		event := &x.Events[i]
		events, verdicts = append(events, event.Event), append(verdicts, string(event.Verdict.Decision))
		reasons = append(reasons, event.Verdict.Reason)
		for _, call := range event.Verdict.Actions {
			actions = append(actions, call.Action)
		}
		for _, request := range event.Requests {
			if request.Error != "" {
				say("the request of %s cannot be made: %s", request.Action, request.Error)
			}
		}
	}
	if !matches(c.events, events) {
		say("event %s, expected %s", list(events), list(c.events))
	}
	if !matches(c.verdicts, verdicts) {
		say("verdict %s (%s), expected %s", list(verdicts), strings.Join(reasons, "; "), list(c.verdicts))
	}
	if len(c.actions) > 0 && !slices.Equal(slices.Sorted(slices.Values(c.actions)), slices.Sorted(slices.Values(actions))) {
		say("actions %s (%s), expected %s", list(actions), strings.Join(reasons, "; "), list(c.actions))
	}
	for _, part := range c.requests {
		if why := part.missing(x); why != "" {
			say("%s", why)
		}
	}
	return wrong
}

// missing says why no request of the action holds the text, "" if one does.
func (p *expectedPart) missing(x *inspect.Explanation) string {
	rendered := ""
	for i := range x.Events {
		for _, request := range x.Events[i].Requests {
			if request.Action == p.action {
				rendered += request.Request + "\n"
			}
		}
	}
	switch {
	case rendered == "":
		return fmt.Sprintf("no request of %s, expected one with %s", p.action, p.text)
	case !strings.Contains(rendered, p.text):
		return fmt.Sprintf("the request of %s has no %s:\n%s", p.action, p.text, indent(strings.TrimRight(rendered, "\n")))
	}
	return ""
}

// matches reports whether values are those that are expected in order, or all the
// one that is.
func matches(expected, values []string) bool {
	if len(expected) == 1 && len(values) > 0 {
		return !slices.ContainsFunc(values, func(value string) bool { return value != expected[0] })
	}
	return len(expected) == 0 || slices.Equal(expected, values)
}

func list(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// expectations writes the lines on top of a case that expects of an event what
// was decided.
func expectations(detail *inspect.Detail) string {
	var b strings.Builder
	line := func(text, value string) { fmt.Fprintf(&b, "# %s %s\n", text, printable(value)) }
	line("given: source", detail.Source)
	line("given: time", detail.Received.Format(time.RFC3339))
	line("expect: event", detail.Event)
	line("expect: verdict", string(detail.Verdict.Decision))
	for _, call := range detail.Verdict.Actions {
		line("expect: action", call.Action)
	}
	return b.String()
}
