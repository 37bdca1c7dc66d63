package relay

import (
	"sync"
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
	var early zapcore.Core = new(earlyLog)
	log.core.Store(&early)
	return log
}

func (l newestLog) use(logger *zap.Logger) {
	core := logger.Core()
	if early, ok := (*l.core.Swap(&core)).(*earlyLog); ok {
		early.replay(core)
	}
}

// mostEarly bounds how many entries are kept until there is a generation.
const mostEarly = 100

// earlyLog keeps what is logged before there is a generation, such as while the
// queue is opened, for the log of the first.
type earlyLog struct {
	mutex   sync.Mutex
	entries []earlyEntry
}

type earlyEntry struct {
	zapcore.Entry
	fields []zapcore.Field
}

func (e *earlyLog) Enabled(level zapcore.Level) bool         { return level >= zapcore.InfoLevel }
func (e *earlyLog) With(fields []zapcore.Field) zapcore.Core { return &earlyWith{e, fields} }
func (e *earlyLog) Sync() error                              { return nil }

func (e *earlyLog) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Enabled(entry.Level) {
		return checked.AddCore(entry, e)
	}
	return checked
}

func (e *earlyLog) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if len(e.entries) < mostEarly {
		e.entries = append(e.entries, earlyEntry{entry, fields})
	}
	return nil
}

func (e *earlyLog) replay(core zapcore.Core) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for _, entry := range e.entries {
		if checked := core.Check(entry.Entry, nil); checked != nil {
			checked.Write(entry.fields...)
		}
	}
	e.entries = nil
}

// earlyWith is an earlyLog with fields.
type earlyWith struct {
	*earlyLog
	with []zapcore.Field
}

func (e *earlyWith) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if e.Enabled(entry.Level) {
		return checked.AddCore(entry, e)
	}
	return checked
}

func (e *earlyWith) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	return e.earlyLog.Write(entry, append(e.with[:len(e.with):len(e.with)], fields...))
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
