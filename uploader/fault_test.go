package uploader

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/faulty"
	"github.com/ringside-project/ringside/uploader/head"
)

// left is a data directory of a Prometheus that has gone, its head flushed:
// in-order and out-of-order blocks, a compacted one, histograms.
func left(t testing.TB) (dir string, want content) {
	t.Helper()
	dir = t.TempDir()
	db := lively(t, dir, tsdb.DefaultOptions())
	q, err := db.Querier(0, 1<<62)
	if err != nil {
		t.Fatal(err)
	}
	want = query(t, q)
	q.Close()
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := head.Flush(t.Context(), dir, head.Options{}, made(t, t.TempDir(), objstore.NewInMemBucket(), nil).opts.Slog); err != nil {
		t.Fatal(err)
	}
	return dir, want
}

// twin copies the blocks of dir.
func twin(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	ids, err := blockDirs(dir)
	for _, id := range ids {
		if err == nil {
			err = os.CopyFS(filepath.Join(to, id.String()), os.DirFS(filepath.Join(dir, id.String())))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// files are the digests of all of Prometheus's files in dir.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err != nil || d.IsDir() || name == shippedName || strings.HasPrefix(name, "ringside") {
			return err
		}
		raw, err := os.ReadFile(path)
		all[name] = fmt.Sprintf("%x", sha256.Sum256(raw))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sameContent fails where the bucket does not hold each sample once.
func sameContent(t testing.TB, bkt objstore.Bucket, want content) {
	t.Helper()
	got, _ := fetch(t, bkt)
	for name := range maps.Keys(want) {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s: %d samples in the bucket, of %d", name, len(got[name]), len(want[name]))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d series in the bucket, of %d", len(got), len(want))
	}
}

// TestFaultAtEveryRequest lets each request of a whole upload go wrong in each
// way: whatever is visible in the bucket is whole, overlaps nothing and is there
// once, the same process or, after a kill, the next one finishes, and
// Prometheus's files stay as they are.
func TestFaultAtEveryRequest(t *testing.T) {
	template, want := left(t)
	total := 0
	bubble(t, func(t *testing.T) {
		f := &faulty.Bucket{Bucket: objstore.NewInMemBucket()}
		oneFault(t, template, want, f)
		total = len(f.Requests())
	})
	t.Logf("%d requests, each to go wrong in %d ways", total, len(faulty.Modes))
	for _, mode := range faulty.Modes {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			for at := 1; at <= total && !t.Failed(); at++ {
				bubble(t, func(t *testing.T) {
					oneFault(t, template, want, &faulty.Bucket{Bucket: objstore.NewInMemBucket(), At: at, Mode: mode})
				})
			}
		})
	}
}

// oneFault uploads a copy of template into f, and into the bucket behind it if
// f is killed.
func oneFault(t *testing.T, template string, want content, f *faulty.Bucket) {
	dir := twin(t, template)
	before := files(t, dir)
	run := func(bkt objstore.Bucket) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		return made(t, dir, bkt, nil).Finish(ctx)
	}
	err := run(f)
	if (err != nil) != (f.Mode == faulty.Kill) {
		t.Errorf("%v", err)
	}
	if f.Mode == faulty.Kill {
		fetch(t, f.Bucket) // all that is visible is whole
		if err := run(f.Bucket); err != nil {
			t.Errorf("the next run: %v", err)
		}
	}
	sameContent(t, f.Bucket, want)
	if !reflect.DeepEqual(files(t, dir), before) {
		t.Error("a file of Prometheus's has changed")
	}
	if left, err := filepath.Glob(filepath.Join(dir, "ringside", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left staged: %q %v", left, err)
	}
	if t.Failed() {
		t.Fatalf("%s at %s", f.Mode, f.Requests()[min(max(1, f.At), len(f.Requests()))-1])
	}
}
