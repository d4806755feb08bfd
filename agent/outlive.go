package agent

import (
	"context"
	"net"
	"net/url"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/ringside-project/ringside/uploader/head"
)

// flushGrace is what a Prometheus that is stopping needs beside its flush.
const flushGrace = 5 * time.Second

// outliving is how a sidecar that ends waits for its Prometheus to have gone.
// When Prometheus stops it first delivers what it has for its remote writes:
// without somebody to take that it would wait for its flush deadline, and what
// it could not deliver is lost. It lets go of the lock in its data directory
// before that, and of its port after it.
type outliving struct {
	url, dataDir string
	stopping     func(context.Context) bool // Prometheus says that it is
	wait         time.Duration              // for it to have gone
	flush        func() time.Duration       // how long its flush may take, from when it is seen to be stopping; nil: no longer than wait
	logger       log.Logger
}

// await returns when Prometheus has gone, which it tells, when the time for
// that is up, or when ctx ends.
func (o outliving) await(ctx context.Context) (gone bool) {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.Now().Add(o.wait)
	locked, going := false, false
	for {
		free := head.Free(o.dataDir)
		locked = locked || !free // without --storage.tsdb.no-lockfile
		if free && !listens(ctx, o.url) && ctx.Err() == nil {
			return true
		}
		if o.flush != nil && !going && (locked && free || o.stopping(ctx)) {
			going = true
			if until := time.Now().Add(o.flush() + flushGrace); until.After(deadline) {
				deadline = until
			}
			level.Info(o.logger).Log("msg", "prometheus is stopping: taking what it has left to send", "for_at_most", time.Until(deadline).Round(time.Second))
		}
		if !time.Now().Before(deadline) {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

// listens tells whether anybody accepts connections at the URL's address.
func listens(ctx context.Context, rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	port := u.Port()
	if port == "" {
		port = u.Scheme // the dialer knows both
	}
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
