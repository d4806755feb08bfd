package uploader

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"github.com/thanos-io/objstore"

	"github.com/ringside-project/ringside/uploader/block"
	"github.com/ringside-project/ringside/uploader/head"
)

const hour = int64(time.Hour / time.Millisecond)

// present is when the tests run, and origin the start of a two-hour window some
// days before.
var (
	present = time.Now()
	origin  = present.Add(-72*time.Hour).UnixMilli() / (2 * hour) * (2 * hour)
)

// bubble runs a test on a clock of its own, which starts at present.
func bubble(t *testing.T, run func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(present)) // from 2000-01-01
		run(t)
	})
}

// shared is a value that the test changes while others read it.
type shared[T any] struct {
	mu sync.Mutex
	v  T
}

func (s *shared[T]) set(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.v = v
}

func (s *shared[T]) get() T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.v
}

// point is one sample, whatever its type.
type point struct {
	t int64
	v string
}

// content is what a block, or many, hold: series to samples in order of time.
type content map[string][]point

// write makes a block of float series in dir, sample after sample every 15 s in
// [mint, maxt), which its meta.json then says.
func write(t testing.TB, dir string, mint, maxt int64, names ...string) ulid.ULID {
	t.Helper()
	w, err := tsdb.NewBlockWriter(slog.New(slog.DiscardHandler), dir, maxt-mint+1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	app := w.Appender(t.Context())
	for _, name := range names {
		for at := mint; at < maxt; at += 15_000 {
			if _, err := app.Append(0, labels.FromStrings("__name__", name), at, float64(at%1000)+float64(len(name))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	id, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return reshape(t, dir, id, func(m *tsdb.BlockMeta) { m.MinTime, m.MaxTime = mint, maxt })
}

// reshape changes a block's meta.json.
func reshape(t testing.TB, dir string, id ulid.ULID, change func(*tsdb.BlockMeta)) ulid.ULID {
	t.Helper()
	b, err := block.Read(filepath.Join(dir, id.String()))
	if err != nil {
		t.Fatal(err)
	}
	change(&b.Meta.BlockMeta)
	if err := b.WriteMeta(); err != nil {
		t.Fatal(err)
	}
	return id
}

// read gives all samples of the block in dir.
func read(t testing.TB, dir string) content {
	t.Helper()
	b, err := tsdb.OpenBlock(nil, dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	q, err := tsdb.NewBlockQuerier(b, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	return query(t, q)
}

// query gives all samples that q has.
func query(t testing.TB, q storage.Querier) content {
	t.Helper()
	all := content{}
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		series := set.At()
		name := series.Labels().String()
		it := series.Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			switch kind {
			case chunkenc.ValFloat:
				at, v := it.At()
				all[name] = append(all[name], point{at, fmt.Sprint(v)})
			case chunkenc.ValHistogram:
				at, h := it.AtHistogram(nil)
				h.CounterResetHint = histogram.UnknownCounterReset // a merge may lose it
				all[name] = append(all[name], point{at, h.String()})
			case chunkenc.ValFloatHistogram:
				at, h := it.AtFloatHistogram(nil)
				h.CounterResetHint = histogram.UnknownCounterReset
				all[name] = append(all[name], point{at, h.String()})
			}
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// join puts together what several blocks hold.
func join(parts ...content) content {
	all := content{}
	for _, p := range parts {
		for name, points := range p {
			all[name] = append(all[name], points...)
		}
	}
	for _, points := range all {
		slices.SortFunc(points, func(a, b point) int { return int(a.t - b.t) })
	}
	return all
}

// lively is a head with in-order and out-of-order samples of all types, for 5 h
// from origin on; dir gets its blocks as Prometheus would cut them.
func lively(t testing.TB, dir string, o *tsdb.Options) *tsdb.DB {
	t.Helper()
	o.OutOfOrderTimeWindow, o.OutOfOrderCapMax, o.EnableOverlappingCompaction = 2*hour, 32, true
	o.MinBlockDuration, o.MaxBlockDuration = 2*hour, 2*hour
	db, err := tsdb.Open(dir, nil, nil, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.DisableCompactions()
	for i := range int64(5 * 60) {
		at := origin + i*60_000
		app := db.Appender(t.Context())
		add := func(name string, at int64) {
			if _, err := app.Append(0, labels.FromStrings("__name__", name), at, float64(i)); err != nil {
				t.Fatal(err)
			}
		}
		add("steady", at)
		if i%3 == 0 && i > 90 {
			add("late", at-80*60_000)
		} else {
			add("late", at+500)
		}
		for j, h := range tsdbutil.GenerateTestHistograms(3) {
			name := labels.FromStrings("__name__", "histogram", "n", fmt.Sprint(j))
			if _, err := app.AppendHistogram(0, name, at, h, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// made gives an uploader for dir and bkt, ready to run, beside a Prometheus that
// is ready and takes no lock.
func made(t testing.TB, dir string, bkt objstore.Bucket, change func(*Uploader)) *Uploader {
	t.Helper()
	u, err := New(Config{FlushOnShutdown: true}, Options{
		DataDir: dir, Node: "prometheus-0",
		Labels: func() (labels.Labels, error) {
			return labels.FromStrings("cluster", "test", "prometheus_replica", "prometheus-0"), nil
		},
		PrometheusReady: func() bool { return true },
		PrometheusFlags: func() map[string]string { return map[string]string{"storage.tsdb.no-lockfile": "true"} },
	}, log.NewNopLogger(), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	u.cut = func(context.Context, string, head.Options, *slog.Logger) (head.Report, error) {
		return head.Report{}, nil
	}
	if change != nil {
		change(u)
	}
	if before, ok := alive.LoadAndDelete(dir); ok {
		before.(*Uploader).release() // as its end would
	}
	if err := u.prepare(bkt); err != nil {
		t.Fatal(err)
	}
	alive.Store(dir, u)
	return u
}

// alive has the uploader of each directory that was made last.
var alive sync.Map

// described wants b's meta.json to have the size and hash of each of its files.
func described(b *block.Block) error {
	bare := *b
	bare.Meta.Thanos.Files = nil
	want, err := block.Describe(&bare, b.Meta.Thanos.Labels)
	if err != nil {
		return err
	}
	for i := range want.Thanos.Files {
		f := &want.Thanos.Files[i]
		if f.RelPath == "meta.json" {
			continue
		}
		if err := f.TakeHash(context.Background(), filepath.Join(b.Dir, f.RelPath)); err != nil {
			return err
		}
	}
	if !reflect.DeepEqual(b.Meta.Thanos.Files, want.Thanos.Files) {
		return fmt.Errorf("%s: %+v is not what there is: %+v", b.Meta.ULID, b.Meta.Thanos.Files, want.Thanos.Files)
	}
	return nil
}

// fetch gives what the bucket's whole blocks hold, and fails where one is not
// as its meta.json says, or where two of them overlap. As for Thanos, those whose
// sources another one has too do not count.
func fetch(t testing.TB, bkt objstore.Bucket) (content, []*block.Block) {
	t.Helper()
	dir := t.TempDir()
	err := bkt.Iter(t.Context(), "", func(name string) error {
		r, err := bkt.Get(t.Context(), name)
		if err != nil {
			return err
		}
		defer r.Close()
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			return err
		}
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.ReadFrom(r)
		return err
	}, objstore.WithRecursiveIter())
	if err != nil {
		t.Fatal(err)
	}
	ids, err := blockDirs(dir)
	if err != nil {
		t.Fatal(err)
	}
	var (
		parts       []content
		all, blocks []*block.Block
	)
	for _, id := range ids {
		b, err := block.Read(filepath.Join(dir, id.String()))
		if os.IsNotExist(err) {
			continue // not whole, and nobody can see it
		}
		if err == nil {
			err = described(b)
		}
		if err == nil {
			err = block.Check(t.Context(), b, true)
		}
		if err != nil {
			t.Fatalf("block %s in the bucket: %v", id, err)
		}
		all = append(all, b)
	}
	for _, b := range all {
		if slices.ContainsFunc(all, func(o *block.Block) bool { return outdoes(o, b) }) {
			continue
		}
		id := b.Meta.ULID
		for _, other := range blocks {
			if labelsKey(b.Meta.Thanos.Labels) == labelsKey(other.Meta.Thanos.Labels) && b.Meta.MinTime < other.Meta.MaxTime && other.Meta.MinTime < b.Meta.MaxTime {
				t.Fatalf("blocks %s [%d,%d) and %s [%d,%d) overlap in the bucket", id, b.Meta.MinTime, b.Meta.MaxTime, other.Meta.ULID, other.Meta.MinTime, other.Meta.MaxTime)
			}
		}
		parts, blocks = append(parts, read(t, b.Dir)), append(blocks, b)
	}
	return join(parts...), blocks
}

// outdoes tells whether Thanos takes b for a leftover of what o was made of.
func outdoes(o, b *block.Block) bool {
	these, those := b.Meta.Compaction.Sources, o.Meta.Compaction.Sources
	for _, id := range these {
		if !slices.Contains(those, id) {
			return false
		}
	}
	return labelsKey(o.Meta.Thanos.Labels) == labelsKey(b.Meta.Thanos.Labels) &&
		(len(those) > len(these) || o.Meta.ULID.Compare(b.Meta.ULID) < 0)
}
