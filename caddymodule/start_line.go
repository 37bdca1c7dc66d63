package caddymodule

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// countWithin is how long the line of the start waits for the number of waiting
// deliveries. They are carried out already meanwhile.
const countWithin = 500 * time.Millisecond

// logStart says in one line what runs now, so that an administrator sees in the
// log whether a start or a reload took what was meant.
func (a *App) logStart() {
	configuration, runtime := &a.generation.Configuration, a.generation.Runtime()
	names := make([]string, len(configuration.Sources))
	for i := range configuration.Sources {
		names[i] = configuration.Sources[i].Name
	}
	fields := []zap.Field{
		zap.String("version", configuration.Version),
		zap.Bool("active", !configuration.Disabled),
		zap.Strings("sources", names),
		zap.Int("rules", len(configuration.Rules)),
		zap.Int("actions", len(configuration.Actions)),
		zap.Strings("mounts", a.mounts),
		zap.Strings("console", a.consoles),
		zap.Stringer("queue", a.place),
	}
	ctx, cancel := context.WithTimeout(context.Background(), countWithin)
	defer cancel()
	backlog, err := runtime.Store().Backlog(ctx)
	if err != nil {
		fields = append(fields, zap.NamedError("waiting_unknown", err))
	} else {
		waiting := 0
		for i := range backlog {
			waiting += int(backlog[i].Count)
		}
		fields = append(fields, zap.Int("waiting", waiting))
	}
	a.logger.Info("the relay is running", fields...)
}
