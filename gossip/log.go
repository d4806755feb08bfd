package gossip

import (
	"context"
	"strings"
	"time"

	"github.com/go-kit/log/level"
)

// logWriter takes the lines of memberlist's log. It does not block: memberlist logs with its lock held.
type logWriter struct{ c *Cluster }

func (w logWriter) Write(p []byte) (int, error) {
	l := parseLine(p)
	if l.trouble != "" {
		w.c.metrics.troubles[l.trouble].Inc()
	}
	w.c.tell(l)
	return len(p), nil
}

// tell hands l to writeLog, or drops it if too many wait.
func (c *Cluster) tell(l line) {
	select {
	case c.lines <- l:
	default:
		c.metrics.logDropped.Inc()
	}
}

// writeLog logs lines until ctx ends. At debug it logs all, else each kind once in a while.
func (c *Cluster) writeLog(ctx context.Context) {
	logged := map[string]time.Time{}
	for {
		var l line
		select {
		case <-ctx.Done():
			return
		case l = <-c.lines:
		}
		switch {
		case l.trouble != "":
			c.writeTrouble(l)
		case l.level == "DEBUG":
			level.Debug(c.logger).Log("msg", l.text)
		case !due(logged, l.text, time.Now()):
		case l.level == "INFO":
			level.Info(c.logger).Log("msg", l.text)
		default:
			level.Warn(c.logger).Log("msg", l.text)
		}
	}
}

// due says whether to log text now. Its first three words tell its kind; a member's name may be among them.
func due(logged map[string]time.Time, text string, now time.Time) bool {
	words := strings.Fields(text)
	kind := strings.Join(words[:min(3, len(words))], " ")
	if last, ok := logged[kind]; ok && now.Sub(last) < logEvery {
		return false
	}
	if len(logged) >= maxLines {
		clear(logged)
	}
	logged[kind] = now
	return true
}

func (c *Cluster) writeTrouble(l line) {
	who := l.from
	if l.trouble != nameConflict {
		who = hostOf(who)
	}
	if c.problem(problemKey{l.trouble, who}, l.advice()) {
		level.Warn(c.logger).Log("msg", l.advice(), "trouble", l.trouble, "detail", l.text)
	}
}

// problem lists text in the snapshot, and reports whether to log it.
func (c *Cluster) problem(key problemKey, text string) bool {
	log := c.problems.note(key, text, time.Now())
	if log {
		c.changed.set()
	}
	return log
}

// keyFileProblem is there while the key file is not usable.
var keyFileProblem = problemKey{trouble: badKeyFile}

// logMembers logs who came and who went between two snapshots.
func (c *Cluster) logMembers(before, now []Member) {
	old := map[string]Member{}
	for _, m := range before {
		old[m.Name] = m
	}
	gone := func(m Member) bool { return m.State == Left || m.State == Dead }
	for _, m := range now {
		o, known := old[m.Name]
		switch {
		case gone(m) && known && !gone(o):
			level.Info(c.logger).Log("msg", "member gone", "member", m.Name, "address", m.Address, "state", m.State)
		case !gone(m) && (!known || gone(o) || o.Address != m.Address):
			level.Info(c.logger).Log("msg", "member here", "member", m.Name, "address", m.Address, "state", m.State)
		}
	}
}
