package head_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/record"
	"github.com/prometheus/prometheus/tsdb/wlog"
	"pgregory.net/rapid"

	"github.com/ringside-project/ringside/uploader/head"
)

// smallSegments has logs of many segments.
func smallSegments(windows int64) *tsdb.Options {
	o := outOfOrder(windows)
	o.WALSegmentSize = 32 << 10
	return o
}

// crashed is the image of a database that was running: with a checkpoint, logs
// of several segments, and head chunks that are written in part.
func crashed(t *testing.T) (dir string, want contents) {
	t.Helper()
	db := open(t, t.TempDir(), smallSegments(4))
	for from := base; from < base+2*window+20*minute; from += 20 * minute {
		put(t, db, many("first", each(from+minute/2, from+20*minute, minute/2))...)
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	for from := base + 2*window + 20*minute; from < base+2*window+80*minute; from += 20 * minute {
		put(t, db, many("first", each(from+minute/2, from+20*minute, minute/2))...)
		put(t, db, many(fmt.Sprint("new", from-base), each(from+minute/2, from+20*minute, minute/2))...)
		put(t, db, many("first", each(from-100*minute+1, from, 3*minute))...)
		db.ForceHeadMMap()
	}
	if db.Head().MinOOOTime() == math.MaxInt64 {
		t.Fatal("nothing is out of order")
	}
	if found, _ := filepath.Glob(filepath.Join(db.Dir(), "wal", "checkpoint.*")); len(found) == 0 {
		t.Fatal("there is no checkpoint")
	}
	return image(t, db.Dir()), everything(t, db)
}

func many(prefix string, times []int64) []floats {
	var all []floats
	for i := range 15 {
		all = append(all, at(prefix+strconv.Itoa(i), times...))
	}
	return all
}

// TestCrashed cuts the image of a crash, with every sample.
func TestCrashed(t *testing.T) {
	t.Parallel()
	dir, want := crashed(t)
	if r := flush(t, dir); r.Repaired {
		t.Error("repaired what was whole")
	}
	got, metas := inBlocks(t, dir)
	equal(t, "blocks", got, want)
	aligned(t, metas)
}

// TestTorn damages a byte of a log, a checkpoint or a file of head chunks, or
// cuts off what is behind it. Every sample that was logged before it must be
// there, and no sample that never was.
func TestTorn(t *testing.T) {
	t.Parallel()
	whole, want := crashed(t)
	var files []string
	for _, pattern := range []string{"wal/0*", "wal/checkpoint.*/0*", "wbl/0*", "chunks_head/0*"} {
		found, _ := filepath.Glob(filepath.Join(whole, pattern))
		files = append(files, found...)
	}
	rapid.Check(t, func(rt *rapid.T) {
		path, err := filepath.Rel(whole, rapid.SampledFrom(files).Draw(rt, "file"))
		if err != nil {
			rt.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(whole, path))
		if err != nil {
			rt.Fatal(err)
		}
		if info.Size() == 0 {
			return
		}
		offset := rapid.Int64Range(0, info.Size()-1).Draw(rt, "offset")
		how := rapid.SampledFrom([]string{"truncate", "flip", "zero"}).Draw(rt, "how")

		dir := image(t, whole)
		defer os.RemoveAll(dir)
		damage(rt, filepath.Join(dir, path), offset, how)
		logged, torn := readLogs(rt, dir)
		before, _ := inBlocks(t, dir)
		r, err := head.Flush(t.Context(), dir, head.Options{}, quiet)
		if err != nil {
			rt.Fatal(err)
		}
		if r.Repaired != torn {
			rt.Errorf("says repaired: %v; torn: %v", r.Repaired, torn)
		}
		got, _ := inBlocks(t, dir)
		for k := range before {
			logged[k] = true
		}
		for k := range logged {
			if len(got[k]) == 0 {
				rt.Fatalf("%s at base%+d was logged and is lost", k.series, k.t-base)
			}
		}
		for k, texts := range got {
			if len(texts) != 1 || len(want[k]) == 0 || texts[0] != want[k][0] {
				rt.Fatalf("%s at base%+d: %q, want %q", k.series, k.t-base, texts, want[k])
			}
		}
		if strings.HasPrefix(path, "chunks_head") && len(got) != len(want) {
			rt.Errorf("%d samples of %d: head chunks hold nothing that is not logged", len(got), len(want))
		}
	})
}

func damage(t *rapid.T, path string, offset int64, how string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch how {
	case "truncate":
		text = text[:offset]
	case "flip":
		text[offset] ^= 0x55
	case "zero":
		clear(text[offset:])
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// readLogs returns the samples in the records before a tear: of the checkpoint,
// of the log, and of the out-of-order log, each for itself.
func readLogs(t *rapid.T, dir string) (logged map[key]bool, torn bool) {
	l := logReader{t: t, series: map[chunks.HeadSeriesRef]string{}, last: map[string]int64{}, logged: map[key]bool{}, minValid: minValid(t, dir)}
	wal := filepath.Join(dir, "wal")
	checkpoint, index, err := wlog.LastCheckpoint(wal)
	if err != nil {
		t.Fatal(err)
	}
	l.read(checkpoint, 0, l.inOrder)
	l.read(wal, index+1, l.inOrder)
	l.read(filepath.Join(dir, "wbl"), 0, func(series string, at int64) bool { return true })
	return l.logged, l.torn
}

func minValid(t *rapid.T, dir string) int64 {
	metas, err := filepath.Glob(filepath.Join(dir, "*", "meta.json"))
	if err != nil || len(metas) == 0 {
		t.Fatalf("blocks: %v, %v", metas, err)
	}
	end := int64(math.MinInt64)
	for _, m := range metas {
		b, err := tsdb.OpenBlock(quiet, filepath.Dir(m), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if meta := b.Meta(); !meta.Compaction.FromOutOfOrder() {
			end = max(end, b.MaxTime())
		}
		b.Close()
	}
	return end
}

type logReader struct {
	t        *rapid.T
	series   map[chunks.HeadSeriesRef]string
	last     map[string]int64 // in order
	logged   map[key]bool
	minValid int64
	torn     bool
}

// inOrder tells whether a sample of the log is one that is in order; the log
// has the others too.
func (l *logReader) inOrder(series string, at int64) bool {
	last, found := l.last[series]
	if at < l.minValid || found && at <= last {
		return false
	}
	l.last[series] = at
	return true
}

func (l *logReader) read(dir string, from int, take func(series string, at int64) bool) {
	first, last, err := wlog.Segments(dir)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := max(from, first); i <= last; i++ {
		s, err := wlog.OpenReadSegment(wlog.SegmentName(dir, i))
		if err != nil {
			l.t.Fatal(err)
		}
		err = l.segment(wlog.NewReader(wlog.NewSegmentBufReader(s)), take)
		s.Close()
		var corrupt *wlog.CorruptionErr
		if errors.As(err, &corrupt) {
			l.torn = true
			return
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
}

func (l *logReader) segment(r *wlog.Reader, take func(string, int64) bool) error {
	dec := record.NewDecoder(labels.NewSymbolTable(), quiet)
	for r.Next() {
		switch dec.Type(r.Record()) {
		case record.Series:
			series, err := dec.Series(r.Record(), nil)
			if err != nil {
				return err
			}
			for _, s := range series {
				l.series[s.Ref] = s.Labels.String()
			}
		case record.Samples:
			samples, err := dec.Samples(r.Record(), nil)
			if err != nil {
				return err
			}
			for _, s := range samples {
				if series, known := l.series[s.Ref]; known && take(series, s.T) {
					l.logged[key{series, s.T}] = true
				}
			}
		}
	}
	return r.Err()
}
