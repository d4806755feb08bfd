package head_test

import (
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/fileutil"
	"go.uber.org/goleak"

	"github.com/ringside-project/ringside/uploader/head"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("RINGSIDE_FLUSH"); dir != "" {
		os.Exit(flushAsChild(dir))
	}
	if err := flag.Set("rapid.checks", "40"); err != nil { // each writes blocks, which takes its time
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

const (
	window = int64(2 * time.Hour / time.Millisecond)
	minute = int64(time.Minute / time.Millisecond)
	base   = 1_700_000_000_000 / window * window // a window starts there
)

var quiet = slog.New(slog.DiscardHandler)

// key is one sample's place.
type key struct {
	series string
	t      int64
}

// contents are samples by their place, one line a copy.
type contents map[key][]string

func (c contents) add(series string, it chunkenc.Iterator) error {
	for vt := it.Next(); vt != chunkenc.ValNone; vt = it.Next() {
		var text string
		switch vt {
		case chunkenc.ValFloat:
			_, v := it.At()
			text = floatText(v)
		case chunkenc.ValHistogram:
			_, h := it.AtHistogram(nil)
			text = "h" + histogramText(h.ToFloat(nil))
		case chunkenc.ValFloatHistogram:
			_, h := it.AtFloatHistogram(nil)
			text = "f" + histogramText(h)
		}
		k := key{series, it.AtT()}
		c[k] = append(c[k], text)
	}
	return it.Err()
}

func floatText(v float64) string { return strconv.FormatUint(math.Float64bits(v), 16) }

func histogramText(h *histogram.FloatHistogram) string {
	if value.IsStaleNaN(h.Sum) {
		return "stale"
	}
	return h.String()
}

// query is what a querier finds.
func query(t *testing.T, q storage.Querier, err error) contents {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	got := contents{}
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		if err := got.add(set.At().Labels().String(), set.At().Iterator(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return got
}

// inBlocks is what the blocks in dir hold, with their metas by time; each must
// be whole and hold nothing outside the times that it says.
func inBlocks(t *testing.T, dir string) (contents, []tsdb.BlockMeta) {
	t.Helper()
	all := contents{}
	var metas []tsdb.BlockMeta
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err != nil {
			continue
		}
		b, err := tsdb.OpenBlock(quiet, filepath.Join(dir, e.Name()), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		q, err := tsdb.NewBlockQuerier(b, math.MinInt64, math.MaxInt64)
		samples := uint64(0)
		for k, texts := range query(t, q, err) {
			if k.t < b.MinTime() || k.t >= b.MaxTime() {
				t.Errorf("block %s of [%d, %d) holds a sample at %d", e.Name(), b.MinTime(), b.MaxTime(), k.t)
			}
			all[k] = append(all[k], texts...)
			samples += uint64(len(texts))
		}
		if got := b.Meta().Stats.NumSamples; got != samples {
			t.Errorf("block %s says that it holds %d samples, it holds %d", e.Name(), got, samples)
		}
		metas = append(metas, b.Meta())
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(metas, func(a, b tsdb.BlockMeta) int { return int(a.MinTime - b.MinTime) })
	return all, metas
}

// equal wants each sample of want once in got, and no other.
func equal(t *testing.T, what string, got, want contents) {
	t.Helper()
	complain := 5
	for k, texts := range got {
		if len(texts) != 1 || len(want[k]) == 0 || want[k][0] != texts[0] {
			if complain--; complain >= 0 {
				t.Errorf("%s: %s at base%+d: got %q, want %q", what, k.series, k.t-base, texts, want[k])
			}
		}
	}
	missing := 0
	for k := range want {
		if _, found := got[k]; !found {
			if missing++; missing <= 5 {
				t.Errorf("%s: %s at base%+d is missing", what, k.series, k.t-base)
			}
		}
	}
	if missing > 0 || complain < 0 {
		t.Errorf("%s: %d of %d samples are missing, %d are wrong", what, missing, len(want), 5-complain)
	}
}

// aligned wants blocks that stay within their windows, and in-order ones that
// do not overlap.
func aligned(t *testing.T, metas []tsdb.BlockMeta) {
	t.Helper()
	end := int64(math.MinInt64)
	for _, m := range metas {
		if m.MinTime/window != (m.MaxTime-1)/window {
			t.Errorf("block [base%+d, base%+d) spans windows", m.MinTime-base, m.MaxTime-base)
		}
		if m.Compaction.FromOutOfOrder() {
			continue
		}
		if m.MinTime < end {
			t.Errorf("block [base%+d, base%+d) overlaps the one before", m.MinTime-base, m.MaxTime-base)
		}
		end = m.MaxTime
	}
}

func options() *tsdb.Options {
	o := tsdb.DefaultOptions()
	o.RetentionDuration = 0
	return o
}

func open(t *testing.T, dir string, o *tsdb.Options) *tsdb.DB {
	t.Helper()
	db, err := tsdb.Open(dir, quiet, nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.DisableCompactions()
	t.Cleanup(func() { db.Close() })
	return db
}

func shut(t *testing.T, db *tsdb.DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// everything is what the whole database holds.
func everything(t *testing.T, db *tsdb.DB) contents {
	t.Helper()
	q, err := db.Querier(math.MinInt64, math.MaxInt64)
	return query(t, q, err)
}

// floats are samples of a series named name.
type floats struct {
	name  string
	times []int64
}

func at(name string, times ...int64) floats { return floats{name, times} }

// put appends floats and commits them at once, so that none is too old for the
// others.
func put(t *testing.T, db *tsdb.DB, series ...floats) {
	t.Helper()
	app := db.Appender(t.Context())
	for _, s := range series {
		for _, at := range s.times {
			if _, err := app.Append(0, labels.FromStrings("__name__", s.name), at, float64(at%1000)); err != nil {
				t.Fatalf("%s at base%+d: %v", s.name, at-base, err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// each is every step from first to last, inclusive.
func each(first, last, step int64) []int64 {
	var times []int64
	for at := first; at <= last; at += step {
		times = append(times, at)
	}
	return times
}

func flush(t *testing.T, dir string) head.Report {
	t.Helper()
	r, err := head.Flush(t.Context(), dir, head.Options{}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"ringside/flush", "lock"} {
		if _, err := os.Stat(filepath.Join(dir, left)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left behind: %v", left, err)
		}
	}
	return r
}

func readJSON(t *testing.T, path string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// image copies a data directory as it is, as a crash leaves it.
func image(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "image")
	if err := fileutil.CopyDirs(dir, to); err != nil {
		t.Fatal(err)
	}
	return to
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
