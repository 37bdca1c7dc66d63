package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
)

// emitPatience is how long an event waits for the configuration that it belongs
// to: deliveries begin before Caddy has started every app.
const emitPatience = 30 * time.Second

// emit tells the subscribers of Caddy's events app. Deliveries outlive
// configurations, so it asks at each event which configuration is in force: the
// handlers of another are gone, or not there yet. An event that finds none is
// lost; the history has it all the same.
func emit(name string, data map[string]any) {
	app := activeApp()
	for deadline := time.Now().Add(emitPatience); app == nil; app = activeApp() {
		if generations.Newest() == nil || time.Now().After(deadline) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	app.events.Emit(app.ctx, name, data)
}

// activeApp returns the app of the configuration in force, nil for none. It is
// not that of the newest generation while a configuration starts: Caddy's events app
// must not be used before it has started.
func activeApp() *App {
	value, err := caddy.ActiveContext().AppIfConfigured(appName)
	if err != nil {
		return nil
	}
	app, _ := value.(*App)
	return app
}

// loadEvents finds the events app, so that it is there when something happens.
func (a *App) loadEvents(ctx caddy.Context) error {
	value, err := ctx.App("events")
	if err != nil {
		return err
	}
	a.ctx, a.events = ctx, value.(*caddyevents.App)
	return nil
}
