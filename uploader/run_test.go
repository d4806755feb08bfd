package uploader

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/bucket"
	"github.com/ringside-project/ringside/uploader/faulty"
)

// TestRun goes through the exported names alone, on the real clock: a block that
// appears while it runs is in the bucket long before the next poll.
func TestRun(t *testing.T) {
	dir, remote := t.TempDir(), t.TempDir()
	reg := prometheus.NewPedanticRegistry()
	cfg := beside(remote)
	u, err := New(cfg, Options{
		DataDir: dir, Node: "prometheus-0",
		Labels: func() (labels.Labels, error) { return labels.FromStrings("cluster", "test"), nil },
	}, log.NewNopLogger(), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- u.Run(ctx) }()
	await(t, func() bool { return u.Status().Bucket.Reachable }) // by its probe
	id := write(t, dir, origin, origin+2*hour, "a")
	await(t, func() bool {
		blocks := u.Status().Blocks
		return len(blocks) == 1 && blocks[0].State == stateUploaded && blocks[0].ULID == id.String()
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	opened, err := cfg.OpenBucket(log.NewNopLogger())
	if err != nil {
		t.Fatal(err)
	}
	sameContent(t, opened, read(t, filepath.Join(dir, id.String())))
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	want := `# HELP ringside_upload_blocks_total Blocks of the data directory by what became of them: uploaded as they were, merged into an uploaded one, covered by what the bucket had, refused, or failed, which is tried again.
# TYPE ringside_upload_blocks_total counter
ringside_upload_blocks_total{outcome="covered"} 0
ringside_upload_blocks_total{outcome="failed"} 0
ringside_upload_blocks_total{outcome="merged"} 0
ringside_upload_blocks_total{outcome="refused"} 0
ringside_upload_blocks_total{outcome="uploaded"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "ringside_upload_blocks_total"); err != nil {
		t.Error(err)
	}
}

// await polls until it is so, for what happens on the real clock.
func await(t *testing.T, so func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never comes to that")
		}
	}
}

// TestWithoutABucket has all the metrics, and does nothing.
func TestWithoutABucket(t *testing.T) {
	dir := t.TempDir()
	reg := prometheus.NewPedanticRegistry()
	u, err := New(DefaultConfig, Options{DataDir: filepath.Join(dir, "data")}, log.NewNopLogger(), reg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := errors.Join(u.Run(ctx), u.Finish(ctx)); err != nil {
		t.Error(err)
	}
	if st := u.Status(); st.Bucket != nil || st.Blocks == nil || st.Warnings == nil || st.Flush.State != flushIdle {
		t.Errorf("%+v", st)
	}
	if n, err := testutil.GatherAndCount(reg); err != nil || n < 12 {
		t.Errorf("%d series %v", n, err)
	}
	if made, _ := filepath.Glob(filepath.Join(dir, "*")); len(made) > 0 {
		t.Errorf("it made %q", made)
	}
}

func TestNewRefuses(t *testing.T) {
	cfg := DefaultConfig
	cfg.Bucket = &bucket.Config{Type: "S3", Config: map[string]any{"bucket": "b", "secret_key": "planted-secret"}}
	_, err := New(cfg, Options{DataDir: t.TempDir()}, log.NewNopLogger(), prometheus.NewRegistry())
	if err == nil || !strings.HasPrefix(err.Error(), "uploader.bucket.config: ") || strings.Contains(err.Error(), "planted") {
		t.Error(err)
	}
}

// TestProbe tells at the start that the bucket cannot be written to, and tries
// again until it can.
func TestProbe(t *testing.T) {
	for at, words := range []string{"put ringside-probe-", "get ringside-probe-", "delete ringside-probe-"} {
		bubble(t, func(t *testing.T) {
			bkt := objstore.NewInMemBucket()
			f := &faulty.Bucket{Bucket: bkt, At: at + 1, Mode: faulty.Kill}
			u := made(t, t.TempDir(), f, func(u *Uploader) { u.cfg.Probe = true })
			start(t, u)
			time.Sleep(time.Second)
			if st := u.Status().Bucket; st.Reachable || !strings.Contains(st.Error, words+"prometheus-0: ") || !strings.Contains(st.Error, "check the address, the name and the credentials") {
				t.Errorf("%+v", st)
			}
			f.Mend()
			time.Sleep(10 * time.Minute)
			if st := u.Status().Bucket; !st.Reachable || st.Error != "" {
				t.Errorf("%+v", st)
			}
			if n := len(f.Requests()); n > 30 || len(bkt.Objects()) > 0 {
				t.Errorf("%d requests; left: %v", n, bkt.Objects())
			}
		})
	}
}

func TestCompactionWarning(t *testing.T) {
	for _, tc := range []struct {
		flags map[string]string
		warns bool
	}{
		{nil, false},
		{map[string]string{"storage.tsdb.min-block-duration": "2h", "storage.tsdb.max-block-duration": "2h"}, false},
		{map[string]string{"storage.tsdb.min-block-duration": "2h", "storage.tsdb.max-block-duration": "0s"}, true},
		{map[string]string{"storage.tsdb.min-block-duration": "2h", "storage.tsdb.max-block-duration": "0s", "storage.tsdb.delay-compact-file.path": "/prometheus/thanos.shipper.json"}, false},
		{map[string]string{"storage.tsdb.min-block-duration": "2h", "storage.tsdb.max-block-duration": "1d", "storage.tsdb.delay-compact-file.path": "/prometheus/other.json"}, true},
	} {
		u := made(t, t.TempDir(), objstore.NewInMemBucket(), func(u *Uploader) {
			u.opts.PrometheusFlags = func() map[string]string { return tc.flags }
		})
		if got := u.Status().Warnings; (len(got) > 0) != tc.warns || tc.warns && !strings.Contains(got[0], "--storage.tsdb.delay-compact-file.path=") {
			t.Errorf("%v: %q", tc.flags, got)
		}
	}
}
