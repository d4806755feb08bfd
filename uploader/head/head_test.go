package head_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/ringside-project/ringside/uploader/head"
)

// putAllKinds appends floats, stale markers and all kinds of histograms over
// three windows and their borders.
func putAllKinds(t *testing.T, db *tsdb.DB) {
	t.Helper()
	first, last := base+37*minute, base+2*window+31*minute
	add := func(_ storage.SeriesRef, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	app := db.Appender(t.Context())
	add(app.Append(0, labels.FromStrings("__name__", "first_only"), first, 1))
	for name, times := range map[string][]int64{
		"float":     each(first, last, minute/4),
		"border":    {first, base + window - 1, base + window, base + window + 1, base + 2*window - 1, base + 2*window, last},
		"last_only": {last},
	} {
		for _, at := range times {
			add(app.Append(0, labels.FromStrings("__name__", name), at, float64(at%1000)))
		}
	}
	stale := math.Float64frombits(value.StaleNaN)
	for i, at := range each(first, last, minute) {
		n := uint64(i + 1)
		h := &histogram.Histogram{
			Schema: 1, Count: 5 * n, Sum: float64(n), ZeroThreshold: 0.001, ZeroCount: n,
			PositiveSpans:   []histogram.Span{{Offset: 0, Length: 2}, {Offset: 3, Length: 1}},
			PositiveBuckets: []int64{int64(n), 0, 0}, NegativeSpans: []histogram.Span{{Length: 1}}, NegativeBuckets: []int64{int64(n)},
		}
		custom := &histogram.Histogram{
			Schema: histogram.CustomBucketsSchema, Count: 2 * n, Sum: float64(n), CustomValues: []float64{1, 5},
			PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []int64{int64(n), 0},
		}
		if i%50 == 49 {
			h, custom = &histogram.Histogram{Sum: stale}, &histogram.Histogram{Sum: stale}
		}
		add(app.AppendHistogram(0, labels.FromStrings("__name__", "histogram"), at, h, nil))
		add(app.AppendHistogram(0, labels.FromStrings("__name__", "float_histogram"), at, nil, h.ToFloat(nil)))
		add(app.AppendHistogram(0, labels.FromStrings("__name__", "custom"), at, custom, nil))
		add(app.AppendHistogram(0, labels.FromStrings("__name__", "float_custom"), at, nil, custom.ToFloat(nil)))
		v := float64(i)
		if i%10 == 9 {
			v = stale
		}
		add(app.Append(0, labels.FromStrings("__name__", "stale"), at, v))
		if i%20 == 10 {
			add(app.AppendHistogram(0, labels.FromStrings("__name__", "changes"), at, h, nil))
		} else {
			add(app.Append(0, labels.FromStrings("__name__", "changes"), at, v))
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
}

// TestAllKinds cuts three windows and their borders: by window, each sample
// once, and with as many samples as the report says. What goes on with the
// directory finds the same, and a second flush finds nothing.
func TestAllKinds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir, options())
	putAllKinds(t, db)
	want := everything(t, db)
	shut(t, db)

	var told []head.Progress
	r, err := head.Flush(t.Context(), dir, head.Options{Progress: func(p head.Progress) { told = append(told, p) }}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	got, metas := inBlocks(t, dir)
	equal(t, "blocks", got, want)
	aligned(t, metas)
	if r.Samples != int64(len(want)) || r.Series != 10 || len(r.Blocks) != 3 || len(metas) != 3 || r.Repaired || r.Took <= 0 {
		t.Errorf("reports %+v for %d samples of 10 series in %d blocks", r, len(want), len(metas))
	}
	if last := metas[2]; last.MaxTime != base+2*window+31*minute+1 {
		t.Errorf("the last block ends at base%+d, which would keep Prometheus from taking up right after the last sample", last.MaxTime-base)
	}
	if end := told[len(told)-1]; end != (head.Progress{Step: "cut", Done: 3, Total: 3, Samples: r.Samples}) {
		t.Errorf("last told %+v", end)
	}
	if again := flush(t, dir); again.Samples != 0 || len(again.Blocks) != 0 {
		t.Errorf("the second flush reports %+v", again)
	}
	db = open(t, dir, options())
	equal(t, "reopened", everything(t, db), want)
	put(t, db, at("float", base+2*window+31*minute+1))
}

func TestNothingToCut(t *testing.T) {
	dir := t.TempDir()
	if r := flush(t, dir); r.Samples+r.Series != 0 || r.Blocks != nil {
		t.Errorf("an empty directory gives %+v", r)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("an empty directory is empty no more: %v", entries)
	}
	shut(t, open(t, dir, options()))
	if r := flush(t, dir); r.Samples+r.Series != 0 || r.Blocks != nil {
		t.Errorf("a new TSDB gives %+v", r)
	}
	if _, err := head.Flush(t.Context(), filepath.Join(dir, "nosuch"), head.Options{}, quiet); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}

// TestSeriesWithoutSamples has a series record in the log, but no samples.
func TestSeriesWithoutSamples(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, options())
	put(t, db, at("one", base+minute))
	app := db.Appender(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", "none"), base+minute, 1); err != nil {
		t.Fatal(err)
	}
	if err := app.Rollback(); err != nil { // logs the series
		t.Fatal(err)
	}
	want := everything(t, db)
	shut(t, db)
	flush(t, dir)
	got, _ := inBlocks(t, dir)
	equal(t, "blocks", got, want)
}

// TestLocked has the database open: nothing may change.
func TestLocked(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, options())
	put(t, db, at("one", base+minute))
	if _, err := head.Flush(t.Context(), dir, head.Options{}, quiet); !errors.Is(err, head.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "ringside")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it has been at work: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
		t.Errorf("the lock is gone: %v", err)
	}
}

// TestAgent refuses the directory of a Prometheus agent.
func TestAgent(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, options())
	put(t, db, at("one", base+minute))
	shut(t, db)
	if err := os.RemoveAll(filepath.Join(dir, "chunks_head")); err != nil {
		t.Fatal(err)
	}
	if _, err := head.Flush(t.Context(), dir, head.Options{}, quiet); err == nil {
		t.Error("no error for a directory without head chunks")
	}
}

// TestLeftOvers has what crashes leave: links of an earlier flush, a lock that
// nobody holds, and a block that Prometheus was writing, which is its own to
// remove.
func TestLeftOvers(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, options())
	put(t, db, at("one", base+minute))
	want := everything(t, db)
	shut(t, db)
	writing := ulid.Make().String() + ".tmp-for-creation"
	for _, d := range []string{writing, "ringside/flush/wal", "ringside/upload"} {
		if err := os.MkdirAll(filepath.Join(dir, d, "chunks"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	flush(t, dir)
	got, _ := inBlocks(t, dir)
	equal(t, "blocks", got, want)
	for _, d := range []string{writing, "ringside/upload"} {
		if _, err := os.Stat(filepath.Join(dir, d)); err != nil {
			t.Errorf("%s is gone: %v", d, err)
		}
	}
}

// TestGap has a year between two samples, as a clock that jumps leaves.
func TestGap(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, options())
	year := 365 * 12 * window
	put(t, db, at("old", base-year, base-year+minute))
	put(t, db, at("new", base+minute))
	put(t, db, at("both", base+2*minute))
	want := everything(t, db)
	shut(t, db)
	r := flush(t, dir)
	got, metas := inBlocks(t, dir)
	equal(t, "blocks", got, want)
	aligned(t, metas)
	if len(r.Blocks) != 2 {
		t.Errorf("%d blocks, want 2", len(r.Blocks))
	}
}

// TestDeleted has ranges deleted, also at a window's border and of
// out-of-order samples.
func TestDeleted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := options()
	o.OutOfOrderTimeWindow = 3 * window
	db := open(t, dir, o)
	put(t, db, at("whole", each(base, base+window+30*minute, minute)...), at("part", each(base+1, base+window+30*minute, minute)...), at("late", base, base+window+30*minute))
	put(t, db, at("late", each(base+minute, base+window+29*minute, minute)...))
	for _, d := range []struct {
		name     string
		from, to int64
	}{{"whole", base, base + 2*window}, {"part", base + 20*minute, base + 30*minute}, {"part", base + window - 2*minute, base + window}, {"late", base + 10*minute, base + 70*minute}} {
		if err := db.Delete(t.Context(), d.from, d.to, labels.MustNewMatcher(labels.MatchEqual, "__name__", d.name)); err != nil {
			t.Fatal(err)
		}
	}
	want := everything(t, db)
	shut(t, db)
	flush(t, dir)
	got, _ := inBlocks(t, dir)
	equal(t, "blocks", got, want)
}

// TestStaleSeries cuts what is left after Prometheus has cut the series that
// have gone.
func TestStaleSeries(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, options())
	put(t, db, at("stays", each(base, base+30*minute, minute)...), at("goes", each(base, base+30*minute, minute)...))
	app := db.Appender(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", "goes"), base+31*minute, math.Float64frombits(value.StaleNaN)); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := db.CompactStaleHead(); err != nil {
		t.Fatal(err)
	}
	put(t, db, at("stays", each(base+31*minute, base+window+30*minute, minute)...), at("goes", base+window+10*minute)) // comes back
	want := everything(t, db)
	shut(t, db)
	flush(t, dir)
	got, metas := inBlocks(t, dir)
	equal(t, "blocks", got, want)
	if len(metas) != 3 {
		t.Errorf("%d blocks, want 3", len(metas))
	}
}

// TestStartTimestamps keeps them, in the encoding that can.
func TestStartTimestamps(t *testing.T) {
	dir := t.TempDir()
	o := options()
	o.EnableSTStorage, o.FloatChunkEncoding = true, chunkenc.EncXOR2
	db := open(t, dir, o)
	app := db.AppenderV2(t.Context())
	if _, err := app.Append(0, labels.FromStrings("__name__", "one"), base+1, base+minute, 1, nil, nil, storage.AOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	shut(t, db)
	r := flush(t, dir)
	b, err := tsdb.OpenBlock(quiet, filepath.Join(dir, r.Blocks[0].String()), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	q, err := tsdb.NewBlockQuerier(b, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), false, nil, labels.MustNewMatcher(labels.MatchEqual, "__name__", "one"))
	if !set.Next() {
		t.Fatal("no series")
	}
	it := set.At().Iterator(nil)
	if it.Next(); it.AtST() != base+1 {
		t.Errorf("start timestamp %d, want %d", it.AtST(), base+1)
	}
	for set.Next() {
	}
}
