package agent

import (
	"context"
	"net"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

// TestOutlivePrometheus has a Prometheus do what one does when it stops, at
// these times, and wants to know of each when it is waited for no longer.
func TestOutlivePrometheus(t *testing.T) {
	const never, wait, minute = time.Hour, 30 * time.Second, time.Minute
	for _, tc := range []struct {
		name                string
		says, unlock, close time.Duration // that it is stopping; of its data directory; of its port
		flush               time.Duration // that it may take; 0: there is no upstream
		gone                bool
		min, max            time.Duration
	}{
		{"it goes on", never, never, never, minute, false, wait, wait},
		{"it goes on without a lock", never, 0, never, minute, false, wait, wait},
		{"it has gone", never, 0, 0, minute, true, 0, 0},
		{"it goes at once", 0, time.Second, 2 * time.Second, minute, true, 2 * time.Second, 3 * time.Second},
		{"it flushes", 0, time.Second, 55 * time.Second, minute, true, 55 * time.Second, 56 * time.Second},
		{"it begins to stop late, and flushes", 29 * time.Second, never, never, minute, false, 94 * time.Second, 95 * time.Second},
		{"it does not say that it is stopping, but lets go of its lock", never, 10 * time.Second, 65 * time.Second, minute, true, 65 * time.Second, 66 * time.Second},
		{"it begins to stop too late", 31 * time.Second, 32 * time.Second, never, minute, false, wait, wait},
		{"it never ends", 0, time.Second, never, minute, false, minute + flushGrace, minute + flushGrace + time.Second},
		{"it never ends, and may flush for less than is waited for it", 0, time.Second, never, time.Second, false, wait, wait},
		{"it flushes without an upstream", 0, time.Second, 20 * time.Second, 0, true, 20 * time.Second, 21 * time.Second},
		{"it never ends, without an upstream", 0, time.Second, never, 0, false, wait, wait},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				listener, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer listener.Close()
				dir := t.TempDir()
				lock, _, err := fileutil.Flock(filepath.Join(dir, "lock"))
				if err != nil {
					t.Fatal(err)
				}
				defer runtime.KeepAlive(lock) // what is collected is closed, and lets go
				start := time.Now()
				past := func(d time.Duration) bool { return time.Since(start) >= d }
				at := func(d time.Duration, do func() error) {
					if d == never {
						return
					}
					act := func() {
						if err := do(); err != nil {
							t.Error(err)
						}
					}
					if d == 0 {
						act()
						return
					}
					time.AfterFunc(d, act)
				}
				at(tc.unlock, lock.Release)
				at(tc.close, listener.Close)
				o := outliving{
					url: "http://" + listener.Addr().String(), dataDir: dir, wait: wait, logger: log.NewNopLogger(),
					stopping: func(context.Context) bool { return past(tc.says) },
				}
				if tc.flush > 0 {
					o.flush = func() time.Duration { return tc.flush }
				}
				gone, took := o.await(t.Context()), time.Since(start)
				if gone != tc.gone || took < tc.min || took > tc.max {
					t.Errorf("gone: %v after %s; want %v after %s to %s", gone, took, tc.gone, tc.min, tc.max)
				}
			})
		})
	}
}

// TestOutlivingEnds wants the wait to end with the sidecar.
func TestOutlivingEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := outliving{url: "http://127.0.0.1:1", dataDir: t.TempDir(), wait: time.Hour, stopping: func(context.Context) bool { return false }}
	if o.await(ctx) {
		t.Error("nobody could look whether Prometheus has gone")
	}
}
