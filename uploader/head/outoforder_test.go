package head_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/fileutil"
)

func outOfOrder(windows int64) *tsdb.Options {
	o := options()
	o.OutOfOrderTimeWindow = windows * window
	return o
}

// putLate appends three windows, has the first cut as Prometheus would, and
// appends out-of-order samples to all three; then more to the last of them.
func putLate(t *testing.T, db *tsdb.DB) {
	t.Helper()
	last := base + 2*window + 40*minute
	put(t, db, at("a", each(base, last, 2*minute)...), at("b", each(base+30*minute, last, 5*minute)...), at("c", each(base, last, 2*minute)...))
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(db.Blocks()) == 0 {
		t.Fatal("nothing was cut")
	}
	put(t, db, at("a", each(base+minute, last, 2*minute)...), at("b", base+window-1, base+window+1, base+2*window-1, last-1, base+29*minute))
	put(t, db, at("late_only", each(base, base+window-1, 3*minute)...)) // where all is cut
	put(t, db, at("a", last+minute), at("c", last+minute))
}

func TestOutOfOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir, outOfOrder(4))
	putLate(t, db)
	want := everything(t, db)
	shut(t, db)
	r := flush(t, dir)
	got, metas := inBlocks(t, dir)
	equal(t, "blocks", got, want)
	aligned(t, metas)
	late := 0
	for _, m := range metas {
		if m.Compaction.FromOutOfOrder() {
			late++
		}
	}
	if late != 3 || len(r.Blocks) != 5 {
		t.Errorf("%d blocks, %d of them of out-of-order samples; want 5 and 3", len(r.Blocks), late)
	}
	if again := flush(t, dir); again.Samples != 0 || again.Blocks != nil {
		t.Errorf("the second flush reports %+v", again)
	}

	db = open(t, dir, outOfOrder(4))
	equal(t, "reopened", everything(t, db), want)
	if h := db.Head(); h.MinOOOTime() != math.MaxInt64 {
		t.Error("out-of-order samples that blocks hold are back in the head")
	}
}

// TestOnlyOutOfOrder has nothing in order left to cut.
func TestOnlyOutOfOrder(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, outOfOrder(4))
	put(t, db, at("a", each(base, base+window, minute)...))
	shut(t, db)
	flush(t, dir)

	db = open(t, dir, outOfOrder(4))
	put(t, db, at("a", each(base+1, base+window, minute)...), at("new", base+2, base+3))
	want := everything(t, db)
	shut(t, db)
	r := flush(t, dir)
	got, _ := inBlocks(t, dir)
	equal(t, "blocks", got, want)
	if r.Samples != 122 {
		t.Errorf("%d samples, want 122", r.Samples)
	}
}

// TestOutOfOrderCutBefore has head chunk files that outlived the compaction of
// the out-of-order samples in them.
func TestOutOfOrderCutBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir, outOfOrder(4))
	putLate(t, db)
	if err := db.CompactOOOHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := everything(t, db)
	shut(t, db)

	asIs := open(t, image(t, dir), outOfOrder(4))
	if err := asIs.CompactOOOHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	twice := 0
	got, _ := inBlocks(t, asIs.Dir())
	for _, texts := range got {
		twice += min(1, len(texts)-1)
	}
	if twice == 0 {
		t.Error("tsdb forgets by itself what it has cut: this package's comparison is needless")
	}

	flush(t, dir)
	got, _ = inBlocks(t, dir)
	equal(t, "blocks", got, want)
}

// TestEndedBetween has a flush end after any of its blocks, and another one
// take up.
func TestEndedBetween(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir, outOfOrder(4))
	putLate(t, db)
	want := everything(t, db)
	shut(t, db)
	whole := image(t, dir)
	blocks := flush(t, whole).Blocks
	for n := range len(blocks) + 1 {
		part := image(t, dir)
		for _, id := range blocks[:n] {
			if err := fileutil.CopyDirs(filepath.Join(whole, id.String()), filepath.Join(part, id.String())); err != nil {
				t.Fatal(err)
			}
		}
		if r := flush(t, part); len(r.Blocks) != len(blocks)-n {
			t.Errorf("after %d of %d blocks: %d more", n, len(blocks), len(r.Blocks))
		}
		got, _ := inBlocks(t, part)
		equal(t, "blocks", got, want)
	}
}

// TestLateBlockOfOpenWindow has a block of out-of-order samples that reaches to
// the end of a window that has not ended. Merged with what a flush cuts, it must
// not count for the rest of the window.
func TestLateBlockOfOpenWindow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	db := open(t, dir, outOfOrder(1))
	put(t, db, at("a", each(base, base+30*minute, minute)...))
	put(t, db, at("a", each(base+1, base+29*minute, minute)...))
	if err := db.CompactOOOHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := db.BlockMetas(); len(m) != 1 || m[0].MaxTime != base+window {
		t.Fatalf("not as it was meant to be: %+v", m)
	}
	shut(t, db)
	flush(t, dir)

	restart := func(more ...int64) {
		t.Helper()
		db = open(t, dir, outOfOrder(1))
		put(t, db, at("a", more...))
		if err := db.Compact(t.Context()); err != nil { // merges what overlaps
			t.Fatal(err)
		}
	}
	restart(each(base+31*minute, base+40*minute, minute)...)
	want := everything(t, db)
	shut(t, db)
	restart()
	equal(t, "after two restarts", everything(t, db), want)
	shut(t, db)
	flush(t, dir)
	got, _ := inBlocks(t, dir)
	equal(t, "blocks", got, want)
}

// TestTrimmed changes nothing in meta.json but the end.
func TestTrimmed(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, outOfOrder(1))
	put(t, db, at("a", each(base, base+30*minute, minute)...))
	put(t, db, at("a", base+7*minute+1))
	if err := db.CompactOOOHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, db.BlockMetas()[0].ULID.String(), "meta.json")
	shut(t, db)
	before := readJSON(t, path)
	flush(t, dir)
	after := readJSON(t, path)
	if after["maxTime"] != float64(base+7*minute+2) {
		t.Errorf("maxTime %v, want base%+d", after["maxTime"], 7*minute+2)
	}
	delete(before, "maxTime")
	delete(after, "maxTime")
	if a, b := jsonText(t, before), jsonText(t, after); a != b {
		t.Errorf("meta.json was\n%s\nand is\n%s", a, b)
	}
}

// TestDamagedBlock has a block that cannot be read: it keeps nothing else from
// being cut.
func TestDamagedBlock(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, outOfOrder(4))
	putLate(t, db)
	if err := db.CompactOOOHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, m := range db.BlockMetas() {
		if m.Compaction.FromOutOfOrder() {
			defer os.RemoveAll(filepath.Join(dir, m.ULID.String()))
		}
	}
	put(t, db, at("a", base+2*window+50*minute))
	metas := db.BlockMetas()
	shut(t, db)
	for _, m := range metas {
		if err := os.Truncate(filepath.Join(dir, m.ULID.String(), "index"), 10); err != nil {
			t.Fatal(err)
		}
	}
	if r := flush(t, dir); len(r.Blocks) == 0 {
		t.Error("nothing was cut")
	}
}
