package agent

import (
	"context"
	"fmt"
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
// When Prometheus stops it first closes its data directory, and lets go of the
// lock in it: its head can be saved from then on. Then it delivers what it has
// for its remote writes: without somebody to take that it would wait for its
// flush deadline, and what it could not deliver is lost. Last it leaves its port.
type outliving struct {
	url, dataDir string
	stopping     func(context.Context) bool // Prometheus says that it is
	locked       func() bool                // it has been seen to lock its data directory, as it says that it does
	wait         time.Duration              // for it to have gone
	flush        func() time.Duration       // how long its flush may take, from when it is seen to be stopping; nil: no longer than wait
	upstreams    bool                       // what it flushes is to be taken
	logger       log.Logger
}

// departure is one Prometheus as it goes. Its methods are called one after the
// other.
type departure struct {
	outliving
	start, deadline time.Time
	held            bool // somebody had its data directory locked
	going           bool
}

func (o outliving) begin() *departure {
	now := time.Now()
	return &departure{outliving: o, start: now, deadline: now.Add(o.wait)}
}

// closed returns when Prometheus will not write to its data directory again, which
// it tells, when the time for that is up, or when ctx ends.
func (d *departure) closed(ctx context.Context) bool {
	return d.await(ctx, func() bool {
		free := head.Free(d.dataDir)
		d.held = d.held || !free
		if d.flush != nil && !d.going && (free && (d.held || d.locked()) || d.stopping(ctx)) {
			d.extend()
		}
		return free && (d.locked() || !listens(ctx, d.url))
	})
}

// gone returns when Prometheus, whose data directory is closed, has gone, when
// nothing of it is to be waited for any longer, or when ctx ends.
func (d *departure) gone(ctx context.Context) bool {
	if !d.upstreams {
		d.deadline = d.start.Add(d.wait)
	}
	return d.await(ctx, func() bool { return !listens(ctx, d.url) })
}

// extend gives Prometheus, which has begun to stop, the time to flush.
func (d *departure) extend() {
	d.going = true
	if until := time.Now().Add(d.flush() + flushGrace); until.After(d.deadline) {
		d.deadline = until
	}
	level.Info(d.logger).Log("msg", "prometheus is stopping: taking what it has left to send", "for_at_most", time.Until(d.deadline).Round(time.Second))
}

// allowed says how long Prometheus had.
func (d *departure) allowed() string {
	if d.deadline.After(d.start.Add(d.wait)) {
		return fmt.Sprintf("the time for its flush (%s)", d.deadline.Sub(d.start).Round(time.Second))
	}
	return fmt.Sprintf("uploader.shutdown_wait (%s)", d.wait)
}

// await tells whether it has come to pass before the deadline.
func (d *departure) await(ctx context.Context, passed func() bool) bool {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		if passed() && ctx.Err() == nil { // whose end looks as if nobody listened
			return true
		}
		if !time.Now().Before(d.deadline) {
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
