package uploader

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/faulty"
)

// TestBucketDown has a bucket that serves nothing for five minutes.
func TestBucketDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		f := &faulty.Bucket{Bucket: bkt, At: 1, Mode: faulty.Kill}
		u := made(t, dir, f, nil)
		var ids []ulid.ULID
		for i := range int64(6) {
			ids = append(ids, write(t, dir, origin+2*i*hour, origin+2*(i+1)*hour, "a"))
		}
		start(t, u)
		time.Sleep(5 * time.Minute)
		expect(t, u, ids[0], stateWaiting, "the bucket cannot be read: ")
		if st := u.Status(); st.Bucket.Reachable || !strings.Contains(st.Bucket.Error, faulty.Err.Error()) || st.LagSeconds < 280 {
			t.Errorf("%+v, lag %v", st.Bucket, st.LagSeconds)
		}
		f.Mend()
		time.Sleep(8 * time.Minute)
		for _, id := range ids {
			expect(t, u, id, stateUploaded, "")
		}
		if n := inBucket(t, bkt); n != 6 {
			t.Errorf("%d blocks in the bucket", n)
		}

		// Down again, now that it was read once.
		f.Break(faulty.Kill)
		next := write(t, dir, origin+12*hour, origin+14*hour, "a")
		time.Sleep(5 * time.Minute)
		expect(t, u, next, stateWaiting, "the bucket cannot be read: list bucket: ")
		f.Mend()
		time.Sleep(8 * time.Minute)
		expect(t, u, next, stateUploaded, "")
	})
}

// TestBucketHangs counts a request that is never answered as a failure, and goes
// on after a while.
func TestBucketHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		f := &faulty.Bucket{Bucket: bkt, At: 4, Mode: faulty.Hang}
		a := write(t, dir, origin, origin+2*hour, "a")
		u := made(t, dir, f, nil)
		start(t, u)
		time.Sleep(time.Minute)
		expect(t, u, a, stateUploading, "")
		time.Sleep(32 * time.Second)
		expect(t, u, a, stateFailed, ": no progress for 1m30s: context canceled")
		time.Sleep(time.Minute)
		expect(t, u, a, stateUploaded, "")
		if n := len(f.Requests()); n > 15 {
			t.Errorf("%d requests", n)
		}
	})
}

// TestShippedFile is for Prometheus's --storage.tsdb.delay-compact-file.path.
func TestShippedFile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		path := filepath.Join(dir, shippedName)
		says := func(words ...string) {
			t.Helper()
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range words {
				if !strings.Contains(string(raw), w) {
					t.Errorf("no %s in %s", w, raw)
				}
			}
			if n := strings.Count(string(raw), `"01`); n != len(words)-1 {
				t.Errorf("%d blocks in %s", n, raw)
			}
		}
		u := made(t, dir, bkt, nil)
		says(`"version": 1`)
		a := write(t, dir, origin, origin+2*hour, "a")
		b := write(t, dir, origin+2*hour, origin+4*hour, "a")
		start(t, u)
		time.Sleep(time.Minute)
		says(`"version": 1`, a.String(), b.String())

		// Prometheus joins them, and a while later removes the result.
		c := reshape(t, dir, write(t, dir, origin, origin+4*hour, "a"), func(m *tsdb.BlockMeta) {
			m.Compaction.Level, m.Compaction.Sources = 2, []ulid.ULID{a, b}
		})
		if err := errors.Join(os.RemoveAll(filepath.Join(dir, a.String())), os.RemoveAll(filepath.Join(dir, b.String()))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		expect(t, u, c, stateCovered, "")
		says(`"version": 1`, a.String(), b.String(), c.String())

		// The file is lost: what the bucket says is enough.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		says(`"version": 1`, a.String(), b.String(), c.String())
		for _, text := range []string{"", "{", `{"version":7}`} {
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
			if err := made(t, dir, bkt, nil).Finish(t.Context()); err != nil {
				t.Errorf("after %q: %v", text, err)
			}
			says(`"version": 1`, c.String())
		}
		if err := os.RemoveAll(filepath.Join(dir, c.String())); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		says(`"version": 1`)
		if n := inBucket(t, bkt); n != 2 {
			t.Errorf("%d blocks in the bucket", n)
		}
	})
}

// TestWork goes on after what stood in its way has gone.
func TestWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		a := write(t, dir, origin, origin+2*hour, "a")
		b := write(t, dir, origin, origin+2*hour, "b")
		want := join(read(t, filepath.Join(dir, a.String())), read(t, filepath.Join(dir, b.String())))
		u := made(t, dir, bkt, nil)
		obstacle := filepath.Join(dir, "ringside", "merge")
		if err := errors.Join(os.MkdirAll(filepath.Dir(obstacle), 0o777), os.WriteFile(obstacle, nil, 0o666)); err != nil {
			t.Fatal(err)
		}
		start(t, u)
		time.Sleep(time.Minute)
		expect(t, u, a, stateFailed, "not a directory")
		if n := inBucket(t, bkt); n != 0 {
			t.Errorf("%d blocks in the bucket", n)
		}
		if st := statusOf(t, u, a); st.Attempts < 2 || st.NextTry.IsZero() {
			t.Errorf("%+v", st)
		}
		if err := os.Remove(obstacle); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		sameContent(t, bkt, want)
	})
}

// TestTroubleOf tells of a block what failed of it, always the same.
func TestTroubleOf(t *testing.T) {
	a, b := ulid.MustNew(1, nil), ulid.MustNew(2, nil)
	u := made(t, t.TempDir(), objstore.NewInMemBucket(), nil)
	e := u.engine
	e.fail("merge for [0,1) blocks "+a.String()+", "+b.String(), errors.New("later"), a, b).next = time.Now().Add(time.Hour)
	e.fail("upload block "+a.String(), errors.New("sooner"), a).next = time.Now().Add(time.Minute)
	e.fail("unstage "+b.String(), errors.New("of what is up"))
	for range 100 {
		for id, want := range map[ulid.ULID]string{a: "sooner", b: "later"} {
			if got := e.troubleOf(id); got == nil || got.err.Error() != want {
				t.Fatalf("%s: %+v; want %s", id, got, want)
			}
		}
	}
}
