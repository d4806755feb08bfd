package uploader

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/faulty"
	"github.com/ringside-project/ringside/uploader/head"
)

// TestAnothersStaysSo: what was found to be another's data directory is not uploaded, and its
// head not flushed, once Prometheus has gone; nothing else could tell then whose it is.
func TestAnothersStaysSo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		ready := shared[bool]{v: true}
		u := made(t, dir, bkt, func(u *Uploader) {
			u.opts.PrometheusReady, u.opts.PrometheusFlags = ready.get, func() map[string]string { return nil } // it takes a lock elsewhere
			u.cut = func(context.Context, string, head.Options, *slog.Logger) (head.Report, error) {
				t.Error("its head is cut")
				return head.Report{}, nil
			}
		})
		stop := start(t, u)
		time.Sleep(time.Minute)
		const want = "is not the one of the Prometheus beside this sidecar"
		if st := u.Status(); !strings.Contains(st.Held, want) || testutil.ToFloat64(u.metrics.held) != 1 {
			t.Errorf("without a block the status says %q", st.Held)
		}
		a := writeOld(t, dir)
		time.Sleep(time.Minute)
		ready.set(false)
		time.Sleep(2 * goneAfter)
		expect(t, u, a, stateRefused, want)
		stop()
		if err := u.Finish(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Finish: %v", err)
		}
		if n := inBucket(t, bkt); n > 0 {
			t.Errorf("%d blocks in the bucket", n)
		}
	})
}

// TestUnlocksBeforeItGoes: a Prometheus that ends lets go of its lock while it seems to be ready.
func TestUnlocksBeforeItGoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		lock, _, err := fileutil.Flock(filepath.Join(dir, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		ready := shared[bool]{v: true}
		u := made(t, dir, bkt, func(u *Uploader) {
			u.opts.PrometheusReady, u.opts.PrometheusFlags = ready.get, func() map[string]string { return nil }
		})
		stop := start(t, u)
		time.Sleep(time.Minute)
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
		writeOld(t, dir)
		time.Sleep(pollInterval)
		ready.set(false)
		time.Sleep(pollInterval)
		stop()
		if err := u.Finish(t.Context()); err != nil || inBucket(t, bkt) != 1 {
			t.Errorf("%v, %d blocks in the bucket", err, inBucket(t, bkt))
		}
	})
}

// TestBucketIsTheTruth: thanos.shipper.json may be of another bucket.
func TestBucketIsTheTruth(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, first := t.TempDir(), objstore.NewInMemBucket()
		write(t, dir, origin, origin+2*hour, "a")
		b := write(t, dir, origin+2*hour, origin+4*hour, "a")
		if err := made(t, dir, first, nil).Finish(t.Context()); err != nil || inBucket(t, first) != 2 {
			t.Fatalf("%v, %d blocks in the bucket", err, inBucket(t, first))
		}
		if err := os.RemoveAll(filepath.Join(dir, b.String())); err != nil {
			t.Fatal(err)
		}
		f := &faulty.Bucket{Bucket: objstore.NewInMemBucket(), At: 1, Mode: faulty.Kill}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := made(t, dir, f, nil).Finish(ctx); err == nil || !strings.Contains(err.Error(), "could not be asked whether it has the 1 blocks") {
			t.Errorf("a bucket that does not answer: %v", err)
		}
		second := objstore.NewInMemBucket()
		if err := made(t, dir, second, nil).Finish(t.Context()); err != nil || inBucket(t, second) != 1 {
			t.Errorf("%v, %d blocks in the other bucket", err, inBucket(t, second))
		}
		start(t, made(t, dir, first, nil))
		time.Sleep(time.Minute)
		if n := inBucket(t, first); n != 2 {
			t.Errorf("%d blocks in the first bucket", n)
		}
	})
}

// TestAskedWithoutProbe: without a probe, and before there is a block, the bucket is asked all the same.
func TestAskedWithoutProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		u := made(t, t.TempDir(), objstore.NewInMemBucket(), nil)
		start(t, u)
		time.Sleep(time.Second)
		if !u.Status().Bucket.Reachable {
			t.Error("it counts as out of reach")
		}
	})
}

// TestNoMeta: Prometheus leaves no block without one.
func TestNoMeta(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		a := writeOld(t, dir)
		if err := os.Remove(filepath.Join(dir, a.String(), "meta.json")); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(filepath.Join(dir, a.String()), old, old); err != nil {
			t.Fatal(err)
		}
		u := made(t, dir, bkt, nil)
		start(t, u)
		time.Sleep(time.Minute)
		expect(t, u, a, stateRefused, "it has no meta.json")
		if n := testutil.ToFloat64(u.metrics.blocks.WithLabelValues(outcomeRefused)); n != 1 {
			t.Errorf("counted %v times", n)
		}
	})
}
