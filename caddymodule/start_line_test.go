package caddymodule

import (
	"encoding/json"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// TestStartLine compares the line that says what runs, at a start and after a
// reload that takes an action away.
func TestStartLine(t *testing.T) {
	directory := t.TempDir()
	served := `{"servers": {"srv0": {"listen": [":443"], "routes": [
		{"match": [{"host": ["events.studio.example"]}], "handle": [
			{"handler": "event_relay", "path": "/listen.php"}, {"handler": "event_relay", "path": "/pbx", "sources": ["icfm"]}]}]},
		"srv1": {"listen": ["127.0.0.1:8090"], "routes": [{"handle": [{"handler": "event_relay_console"}, {"handler": "event_relay", "path": "/in"}]}]}}}`
	start := func(actions ...config.Action) (*App, string) {
		t.Helper()
		app := provisioned(t, directory, actions...)
		var found sites.Sites
		must(t, json.Unmarshal([]byte(served), &found))
		app.mounts, app.consoles = found.Locations("event_relay"), found.Locations("event_relay_console")
		core, logged := observer.New(zapcore.InfoLevel)
		app.logger = zap.New(core)
		app.generation.Configuration.Version = "v1.2.3"
		must(t, app.Start())
		lines := logged.FilterMessage("the relay is running").All()
		if len(lines) != 1 {
			t.Fatalf("%d lines say that the relay runs", len(lines))
		}
		line, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}).EncodeEntry(lines[0].Entry, lines[0].Context)
		must(t, err)
		return app, strings.ReplaceAll(strings.TrimSpace(line.String()), directory, "DIR")
	}
	const want = `{"msg":"the relay is running","version":"v1.2.3","active":true,"sources":["icfm"],"rules":0,"actions":1,` +
		`"mounts":["https://events.studio.example/listen.php","https://events.studio.example/pbx (icfm)","127.0.0.1:8090/in"],` +
		`"console":["127.0.0.1:8090"],"queue":"sqlite DIR","waiting":0}`
	first, got := start(config.Action{Name: "a", Method: "GET", URL: "http://127.0.0.1/a"})
	if got != want {
		t.Errorf("the start says\n%s\nwant\n%s", got, want)
	}
	second, got := start()
	if want := strings.Replace(want, `"actions":1`, `"actions":0`, 1); got != want {
		t.Errorf("the reload says\n%s\nwant\n%s", got, want)
	}
	for _, app := range []*App{first, second} {
		must(t, app.Stop())
		must(t, app.Cleanup())
	}
}
