package merge_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/ringside-project/ringside/uploader/block"
	"github.com/ringside-project/ringside/uploader/merge"
)

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "30"); err != nil { // each writes blocks, which takes its time
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var quiet = slog.New(slog.DiscardHandler)

const end = int64(7_200_000)

// key is a sample's place.
type key struct {
	series string
	t      int64
}

// write makes a block over [0, end) of samples, whose values follow from their
// places: floats, and histograms of both kinds.
func write(t testing.TB, dir string, samples []key, hints ...string) *block.Block {
	w, err := tsdb.NewBlockWriter(quiet, dir, end)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	app := w.Appender(context.Background())
	for _, s := range samples {
		l := labels.FromStrings("__name__", s.series)
		switch s.series[0] {
		case 'h':
			_, err = app.AppendHistogram(0, l, s.t, tsdbutil.GenerateTestHistogram(s.t/60_000), nil)
		case 'g':
			_, err = app.AppendHistogram(0, l, s.t, nil, tsdbutil.GenerateTestGaugeFloatHistogram(s.t/60_000))
		default:
			_, err = app.Append(0, l, s.t, float64(s.t))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	id, err := w.Flush(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	b, err := block.Read(filepath.Join(dir, id.String()))
	if err != nil {
		t.Fatal(err)
	}
	b.Meta.MinTime, b.Meta.MaxTime, b.Meta.Compaction.Hints = 0, end, hints
	if err := b.WriteMeta(); err != nil {
		t.Fatal(err)
	}
	return b
}

// read gives all samples of a block.
func read(t testing.TB, b *block.Block) map[key]string {
	opened, err := tsdb.OpenBlock(quiet, b.Dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	q, err := tsdb.NewBlockQuerier(opened, math.MinInt64, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	all := map[key]string{}
	set := q.Select(context.Background(), true, nil, labels.MustNewMatcher(labels.MatchRegexp, "__name__", ".+"))
	for set.Next() {
		it, name := set.At().Iterator(nil), set.At().Labels().Get("__name__")
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			k, v := key{name, it.AtT()}, ""
			switch kind {
			case chunkenc.ValHistogram:
				_, h := it.AtHistogram(nil)
				h.CounterResetHint = histogram.UnknownCounterReset
				v = h.String()
			case chunkenc.ValFloatHistogram:
				_, h := it.AtFloatHistogram(nil)
				h.CounterResetHint = histogram.UnknownCounterReset
				v = h.String()
			default:
				_, f := it.At()
				v = fmt.Sprint(f)
			}
			if _, twice := all[k]; twice {
				t.Fatalf("%v is there twice", k)
			}
			all[k] = v
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestUnion merges blocks of any samples, some the same, into one of a part of
// their time: it holds each of that part once, is fit, and names its sources.
func TestUnion(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var (
			dir   = t.TempDir()
			parts []*block.Block
			want  = map[key]string{}
			span  = []int64{0, end}
			of    []ulid.ULID
			whole []ulid.ULID
		)
		if rapid.Bool().Draw(rt, "a part") {
			span = rapid.SliceOfNDistinct(rapid.Int64Range(0, 120), 2, 2, rapid.ID).Draw(rt, "span")
			slices.Sort(span)
			span[0], span[1] = span[0]*60_000, span[1]*60_000
		}
		for i := range rapid.IntRange(1, 3).Draw(rt, "parts") {
			place := rapid.Custom(func(rt *rapid.T) key {
				return key{rapid.SampledFrom([]string{"a", "b", "h1", "g1"}).Draw(rt, "series"), rapid.Int64Range(0, 119).Draw(rt, "minute") * 60_000}
			})
			samples := rapid.SliceOfNDistinct(place, 1, 200, rapid.ID).Draw(rt, "samples")
			slices.SortFunc(samples, func(a, b key) int { return int(a.t - b.t) })
			b := write(t, filepath.Join(dir, "parts", fmt.Sprint(i)), samples)
			parts = append(parts, b)
			of = append(of, b.Meta.ULID)
			for k, v := range read(t, b) {
				if k.t >= span[0] && k.t < span[1] {
					want[k] = v
				}
			}
		}
		if span[0] == 0 && span[1] == end {
			whole = of
		}
		made, err := merge.Merge{Dir: filepath.Join(dir, "made"), Parts: parts, MinTime: span[0], MaxTime: span[1], Sources: whole, Of: of, Logger: quiet}.Do(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		if made == nil {
			if len(want) > 0 {
				rt.Fatalf("nothing was made of %d samples", len(want))
			}
			return
		}
		if err := block.Check(t.Context(), made, false); err != nil {
			rt.Error(err)
		}
		got := read(t, made)
		for k, v := range want {
			if got[k] != v {
				rt.Errorf("%v is %s, want %s", k, got[k], v)
			}
		}
		if len(got) != len(want) {
			rt.Errorf("%d samples, want %d", len(got), len(want))
		}
		m := &made.Meta
		sources := slices.Clone(of)
		if whole == nil { // nothing else may count as having all of it
			sources = []ulid.ULID{m.ULID}
		}
		slices.SortFunc(sources, ulid.ULID.Compare)
		origins := slices.SortedFunc(slices.Values(of), ulid.ULID.Compare)
		if m.MinTime != span[0] || m.MaxTime != span[1] || !slices.Equal(m.Compaction.Sources, sources) || !slices.Equal(slices.SortedFunc(slices.Values(made.Origins()), ulid.ULID.Compare), origins) || len(m.Thanos.Extensions.MadeOf) > 0 != (whole == nil) || int(m.Stats.NumSamples) != len(want) {
			rt.Errorf("%+v", m)
		}
	})
}

// TestHints: a block with an in-order part says that nothing earlier follows.
func TestHints(t *testing.T) {
	dir := t.TempDir()
	a := write(t, dir, []key{{"a", 0}})
	late := write(t, dir, []key{{"a", 60_000}}, tsdb.CompactionHintFromOutOfOrder)
	later := write(t, dir, []key{{"a", 120_000}}, tsdb.CompactionHintFromOutOfOrder)
	for _, tc := range []struct {
		parts []*block.Block
		hints []string
	}{
		{[]*block.Block{a, late}, nil},
		{[]*block.Block{late, later}, []string{tsdb.CompactionHintFromOutOfOrder}},
	} {
		made, err := merge.Merge{Dir: t.TempDir(), Parts: tc.parts, MaxTime: end, Logger: quiet}.Do(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(made.Meta.Compaction.Hints, tc.hints) {
			t.Errorf("%v, want %v", made.Meta.Compaction.Hints, tc.hints)
		}
	}
}

func TestStopped(t *testing.T) {
	dir := t.TempDir()
	a := write(t, dir, []key{{"a", 0}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (merge.Merge{Dir: filepath.Join(dir, "made"), Parts: []*block.Block{a, a}, MaxTime: end, Logger: quiet}).Do(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
