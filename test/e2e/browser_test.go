package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// The tests of the console's page share one Chromium; each page that they open
// has a profile of its own.
var chromium struct {
	once sync.Once
	ctx  context.Context
	err  error
	// end closes the browser and waits until its process has ended.
	end func()
}

// errNoBrowser means that the machine has none and none was asked for, or that
// none is to be used.
var errNoBrowser = errors.New("the console is not looked at in a browser")

// browserContext returns the context of the running browser. Without one the
// test is skipped, unless EVENT_RELAY_BROWSER names one: then the test fails.
// With EVENT_RELAY_BROWSER=off it is skipped always.
func browserContext(t *testing.T) context.Context {
	t.Helper()
	chromium.once.Do(startChromium)
	switch {
	case errors.Is(chromium.err, errNoBrowser):
		t.Skip(chromium.err)
	case chromium.err != nil:
		t.Fatal(chromium.err)
	}
	return chromium.ctx
}

func findBrowser() (string, error) {
	switch named := os.Getenv("EVENT_RELAY_BROWSER"); named {
	case "off":
		return "", fmt.Errorf("%w: EVENT_RELAY_BROWSER is off", errNoBrowser)
	case "":
	default:
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("looking for the browser that EVENT_RELAY_BROWSER names: %w", err)
		}
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: there is no Chromium; install it, or name it in EVENT_RELAY_BROWSER", errNoBrowser)
}

func startChromium() {
	path, err := findBrowser()
	if err != nil {
		chromium.err = err
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		// It shows nothing but this module's own page; and root, which CI is,
		// cannot have the sandbox.
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-pings", true),
		chromedp.Flag("explicitly-allowed-ports", "10080"), // FreeAddress may give it; Chromium bars it
		// Whether a scroll bar stands in the way is part of the look.
		chromedp.Flag("hide-scrollbars", false),
	)
	allocator, endProcess := chromedp.NewExecAllocator(context.Background(), options...)
	browser, _ := chromedp.NewContext(allocator)
	if err := chromedp.Do(browser); err != nil {
		endProcess()
		chromium.err = fmt.Errorf("starting %s: %w", path, err)
		return
	}
	chromium.ctx = browser
	chromium.end = func() {
		// First as a user would; the process is killed if it does not end.
		closing, cancel := context.WithTimeout(browser, 10*time.Second)
		_ = chromedp.Cancel(closing)
		cancel()
		endProcess()
		chromedp.FromContext(browser).Allocator.Wait()
	}
}

// stopChromium ends the browser if it was started.
func stopChromium() {
	if chromium.end != nil {
		chromium.end()
	}
}
