package uploader

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/faulty"
	"github.com/ringside-project/ringside/uploader/head"
	"github.com/ringside-project/ringside/uploader/ship"
)

// TestOrphan: the head of a Prometheus that does not come back is flushed after
// two minutes, once; not while somebody has its directory open, and not while it
// is ready.
func TestOrphan(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		ready := shared[bool]{v: true}
		var flushed atomic.Int64
		lock, _, err := fileutil.Flock(filepath.Join(dir, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		u := made(t, dir, bkt, func(u *Uploader) {
			u.opts.PrometheusReady, u.opts.PrometheusFlags = ready.get, func() map[string]string { return nil }
			u.cut = func(context.Context, string, head.Options, *slog.Logger) (head.Report, error) {
				flushed.Add(1)
				return head.Report{Samples: 7, Blocks: []ulid.ULID{write(t, dir, origin, origin+hour, "a")}}, nil
			}
		})
		stop := start(t, u)
		time.Sleep(time.Second) // not to look at the very moment that u does
		times := func(what string, want int64) {
			t.Helper()
			time.Sleep(10 * time.Minute)
			if n := flushed.Load(); n != want {
				t.Errorf("%s: flushed %d times, want %d", what, n, want)
			}
		}
		times("ready", 0)
		ready.set(false)
		times("starting", 0)
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(goneAfter - pollInterval)
		if flushed.Load() != 0 {
			t.Error("flushed too soon")
		}
		times("gone", 1)
		if st := u.Status().Flush; st.State != flushDone || st.Samples != 7 || len(st.Blocks) != 1 || inBucket(t, bkt) != 1 {
			t.Errorf("%+v", st)
		}
		lock, _, err = fileutil.Flock(filepath.Join(dir, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		times("starting", 1)
		ready.set(true)
		times("back", 1)
		stop()
		if u.engine.closed || lock.Release() != nil {
			t.Error("windows count as closed though it is back")
		}
	})
}

// TestLockless: of a Prometheus that takes no lock nobody can tell that it does
// not come back.
func TestLockless(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var flushed atomic.Int64
		u := made(t, t.TempDir(), objstore.NewInMemBucket(), func(u *Uploader) {
			u.opts.PrometheusReady = func() bool { return false }
			u.cut = func(context.Context, string, head.Options, *slog.Logger) (head.Report, error) {
				flushed.Add(1)
				return head.Report{}, nil
			}
		})
		start(t, u)
		time.Sleep(time.Hour)
		if w := u.Status().Warnings; flushed.Load() != 0 || len(w) != 1 || !strings.Contains(w[0], "Start it without --storage.tsdb.no-lockfile, or end this sidecar too") {
			t.Errorf("flushed %d times; %q", flushed.Load(), w)
		}
	})
}

// TestOneAtATime: two uploaders of one data directory would take each other's
// blocks away.
func TestOneAtATime(t *testing.T) {
	dir := t.TempDir()
	u := made(t, dir, objstore.NewInMemBucket(), nil)
	other := &Uploader{opts: u.opts, logger: u.logger, metrics: newMetrics(prometheus.NewRegistry())}
	if err := other.prepare(objstore.NewInMemBucket()); err == nil || !strings.Contains(err.Error(), "another ringside, the sidecar or a ringside flush") {
		t.Errorf("%v", err)
	}
	if err := u.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := other.prepare(objstore.NewInMemBucket()); err != nil {
		t.Error(err)
	}
}

// TestLeftOfAFlush removes what a flush that was killed has left: when nobody has
// the directory open, and when Prometheus has started.
func TestLeftOfAFlush(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, left := t.TempDir(), func(dir string) string { return filepath.Join(dir, "ringside", "flush", "wal") }
		ready := shared[bool]{}
		for _, step := range []string{"no Prometheus", "one that has started"} {
			if err := os.MkdirAll(left(dir), 0o777); err != nil {
				t.Fatal(err)
			}
			if step == "no Prometheus" {
				start(t, made(t, dir, objstore.NewInMemBucket(), func(u *Uploader) { u.opts.PrometheusReady = ready.get }))
			} else {
				ready.set(true)
			}
			time.Sleep(time.Minute)
			if _, err := os.Stat(left(dir)); !os.IsNotExist(err) {
				t.Errorf("%s: %v", step, err)
			}
		}
	})
}

// TestAdjusted: a flush ends an early block of the present window where its samples
// end; the staged one follows.
func TestAdjusted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		early := writeLate(t, dir, origin, origin+hour, "late")
		reshape(t, dir, early, func(m *tsdb.BlockMeta) { m.MaxTime = origin + 2*hour })
		u := made(t, dir, bkt, func(u *Uploader) {
			u.cut = func(context.Context, string, head.Options, *slog.Logger) (head.Report, error) {
				reshape(t, dir, early, func(m *tsdb.BlockMeta) { m.MaxTime = origin + hour })
				return head.Report{}, nil
			}
		})
		stop := start(t, u)
		time.Sleep(time.Minute)
		expect(t, u, early, stateWaiting, "")
		stop()
		if err := u.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, blocks := fetch(t, bkt); len(blocks) != 1 || blocks[0].Meta.MaxTime != origin+hour {
			t.Errorf("%d blocks: %+v", len(blocks), blocks[0].Meta.BlockMeta)
		}
	})
}

func TestFinish(t *testing.T) {
	t.Run("no time", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, origin, origin+2*hour, "a")
			f := &faulty.Bucket{Bucket: objstore.NewInMemBucket(), At: 1, Mode: faulty.Kill}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := made(t, dir, f, nil).Finish(ctx)
			if err == nil || !strings.Contains(err.Error(), "1 blocks are not in the bucket") || !strings.Contains(err.Error(), faulty.Err.Error()) {
				t.Errorf("%v", err)
			}
		})
	})
	t.Run("no labels", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, origin, origin+2*hour, "a")
			err := made(t, dir, objstore.NewInMemBucket(), func(u *Uploader) {
				u.opts.Labels = func() (labels.Labels, error) { return labels.EmptyLabels(), nil }
			}).Finish(t.Context())
			if err == nil || !strings.Contains(err.Error(), "there are no external labels") {
				t.Errorf("%v", err)
			}
		})
	})
	t.Run("the head stays", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			dir, bkt := t.TempDir(), objstore.NewInMemBucket()
			write(t, dir, origin, origin+2*hour, "a")
			locked := errors.New("locked")
			err := made(t, dir, bkt, func(u *Uploader) {
				u.cut = func(context.Context, string, head.Options, *slog.Logger) (head.Report, error) {
					return head.Report{}, locked
				}
			}).Finish(t.Context())
			if !errors.Is(err, locked) || inBucket(t, bkt) != 1 {
				t.Errorf("%v, %d blocks in the bucket", err, inBucket(t, bkt))
			}
		})
	})
	t.Run("nobody wants it flushed", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			dir, bkt := t.TempDir(), objstore.NewInMemBucket()
			write(t, dir, origin, origin+2*hour, "a")
			u := made(t, dir, bkt, func(u *Uploader) {
				u.cfg.FlushOnShutdown = false
				u.opts.OutOfOrderWindow = func() time.Duration { return time.Hour }
			})
			if err := u.Finish(t.Context()); err != nil || inBucket(t, bkt) != 0 {
				t.Errorf("%v, %d blocks in the bucket", err, inBucket(t, bkt))
			}
		})
	})
}

// TestMergedNotTwice: a merge that a crash kept from being uploaded is the one
// that is uploaded.
func TestMergedNotTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		write(t, dir, origin, origin+2*hour, "a")
		write(t, dir, origin, origin+2*hour, "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		f := &faulty.Bucket{Bucket: bkt, At: 3, Mode: faulty.Kill}
		if err := made(t, dir, f, nil).Finish(ctx); err == nil {
			t.Fatal("it has not failed")
		}
		staged, err := blockDirs(filepath.Join(dir, "ringside", "upload"))
		if err != nil || len(staged) != 3 {
			t.Fatalf("staged: %v %v", staged, err)
		}
		if err := made(t, dir, bkt, nil).Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
		ids, err := ship.Blocks(t.Context(), bkt)
		if err != nil || len(ids) != 1 || !slices.Contains(staged, ids[0]) {
			t.Errorf("%v in the bucket, %v staged before: %v", ids, staged, err)
		}
	})
}
