package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/caddy-event-relay/event-relay/internal/processtest"
)

// look is how a page is looked at.
type look struct {
	name          string
	scheme        string
	width, height int64
}

var (
	lightDesk  = look{"light", "light", 1280, 800}
	darkDesk   = look{"dark", "dark", 1280, 800}
	lightPhone = look{"phone", "light", 360, 740}
	darkPhone  = look{"dark phone", "dark", 360, 740}
)

// tab is the console's page in a browser. The test fails when the page
// complains, asks another server than the relay, or runs a script of an event.
type tab struct {
	t       *testing.T
	ctx     context.Context
	address string

	mutex    sync.Mutex
	faults   []string
	expected []*regexp.Regexp
	asked    int
}

// openTab opens the console at an address of the page, such as #/activity.
func openTab(t *testing.T, console string, how look, where string) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(browserContext(t), chromedp.WithNewBrowserContext())
	p := &tab{t: t, ctx: ctx, address: console + "/"}
	t.Cleanup(func() {
		p.complain()
		end()
	})
	if err := chromedp.Listen(ctx, p.note); err != nil {
		t.Fatalf("opening a page: %v", err)
	}
	call(p, runtime.Enable, cdp.Empty{})
	call(p, log.Enable, cdp.Empty{})
	call(p, audits.Enable, cdp.Empty{})
	call(p, network.Enable, network.EnableParams{})
	call(p, page.Enable, page.EnableParams{})
	call(p, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Europe/London"})
	call(p, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `document.addEventListener("securitypolicyviolation", (e) => console.error("policy violation:", e.violatedDirective, e.blockedURI))`,
	})
	p.as(how)
	p.do(chromedp.Navigate(p.address + where))
	p.until("the page to be drawn", `document.querySelector("#main h1") !== null`)
	return p
}

// as changes the size and the colours. Nothing moves: what is waited for is
// there when it is there.
func (p *tab) as(how look) {
	p.t.Helper()
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: how.width, Height: how.height, DeviceScaleFactor: 1, Mobile: how.width < 600,
	})
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: how.scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// note keeps what the browser reports.
func (p *tab) note(event any) {
	switch event := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if slices.Contains([]runtime.ConsoleAPICalledType{runtime.ConsoleAPICalledTypeError, runtime.ConsoleAPICalledTypeWarning, runtime.ConsoleAPICalledTypeAssert}, event.Type) {
			var words []string
			for _, argument := range event.Args {
				words = append(words, string(argument.Value)+argument.Description)
			}
			p.fault("console: %s", strings.Join(words, " "))
		}
	case *runtime.EventExceptionThrown:
		details, _ := json.Marshal(event.ExceptionDetails)
		p.fault("exception: %s", details)
	case *log.EventEntryAdded:
		if event.Entry.Level == log.EntryLevelError || event.Entry.Level == log.EntryLevelWarning {
			p.fault("log: %s %s", event.Entry.Text, event.Entry.URL)
		}
	case *audits.EventIssueAdded:
		// Fields without a name are no fault: they are not for forms to be filled
		// in by browsers.
		if event.Issue.Code == audits.InspectorIssueCodeGenericIssue {
			return
		}
		details, _ := json.Marshal(event.Issue.Details)
		p.fault("issue: %s %s", event.Issue.Code, details)
	case *network.EventRequestWillBeSent:
		p.request(event.Request.URL)
	case *network.EventWebSocketCreated:
		p.request(event.URL)
	case *network.EventLoadingFailed:
		// A request that the page itself gives up, such as a stream that it
		// closes, is none that failed.
		if !event.Canceled {
			p.fault("loading failed: %s %s", event.ErrorText, event.BlockedReason)
		}
	case *page.EventJavascriptDialogOpening:
		p.fault("dialog: %s", event.Message)
		go func() { _, _ = chromedp.Call(p.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{}) }()
	}
}

func (p *tab) request(url string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.asked++
	if !strings.HasPrefix(url, p.address) && !strings.HasPrefix(url, "data:") && !strings.HasPrefix(url, "blob:"+p.address) {
		p.faults = append(p.faults, "a request to another place than the relay: "+url)
	}
}

func (p *tab) fault(format string, values ...any) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.faults = append(p.faults, fmt.Sprintf(format, values...))
}

// expect says that a complaint is part of the test.
func (p *tab) expect(pattern string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.expected = append(p.expected, regexp.MustCompile(pattern))
}

// complain fails the test for everything that was noted.
func (p *tab) complain() {
	p.t.Helper()
	if pwned, err := try(p, chromedp.Evaluate[bool](`"__pwned" in window`)); err == nil && pwned {
		p.fault("a script of an event has run")
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, fault := range p.faults {
		if !slices.ContainsFunc(p.expected, func(pattern *regexp.Regexp) bool { return pattern.MatchString(fault) }) {
			p.t.Errorf("the page: %s", fault)
		}
	}
	if p.asked == 0 {
		p.t.Error("the page: no request was seen, so that none can have been checked")
	}
	p.faults = nil
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if _, err := try(p, chromedp.Steps(steps...)); err != nil {
		p.t.Fatalf("in the browser: %v", err)
	}
}

// try carries out an action within bounds.
func try[T any](p *tab, action chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, action)
}

// call sends a command of the browser's protocol.
func call[P, R any](p *tab, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		p.t.Fatalf("in the browser: %s: %v", command.Method, err)
	}
	return result
}

// quoted writes a value as JavaScript.
func quoted(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// test returns the selector of what carries a hook for tests.
func test(name string) string { return `[data-test="` + name + `"]` }

// read evaluates an expression.
func read[T any](p *tab, expression string) T {
	p.t.Helper()
	value, err := try(p, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("evaluating %.200s: %v", expression, err)
	}
	return value
}

// until waits for an expression to become true.
func (p *tab) until(what, expression string) {
	p.t.Helper()
	var last error
	if processtest.Becomes(func() (holds bool) {
		// While the page is being loaded there is nowhere to evaluate it.
		holds, last = try(p, chromedp.Evaluate[bool](`Boolean(`+expression+`)`))
		return last == nil && holds
	}) {
		return
	}
	p.t.Fatalf("waited %v in vain for %s (%v); the page at %s says:\n%s", patience, what, last,
		read[string](p, `location.href`), read[string](p, `document.body.innerText.slice(0, 3000)`))
}

// visible is an expression that gives the visible elements of a selector which
// contain a text.
func visible(selector, text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll(%s)].filter((n) => n.checkVisibility({visibilityProperty: true}) && n.textContent.includes(%s))`,
		quoted(selector), quoted(text))
}

// sees waits for something that contains a text.
func (p *tab) sees(selector, text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("%s with %q", selector, text), visible(selector, text)+`.length > 0`)
}

// gone waits until nothing of the kind is visible.
func (p *tab) gone(selector, text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("no %s with %q", selector, text), visible(selector, text)+`.length === 0`)
}

// text returns what the first visible element of a selector says.
func (p *tab) text(selector string) string {
	p.t.Helper()
	p.sees(selector, "")
	return read[string](p, visible(selector, "")+`[0].innerText`)
}

// click presses the mouse button over the first visible element of a selector
// that contains a text, once nothing lies over it.
func (p *tab) click(selector, text string) {
	p.t.Helper()
	place := fmt.Sprintf(`(() => {
		const node = %s[0];
		if (!node) return {why: "is not there"};
		if (node.disabled) return {why: "is disabled"};
		node.scrollIntoView({block: "center", inline: "nearest", behavior: "instant"});
		const box = node.getClientRects()[0], x = box.x + box.width / 2, y = box.y + box.height / 2;
		const over = document.elementFromPoint(x, y);
		if (!over || !(node.contains(over) || over.closest("label")?.control === node)) return {why: "is covered by " + (over?.outerHTML ?? "").slice(0, 120)};
		return {x, y};
	})()`, visible(selector, text))
	type spot struct {
		X   float64 `json:"x"`
		Y   float64 `json:"y"`
		Why string  `json:"why"`
	}
	var at spot
	if !processtest.Becomes(func() bool {
		var err error
		at, err = try(p, chromedp.Evaluate[spot](place))
		return err == nil && at.Why == ""
	}) {
		p.t.Fatalf("cannot click %s with %q: it %s; the page says:\n%s", selector, text, at.Why, read[string](p, `document.body.innerText.slice(0, 3000)`))
	}
	p.do(chromedp.MouseClickXY(at.X, at.Y))
}

// write puts a text into a field as if it were pasted, in place of what is there.
func (p *tab) write(selector, text string) {
	p.t.Helper()
	p.click(selector, "")
	p.do(chromedp.Evaluate[chromedp.Void](`document.activeElement.select?.()`))
	call(p, input.InsertText, input.InsertTextParams{Text: text})
}

// choose chooses from a list of choices.
func (p *tab) choose(selector, value string) {
	p.t.Helper()
	p.sees(selector, "")
	p.until(fmt.Sprintf("the choice %q in %s", value, selector), fmt.Sprintf(`(() => {
		const node = %s[0];
		if (![...node.options].some((option) => option.value === %s)) return false;
		node.value = %[2]s;
		node.dispatchEvent(new Event("input", {bubbles: true}));
		node.dispatchEvent(new Event("change", {bubbles: true}));
		return true;
	})()`, visible(selector, ""), quoted(value)))
}

// press presses and releases keys, one after another. What a key writes goes
// with its pressing, so that a page which takes the key keeps it from writing.
func (p *tab) press(keys ...string) {
	p.t.Helper()
	for _, key := range strings.Join(keys, "") {
		written := ""
		var strokes []input.DispatchKeyEventParams
		for _, event := range kb.Encode(key) {
			if event.Type == input.DispatchKeyEventTypeChar {
				written = event.Text
			} else {
				strokes = append(strokes, *event)
			}
		}
		strokes[0].Text = written
		for _, stroke := range strokes {
			call(p, input.DispatchKeyEvent, stroke)
		}
	}
}

// visit goes to another address of the page.
func (p *tab) visit(where string) {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](`void (location.hash = ` + quoted(where) + `)`))
}

// upload gives a file to a field for files.
func (p *tab) upload(selector string, files ...string) {
	p.t.Helper()
	p.sees(selector, "")
	p.do(chromedp.SetUploadFiles(chromedp.CSS(selector), files))
}

// picture writes what the window shows to a file.
func (p *tab) picture(path string) {
	p.t.Helper()
	picture := call(p, page.CaptureScreenshot, page.CaptureScreenshotParams{})
	if err := os.WriteFile(path, picture.Data, 0o644); err != nil {
		p.t.Fatal(err)
	}
}
