package head_test

import (
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb"

	"github.com/ringside-project/ringside/uploader/head"
)

// TestRestarts has a server that comes back after every flush, and goes on:
// without a gap, without a sample twice, and with what it compacts meanwhile.
func TestRestarts(t *testing.T) {
	for name, o := range map[string]func() *tsdb.Options{
		"plain":        options,
		"out of order": func() *tsdb.Options { return smallSegments(1) },
		"snapshot": func() *tsdb.Options {
			o := options()
			o.EnableMemorySnapshotOnShutdown = true
			return o
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			random := rand.New(rand.NewPCG(1, 2))
			now := base + 13*minute
			var want contents
			for range 12 {
				db := open(t, dir, o())
				if want != nil {
					equal(t, "after a restart", everything(t, db), want)
				}
				until := now + random.Int64N(90)*minute
				put(t, db, at("a", each(now, until, minute)...), at("b", each(now+7, until, minute)...))
				if o().OutOfOrderTimeWindow > 0 {
					put(t, db, at("a", each(now-30*minute+1+random.Int64N(1000), until-1, 7*minute)...))
				}
				if err := db.Compact(t.Context()); err != nil {
					t.Fatal(err)
				}
				want = everything(t, db)
				shut(t, db)
				flush(t, dir)
				now = until + minute
			}
			got, metas := inBlocks(t, dir)
			equal(t, "blocks", got, want)
			end := int64(0)
			for _, m := range metas {
				if o().OutOfOrderTimeWindow == 0 {
					if m.MinTime < end {
						t.Errorf("block [base%+d, base%+d) overlaps the one before", m.MinTime-base, m.MaxTime-base)
					}
					end = m.MaxTime
				}
			}
		})
	}
}

// TestStartsMeanwhile has a server that starts while its head is cut: it ends,
// since it does not get the lock, and does no harm.
func TestStartsMeanwhile(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, outOfOrder(4))
	putLate(t, db)
	want := everything(t, db)
	shut(t, db)
	r, err := head.Flush(t.Context(), dir, head.Options{Progress: func(head.Progress) {
		if db, err := tsdb.Open(dir, quiet, nil, options(), nil); err == nil {
			t.Error("it got the lock")
			db.Close()
		}
	}}, quiet)
	if err != nil || len(r.Blocks) != 5 {
		t.Fatalf("got %+v, %v", r, err)
	}
	got, _ := inBlocks(t, dir)
	equal(t, "blocks", got, want)
}

// TestClean removes what is a killed flush's, and nothing else.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"ringside/flush/wal", "ringside/upload"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := head.Clean(dir); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "ringside", "*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// TestAhead warns of samples that lie in the future: until then, a server that
// comes back takes none.
func TestAhead(t *testing.T) {
	for ahead, want := range map[time.Duration]bool{-time.Hour: false, 5 * time.Minute: true} {
		dir := t.TempDir()
		db := open(t, dir, options())
		put(t, db, at("a", time.Now().Add(ahead).UnixMilli()))
		shut(t, db)
		var text strings.Builder
		if _, err := head.Flush(t.Context(), dir, head.Options{}, slog.New(slog.NewTextHandler(&text, nil))); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text.String(), "ahead of the clock"); got != want {
			t.Errorf("%v ahead: warned %v", ahead, got)
		}
	}
}
