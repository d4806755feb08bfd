//go:build unix

package head_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/ringside-project/ringside/uploader/head"
)

// BenchmarkFlush flushes a head of 1,000,000 series, or RINGSIDE_BENCH_SERIES,
// with 60 samples each, as a server leaves it that ends well: with this package,
// and next to it with tsdb's own FlushWAL, which cuts one block whatever the
// windows and leaves out-of-order samples out. Each runs in a process of its
// own; peak-MiB is what that had resident at most, mapped files included.
func BenchmarkFlush(b *testing.B) {
	n := 1_000_000
	if s := os.Getenv("RINGSIDE_BENCH_SERIES"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			b.Fatal(err)
		}
	}
	for _, windows := range []int{1, 2} {
		dir := filepath.Join(b.TempDir(), "data")
		fillHead(b, dir, n, base+(int64(windows)-1)*(window-8*minute))
		for _, how := range []string{"head.Flush", "FlushWAL"} {
			b.Run(fmt.Sprintf("%s/windows=%d", how, windows), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					c := exec.CommandContext(b.Context(), os.Args[0])
					copied := filepath.Join(b.TempDir(), "data")
					if out, err := exec.Command("cp", "-a", dir, copied).CombinedOutput(); err != nil {
						b.Fatalf("%v: %s", err, out)
					}
					c.Env = append(os.Environ(), "RINGSIDE_FLUSH="+copied, "RINGSIDE_FLUSH_HOW="+how)
					b.StartTimer()
					out, err := c.Output()
					b.StopTimer()
					if err != nil {
						b.Fatalf("%v: %s", err, out)
					}
					var r head.Report
					if err := json.Unmarshal(out, &r); err != nil {
						b.Fatal(err)
					}
					if want := int64(n) * benchSamples; r.Samples != want {
						b.Fatalf("%d samples of %d", r.Samples, want)
					}
					b.ReportMetric(float64(r.Samples)/r.Took.Seconds(), "samples/s")
					b.ReportMetric(float64(r.Samples)/(c.ProcessState.UserTime()+c.ProcessState.SystemTime()).Seconds(), "samples/cpu-s")
					b.ReportMetric(float64(c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)/1024, "peak-MiB")
					b.ReportMetric(0, "ns/op")
					b.ReportMetric(r.Took.Seconds(), "s")
					os.RemoveAll(copied)
					b.StartTimer()
				}
			})
		}
		os.RemoveAll(dir)
	}
}

const benchSamples = 60

// fillHead leaves what a server does that scraped n series every 15 s.
func fillHead(b *testing.B, dir string, n int, from int64) {
	b.Helper()
	db, err := tsdb.Open(dir, quiet, nil, options(), nil)
	if err != nil {
		b.Fatal(err)
	}
	refs := make([]storage.SeriesRef, n)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range int64(benchSamples) {
		for first := 0; first < n; first += 10_000 {
			app := db.Appender(b.Context())
			for s := first; s < min(n, first+10_000); s++ {
				var l labels.Labels
				if i == 0 {
					l = labels.FromStrings("__name__", fmt.Sprintf("http_requests_%d_total", s%500), "job", "ledger",
						"instance", fmt.Sprintf("10.0.%d.%d:8080", s/500/250, s/500%250), "namespace", "shop", "pod", fmt.Sprintf("ledger-%d", s/500),
						"code", "200", "method", "GET")
				}
				if refs[s], err = app.Append(refs[s], l, from+i*minute/4, float64(i*10+random.Int64N(10))); err != nil {
					b.Fatal(err)
				}
			}
			if err := app.Commit(); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
}
