package uploader

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/block"
	"github.com/ringside-project/ringside/uploader/faulty"
)

// slow is a bucket that takes its time for each answer, and for each tenth of
// what is read.
type slow struct {
	objstore.Bucket
	answer, tenth time.Duration
	full          bool // nothing can be put
}

func (b *slow) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	time.Sleep(b.answer)
	r, err := b.Bucket.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	return io.NopCloser(&slowBody{bytes.NewReader(body), 1 + len(body)/10, b.tenth}), err
}

func (b *slow) Upload(ctx context.Context, name string, r io.Reader, o ...objstore.ObjectUploadOption) error {
	if !b.full {
		return b.Bucket.Upload(ctx, name, r, o...)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return errors.New("full")
}

type slowBody struct {
	io.Reader
	step int
	wait time.Duration
}

func (b *slowBody) Read(p []byte) (int, error) {
	time.Sleep(b.wait)
	return b.Reader.Read(p[:min(len(p), b.step)])
}

// strangers puts the meta.json of n blocks of others into the bucket.
func strangers(t *testing.T, bkt objstore.Bucket, n int) {
	t.Helper()
	for i := range n {
		m := &block.Meta{}
		m.Version, m.ULID, m.MinTime, m.MaxTime = 1, ulid.MustNew(uint64(origin)+uint64(i), bytes.NewReader(make([]byte, 16))), origin, origin+2*hour
		m.Thanos.Version, m.Thanos.Labels = 1, map[string]string{"cluster": "other"}
		raw, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := bkt.Upload(t.Context(), path.Join(m.ULID.String(), "meta.json"), bytes.NewReader(raw)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestProgress has an end that takes long, and wants it to show that it comes
// forward, every two minutes at least; or not to, once it does not.
func TestProgress(t *testing.T) {
	const stall = 2 * time.Minute
	for _, tc := range []struct {
		name     string
		bucket   slow
		before   func(t *testing.T, bkt objstore.Bucket, dir string, id ulid.ULID)
		stalls   bool
		min, max time.Duration
	}{
		{
			"what an earlier run has put is read back",
			slow{tenth: time.Minute},
			func(t *testing.T, bkt objstore.Bucket, dir string, id ulid.ULID) {
				for _, name := range []string{"index", "chunks/000001"} {
					raw, err := os.ReadFile(filepath.Join(dir, id.String(), name))
					if err != nil {
						t.Fatal(err)
					}
					if err := bkt.Upload(t.Context(), path.Join(id.String(), name), bytes.NewReader(raw)); err != nil {
						t.Fatal(err)
					}
				}
			}, false, 9 * time.Minute, 30 * time.Minute,
		},
		{
			"many blocks of others are in the bucket",
			slow{answer: 30 * time.Second},
			func(t *testing.T, bkt objstore.Bucket, _ string, _ ulid.ULID) { strangers(t, bkt, 400) },
			false, 5 * time.Minute, 30 * time.Minute,
		},
		{
			"it can be read, and cannot be written to",
			slow{full: true},
			func(*testing.T, objstore.Bucket, string, ulid.ULID) {}, true, stall, 10 * time.Minute,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				dir, bkt := t.TempDir(), objstore.NewInMemBucket()
				tc.before(t, bkt, dir, write(t, dir, origin, origin+2*hour, "a"))
				tc.bucket.Bucket = bkt
				u := made(t, dir, &tc.bucket, nil)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				ended := make(chan error, 1)
				start := time.Now()
				go func() { ended <- u.Finish(ctx) }()
				moved, last := start, u.Progress()
				for stalled := false; ; time.Sleep(time.Second) {
					select {
					case err := <-ended:
						if (err != nil) != tc.stalls || stalled != tc.stalls {
							t.Errorf("stalled: %v, %v", stalled, err)
						}
						if took := time.Since(start); took < tc.min || took > tc.max {
							t.Errorf("took %s; want %s to %s", took, tc.min, tc.max)
						}
						return
					default:
					}
					if now := u.Progress(); now != last {
						moved, last = time.Now(), now
					}
					if time.Since(moved) >= stall {
						stalled = true
						cancel()
					}
				}
			})
		})
	}
}

// TestLookGoesOn has a look at the bucket fail, and the next one read only what
// that one has not.
func TestLookGoesOn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		const others = 200
		strangers(t, bkt, others)
		f := &faulty.Bucket{Bucket: bkt, At: others - 50, Mode: faulty.Before}
		u := made(t, dir, f, nil)
		id := write(t, dir, origin, origin+2*hour, "a")
		start(t, u)
		time.Sleep(2 * time.Minute)
		expect(t, u, id, stateUploaded, "")
		read := 0
		for _, r := range f.Requests() {
			if strings.HasPrefix(r, "get ") {
				read++
			}
		}
		if read < others || read > others+40 { // those that were under way
			t.Errorf("%d were read, of %d", read, others)
		}
	})
}
