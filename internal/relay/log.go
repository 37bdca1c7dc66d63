package relay

import (
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newestLog is a log that always writes where the newest generation does. What
// outlives a configuration must not hold on to that configuration's logger:
// Caddy closes its files.
type newestLog struct {
	core *atomic.Pointer[zapcore.Core]
	with []zap.Field
}

func newNewestLog() newestLog {
	log := newestLog{core: new(atomic.Pointer[zapcore.Core])}
	log.use(zap.NewNop())
	return log
}

func (l newestLog) use(logger *zap.Logger) {
	core := logger.Core()
	l.core.Store(&core)
}

// logger returns a logger with the given name.
func (l newestLog) logger(name string) *zap.Logger { return zap.New(l).Named(name) }

func (l newestLog) Enabled(level zapcore.Level) bool { return (*l.core.Load()).Enabled(level) }

func (l newestLog) With(fields []zap.Field) zapcore.Core {
	l.with = append(l.with[:len(l.with):len(l.with)], fields...)
	return l
}

func (l newestLog) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	core := *l.core.Load()
	if len(l.with) > 0 {
		core = core.With(l.with)
	}
	return core.Check(entry, checked)
}

func (l newestLog) Write(entry zapcore.Entry, fields []zap.Field) error {
	return (*l.core.Load()).Write(entry, append(l.with[:len(l.with):len(l.with)], fields...))
}

func (l newestLog) Sync() error { return (*l.core.Load()).Sync() }
