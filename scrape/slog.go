package scrape

import (
	"context"
	"log/slog"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// Slog gives Prometheus's packages the logger that they want, writing to
// logger. Debug lines of theirs are left to logger's own filter.
func Slog(logger log.Logger) *slog.Logger {
	return slog.New(slogHandler{logger: logger})
}

type slogHandler struct {
	logger log.Logger
	prefix string // of the open groups
}

func (h slogHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h slogHandler) Handle(_ context.Context, r slog.Record) error {
	logger := level.Debug(h.logger)
	switch {
	case r.Level >= slog.LevelError:
		logger = level.Error(h.logger)
	case r.Level >= slog.LevelWarn:
		logger = level.Warn(h.logger)
	case r.Level >= slog.LevelInfo:
		logger = level.Info(h.logger)
	}
	keyvals := []any{"msg", r.Message}
	r.Attrs(func(a slog.Attr) bool {
		keyvals = append(keyvals, h.prefix+a.Key, plain(a.Value))
		return true
	})
	return logger.Log(keyvals...)
}

func (h slogHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	keyvals := make([]any, 0, 2*len(attrs))
	for _, a := range attrs {
		keyvals = append(keyvals, h.prefix+a.Key, plain(a.Value))
	}
	return slogHandler{logger: log.With(h.logger, keyvals...), prefix: h.prefix}
}

func (h slogHandler) WithGroup(name string) slog.Handler {
	return slogHandler{logger: h.logger, prefix: h.prefix + name + "."}
}

func plain(v slog.Value) any {
	v = v.Resolve()
	if v.Kind() == slog.KindDuration {
		return v.Duration().Round(time.Microsecond).String()
	}
	return v.Any()
}
