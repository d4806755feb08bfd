package upstream

import (
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// lineInterval is the time between two lines of one kind.
const lineInterval = 10 * time.Second

// lines are an upstream's part of the log: of what may come with every
// request, one line of each kind in lineInterval.
type lines struct {
	logger log.Logger

	mu    sync.Mutex
	kinds map[string]*lineKind
}

type lineKind struct {
	last     time.Time
	unlogged int // since last
}

func (l *lines) warn(kind, msg string, details ...any) { l.write(level.Warn, kind, msg, details) }
func (l *lines) info(kind, msg string, details ...any) { l.write(level.Info, kind, msg, details) }

func (l *lines) write(at func(log.Logger) log.Logger, kind, msg string, details []any) {
	if unlogged, due := l.note(kind); due {
		details = append([]any{"msg", msg}, details...)
		_ = at(l.logger).Log(append(details, "unlogged", unlogged)...)
	}
}

// note tells whether it is time for a line, and how many there might have been
// since the last.
func (l *lines) note(kind string) (unlogged int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.kinds[kind]
	if k == nil {
		if l.kinds == nil {
			l.kinds = map[string]*lineKind{}
		}
		k = &lineKind{}
		l.kinds[kind] = k
	}
	now := time.Now()
	if !k.last.IsZero() && now.Sub(k.last) < lineInterval {
		k.unlogged++
		return 0, false
	}
	unlogged = k.unlogged
	k.last, k.unlogged = now, 0
	return unlogged, true
}

// forget drops what is known of a kind that will not come again.
func (l *lines) forget(kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.kinds, kind)
}
