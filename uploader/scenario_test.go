package uploader

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/thanos-io/objstore"
)

// start runs u until it is stopped, or the test ends. It is for tests in a bubble.
func start(t *testing.T, u *Uploader) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		u.engine.loop(ctx, nil, func() bool { return false })
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

// status of one block.
func statusOf(t *testing.T, u *Uploader, id ulid.ULID) BlockStatus {
	t.Helper()
	for _, b := range u.Status().Blocks {
		if b.ULID == id.String() {
			return b
		}
	}
	t.Fatalf("block %s is not in the status %+v", id, u.Status().Blocks)
	return BlockStatus{}
}

// expect fails unless the block is in that state, for a reason that has the words.
func expect(t *testing.T, u *Uploader, id ulid.ULID, state, words string) {
	t.Helper()
	if b := statusOf(t, u, id); b.State != state || !strings.Contains(b.Reason, words) {
		t.Errorf("block %s is %s: %q; want %s: %q", id, b.State, b.Reason, state, words)
	}
}

func inBucket(t *testing.T, bkt objstore.Bucket) int {
	t.Helper()
	_, blocks := fetch(t, bkt)
	return len(blocks)
}

func TestUploadsAsTheyCome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		a := write(t, dir, origin, origin+2*hour, "a", "b")
		u := made(t, dir, bkt, nil)
		start(t, u)
		time.Sleep(time.Second)
		expect(t, u, a, stateUploaded, "")
		if st := u.Status(); !st.Bucket.Reachable || st.LagSeconds != 0 || st.Labels["cluster"] != "test" || st.Bucket.Type != "MEMORY" {
			t.Errorf("%+v", st)
		}
		b := write(t, dir, origin+2*hour, origin+4*hour, "a", "b")
		time.Sleep(pollInterval + time.Second)
		expect(t, u, b, stateUploaded, "")
		sameContent(t, bkt, join(read(t, filepath.Join(dir, a.String())), read(t, filepath.Join(dir, b.String()))))
	})
}

// TestNotTakenAway: what is complete is staged at once, so that it reaches the
// bucket though retention, or compaction, has removed it since.
func TestNotTakenAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		a := write(t, dir, origin, origin+2*hour, "a")
		want := read(t, filepath.Join(dir, a.String()))
		var external shared[labels.Labels]
		var why shared[error]
		u := made(t, dir, bkt, func(u *Uploader) {
			u.opts.Labels = func() (labels.Labels, error) { return external.get(), why.get() }
		})
		start(t, u)
		time.Sleep(time.Second)
		expect(t, u, a, stateRefused, "there are no external labels: give global.external_labels")
		if err := os.RemoveAll(filepath.Join(dir, a.String())); err != nil {
			t.Fatal(err)
		}
		why.set(errors.New("prometheus.yml has not been read"))
		time.Sleep(time.Minute)
		expect(t, u, a, stateRefused, "the external labels are not known yet: prometheus.yml has not")
		if st := u.Status(); st.LagSeconds < 60 || st.OverdueSeconds != st.LagSeconds {
			t.Errorf("lag %v, overdue %v", st.LagSeconds, st.OverdueSeconds)
		}
		external.set(labels.FromStrings("cluster", "new"))
		why.set(nil)
		time.Sleep(time.Minute)
		if left, _ := filepath.Glob(filepath.Join(dir, "ringside", "upload", "*")); len(left) > 0 {
			t.Errorf("still staged: %v", left)
		}
		sameContent(t, bkt, want)
		if st := u.Status(); st.LagSeconds != 0 || st.OverdueSeconds != 0 {
			t.Errorf("lag %v, overdue %v", st.LagSeconds, st.OverdueSeconds)
		}
	})
}

// TestKeepsTheLabelsItHad: a block waits under the labels that Prometheus had
// when it cut it.
func TestKeepsTheLabelsItHad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		dir, bkt := t.TempDir(), objstore.NewInMemBucket()
		write(t, dir, origin, origin+2*hour, "a")
		external := shared[labels.Labels]{v: labels.FromStrings("cluster", "old")}
		window := shared[time.Duration]{v: time.Hour}
		u := made(t, dir, bkt, func(u *Uploader) {
			u.opts.Labels = func() (labels.Labels, error) { return external.get(), nil }
			u.opts.OutOfOrderWindow = window.get
		})
		start(t, u)
		time.Sleep(time.Minute)
		external.set(labels.FromStrings("cluster", "new"))
		write(t, dir, origin+2*hour, origin+4*hour, "a")
		time.Sleep(time.Minute)
		window.set(0)
		time.Sleep(time.Minute)
		_, blocks := fetch(t, bkt)
		for i, want := range []string{"old", "new"} {
			if got := blocks[i].Meta.Thanos.Labels["cluster"]; got != want {
				t.Errorf("block %d has the label %s, want %s", i, got, want)
			}
		}
	})
}
