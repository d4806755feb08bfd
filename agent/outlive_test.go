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
// these times, and wants to know of each when its head can be saved, and when
// it is waited for no longer.
func TestOutlivePrometheus(t *testing.T) {
	const never, wait, minute = time.Hour, 30 * time.Second, time.Minute
	type upTo struct {
		done bool
		at   time.Duration // and a second more, at most
	}
	for _, tc := range []struct {
		name                string
		says, unlock, close time.Duration // that it is stopping; of its data directory; of its port
		flush               time.Duration // that it may take; 0: there is nothing to be taken or saved
		closed, gone        upTo
		more                func(*outliving)
	}{
		{"it goes on", never, never, never, minute, upTo{false, wait}, upTo{}, nil},
		{"it goes on without a lock", never, 0, never, minute, upTo{false, wait}, upTo{}, lockless},
		{"it has gone", never, 0, 0, minute, upTo{true, 0}, upTo{true, 0}, nil},
		{"it goes at once", 0, time.Second, 2 * time.Second, minute, upTo{true, time.Second}, upTo{true, 2 * time.Second}, nil},
		{"it flushes", 0, time.Second, 55 * time.Second, minute, upTo{true, time.Second}, upTo{true, 55 * time.Second}, nil},
		{"it flushes, without a lock", 0, 0, 55 * time.Second, minute, upTo{true, 55 * time.Second}, upTo{true, 55 * time.Second}, lockless},
		{"it has let go of its lock before", never, 0, 55 * time.Second, minute, upTo{true, 0}, upTo{true, 55 * time.Second}, nil},
		{"it flushes, and has never told of its lock", 0, time.Second, 55 * time.Second, minute, upTo{true, 55 * time.Second}, upTo{true, 55 * time.Second}, lockless},
		{"it begins to stop late, and flushes", 29 * time.Second, never, never, minute, upTo{false, 94 * time.Second}, upTo{}, nil},
		{"it does not say that it is stopping, but lets go of its lock", never, 10 * time.Second, 65 * time.Second, minute, upTo{true, 10 * time.Second}, upTo{true, 65 * time.Second}, nil},
		{"it begins to stop too late", 31 * time.Second, 32 * time.Second, never, minute, upTo{false, wait}, upTo{}, nil},
		{"it never ends", 0, time.Second, never, minute, upTo{true, time.Second}, upTo{false, minute + flushGrace}, nil},
		{"it never ends, and may flush for less than is waited for it", 0, time.Second, never, time.Second, upTo{true, time.Second}, upTo{false, wait}, nil},
		{"it flushes to its own, without an upstream", 0, time.Second, 61 * time.Second, minute, upTo{true, time.Second}, upTo{false, wait}, alone},
		{"the same without a lock", 0, 0, 61 * time.Second, minute, upTo{true, 61 * time.Second}, upTo{true, 61 * time.Second}, func(o *outliving) { lockless(o); alone(o) }},
		{"it flushes with nothing to save", 0, time.Second, 20 * time.Second, 0, upTo{true, time.Second}, upTo{true, 20 * time.Second}, alone},
		{"it never ends, with nothing to save", 0, time.Second, never, 0, upTo{true, time.Second}, upTo{false, wait}, alone},
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
					url: "http://" + listener.Addr().String(), dataDir: dir, wait: wait, upstreams: true, logger: log.NewNopLogger(),
					stopping: func(context.Context) bool { return past(tc.says) },
					locked:   func() bool { return true },
				}
				if tc.flush > 0 {
					o.flush = func() time.Duration { return tc.flush }
				}
				if tc.more != nil {
					tc.more(&o)
				}
				d := o.begin()
				want := func(what string, want upTo, got bool) {
					t.Helper()
					if took := time.Since(start); got != want.done || took < want.at || took > want.at+time.Second {
						t.Errorf("%s: %v after %s; want %v after %s", what, got, took, want.done, want.at)
					}
				}
				closed := d.closed(t.Context())
				want("closed", tc.closed, closed)
				if closed {
					want("gone", tc.gone, d.gone(t.Context()))
				}
			})
		})
	}
}

// lockless is of a Prometheus that has not been seen to lock anything.
func lockless(o *outliving) { o.locked = func() bool { return false } }

// alone is of one that sends nothing of account through this sidecar.
func alone(o *outliving) { o.upstreams = false }

// TestOutlivingEnds wants the wait to end with the sidecar.
func TestOutlivingEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := outliving{url: "http://127.0.0.1:1", dataDir: t.TempDir(), wait: time.Hour, stopping: func(context.Context) bool { return false }}
	lockless(&o)
	d := o.begin()
	if d.closed(ctx) || d.gone(ctx) {
		t.Error("nobody could look whether Prometheus has gone")
	}
}
