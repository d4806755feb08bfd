package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/ringside-project/ringside/config"
	"github.com/ringside-project/ringside/gossip"
	"github.com/ringside-project/ringside/uploader"
	"github.com/ringside-project/ringside/uploader/bucket"
)

// courier is an uploader that moves n times, a minute apart, in the end.
type courier struct {
	n      int
	left   error
	failed error // of Run

	moved   atomic.Int64
	running atomic.Bool
	late    atomic.Bool // it was told to finish while it ran
}

func (c *courier) Run(ctx context.Context) error {
	c.running.Store(true)
	defer c.running.Store(false)
	if c.failed != nil {
		return c.failed
	}
	<-ctx.Done()
	time.Sleep(time.Second)
	return nil
}

func (c *courier) Finish(ctx context.Context) error {
	c.late.Store(c.running.Load())
	for range c.n {
		select {
		case <-ctx.Done():
			return errors.New("left behind")
		case <-time.After(time.Minute):
			c.moved.Add(1)
		}
	}
	if c.left != nil {
		<-ctx.Done()
	}
	return c.left
}

func (c *courier) Status() uploader.Status { return uploader.Status{} }

func (c *courier) Progress() int64 { return c.moved.Load() }

// TestFinish has what is left carried after the passes have ended: for as long
// as something moves, and not for long once nothing does.
func TestFinish(t *testing.T) {
	for _, tc := range []struct {
		name    string
		courier *courier
		took    time.Duration
		err     string
	}{
		{"nothing is left", &courier{}, 0, ""},
		{"it takes long", &courier{n: 30}, 30 * time.Minute, ""},
		{"the bucket is down", &courier{left: errors.New("bucket down")}, stall, "bucket down"},
		{"the bucket goes down", &courier{n: 3, left: errors.New("bucket down")}, 3*time.Minute + stall, "bucket down"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUploads(tc.courier, &told{}, log.NewNopLogger())
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- u.run(ctx) }()
				synctest.Wait()
				start := time.Now()
				err := u.finish(ctx)
				if (err != nil) != (tc.err != "") || err != nil && !strings.Contains(err.Error(), tc.err) {
					t.Errorf("finish: %v; want %q", err, tc.err)
				}
				if took := time.Since(start); took < tc.took || took > tc.took+3*time.Second {
					t.Errorf("took %v; want %v", took, tc.took)
				}
				if tc.courier.late.Load() {
					t.Error("it was to finish while passes went on")
				}
				select {
				case err := <-ended:
					t.Errorf("the part has ended by itself: %v", err)
				default:
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestUniqueness remembers what the gossip told when this member left it, and
// waits for that to be known.
func TestUniqueness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Pointer[gossip.Snapshot]
		now.Store(&gossip.Snapshot{})
		want := func(u *uniqueness, what string) {
			t.Helper()
			if got := u.conflict(); got != what {
				t.Errorf("%q; want %q", got, what)
			}
		}
		unknown, early, later := uniqueness{snapshot: now.Load, matters: true}, uniqueness{snapshot: now.Load, matters: true}, uniqueness{snapshot: now.Load, matters: true}
		want(&unknown, "the other members are not known yet")
		unknown.leave(t.Context())
		time.AfterFunc(time.Second, func() { now.Store(&gossip.Snapshot{Known: true}) })
		early.leave(t.Context())
		want(&early, "")
		want(&later, "")
		now.Store(&gossip.Snapshot{Known: true, Conflict: "10.0.0.7 says so too"})
		later.leave(t.Context())
		now.Store(&gossip.Snapshot{Known: true}) // as it expires
		want(&later, "10.0.0.7 says so too")
		want(&early, "")
		want(&unknown, "the other members are not known yet")
	})
}

// TestFlushElsewhere has a data directory flushed on a host of another name.
func TestFlushElsewhere(t *testing.T) {
	dir := t.TempDir()
	cfg := config.Default
	cfg.Prometheus.ConfigFile, cfg.Prometheus.DataDir = filepath.Join(dir, "prometheus.yml"), filepath.Join(dir, "data")
	cfg.Uploader.Bucket = &bucket.Config{Type: "FILESYSTEM", Config: map[string]any{"directory": filepath.Join(dir, "bucket")}}
	if err := os.Mkdir(cfg.Prometheus.DataDir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ node, region, want string }{
		{"prometheus-0", "eu", ""},
		{"rescue", "eu", `uploaded under {prometheus_replica="prometheus-0", region="eu"}, and would be under {prometheus_replica="rescue", region="eu"} now: set cluster.node: prometheus-0 in`},
		{"prometheus-0", "us", "now: set global.external_labels in " + cfg.Prometheus.ConfigFile},
		{"prometheus-0", "eu", ""},
	} {
		cfg.Cluster.Node = tc.node
		if err := os.WriteFile(cfg.Prometheus.ConfigFile, []byte("global: {external_labels: {region: "+tc.region+"}}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		st, err := Flush(t.Context(), &cfg, 2*time.Hour, log.NewNopLogger())
		if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s, %s: %v", tc.node, tc.region, err)
		}
		if err == nil && st.Labels["prometheus_replica"] != tc.node {
			t.Errorf("labels %v", st.Labels)
		}
	}
}

func TestUploadsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUploads(&courier{failed: errors.New("broken")}, &told{}, log.NewNopLogger())
		if err := u.run(t.Context()); err == nil {
			t.Error("a failure is not told")
		}
	})
}
