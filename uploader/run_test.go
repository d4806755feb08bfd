package uploader

import (
	"context"
	"errors"
	"maps"
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

// TestCompactionWarning has Prometheus tell how it runs. Paths are its own: it may
// have another working directory, and other mounts.
func TestCompactionWarning(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		max, path, delay string
		warns            bool
	}{
		{"2h", "/prometheus", "", false},
		{"0s", "/prometheus", "", true},
		{"0s", "/prometheus/", "/prometheus/thanos.shipper.json", false},
		{"1d", "/prometheus", "/prometheus/other.json", true},
		{"1d", "/prometheus", "/other/thanos.shipper.json", true},
		{"1d", "/prometheus", dir + "/thanos.shipper.json", true},
		{"1d", "data", "./data/thanos.shipper.json", false},
		{"1d", "data/", "thanos.shipper.json", true},
		{"1d", "data", dir + "/thanos.shipper.json", false},
		{"1d", "data", "/other/thanos.shipper.json", true},
	} {
		flags := map[string]string{
			"storage.tsdb.min-block-duration": "2h", "storage.tsdb.max-block-duration": tc.max,
			"storage.tsdb.path": tc.path, "storage.tsdb.delay-compact-file.path": tc.delay,
		}
		u := made(t, dir, objstore.NewInMemBucket(), func(u *Uploader) {
			u.opts.PrometheusFlags = func() map[string]string { return flags }
		})
		want := "--storage.tsdb.delay-compact-file.path=" + filepath.Join(tc.path, "thanos.shipper.json")
		if got := u.Status().Warnings; (len(got) > 0) != tc.warns || tc.warns && !strings.HasSuffix(got[0], want) {
			t.Errorf("%v: %q", tc, got)
		}
		if n := testutil.ToFloat64(u.metrics.warnings); (n > 0) != tc.warns {
			t.Errorf("%v: %v warnings", tc, n)
		}
	}
	u := made(t, dir, objstore.NewInMemBucket(), func(u *Uploader) {
		u.opts.PrometheusFlags = func() map[string]string { return nil }
	})
	if got := u.Status().Warnings; len(got) > 0 {
		t.Errorf("nothing is known: %q", got)
	}
}

// TestNewWithoutNetwork starts with a bucket that cannot be reached, whatever has to
// be done before it can be used.
func TestNewWithoutNetwork(t *testing.T) {
	for _, more := range []map[string]any{nil, {"storage_create_container": true}} {
		cfg := DefaultConfig
		cfg.Bucket = &bucket.Config{Type: "AZURE", Config: map[string]any{
			"storage_account": "a", "container": "c", "storage_connection_string": "AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a",
			"pipeline_config": map[string]any{"max_tries": 1, "retry_delay": "1ms", "max_retry_delay": "1ms"},
		}}
		maps.Copy(cfg.Bucket.Config, more)
		u, err := New(cfg, Options{
			DataDir: t.TempDir(), Labels: func() (labels.Labels, error) { return labels.FromStrings("cluster", "test"), nil },
		}, log.NewNopLogger(), prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- u.Run(ctx) }()
		await(t, func() bool { return u.Status().Bucket.Error != "" })
		if st := u.Status().Bucket; st.Reachable || st.Name != "c" || !strings.Contains(st.Error, "connection refused") {
			t.Errorf("%+v", st)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
